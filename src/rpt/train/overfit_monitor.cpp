// SPDX-License-Identifier: MIT
#include "rpt/train/overfit_monitor.h"

#include <fmt/format.h>

#include <cmath>

#include "rpt/core/error.h"

namespace rpt::train {

OverfitMonitor::OverfitMonitor(const OverfitOptions& options) : options_(options) {
  if (options.patience < 1) throw ConfigError(fmt::format("a patience of {} evaluations", options.patience));
  if (!(options.tolerance >= 0 && std::isfinite(options.tolerance))) {
    throw ConfigError(fmt::format("a tolerance of {}", options.tolerance));
  }
}

bool OverfitMonitor::add(std::int64_t step, double nll) {
  RPT_CHECK(step >= 0 && step > state_.best_step, "step {} after step {}", step, state_.best_step);
  if (std::isfinite(nll) && nll < state_.best_nll) {
    state_ = {.best_step = step, .best_nll = nll, .evaluations_since = 0};
    return false;
  }
  ++state_.evaluations_since;
  const bool is_worse = !std::isfinite(nll) || nll > state_.best_nll * (1 + options_.tolerance);
  return state_.evaluations_since >= options_.patience && is_worse;
}

}  // namespace rpt::train
