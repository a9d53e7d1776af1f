// SPDX-License-Identifier: MIT
#include "rpt/experiment/temperature.h"

#include <gtest/gtest.h>

#include <cmath>

namespace rpt::experiment {
namespace {

TEST(BestTemperature, IsWhereTheLossIsSmallest) {
  for (const double best : {0.55, 0.8, 1.0, 1.3, 1.9}) {
    int calls = 0;
    const double found = best_temperature([&](double t) {
      ++calls;
      EXPECT_GE(t, 0.5);
      EXPECT_LE(t, 2);
      return std::pow(std::log(t / best), 2);
    });
    EXPECT_NEAR(found / best, 1, 0.006);
    EXPECT_LE(calls, 13);
  }
}

TEST(BestTemperature, StaysWithinItsBounds) {
  EXPECT_NEAR(best_temperature([](double t) { return t; }), 0.5, 0.006);
  EXPECT_NEAR(best_temperature([](double t) { return -t; }), 2, 0.02);
}

}  // namespace
}  // namespace rpt::experiment
