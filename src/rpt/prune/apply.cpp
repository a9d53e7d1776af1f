// SPDX-License-Identifier: MIT
#include "rpt/prune/apply.h"

#include <algorithm>
#include <cstring>

#include "rpt/core/aligned_buffer.h"
#include "rpt/model/derive.h"
#include "rpt/model/gauge_groups.h"
#include "rpt/prune/linears.h"
#include "rpt/ternary/latent_rows.h"

namespace rpt::prune {
namespace {

/// The latents of a layer with the masked ones at +0, kept in `storage`; the layer's own where none is masked.
tensor::StoredView masked(const Linear& linear, const LinearMask& mask,
                          std::vector<std::shared_ptr<const void>>& storage) {
  if (mask.pruned() == 0) return linear.latents;
  auto bytes = std::make_shared<core::AlignedBuffer<std::byte>>(linear.latents.bytes);
  std::memcpy(bytes->data(), linear.latents.data, linear.latents.bytes);
  const auto size = static_cast<std::size_t>(tensor::element_size(linear.latents.type));
  ternary::for_row_ranges(mask.rows, mask.columns, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = static_cast<std::size_t>(begin * mask.columns); i < static_cast<std::size_t>(end * mask.columns);
         ++i) {
      if (mask.keep[i] == 0) std::memset(bytes->data() + i * size, 0, size);
    }
  });
  tensor::StoredView out = linear.latents;
  out.data = bytes->data();
  storage.push_back(std::move(bytes));
  return out;
}

/// A block with the norms of another one, and no linear layers yet.
model::BlockWeights norms_of(const model::BlockWeights& block) {
  model::BlockWeights out;
  for (const model::GaugeGroup& group : model::kGaugeGroups) out.*group.gain = block.*group.gain;
  return out;
}

}  // namespace

std::unique_ptr<model::Model> apply_masks(const model::Model& model, const Masks& masks) {
  require_masks_of(masks, model.config);
  const std::vector<Linear> linears = linear_layers(model);
  auto out = model::without_blocks(model);
  for (const model::BlockWeights& block : model.weights.blocks) out->weights.blocks.push_back(norms_of(block));
  for (std::size_t i = 0; i < linears.size(); ++i) {
    const Linear& linear = linears[i];
    model::LinearWeight& to = out->weights.blocks[linear.block].*linear.part;
    to.weight =
        model::TernaryWeight::latent(linear.weight->origin(), masked(linear, masks.linears[i], out->storage), false);
    to.output_scale = (model.weights.blocks[linear.block].*linear.part).output_scale;
  }
  return out;
}

}  // namespace rpt::prune
