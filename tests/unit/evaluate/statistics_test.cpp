// SPDX-License-Identifier: MIT
#include "rpt/evaluate/statistics.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <vector>

#include "rpt/core/error.h"
#include "rpt/core/random.h"

namespace rpt::evaluate {
namespace {

constexpr std::array<double, 12> kNll = {310.5,   1220.25, 95.0,   4033.125, 700.0,  812.5,
                                         2650.75, 150.5,   433.25, 5100.0,   88.125, 1900.5};
constexpr std::array<double, 12> kTokens = {100, 410, 20, 1500, 210, 230, 900, 60, 140, 1450, 17, 640};
constexpr std::array<double, 12> kDifference = {1.5,  -4.25, 0.5,  30.0, 2.0,    -1.0,
                                                9.75, 0.125, -3.5, 41.0, 0.0625, 12.0};

TEST(NormalDistribution, AgreesWithKnownValues) {  // scipy.stats.norm, see bca_golden.py
  EXPECT_NEAR(normal_cdf(-8.0), 6.2209605742717405e-16, 1e-15);
  EXPECT_NEAR(normal_cdf(-3.0), 0.0013498980316300933, 1e-15);
  EXPECT_NEAR(normal_cdf(-1.0), 0.15865525393145707, 1e-15);
  EXPECT_NEAR(normal_cdf(0.25), 0.5987063256829237, 1e-15);
  EXPECT_NEAR(normal_cdf(2.0), 0.97724986805182079, 1e-15);
  EXPECT_NEAR(normal_cdf(6.0), 0.9999999990134123, 1e-15);
  EXPECT_EQ(normal_cdf(0.0), 0.5);
  EXPECT_EQ(normal_cdf(-40.0), 0.0);
  EXPECT_EQ(normal_cdf(40.0), 1.0);

  EXPECT_NEAR(normal_quantile(0.025), -1.9599639845400545, 2e-14);
  EXPECT_NEAR(normal_quantile(0.1), -1.2815515655446004, 1e-14);
  EXPECT_NEAR(normal_quantile(0.5), 0.0, 1e-14);
  EXPECT_NEAR(normal_quantile(0.9999), 3.7190164854557088, 1e-11);
  EXPECT_NEAR(normal_quantile(1e-6), -4.7534243088228987, 1e-9);
  EXPECT_NEAR(normal_quantile(1e-9), -5.9978070150076865, 2e-7);
  EXPECT_THROW(normal_quantile(0.0), LogicError);
}

TEST(BcaRatioInterval, AgreesWithScipyOnTheSameResamples) {  // bca_golden.py
  const auto expect = [](const std::optional<Interval>& got, double low, double high) {
    ASSERT_TRUE(got);
    EXPECT_NEAR(got->low, low, 1e-11);
    EXPECT_NEAR(got->high, high, 1e-11);
  };
  expect(bca_ratio_interval(kNll, kTokens), 2.8348586277953087, 3.3958969914662638);
  expect(bca_ratio_interval(kNll, kTokens, {.seed = 7}), 2.8259901767495892, 3.395043340037704);
  expect(bca_ratio_interval(kDifference, kTokens), 0.0059118215408375564, 0.023437111197413703);
}

TEST(BcaRatioInterval, NeedsEightUnits) {
  EXPECT_FALSE(bca_ratio_interval(std::span(kNll).first(7), std::span(kTokens).first(7)));
  EXPECT_TRUE(bca_ratio_interval(std::span(kNll).first(8), std::span(kTokens).first(8)));
  EXPECT_FALSE(bca_ratio_interval({}, {}));
}

TEST(BcaRatioInterval, OfIdenticalDocumentsIsAPoint) {
  const std::vector<double> nll(9, 6.0);
  const std::vector<double> tokens(9, 4.0);
  EXPECT_EQ(bca_ratio_interval(nll, tokens), (Interval{1.5, 1.5}));
  const std::vector<double> none(9, 0.0);  // two models that agree on every token
  EXPECT_EQ(bca_ratio_interval(none, tokens), (Interval{0.0, 0.0}));
}

// One unit outweighs all others: the jackknife is so skewed that the level of one end lies beyond the pole.
TEST(BcaRatioInterval, StaysWithinTheResamplesWhenOneUnitRules) {
  std::vector<double> nll(8, 1.0);
  const std::vector<double> tokens(8, 1.0);
  nll[3] = 1e9;
  const auto interval = bca_ratio_interval(nll, tokens);
  ASSERT_TRUE(interval);
  EXPECT_GE(interval->low, 1.0);
  EXPECT_LE(interval->low, interval->high);
  EXPECT_LE(interval->high, 1e9);
}

TEST(BcaRatioInterval, NarrowsWithConfidence) {
  const auto wide = bca_ratio_interval(kNll, kTokens, {.confidence = 0.99});
  const auto narrow = bca_ratio_interval(kNll, kTokens, {.confidence = 0.5});
  ASSERT_TRUE(wide && narrow);
  EXPECT_LT(wide->low, narrow->low);
  EXPECT_GT(wide->high, narrow->high);
}

TEST(BcaRatioInterval, RefusesWhatMakesNoSense) {
  const std::vector<double> tokens(9, 0.0);
  EXPECT_THROW(bca_ratio_interval(tokens, tokens), LogicError);
  EXPECT_THROW(bca_ratio_interval(kNll, std::span(kTokens).first(11)), LogicError);
  EXPECT_THROW(bca_ratio_interval(kNll, kTokens, {.resamples = 0}), LogicError);
}

// 40 documents of different lengths, means spread normally, 300 times over. Of 300 intervals that cover with
// probability 0.95, 271 to 297 do (mean ± 3.7 standard deviations); BCa with 40 units loses about 1.5 points, hence the
// lower bound.
TEST(BcaRatioInterval, CoversTheTruth) {
  constexpr int kRepetitions = 300;
  constexpr double kMean = 3.0;
  core::Random random(2024);
  int covered = 0;
  for (int repetition = 0; repetition < kRepetitions; ++repetition) {
    std::vector<double> nll;
    std::vector<double> tokens;
    for (int i = 0; i < 40; ++i) {
      tokens.push_back(static_cast<double>(50 + random.below(400)));
      nll.push_back(tokens.back() * (kMean + 0.4 * random.normal()));
    }
    const BootstrapOptions options{.seed = static_cast<std::uint64_t>(repetition), .resamples = 1000};
    const auto interval = bca_ratio_interval(nll, tokens, options);
    ASSERT_TRUE(interval);
    if (interval->low <= kMean && kMean <= interval->high) ++covered;
  }
  EXPECT_GE(covered, 265);
  EXPECT_LE(covered, 297);
}

}  // namespace
}  // namespace rpt::evaluate
