// SPDX-License-Identifier: MIT
#include "rpt/train/schedule.h"

#include <gtest/gtest.h>

#include <cmath>

#include "rpt/core/error.h"

namespace rpt::train {
namespace {

Schedule schedule(ScheduleKind kind, std::int64_t warmup = 0, double floor = 0) {
  return {.kind = kind, .warmup = warmup, .floor = floor, .second_peak = 0.5};
}

TEST(Schedule, WarmsUpToThePeak) {
  for (const ScheduleKind kind :
       {ScheduleKind::constant, ScheduleKind::linear, ScheduleKind::cosine, ScheduleKind::two_stage}) {
    const Schedule s = schedule(kind, 4);
    EXPECT_EQ(s.rate(0, 12), 0.25);
    EXPECT_EQ(s.rate(3, 12), 1) << "the last step of it";
    EXPECT_EQ(s.rate(4, 12), 1) << "the first behind it";
  }
}

TEST(Schedule, GoesItsCourseOverTheSteps) {
  EXPECT_EQ(schedule(ScheduleKind::constant).rate(99, 100), 1);
  const Schedule linear = schedule(ScheduleKind::linear, 2, 0.2);
  EXPECT_DOUBLE_EQ(linear.rate(6, 10), 0.6);
  EXPECT_DOUBLE_EQ(linear.rate(9, 10), 0.3);
  EXPECT_DOUBLE_EQ(linear.rate(6, 18), 0.8) << "of a longer run";
  const Schedule cosine = schedule(ScheduleKind::cosine, 0, 0.1);
  EXPECT_DOUBLE_EQ(cosine.rate(5, 10), 0.55);
  EXPECT_NEAR(cosine.rate(2, 8), 0.1 + 0.9 * 0.5 * (1 + std::sqrt(0.5)), 1e-12);
}

// BitNet's: the second half begins at a lower peak and decays nothing.
TEST(Schedule, HasTwoStages) {
  const Schedule s = schedule(ScheduleKind::two_stage);
  EXPECT_DOUBLE_EQ(s.rate(4, 10), 0.6);
  EXPECT_DOUBLE_EQ(s.rate(5, 10), 0.25);
  EXPECT_DOUBLE_EQ(s.rate(9, 10), 0.05);
  EXPECT_EQ(s.decay(4, 10), 1);
  EXPECT_EQ(s.decay(5, 10), 0);
  EXPECT_EQ(s.decay(5, 12), 1) << "of a longer run";
  for (const ScheduleKind kind : {ScheduleKind::constant, ScheduleKind::linear, ScheduleKind::cosine}) {
    EXPECT_EQ(schedule(kind).decay(9, 10), 1);
  }
}

TEST(Schedule, HasNames) {
  for (const ScheduleKind kind :
       {ScheduleKind::constant, ScheduleKind::linear, ScheduleKind::cosine, ScheduleKind::two_stage}) {
    EXPECT_EQ(parse_schedule(name(kind)), kind);
  }
  EXPECT_THROW(parse_schedule("sine"), ConfigError);
}

}  // namespace
}  // namespace rpt::train
