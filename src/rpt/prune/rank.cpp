// SPDX-License-Identifier: MIT
#include "rpt/prune/rank.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <mutex>
#include <numeric>

#include "rpt/core/error.h"
#include "rpt/core/parallel.h"
#include "rpt/ternary/latent_rows.h"

namespace rpt::prune {
namespace {

/// A score as an integer in the same order. −0 and +0 are equal.
std::uint64_t key_of(double score) {
  return std::bit_cast<std::uint64_t>(score + 0.0);
}

/// A row of a matrix, and room for it.
struct RowBuffer {
  std::vector<double> scores;
  std::vector<std::uint8_t> live;

  void read(const Ranked& matrix, std::int64_t n) {
    scores.resize(static_cast<std::size_t>(matrix.columns));
    live.resize(static_cast<std::size_t>(matrix.columns));
    matrix.read(n, scores, live);
    for (const double score : scores) RPT_CHECK(score >= 0, "a score of {} in row {}", score, n);
  }
};

constexpr int kDigitBits = 16;
constexpr std::size_t kDigits = std::size_t{1} << kDigitBits;

/// Counts candidates by the 16 bits of their key at `shift`, those whose bits above are `prefix`.
std::vector<std::uint64_t> count_digits(std::span<const Ranked> matrices, std::uint64_t prefix, int shift) {
  std::vector<std::uint64_t> counts(kDigits);
  std::mutex mutex;
  for (const Ranked& matrix : matrices) {
    const std::int64_t range = matrix.rows / core::threads() + 1;  // few ranges, since each has counters of its own
    core::parallel_for(matrix.rows, range, [&](std::int64_t begin, std::int64_t end) {
      std::vector<std::uint64_t> here(kDigits);
      RowBuffer row;
      for (std::int64_t n = begin; n < end; ++n) {
        row.read(matrix, n);
        for (std::size_t k = 0; k < row.live.size(); ++k) {
          if (row.live[k] == 0) continue;
          const std::uint64_t key = key_of(row.scores[k]) >> shift;
          if (shift + kDigitBits == 64 || key >> kDigitBits == prefix) ++here[key % kDigits];
        }
      }
      const std::lock_guard lock(mutex);
      std::transform(here.begin(), here.end(), counts.begin(), counts.begin(), std::plus<>());
    });
  }
  return counts;
}

/// The largest key that goes, and how many candidates have a smaller one.
struct Cut {
  std::uint64_t key = 0;
  std::uint64_t below = 0;
};

Cut find_cut(std::span<const Ranked> matrices, std::uint64_t count) {
  Cut cut;
  for (int shift = 64 - kDigitBits; shift >= 0; shift -= kDigitBits) {
    const std::vector<std::uint64_t> counts = count_digits(matrices, cut.key, shift);
    std::size_t digit = 0;
    while (digit < kDigits && cut.below + counts[digit] < count) cut.below += counts[digit++];
    RPT_CHECK(digit < kDigits, "{} to go, {} candidates", count, cut.below);
    cut.key = cut.key << kDigitBits | digit;
  }
  return cut;
}

/// Drops what lies below the cut; gives how many of each row lie exactly on it.
std::vector<std::uint64_t> drop_below(const Ranked& matrix, std::uint64_t cut) {
  std::vector<std::uint64_t> ties(static_cast<std::size_t>(matrix.rows));
  ternary::for_row_ranges(matrix.rows, matrix.columns, [&](std::int64_t begin, std::int64_t end) {
    RowBuffer row;
    for (std::int64_t n = begin; n < end; ++n) {
      row.read(matrix, n);
      std::uint8_t* keep = matrix.keep + n * matrix.columns;
      for (std::size_t k = 0; k < row.live.size(); ++k) {
        if (row.live[k] == 0) continue;
        const std::uint64_t key = key_of(row.scores[k]);
        if (key < cut) keep[k] = 0;
        if (key == cut) ++ties[static_cast<std::size_t>(n)];
      }
    }
  });
  return ties;
}

/// Drops the first `count` of those of row n that lie on the cut.
void drop_ties(const Ranked& matrix, std::int64_t n, std::uint64_t cut, std::uint64_t count) {
  RowBuffer row;
  row.read(matrix, n);
  std::uint8_t* keep = matrix.keep + n * matrix.columns;
  for (std::size_t k = 0; k < row.live.size() && count > 0; ++k) {
    if (row.live[k] == 0 || key_of(row.scores[k]) != cut) continue;
    keep[k] = 0;
    --count;
  }
}

/// Columns in ascending order of score, of equal ones the first before.
struct ByScore {
  const std::vector<double>& scores;
  bool operator()(std::size_t a, std::size_t b) const { return scores[a] != scores[b] ? scores[a] < scores[b] : a < b; }
};

}  // namespace

void drop_smallest(std::span<const Ranked> matrices, std::uint64_t count) {
  if (count == 0) return;
  const Cut cut = find_cut(matrices, count);
  std::uint64_t left = count - cut.below;
  for (const Ranked& matrix : matrices) {
    const std::vector<std::uint64_t> ties = drop_below(matrix, cut.key);
    for (std::int64_t n = 0; n < matrix.rows && left > 0; ++n) {
      const std::uint64_t going = std::min(left, ties[static_cast<std::size_t>(n)]);
      if (going > 0) drop_ties(matrix, n, cut.key, going);
      left -= going;
    }
  }
}

void drop_smallest_in_rows(const Ranked& matrix, std::span<const std::uint64_t> counts) {
  RPT_CHECK(std::cmp_equal(counts.size(), matrix.rows), "{} counts for {} rows", counts.size(), matrix.rows);
  ternary::for_row_ranges(matrix.rows, matrix.columns, [&](std::int64_t begin, std::int64_t end) {
    RowBuffer row;
    std::vector<std::size_t> order;
    for (std::int64_t n = begin; n < end; ++n) {
      const std::uint64_t count = counts[static_cast<std::size_t>(n)];
      if (count == 0) continue;
      row.read(matrix, n);
      order.clear();
      for (std::size_t k = 0; k < row.live.size(); ++k) {
        if (row.live[k] != 0) order.push_back(k);
      }
      RPT_CHECK(count <= order.size(), "row {}: {} to go, {} candidates", n, count, order.size());
      const auto last = order.begin() + static_cast<std::ptrdiff_t>(count);
      std::nth_element(order.begin(), last, order.end(), ByScore{row.scores});
      for (auto k = order.begin(); k != last; ++k) matrix.keep[n * matrix.columns + static_cast<std::int64_t>(*k)] = 0;
    }
  });
}

void keep_best_in_groups(const Ranked& matrix, std::int64_t most, std::int64_t group) {
  RPT_CHECK(most >= 0 && group > 0, "{} of {}", most, group);
  ternary::for_row_ranges(matrix.rows, matrix.columns, [&](std::int64_t begin, std::int64_t end) {
    RowBuffer row;
    std::vector<std::size_t> order;
    for (std::int64_t n = begin; n < end; ++n) {
      row.read(matrix, n);
      std::uint8_t* keep = matrix.keep + n * matrix.columns;
      for (std::int64_t first = 0; first < matrix.columns; first += group) {
        order.resize(static_cast<std::size_t>(std::min(group, matrix.columns - first)));
        std::iota(order.begin(), order.end(), static_cast<std::size_t>(first));
        std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
          return row.live[a] != row.live[b] ? row.live[a] < row.live[b] : ByScore{row.scores}(a, b);
        });
        const auto going = static_cast<std::int64_t>(order.size()) - most;
        for (std::int64_t i = 0; i < going; ++i) keep[order[static_cast<std::size_t>(i)]] = 0;
      }
    }
  });
}

