// SPDX-License-Identifier: MIT
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "rpt/tensor/view.h"

namespace rpt::ternary {

/// What the codes of a tensor [N, K] are like.
struct CodeStatistics {
  std::uint64_t negative = 0;  ///< codes −1
  std::uint64_t zero = 0;
  std::uint64_t positive = 0;
  std::int64_t dead_rows = 0;     ///< rows of zeros only: outputs that nothing reaches
  std::int64_t dead_columns = 0;  ///< columns of zeros only: inputs that are not read

  std::uint64_t total() const { return negative + zero + positive; }
  /// Share of zeros, 0 … 1; 0 where there are no codes.
  double zero_share() const;
  /// Entropy of the three shares, in bits per weight; at most log2(3). For display: uses the platform's logarithm.
  double entropy_bits() const;
};

/// Counts the codes, which must be valid (check_codes).
/// Throws: ShapeError where the bytes are fewer than the shape needs. Cost: about 0.5 ns per weight
/// and thread, 1.2 in tq1_0.
CodeStatistics code_statistics(const tensor::PackedTernaryView& weights);

/// What float latents [N, K] are like.
struct LatentStatistics {
  /// Near zero is |w| < kNearZero · mean|W|, zeros included.
  static constexpr double kNearZero = 0.01;

  std::uint64_t total = 0;
  std::uint64_t zero = 0;
  std::uint64_t near_zero = 0;   ///< 0 where mean_abs is not finite
  std::uint64_t not_finite = 0;  ///< infinities and NaNs
  float minimum = 0;             ///< of the finite weights; 0 where there are none
  float maximum = 0;             ///< likewise
  double mean_abs = 0;           ///< not finite where a weight is not
};

/// Throws: ShapeError as mean_abs. Cost: reads the latents twice.
LatentStatistics latent_statistics(const tensor::StoredView& latents);

/// Number of bins of magnitude_histogram.
inline constexpr std::size_t kMagnitudeBins = std::size_t{1} << 15;

/// Latents counted by magnitude: bin i counts those whose |w|, as float, has i for its upper 15 bits, the exponent and
/// 7 bits of the mantissa. So bins rise with |w|, and bf16 is counted value by value.
/// Throws: ShapeError as mean_abs. Cost: about 1 ns per weight and thread.
std::vector<std::uint64_t> magnitude_histogram(const tensor::StoredView& latents);

}  // namespace rpt::ternary
