// SPDX-License-Identifier: MIT
#include "rpt/train/overfit_monitor.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "rpt/core/error.h"

namespace rpt::train {
namespace {

/// The evaluation (0, 1, …) at which training stops, or −1. Evaluations come every 10 steps.
int stops_at(const std::vector<double>& curve, const OverfitOptions& options) {
  OverfitMonitor monitor(options);
  for (std::size_t i = 0; i < curve.size(); ++i) {
    if (monitor.add(static_cast<std::int64_t>(10 * i), curve[i])) return static_cast<int>(i);
  }
  return -1;
}

TEST(OverfitMonitor, StopsWhereTheRuleSays) {
  const OverfitOptions options{.patience = 2, .tolerance = 0.1};
  EXPECT_EQ(stops_at({4, 3, 2, 1}, options), -1);                // falls for ever
  EXPECT_EQ(stops_at({4, 2, 2.1, 2.1, 2.1, 2.1}, options), -1);  // worse, but within the tolerance
  EXPECT_EQ(stops_at({4, 2, 2.5, 2.5}, options), 3);             // worse for two evaluations
  EXPECT_EQ(stops_at({4, 2, 2.5, 2.1, 2.1, 2.3}, options), 5);   // patience over, tolerance not until the end
  EXPECT_EQ(stops_at({4, 2, 9, 1.9, 9, 1.8, 9}, options), -1);   // every other one is a new best
  EXPECT_EQ(stops_at({2, 3}, {.patience = 1, .tolerance = 0}), 1);
  EXPECT_EQ(stops_at({2, 2, 2, 2}, {.patience = 1, .tolerance = 0}), -1);  // equal is not above
}

TEST(OverfitMonitor, NoNumberIsNeverGood) {
  const double nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
  const OverfitOptions options{.patience = 2, .tolerance = 0.1};
  EXPECT_EQ(stops_at({2, nan, nan}, options), 2);
  EXPECT_EQ(stops_at({2, infinity, infinity}, options), 2);
  EXPECT_EQ(stops_at({nan, nan}, options), 1);
  EXPECT_EQ(stops_at({nan, 2, nan, 1}, options), -1);
  OverfitMonitor monitor(options);
  (void)monitor.add(1, nan);
  EXPECT_FALSE(monitor.is_best());
  EXPECT_EQ(monitor.state().best_step, -1);
}

TEST(OverfitMonitor, RemembersTheBest) {
  OverfitMonitor monitor({});
  EXPECT_FALSE(monitor.is_best());
  const std::vector<double> curve = {5, 4, 4.5, 3, 3, 3.5};
  const std::vector<bool> best = {true, true, false, true, false, false};
  for (std::size_t i = 0; i < curve.size(); ++i) {
    (void)monitor.add(static_cast<std::int64_t>(100 * i), curve[i]);
    EXPECT_EQ(monitor.is_best(), best[i]) << i;
  }
  EXPECT_EQ(monitor.state(), (OverfitMonitor::State{.best_step = 300, .best_nll = 3, .evaluations_since = 2}));
}

TEST(OverfitMonitor, StateRestoresAnywhere) {
  const std::vector<double> curve = {4, 2, 2.5, 2.1, 2.1, 2.3};
  const OverfitOptions options{.patience = 2, .tolerance = 0.1};
  for (std::size_t stop = 0; stop <= curve.size(); ++stop) {
    OverfitMonitor before(options), after(options);
    std::size_t i = 0;
    for (; i < stop; ++i) EXPECT_EQ(before.add(static_cast<std::int64_t>(i), curve[i]), i == 5);
    after.restore(before.state());
    EXPECT_EQ(after.state(), before.state());
    for (; i < curve.size(); ++i) EXPECT_EQ(after.add(static_cast<std::int64_t>(i), curve[i]), i == 5);
  }
}

TEST(OverfitMonitor, RefusesNonsense) {
  EXPECT_THROW(OverfitMonitor({.patience = 0}), ConfigError);
  EXPECT_THROW(OverfitMonitor({.tolerance = -0.1}), ConfigError);
  EXPECT_THROW(OverfitMonitor({.tolerance = std::numeric_limits<double>::quiet_NaN()}), ConfigError);
  OverfitMonitor monitor({});
  (void)monitor.add(5, 1.0);
  EXPECT_THROW(monitor.add(5, 1.0), LogicError);
}

}  // namespace
}  // namespace rpt::train
