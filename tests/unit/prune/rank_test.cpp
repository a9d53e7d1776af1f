// SPDX-License-Identifier: MIT
#include "rpt/prune/rank.h"

#include <gtest/gtest.h>

#include <limits>
#include <numeric>

#include "prune_test_support.h"

namespace rpt::prune {
namespace {

/// A matrix of scores in memory.
struct Sample {
  std::int64_t rows, columns;
  std::vector<double> scores;
  std::vector<std::uint8_t> live;
  std::vector<std::uint8_t> keep;

  Sample(std::int64_t n, std::int64_t k, std::uint64_t seed, std::uint64_t values) : rows(n), columns(k) {
    core::Random random(seed);
    for (std::int64_t i = 0; i < n * k; ++i) {
      scores.push_back(static_cast<double>(random.below(values)) / 7.0);
      live.push_back(random.below(4) != 0 ? 1 : 0);
    }
    keep.assign(scores.size(), 1);
  }

  Ranked ranked() {
    Ranked r;
    r.rows = rows;
    r.columns = columns;
    r.keep = keep.data();
    r.read = [this](std::int64_t n, std::span<double> s, std::span<std::uint8_t> l) {
      if (!s.empty()) std::copy_n(scores.begin() + n * columns, columns, s.begin());
      std::copy_n(live.begin() + n * columns, columns, l.begin());
    };
    return r;
  }
  std::size_t candidates() const { return static_cast<std::size_t>(std::count(live.begin(), live.end(), 1)); }
};

/// Keep flags after the `count` smallest of all samples went: everything sorted.
std::vector<std::vector<std::uint8_t>> oracle(const std::vector<Sample>& samples, std::size_t count) {
  std::vector<std::tuple<double, std::size_t, std::size_t>> all;
  std::vector<std::vector<std::uint8_t>> keep;
  for (std::size_t s = 0; s < samples.size(); ++s) {
    keep.emplace_back(samples[s].scores.size(), 1);
    for (std::size_t i = 0; i < samples[s].scores.size(); ++i) {
      if (samples[s].live[i] != 0) all.emplace_back(samples[s].scores[i], s, i);
    }
  }
  std::sort(all.begin(), all.end());
  for (std::size_t i = 0; i < count; ++i) keep[std::get<1>(all[i])][std::get<2>(all[i])] = 0;
  return keep;
}

TEST(Rank, DropsExactlyTheSmallestAndOfEqualsTheFirst) {
  for (const std::uint64_t values : {1U, 5U, 1U << 30}) {
    const std::vector<Sample> samples{{7, 33, 1, values}, {1, 1, 2, values}, {40, 17, 3, values}};
    const std::size_t all = samples[0].candidates() + samples[1].candidates() + samples[2].candidates();
    for (const std::size_t count : {std::size_t{0}, std::size_t{1}, all / 3, all - 1, all}) {
      for (const int threads : {1, 3}) {
        const WithThreads with(threads);
        std::vector<Sample> work = samples;
        std::vector<Ranked> ranked;
        for (Sample& s : work) ranked.push_back(s.ranked());
        drop_smallest(ranked, count);
        const auto expected = oracle(samples, count);
        for (std::size_t s = 0; s < work.size(); ++s) EXPECT_EQ(work[s].keep, expected[s]) << values << " " << count;
      }
    }
  }
}

TEST(Rank, RefusesWhatCannotBe) {
  Sample sample(3, 5, 1, 9);
  const Ranked r = sample.ranked();
  EXPECT_THROW(drop_smallest({&r, 1}, sample.candidates() + 1), LogicError);
  for (const double bad : {-1.0, std::numeric_limits<double>::quiet_NaN()}) {
    sample.scores[7] = bad;
    EXPECT_THROW(drop_smallest({&r, 1}, 1), LogicError) << bad;
  }
  sample.scores[7] = 0;
  EXPECT_THROW(drop_smallest_in_rows(r, std::vector<std::uint64_t>{6, 0, 0}), LogicError);
  EXPECT_THROW(drop_smallest_in_rows(r, std::vector<std::uint64_t>{1, 0}), LogicError);
}

TEST(Rank, BothZerosAreEqual) {
  Sample sample(1, 4, 1, 1);
  sample.scores = {0.0, -0.0, 0.0, 1.0};
  sample.live = {1, 1, 1, 1};
  const Ranked r = sample.ranked();
  drop_smallest({&r, 1}, 2);
  EXPECT_EQ(sample.keep, (std::vector<std::uint8_t>{0, 0, 1, 1}));
}

TEST(Rank, DropsInRows) {
  Sample sample(20, 31, 4, 6);
  const Ranked r = sample.ranked();
  const std::vector<std::uint64_t> live = count_live(r);
  std::vector<std::uint64_t> counts;
  for (std::size_t n = 0; n < live.size(); ++n) {
    const auto row = sample.live.begin() + static_cast<std::ptrdiff_t>(31 * n);
    EXPECT_EQ(live[n], static_cast<std::uint64_t>(std::count(row, row + 31, 1)));
    counts.push_back(live[n] * n / 20);
  }
  drop_smallest_in_rows(r, counts);
  for (std::size_t n = 0; n < live.size(); ++n) {
    Sample one(1, 31, 1, 1);
    std::copy_n(sample.scores.begin() + static_cast<std::ptrdiff_t>(31 * n), 31, one.scores.begin());
    std::copy_n(sample.live.begin() + static_cast<std::ptrdiff_t>(31 * n), 31, one.live.begin());
    const std::vector<std::uint8_t> row(sample.keep.begin() + static_cast<std::ptrdiff_t>(31 * n),
                                        sample.keep.begin() + static_cast<std::ptrdiff_t>(31 * (n + 1)));
    EXPECT_EQ(row, oracle({one}, counts[n])[0]) << n;
  }
}

TEST(Rank, KeepsTheBestOfEveryGroup) {
  Sample sample(15, 30, 5, 4);  // the last group of a row has 6 members
  keep_best_in_groups(sample.ranked(), 3, 8);
  for (std::size_t n = 0; n < 15; ++n) {
    for (std::size_t first = 0; first < 30; first += 8) {
      const std::size_t size = std::min<std::size_t>(8, 30 - first);
      // A weight stays where fewer than three of its group are better: alive before dead, larger, later.
      for (std::size_t k = first; k < first + size; ++k) {
        const auto rank = [&](std::size_t c) {
          return std::tuple(sample.live[n * 30 + c], sample.scores[n * 30 + c], c);
        };
        std::size_t better = 0;
        for (std::size_t other = first; other < first + size; ++other) better += rank(other) > rank(k) ? 1U : 0U;
        EXPECT_EQ(sample.keep[n * 30 + k], better < 3 ? 1 : 0) << n << " " << k;
      }
    }
  }
}

TEST(Rank, Apportions) {
  using Counts = std::vector<std::uint64_t>;
  EXPECT_EQ(apportion(10, Counts{10, 20, 30}), (Counts{2, 3, 5}));  // 1.67, 3.33, 5
  EXPECT_EQ(apportion(1, Counts{5, 5, 5}), (Counts{1, 0, 0}));      // equal remainders: the first
  EXPECT_EQ(apportion(0, Counts{3, 0}), (Counts{0, 0}));
  EXPECT_EQ(apportion(3, Counts{3, 0}), (Counts{3, 0}));
  EXPECT_EQ(apportion(0, Counts{}), Counts{});
  EXPECT_THROW(apportion(4, Counts{3, 0}), LogicError);
  const std::uint64_t big = std::uint64_t{1} << 40;
  EXPECT_EQ(apportion(big, Counts{big, big, 2 * big}), (Counts{big / 4, big / 4, big / 2}));
  core::Random random(1);
  for (int round = 0; round < 200; ++round) {
    Counts sizes;
    for (int i = 0; i < 9; ++i) sizes.push_back(random.below(20));
    const std::uint64_t sum = std::accumulate(sizes.begin(), sizes.end(), std::uint64_t{0});
    const std::uint64_t total = random.below(sum + 1);
    const Counts shares = apportion(total, sizes);
    EXPECT_EQ(std::accumulate(shares.begin(), shares.end(), std::uint64_t{0}), total);
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      EXPECT_LE(shares[i], sizes[i]);
      const double exact = static_cast<double>(total * sizes[i]) / static_cast<double>(std::max<std::uint64_t>(sum, 1));
      EXPECT_LT(std::abs(static_cast<double>(shares[i]) - exact), 1.0);
    }
  }
}

}  // namespace
}  // namespace rpt::prune
