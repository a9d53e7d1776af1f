// SPDX-License-Identifier: MIT
#include "rpt/core/random.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <vector>

#include "rpt/core/error.h"

namespace rpt::core {
namespace {

TEST(Philox, GivesThePublishedBlocks) {  // Random123's known answers for philox4x32, 10 rounds
  using Block = std::array<std::uint32_t, 4>;
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({~0U, ~0U, ~0U, ~0U}, {~0U, ~0U}), (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, WordsAreTheBlocksInOrder) {
  Random random(0x1122334455667788, 0x99aabbccddeeff00);
  for (std::uint32_t j = 0; j < 5; ++j) {
    const auto block = philox4x32({j, 0, 0xddeeff00, 0x99aabbcc}, {0x55667788, 0x11223344});
    EXPECT_EQ(random.next(), block[0] | std::uint64_t{block[1]} << 32);
    EXPECT_EQ(random.next(), block[2] | std::uint64_t{block[3]} << 32);
  }
}

TEST(Random, GoesOnFromAnyState) {
  Random random(7);
  std::vector<std::uint64_t> words;
  for (int i = 0; i < 20; ++i) words.push_back(random.next());
  for (std::uint64_t at = 0; at < 20; ++at) {
    Random resumed(Random::State{7, 0, at});
    EXPECT_EQ(resumed.next(), words[at]);
    EXPECT_EQ(resumed.state(), (Random::State{7, 0, at + 1}));
    random.seek(at);
    EXPECT_EQ(random.next(), words[at]);
  }
  Random far(7);
  far.seek(~std::uint64_t{0});
  far.next();
  EXPECT_EQ(far.next(), words[0]) << "the position wraps";
}

TEST(Random, SplitsDoNotDependOnPositionAndDiffer) {
  Random parent(1);
  Random child = parent.split(3);
  parent.next();
  EXPECT_EQ(parent.split(3).state(), child.state());
  std::set<std::uint64_t> first_words;
  first_words.insert(Random(1).next());
  first_words.insert(Random(1, 1).next());
  first_words.insert(Random(2).next());
  for (std::uint64_t i = 0; i < 1000; ++i) {
    first_words.insert(parent.split(i).next());
    first_words.insert(child.split(i).next());
  }
  EXPECT_EQ(first_words.size(), 2003U);
}

TEST(Random, UniformStaysBelowOneAndFillsTheInterval) {
  Random random(11);
  double sum = 0;
  double low = 1;
  double high = 0;
  constexpr int kCount = 200'000;
  for (int i = 0; i < kCount; ++i) {
    const double u = random.uniform();
    ASSERT_TRUE(u >= 0 && u < 1);
    ASSERT_EQ(u, std::floor(u * 0x1p53) / 0x1p53);
    sum += u;
    low = std::min(low, u);
    high = std::max(high, u);
  }
  EXPECT_NEAR(sum / kCount, 0.5, 5 * std::sqrt(1.0 / 12 / kCount));  // five standard errors
  EXPECT_LT(low, 1e-4);
  EXPECT_GT(high, 1 - 1e-4);
}

TEST(Random, BelowIsEvenAndCoversItsRange) {
  Random random(12);
  constexpr int kCount = 100'000;
  for (const std::uint64_t n : {1U, 2U, 3U, 10U}) {
    std::vector<int> counts(n);
    for (int i = 0; i < kCount; ++i) ++counts.at(random.below(n));
    const double mean = kCount / static_cast<double>(n);
    for (const int count : counts) EXPECT_NEAR(count, mean, 5 * std::sqrt(mean)) << n;
  }
  EXPECT_THROW(random.below(0), LogicError);
}

TEST(Random, BelowRefusesTheBiasedWords) {
  // With n = 3·2^62 a plain remainder would give the first third twice as often as the rest.
  Random random(13);
  const std::uint64_t n = std::uint64_t{3} << 62;
  int first_third = 0;
  constexpr int kCount = 30'000;
  for (int i = 0; i < kCount; ++i) {
    const std::uint64_t x = random.below(n);
    ASSERT_LT(x, n);
    first_third += x < n / 3 ? 1 : 0;
  }
  EXPECT_NEAR(first_third, kCount / 3.0, 5 * std::sqrt(kCount * 2.0 / 9));
}

TEST(Random, NormalHasItsMoments) {
  Random random(14);
  constexpr int kCount = 200'000;
  double sums[5] = {};
  for (int i = 0; i < kCount; ++i) {
    const double x = random.normal();
    ASSERT_TRUE(std::isfinite(x));
    double power = 1;
    for (double& sum : sums) {
      sum += power;
      power *= x;
    }
  }
  EXPECT_EQ(random.state().position, 2U * kCount);
  // Five standard errors: Var x = 1, Var x² = 2, Var x³ = 15, Var x⁴ = 96.
  const double root = std::sqrt(kCount);
  EXPECT_NEAR(sums[1] / kCount, 0, 5 / root);
  EXPECT_NEAR(sums[2] / kCount, 1, 5 * std::sqrt(2.0) / root);
  EXPECT_NEAR(sums[3] / kCount, 0, 5 * std::sqrt(15.0) / root);
  EXPECT_NEAR(sums[4] / kCount, 3, 5 * std::sqrt(96.0) / root);
}

}  // namespace
}  // namespace rpt::core
