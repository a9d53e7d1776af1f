// SPDX-License-Identifier: MIT
#pragma once
#include <memory>

#include "rpt/model/model.h"
#include "rpt/prune/mask.h"

namespace rpt::prune {

/// The model with its masked latents at 0, in memory, of the same types; what does not change is shared with `model`'s
/// files. Codes and scales follow from the latents that are left by the online rule, so that the mean, which counts the
/// zeros, and with it the scale shrink, and codes of other weights may become ±1 (account.h counts them).
/// Throws: ConfigError for masks of another shape, and as linear_layers. Cost: memory for the tensors that change.
std::unique_ptr<model::Model> apply_masks(const model::Model& model, const Masks& masks);

}  // namespace rpt::prune
