// SPDX-License-Identifier: MIT
#include "rpt/experiment/time_estimate.h"

#include <gtest/gtest.h>

namespace rpt::experiment {
namespace {

TEST(TimeEstimate, IsTheGuessUntilSomethingWasMeasured) {
  const TimeEstimate estimate(WorkAmounts{{2, 3, 5}});
  EXPECT_DOUBLE_EQ(estimate.seconds(WorkAmounts{{10, 1, 2}}), 20 + 3 + 10);
}

TEST(TimeEstimate, KeepsTheGuessOfWhatWasNotMeasured) {
  TimeEstimate estimate(WorkAmounts{{2, 3, 5}});
  estimate.measured(Work::tuning, 10, 60);  // three times as long as guessed
  EXPECT_DOUBLE_EQ(estimate.seconds(WorkAmounts{{1, 0, 0}}), 6);
  EXPECT_DOUBLE_EQ(estimate.seconds(WorkAmounts{{0, 1, 0}}), 3);
  EXPECT_DOUBLE_EQ(estimate.seconds(WorkAmounts{{0, 0, 1}}), 5);
  estimate.measured(Work::scoring, 2, 2);
  EXPECT_DOUBLE_EQ(estimate.seconds(WorkAmounts{{0, 1, 0}}), 1);
  EXPECT_DOUBLE_EQ(estimate.seconds(WorkAmounts{{0, 0, 1}}), 5);
}

TEST(TimeEstimate, MeansOverAllThatWasMeasured) {
  TimeEstimate estimate(WorkAmounts{{1, 1, 1}});
  estimate.measured(Work::scoring, 1, 4);
  estimate.measured(Work::scoring, 3, 4);
  EXPECT_DOUBLE_EQ(estimate.seconds(WorkAmounts{{0, 5, 0}}), 10);
}

}  // namespace
}  // namespace rpt::experiment
