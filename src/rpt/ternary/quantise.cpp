// SPDX-License-Identifier: MIT
#include "rpt/ternary/quantise.h"

#include "rpt/ternary/latent_rows.h"
#include "rpt/ternary/scale_rules.h"

namespace rpt::ternary {

PackedTernary quantise_absmean(const tensor::StoredView& latents) {
  const AbsmeanScale absmean = absmean_scale(latents, latents.type);
  const LatentRows rows(latents);
  return pack(tensor::DType::i2_s, latents.rows, latents.columns, absmean.scale,
              [&](std::int64_t n, std::span<std::int8_t> codes) { rows.codes(n, absmean.inv, codes); });
}

}  // namespace rpt::ternary
