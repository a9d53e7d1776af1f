// SPDX-License-Identifier: MIT
#pragma once
#include <array>
#include <cstdint>
#include <span>

namespace rpt::train {

/// The random bits of stochastic rounding: 16 for each value of a tensor at a step. They are a fixed function of key,
/// step, tensor and place, so that threads change nothing and a run that goes on needs no state of a generator.
/// Formula: values 8j … 8j + 7 take the words of philox4x32(counter = (j, tensor, step modulo 2^32), key), low halves
/// first.
class RoundingBits {
 public:
  RoundingBits(std::uint64_t key, std::int64_t step, std::uint32_t tensor);

  /// The bits of the values from `begin` on, which is a multiple of 8.
  void draw(std::int64_t begin, std::span<std::uint16_t> bits) const;

  /// A key for a run's seed, unlike every key that core::Random makes of it.
  static std::uint64_t key_of(std::uint64_t seed);

 private:
  std::array<std::uint32_t, 2> key_;
  std::uint32_t step_;
  std::uint32_t tensor_;
};

/// y_i = one of the two bfloat16 values around x_i, the upper one with the share of the way that x_i lies above the
/// lower one, in steps of 2^−16: the mean is x_i exactly. Values that are bfloat16 already stay. Infinities and NaN as
/// in core::float_to_bf16. `random` holds 16 bits for each value.
void round_to_bf16(std::span<const float> x, std::span<const std::uint16_t> random, std::uint16_t* y);

}  // namespace rpt::train
