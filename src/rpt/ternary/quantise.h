// SPDX-License-Identifier: MIT
#pragma once
#include "rpt/tensor/view.h"
#include "rpt/ternary/layouts.h"

namespace rpt::ternary {

/// Codes (in layout i2_s) and scale of latents [N, K] under online_absmean, the scale rounded to the latents' own type.
/// Throws: ShapeError as mean_abs; ConfigError where the scale is not finite (a weight is not, or f16 cannot hold it).
PackedTernary quantise_absmean(const tensor::StoredView& latents);

}  // namespace rpt::ternary
