// SPDX-License-Identifier: MIT
#include "rpt/ternary/statistics.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <mutex>
#include <span>
#include <vector>

#include "rpt/core/parallel.h"
#include "rpt/ternary/latent_rows.h"
#include "rpt/ternary/layouts.h"
#include "rpt/ternary/scale_rules.h"

namespace rpt::ternary {
namespace {

struct RowCounts {
  std::uint64_t nonzero = 0;
  std::uint64_t negative = 0;
};

/// Counts the codes of a row in bytes wide lanes, which the compiler turns into vectors; 255 additions fit into a lane.
RowCounts count_row(std::span<const std::int8_t> codes) {
  constexpr std::size_t kLanes = 64;
  constexpr std::size_t kRounds = 255;
  RowCounts counts;
  while (!codes.empty()) {
    const auto part = codes.first(std::min(codes.size(), kLanes * kRounds));
    codes = codes.subspan(part.size());
    std::array<std::uint8_t, kLanes> nonzero{};
    std::array<std::uint8_t, kLanes> negative{};
    const auto count = [&](std::size_t begin, std::size_t lanes) {
      for (std::size_t i = 0; i < lanes; ++i) {
        const auto code = static_cast<std::uint8_t>(part[begin + i]);
        nonzero[i] = static_cast<std::uint8_t>(nonzero[i] + (code & 1));
        negative[i] = static_cast<std::uint8_t>(negative[i] + (code >> 7));
      }
    };
    std::size_t k = 0;
    for (; k + kLanes <= part.size(); k += kLanes) count(k, kLanes);
    count(k, part.size() - k);
    for (std::size_t i = 0; i < kLanes; ++i) {
      counts.nonzero += nonzero[i];
      counts.negative += negative[i];
    }
  }
  return counts;
}

double information(std::uint64_t count, std::uint64_t total) {
  if (count == 0) return 0;
  const double share = static_cast<double>(count) / static_cast<double>(total);
  return -share * std::log2(share);
}

}  // namespace

double CodeStatistics::zero_share() const {
  return total() == 0 ? 0 : static_cast<double>(zero) / static_cast<double>(total());
}

double CodeStatistics::entropy_bits() const {
  return information(negative, total()) + information(zero, total()) + information(positive, total());
}

CodeStatistics code_statistics(const tensor::PackedTernaryView& weights) {
  check_bytes(weights);  // before memory is taken for the shape
  const auto columns = static_cast<std::size_t>(weights.columns);
  CodeStatistics statistics;
  std::vector<std::int8_t> live(columns);  // odd where a code of the column is not zero
  std::mutex mutex;
  for_row_ranges(weights.rows, weights.columns, [&](std::int64_t begin, std::int64_t end) {
    std::vector<std::int8_t> codes(columns);
    std::vector<std::int8_t> live_here(columns);
    CodeStatistics here;
    for (std::int64_t n = begin; n < end; ++n) {
      unpack_row(weights, n, codes);
      const RowCounts counts = count_row(codes);
      here.negative += counts.negative;
      here.positive += counts.nonzero - counts.negative;
      here.zero += columns - counts.nonzero;
      here.dead_rows += counts.nonzero == 0 ? 1 : 0;
      for (std::size_t k = 0; k < columns; ++k) live_here[k] = static_cast<std::int8_t>(live_here[k] | codes[k]);
    }
    const std::lock_guard lock(mutex);
    statistics.negative += here.negative;
    statistics.zero += here.zero;
    statistics.positive += here.positive;
    statistics.dead_rows += here.dead_rows;
    for (std::size_t k = 0; k < columns; ++k) live[k] = static_cast<std::int8_t>(live[k] | live_here[k]);
  });
  statistics.dead_columns = std::count(live.begin(), live.end(), std::int8_t{0});
  return statistics;
}

LatentStatistics latent_statistics(const tensor::StoredView& latents) {
  LatentStatistics statistics;
  statistics.mean_abs = mean_abs(latents);
  const double threshold = LatentStatistics::kNearZero * statistics.mean_abs;
  const bool has_threshold = std::isfinite(threshold);
  const LatentRows rows(latents);
  std::mutex mutex;
  bool any = false;
  for_row_ranges(latents.rows, latents.columns, [&](std::int64_t begin, std::int64_t end) {
    LatentStatistics here;
    float minimum = std::numeric_limits<float>::infinity();
    float maximum = -minimum;
    for (std::int64_t n = begin; n < end; ++n) {
      const std::span row(rows.widened(n), static_cast<std::size_t>(latents.columns));
      for (const float w : row) {
        if (!std::isfinite(w)) {
          ++here.not_finite;
          continue;
        }
        here.zero += w == 0 ? 1 : 0;
        here.near_zero += has_threshold && (w == 0 || std::abs(w) < threshold) ? 1 : 0;
        minimum = std::min(minimum, w);
        maximum = std::max(maximum, w);
      }
      here.total += row.size();
    }
    const std::lock_guard lock(mutex);
    statistics.total += here.total;
    statistics.zero += here.zero;
    statistics.near_zero += here.near_zero;
    statistics.not_finite += here.not_finite;
    if (minimum > maximum) return;  // none finite
    statistics.minimum = any ? std::min(statistics.minimum, minimum) : minimum;
    statistics.maximum = any ? std::max(statistics.maximum, maximum) : maximum;
    any = true;
  });
  return statistics;
}

std::vector<std::uint64_t> magnitude_histogram(const tensor::StoredView& latents) {
  const LatentRows rows(latents);
  std::vector<std::uint64_t> histogram(kMagnitudeBins);
  std::mutex mutex;
  const std::int64_t range = latents.rows / core::threads() + 1;  // few ranges, since each has bins of its own
  core::parallel_for(latents.rows, range, [&](std::int64_t begin, std::int64_t end) {
    std::vector<std::uint64_t> here(kMagnitudeBins);
    for (std::int64_t n = begin; n < end; ++n) {
      for (const float w : std::span(rows.widened(n), static_cast<std::size_t>(latents.columns))) {
        ++here[(std::bit_cast<std::uint32_t>(w) & 0x7fffffffU) >> 16];
      }
    }
    const std::lock_guard lock(mutex);
    std::transform(here.begin(), here.end(), histogram.begin(), histogram.begin(), std::plus<>());
  });
  return histogram;
}

}  // namespace rpt::ternary
