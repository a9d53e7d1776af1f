// SPDX-License-Identifier: MIT
#include "rpt/prune/linears.h"

#include <algorithm>
#include <numeric>

#include "rpt/core/error.h"
#include "rpt/model/gauge_groups.h"
#include "rpt/prune/names.h"
#include "rpt/ternary/latent_rows.h"
#include "rpt/ternary/layouts.h"

namespace rpt::prune {
namespace {

constexpr Names<Dose, 2> kDoses{{{Dose::codes, "codes"}, {Dose::latents, "latents"}}};

tensor::StoredView latents_of(const std::string& name, const model::TernaryWeight& weight) {
  const auto latents = weight.latents();
  if (!latents) {
    throw ConfigError(
        fmt::format("{}: {} holds codes with a fixed scale; only latents are pruned", weight.origin().file, name));
  }
  return *latents;
}

}  // namespace

std::string_view name(Dose dose) {
  return name_of(kDoses, dose);
}
Dose parse_dose(std::string_view text) {
  return parse_name(kDoses, text, "dose");
}

std::vector<Linear> linear_layers(const model::Model& model) {
  std::vector<Linear> linears;
  for (std::size_t b = 0; b < model.weights.blocks.size(); ++b) {
    for (std::size_t g = 0; g < model::kGaugeGroups.size(); ++g) {
      for (const model::GaugeLinear& part : model::kGaugeGroups[g].linears) {
        const model::TernaryWeight& weight = (model.weights.blocks[b].*part.weight).weight;
        std::string name = model::block_tensor_name(b, part.name);
        const tensor::StoredView latents = latents_of(name, weight);
        linears.push_back({std::move(name), b, g, part.weight, &weight, latents});
      }
    }
  }
  return linears;
}

std::uint64_t ternary_weights(std::span<const Linear> linears) {
  std::uint64_t sum = 0;
  for (const Linear& linear : linears) sum += linear.size();
  return sum;
}

std::vector<std::size_t> by_name(std::span<const Linear> linears) {
  std::vector<std::size_t> order(linears.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return linears[a].name < linears[b].name; });
  return order;
}

void live_weights(const Linear& linear, Dose dose, std::int64_t n, std::span<std::uint8_t> live) {
  if (dose == Dose::latents) {
    const float* row = ternary::LatentRows(linear.latents).widened(n);
    std::transform(row, row + linear.columns(), live.begin(), [](float w) { return w != 0 ? 1 : 0; });
    return;
  }
  static thread_local std::vector<std::int8_t> codes;
  codes.resize(live.size());
  ternary::unpack_row(linear.weight->codes(), n, codes);
  std::transform(codes.begin(), codes.end(), live.begin(), [](std::int8_t c) { return c != 0 ? 1 : 0; });
}

}  // namespace rpt::prune