std::vector<std::uint64_t> count_live(const Ranked& matrix) {
  std::vector<std::uint64_t> counts(static_cast<std::size_t>(matrix.rows));
  ternary::for_row_ranges(matrix.rows, matrix.columns, [&](std::int64_t begin, std::int64_t end) {
    std::vector<std::uint8_t> live(static_cast<std::size_t>(matrix.columns));
    for (std::int64_t n = begin; n < end; ++n) {
      matrix.read(n, {}, live);
      counts[static_cast<std::size_t>(n)] =
          static_cast<std::uint64_t>(std::count(live.begin(), live.end(), std::uint8_t{1}));
    }
  });
  return counts;
}

std::vector<std::uint64_t> apportion(std::uint64_t total, std::span<const std::uint64_t> sizes) {
  __extension__ using Wide = unsigned __int128;
  const std::uint64_t sum = std::accumulate(sizes.begin(), sizes.end(), std::uint64_t{0});
  RPT_CHECK(total <= sum, "{} of {}", total, sum);
  std::vector<std::uint64_t> shares(sizes.size());
  if (sum == 0) return shares;
  std::vector<std::uint64_t> remainders(sizes.size());
  std::uint64_t left = total;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const Wide product = static_cast<Wide>(total) * sizes[i];
    shares[i] = static_cast<std::uint64_t>(product / sum);
    remainders[i] = static_cast<std::uint64_t>(product % sum);
    left -= shares[i];
  }
  std::vector<std::size_t> order(sizes.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return remainders[a] > remainders[b]; });
  for (std::size_t i = 0; i < left; ++i) ++shares[order[i]];
  return shares;
}

}  // namespace rpt::prune
