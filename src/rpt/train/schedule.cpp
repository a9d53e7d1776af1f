// SPDX-License-Identifier: MIT
#include "rpt/train/schedule.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "rpt/core/error.h"
#include "rpt/core/exact_math.h"

namespace rpt::train {
namespace {

constexpr std::array<std::pair<ScheduleKind, std::string_view>, 4> kNames{{{ScheduleKind::constant, "constant"},
                                                                           {ScheduleKind::linear, "linear"},
                                                                           {ScheduleKind::cosine, "cosine"},
                                                                           {ScheduleKind::two_stage, "two_stage"}}};

constexpr double kPi = 3.14159265358979323846;

}  // namespace

std::string_view name(ScheduleKind kind) {
  for (const auto& [value, text] : kNames) {
    if (value == kind) return text;
  }
  return {};
}

ScheduleKind parse_schedule(std::string_view schedule_name) {
  for (const auto& [value, text] : kNames) {
    if (text == schedule_name) return value;
  }
  throw ConfigError(
      fmt::format("unknown schedule \"{}\"; there are constant, linear, cosine, two_stage", schedule_name));
}

double Schedule::rate(std::int64_t step, std::int64_t steps) const {
  if (step < warmup) return static_cast<double>(step + 1) / static_cast<double>(warmup);
  const double length = static_cast<double>(std::max<std::int64_t>(steps - warmup, 1));
  const double done = std::min(1.0, static_cast<double>(step - warmup) / length);
  switch (kind) {
    case ScheduleKind::constant:
      return 1;
    case ScheduleKind::linear:
      return floor + (1 - floor) * (1 - done);
    case ScheduleKind::cosine:
      return floor + (1 - floor) * 0.5 * (1 + core::exact_cos(kPi * done));
    case ScheduleKind::two_stage:
      return (2 * step < steps ? 1.0 : second_peak) * (1 - done);
  }
  return 1;
}

std::string_view name(WarmUpShape shape) {
  return shape == WarmUpShape::linear ? "linear" : "cosine";
}

WarmUpShape parse_warm_up_shape(std::string_view shape_name) {
  for (const WarmUpShape shape : {WarmUpShape::linear, WarmUpShape::cosine}) {
    if (name(shape) == shape_name) return shape;
  }
  throw ConfigError(
      fmt::format("unknown shape of a quantisation warm-up \"{}\"; there are linear, cosine", shape_name));
}

double QuantisationSchedule::share(std::int64_t step) const {
  if (!trains_quantised) return 0;
  if (!rises(step)) return 1;
  const double done = static_cast<double>(step) / static_cast<double>(warmup);
  return shape == WarmUpShape::linear ? done : 0.5 * (1 - core::exact_cos(kPi * done));
}

double Schedule::decay(std::int64_t step, std::int64_t steps) const {
  return kind == ScheduleKind::two_stage && 2 * step >= steps ? 0 : 1;
}

}  // namespace rpt::train
