// SPDX-License-Identifier: MIT
#pragma once
#include <optional>

#include "rpt/tensor/view.h"
#include "rpt/ternary/layouts.h"

namespace rpt::ternary {

/// The s > 0 for which every value of a float tensor [N, K] (f32, bf16 or f16) is 0 or ±s, 0 where all of them are 0,
/// nothing where there is none: such a tensor holds codes, not latents.
/// Throws: ShapeError as mean_abs. Cost: ends at the first value that does not fit.
std::optional<float> find_stored_scale(const tensor::StoredView& values);

/// Codes sign(w), in layout i2_s, of a tensor for which find_stored_scale gave `scale`. Throws: ShapeError as mean_abs.
PackedTernary pack_stored(const tensor::StoredView& values, float scale);

}  // namespace rpt::ternary
