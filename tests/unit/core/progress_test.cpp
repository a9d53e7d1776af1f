// SPDX-License-Identifier: MIT
#include "rpt/core/progress.h"

#include <gtest/gtest.h>

#include "rpt/core/error.h"
#include "rpt/core/timer.h"

namespace rpt::core {
namespace {

TEST(RateEstimator, KnowsNothingAtFirst) {
  RateEstimator estimator(10);
  EXPECT_EQ(estimator.rate(), 0);
  EXPECT_EQ(estimator.share(), 0.0);
  EXPECT_EQ(estimator.remaining_seconds(), std::nullopt);
  estimator.update(0, 1.0);
  EXPECT_EQ(estimator.remaining_seconds(), std::nullopt) << "at rate 0 there is no end";
}

TEST(RateEstimator, FindsASteadyRate) {
  RateEstimator estimator(1000);
  for (std::uint64_t i = 1; i <= 50; ++i) estimator.update(10 * i, 0.5 * static_cast<double>(i));
  EXPECT_DOUBLE_EQ(estimator.rate(), 20.0);
  EXPECT_DOUBLE_EQ(*estimator.share(), 0.5);
  EXPECT_DOUBLE_EQ(*estimator.remaining_seconds(), 25.0);
}

TEST(RateEstimator, WeighsByTime) {
  RateEstimator estimator(0);
  estimator.update(100, 1.0);  // 100 a second
  estimator.update(100, 1.0 + RateEstimator::kMemory);
  EXPECT_DOUBLE_EQ(estimator.rate(), 50.0) << "one memory's time of standstill weighs one half";
  EXPECT_EQ(estimator.share(), std::nullopt);
  EXPECT_EQ(estimator.remaining_seconds(), std::nullopt);
}

TEST(RateEstimator, ForgetsAnOldRate) {
  RateEstimator estimator(0);
  estimator.update(1000, 1.0);
  for (int i = 1; i <= 100; ++i) estimator.update(1000 + 5U * static_cast<std::uint64_t>(i), 1.0 + i);
  EXPECT_NEAR(estimator.rate(), 5.0, 0.1);  // 995 · (10/11)^100 = 0.07
}

TEST(RateEstimator, CountsCallsOfOneMomentWithTheNext) {
  RateEstimator estimator(0);
  estimator.update(3, 0.0);
  estimator.update(5, 0.0);
  EXPECT_EQ(estimator.rate(), 0);
  estimator.update(8, 2.0);
  EXPECT_DOUBLE_EQ(estimator.rate(), 4.0);
}

TEST(RateEstimator, ToleratesMoreThanTheTotalAndRefusesLess) {
  RateEstimator estimator(10);
  estimator.update(12, 1.0);
  EXPECT_EQ(estimator.share(), 1.0);
  EXPECT_EQ(estimator.remaining_seconds(), 0.0);
  EXPECT_THROW(estimator.update(11, 2.0), LogicError);
  EXPECT_THROW(estimator.update(13, 0.5), LogicError);
}

TEST(NullProgress, TakesEverything) {
  ProgressSink& sink = null_progress();
  EXPECT_NO_THROW(sink.begin(3, "rows", "counting"));
  EXPECT_NO_THROW(sink.advance(3));
  EXPECT_NO_THROW(sink.finish());
  EXPECT_EQ(&sink, &null_progress());
}

TEST(Timer, CountsForward) {
  Stopwatch watch;
  double total = 0;
  {
    const ScopedTimer timer(&total);
    while (watch.seconds() < 0.002) {
    }
  }
  EXPECT_GT(total, 0.0);
  const double first = total;
  { const ScopedTimer timer(&total); }
  EXPECT_GE(total, first) << "adds, does not replace";
  const double before = watch.seconds();
  EXPECT_GE(before, 0.002);
  watch.restart();
  EXPECT_LT(watch.seconds(), before + 60);
  EXPECT_NO_THROW({ const ScopedTimer off(nullptr); });
}

}  // namespace
}  // namespace rpt::core
