// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>

#include "rpt/model/model.h"
#include "rpt/prune/recipe.h"

namespace rpt::prune {

/// Bytes that a pruning needs at once beside the mapped file of the model; what grows with model or text.
struct PruneMemory {
  std::uint64_t codes = 0;  ///< of the model
  std::uint64_t masks = 0;  ///< a byte a weight
  // While weights are chosen:
  std::uint64_t calibration = 0;  ///< kept inputs; keys and values of a sequence
  std::uint64_t scores = 0;       ///< of `code`: 8 bytes for each weight that is ranked at once, 8·K² of an input
  // While the model is written:
  std::uint64_t latents = 0;        ///< of the pruned model; tensors that lose nothing take none
  std::uint64_t written_codes = 0;  ///< of the pruned model, and of the one that is read again

  std::uint64_t total() const;
};

/// What make_masks and apply_masks of this recipe on this model need at most, and the model's export. Throws: as
/// linear_layers, and ConfigError where the recipe's targets are no regular expression. Cost: prepares the codes.
PruneMemory prune_memory(const model::Model& model, const Recipe& recipe);

}  // namespace rpt::prune
