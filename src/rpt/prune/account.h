// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "rpt/model/model.h"

namespace rpt::prune {

/// What happened to weights between two states of a model. Latents zeroed and codes removed are different things: the
/// codes are the treatment, the scale its side effect.
struct WeightAccount {
  std::uint64_t weights = 0;
  std::uint64_t latents_zero_before = 0;  ///< where codes are stored, the codes that are 0
  std::uint64_t latents_zeroed = 0;       ///< not 0 before, 0 after
  std::uint64_t codes_zero_before = 0;
  std::uint64_t codes_zero_after = 0;
  std::uint64_t codes_removed = 0;  ///< ±1 → 0
  std::uint64_t codes_gained = 0;   ///< 0 → ±1
  std::uint64_t codes_turned = 0;   ///< +1 → −1 and −1 → +1

  /// Codes that are 0 now as a share of all weights, 0 … 1.
  double zero_share() const;
  /// Codes removed as a share of all weights: the dose, 0 … 1.
  double dose() const;
  WeightAccount& operator+=(const WeightAccount& other);
  bool operator==(const WeightAccount&) const = default;
};

struct TensorAccount : WeightAccount {
  std::string name;        ///< GGUF's, without ".weight"
  float scale_before = 0;  ///< what codes are multiplied by, a factor of the layer's output included
  float scale_after = 0;
};

/// The account of a model: every linear layer, in the order of model::visit_weights, and their sum.
struct Account {
  std::vector<TensorAccount> tensors;
  WeightAccount total;
  bool of_latents = true;  ///< after; else `latents_zeroed` counts codes that are 0
};

/// Compares two models of the same shape, each by its own scale rule. Throws: ConfigError for another shape.
Account account(const model::Model& before, const model::Model& after);

}  // namespace rpt::prune
