// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "rpt/core/random.h"

namespace rpt::generate {

/// How the next token is chosen. Transformations apply in this order: repeat penalty, temperature, top-k, top-p.
struct SamplingOptions {
  double temperature = 0;     ///< 0: the most likely token (the lowest id of equals)
  std::int64_t top_k = 0;     ///< keep the k most likely; 0 keeps all
  double top_p = 1;           ///< keep the smallest set of most likely tokens whose probability reaches p
  double repeat_penalty = 1;  ///< logits of tokens seen lately are divided (positive) or multiplied (negative) by this
  std::int64_t repeat_window = 64;  ///< how many of the last tokens count as seen lately
  std::uint64_t seed = 0;
};

/// Throws ConfigError naming the first option that makes no sense (negative temperature, top-p outside (0, 1], …).
void validate(const SamplingOptions& options);

/// Chooses tokens. The same seed and logits give the same tokens on every platform: no libm takes part.
class Sampler {
 public:
  explicit Sampler(const SamplingOptions& options);

  /// The next token after `history` (oldest first). Sizes: logits [V]. Cost: V log k. Throws: ShapeError for no logits.
  std::int32_t sample(std::span<const float> logits, std::span<const std::int32_t> history);

 private:
  std::int32_t draw(std::span<const float> logits);

  SamplingOptions options_;
  core::Random random_;
  std::vector<float> penalised_;
  std::vector<std::int32_t> order_;
  std::vector<double> weight_;
};

}  // namespace rpt::generate
