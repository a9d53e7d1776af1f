// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <string_view>

#include "rpt/tensor/view.h"

/// Letters of this room: N rows (outputs), K columns (inputs).
namespace rpt::ternary {

/// How the codes and the scale of a ternary tensor come about. Source: docs/forward.md, "Weight codes and scale".
enum class ScaleRule : std::uint8_t {
  online_absmean,  ///< both follow from the latents, each time they are read
  stored,          ///< both come from the file
};

/// "online_absmean", "stored".
std::string_view name(ScaleRule rule);

/// The rule of that name. Throws: ConfigError.
ScaleRule parse_scale_rule(std::string_view text);

/// What online_absmean makes of a tensor.
struct AbsmeanScale {
  double mean;  ///< max(mean|W|, 1e-5)
  float inv;    ///< code = clamp(rhe(w · inv), −1, 1)
  float scale;  ///< the value of a weight is scale · code
};

/// mean|W| of latents [N, K] (f32, bf16 or f16), not clamped; not finite where a weight is not.
/// Formula: Σ|w| of each row in 16 double lanes, row sums added in row order, divided by N·K.
/// Throws: ShapeError for another type or a size that does not fit.
double mean_abs(const tensor::StoredView& latents);

/// Formula: mean = max(mean|W|, 1e-5); inv = 1 / float(mean); scale = D(1 / inv), D = `scale_type`, rounded half to
/// even. A file's latents use their own type as D. Where a weight is not finite, or f16 cannot hold the scale, neither
/// is scale. Throws: ShapeError as mean_abs; ConfigError where scale_type is not f32, bf16 or f16.
AbsmeanScale absmean_scale(const tensor::StoredView& latents, tensor::DType scale_type);

}  // namespace rpt::ternary
