// SPDX-License-Identifier: MIT
#include "rpt/prune/legacy.h"

#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "rpt/core/error.h"
#include "rpt/core/random.h"
#include "rpt/prune/linears.h"
#include "rpt/ternary/latent_rows.h"

namespace rpt::prune {
namespace {

/// Calls visit(|w|) for every latent other than 0, in order of flat index.
template <typename Visit>
void for_magnitudes(const Linear& linear, Visit&& visit) {
  const ternary::LatentRows rows(linear.latents);
  for (std::int64_t n = 0; n < linear.rows(); ++n) {
    for (const float w : std::span(rows.widened(n), static_cast<std::size_t>(linear.columns()))) {
      if (w != 0) visit(std::fabs(w));
    }
  }
}

/// Floyd's sample of `count` of the positions 0 … m − 1, ascending.
std::vector<std::uint64_t> sample_positions(std::uint64_t m, std::uint64_t count, core::Random random) {
  std::unordered_set<std::uint64_t> taken;
  for (std::uint64_t j = m - count; j < m; ++j) {
    if (!taken.insert(random.below(j + 1)).second) taken.insert(j);
  }
  std::vector<std::uint64_t> positions(taken.begin(), taken.end());
  std::sort(positions.begin(), positions.end());
  return positions;
}

void add_sample(const Linear& linear, core::Random random, std::vector<float>& pool) {
  std::uint64_t m = 0;
  for_magnitudes(linear, [&](float) { ++m; });
  if (m <= kLegacySample) {
    for_magnitudes(linear, [&](float magnitude) { pool.push_back(magnitude); });
    return;
  }
  const std::vector<std::uint64_t> positions = sample_positions(m, kLegacySample, random);
  auto next = positions.begin();
  std::uint64_t position = 0;
  for_magnitudes(linear, [&](float magnitude) {
    if (next != positions.end() && *next == position++) {
      pool.push_back(magnitude);
      ++next;
    }
  });
}

}  // namespace

std::vector<float> legacy_pool(const model::Model& model, std::uint64_t seed) {
  const std::vector<Linear> linears = linear_layers(model);
  std::vector<float> pool;
  for (std::size_t i = 0; i < linears.size(); ++i) add_sample(linears[i], core::Random(seed, i), pool);
  std::sort(pool.begin(), pool.end());
  return pool;
}

float legacy_threshold(std::span<const float> pool, double percent) {
  if (!(percent >= 0 && percent <= 100)) throw ConfigError(fmt::format("{} percent, expected 0 to 100", percent));
  if (pool.empty()) return 0;
  const auto rank = static_cast<std::size_t>(static_cast<double>(pool.size()) * percent / 100.0);
  return pool[std::min(rank, pool.size() - 1)];
}

Masks select_above(const model::Model& model, float threshold) {
  Masks masks = full_masks(model.config);
  const std::vector<Linear> linears = linear_layers(model);
  for (std::size_t i = 0; i < linears.size(); ++i) {
    const ternary::LatentRows rows(linears[i].latents);
    LinearMask& mask = masks.linears[i];
    ternary::for_row_ranges(mask.rows, mask.columns, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t n = begin; n < end; ++n) {
        const float* w = rows.widened(n);
        std::transform(w, w + mask.columns, mask.row(n), [&](float x) { return std::fabs(x) > threshold ? 1 : 0; });
      }
    });
  }
  return masks;
}

}  // namespace rpt::prune
