// SPDX-License-Identifier: MIT
#include "rpt/generate/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "rpt/core/error.h"

namespace rpt::generate {
namespace {

const std::vector<float> kLogits{1.0F, 3.0F, 2.0F, 3.0F, -1.0F};

std::map<std::int32_t, double> frequencies(const SamplingOptions& options, int draws = 40000) {
  Sampler sampler(options);
  std::map<std::int32_t, double> count;
  for (int i = 0; i < draws; ++i) count[sampler.sample(kLogits, {})] += 1.0 / draws;
  return count;
}

TEST(Sampler, ZeroTemperatureTakesTheLowestIdOfTheLargest) {
  Sampler sampler({});
  EXPECT_EQ(sampler.sample(kLogits, {}), 1);
  EXPECT_THROW(sampler.sample({}, {}), ShapeError);
}

TEST(Sampler, DrawsBySoftmaxOfTemperature) {
  const auto seen = frequencies({.temperature = 2.0, .seed = 5});
  double total = 0;
  for (const float x : kLogits) total += std::exp(static_cast<double>(x) / 2);
  for (std::size_t i = 0; i < kLogits.size(); ++i) {
    const double p = std::exp(static_cast<double>(kLogits[i]) / 2) / total;
    // Five standard deviations of a binomial share.
    EXPECT_NEAR(seen.at(static_cast<std::int32_t>(i)), p, 5 * std::sqrt(p * (1 - p) / 40000)) << i;
  }
}

TEST(Sampler, TopKKeepsTheLikeliestAndLowIdsFirst) {
  const auto one = frequencies({.temperature = 1.0, .top_k = 1}, 100);
  EXPECT_EQ(one.size(), 1U);
  EXPECT_TRUE(one.contains(1));
  const auto three = frequencies({.temperature = 1.0, .top_k = 3});
  EXPECT_EQ(three.size(), 3U);
  EXPECT_TRUE(three.contains(1) && three.contains(2) && three.contains(3));
}

TEST(Sampler, TopPKeepsTheSmallestSetThatReachesIt) {
  // softmax: two of 0.40, 0.15, 0.05, 0.01
  EXPECT_EQ(frequencies({.temperature = 1.0, .top_p = 0.3}, 200).size(), 1U);
  EXPECT_EQ(frequencies({.temperature = 1.0, .top_p = 0.7}).size(), 2U);
  EXPECT_EQ(frequencies({.temperature = 1.0, .top_p = 0.9}).size(), 3U);
}

TEST(Sampler, RepeatPenaltyLowersWhatWasSeenInTheWindow) {
  const std::vector<std::int32_t> history{1, 3};
  EXPECT_EQ(Sampler({.repeat_penalty = 2.0}).sample(kLogits, history), 2);
  EXPECT_EQ(Sampler({.repeat_penalty = 2.0, .repeat_window = 1}).sample(kLogits, history), 1);
  // A negative logit is pushed further down.
  EXPECT_EQ(Sampler({.repeat_penalty = 3.0}).sample(std::vector<float>{-1.0F, -2.0F}, std::vector<std::int32_t>{0}), 1);
}

TEST(Sampler, SameSeedSameTokens) {
  Sampler a({.temperature = 1.0, .seed = 9}), b({.temperature = 1.0, .seed = 9}), c({.temperature = 1.0, .seed = 10});
  std::vector<std::int32_t> x, y, z;
  for (int i = 0; i < 50; ++i) {
    x.push_back(a.sample(kLogits, {}));
    y.push_back(b.sample(kLogits, {}));
    z.push_back(c.sample(kLogits, {}));
  }
  EXPECT_EQ(x, y);
  EXPECT_NE(x, z);
}

TEST(Sampler, RefusesSenselessOptions) {
  EXPECT_THROW(validate({.temperature = -1}), ConfigError);
  EXPECT_THROW(validate({.temperature = std::nan("")}), ConfigError);
  EXPECT_THROW(validate({.top_k = -1}), ConfigError);
  EXPECT_THROW(validate({.top_p = 0}), ConfigError);
  EXPECT_THROW(validate({.top_p = 1.5}), ConfigError);
  EXPECT_THROW(validate({.repeat_penalty = 0}), ConfigError);
  EXPECT_THROW(validate({.repeat_window = -1}), ConfigError);
  EXPECT_NO_THROW(validate({}));
}

}  // namespace
}  // namespace rpt::generate
