// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

/// The smallest of very many scores, exactly, without holding them: rows are asked for as often as needed.
namespace rpt::prune {

/// A matrix [N, K] of scores to be ranked.
struct Ranked {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  /// Gives row n: scores [K], not negative and no NaN, unless there is no room for them, and live [K], 0 for what is no
  /// candidate. Called from several threads, and always gives the same.
  std::function<void(std::int64_t n, std::span<double> scores, std::span<std::uint8_t> live)> read;
  std::uint8_t* keep = nullptr;  ///< [N, K]
};

/// Sets keep to 0 for the `count` candidates of all matrices with the smallest scores; of equal ones those that come
/// first, by matrix, row, column. Throws: LogicError where there are fewer candidates, or for a score as above.
/// Cost: reads every row six times at most; memory for 65,536 counters per thread.
void drop_smallest(std::span<const Ranked> matrices, std::uint64_t count);

/// The same within each row of one matrix: counts[n] go from row n.
void drop_smallest_in_rows(const Ranked& matrix, std::span<const std::uint64_t> counts);

/// Of every `group` consecutive candidates or not, beginning at column 0, the best `most` stay, and nothing else:
/// candidates before others, then larger scores, of equal ones those that come last. The last group of a row may be
/// shorter.
void keep_best_in_groups(const Ranked& matrix, std::int64_t most, std::int64_t group);

/// Number of candidates of each row [N]. Asks for no scores.
std::vector<std::uint64_t> count_live(const Ranked& matrix);

/// Splits `total` in proportion to `sizes`, exactly: the whole parts, then one more for the largest remainders, of
/// equal ones the first. No share exceeds its size. Throws: LogicError where total exceeds the sum of the sizes.
std::vector<std::uint64_t> apportion(std::uint64_t total, std::span<const std::uint64_t> sizes);

}  // namespace rpt::prune
