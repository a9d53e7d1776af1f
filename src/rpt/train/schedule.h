// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <string_view>

namespace rpt::train {

enum class ScheduleKind : std::uint8_t {
  constant,
  linear,     ///< from the peak to `floor` of it at the end
  cosine,     ///< the same by half a cosine
  two_stage,  ///< BitNet's: linear from the peak, from the middle on from `second_peak`, and no decay there
};

/// "constant", "linear", "cosine", "two_stage".
std::string_view name(ScheduleKind kind);
/// The kind of a name. Throws ConfigError.
ScheduleKind parse_schedule(std::string_view schedule_name);

/// How learning rate and weight decay go over a run, as factors of what the options say.
/// Source of two_stage: Ma et al., "The Era of 1-bit LLMs: Training Tips, Code and FAQ", 2024.
struct Schedule {
  ScheduleKind kind = ScheduleKind::cosine;
  std::int64_t warmup = 0;         ///< steps of linear warm-up: step i of them (from 0) has (i + 1) / warmup
  double floor = 0;                ///< linear and cosine: the last value, as a share of the peak
  double second_peak = 2.0 / 3.0;  ///< two_stage: the peak of the second stage, as a share of the first

  /// Factor of the learning rate at `step`, 0 … steps − 1, of a run of `steps`. The course after the warm-up begins at
  /// its end.
  double rate(std::int64_t step, std::int64_t steps) const;
  /// Factor of the weight decay there.
  double decay(std::int64_t step, std::int64_t steps) const;
};

/// How the share of the ternary product rises.
enum class WarmUpShape : std::uint8_t { linear, cosine };

/// "linear", "cosine".
std::string_view name(WarmUpShape shape);
/// The shape of a name. Throws ConfigError.
WarmUpShape parse_warm_up_shape(std::string_view shape_name);

/// How far the forward of training steps is quantised: λ of docs/forward.md, "Activations and product".
struct QuantisationSchedule {
  bool trains_quantised = true;  ///< false: λ = 0 throughout, dense training of the latents
  std::int64_t warmup = 0;       ///< steps in which λ rises from 0 to 1
  WarmUpShape shape = WarmUpShape::cosine;

  /// λ at `step`, 0 …: p = step / warmup, or (1 − cos πp) / 2; 1 from `warmup` on.
  double share(std::int64_t step) const;
  /// True while λ has yet to rise.
  bool rises(std::int64_t step) const { return trains_quantised && step < warmup; }
};

}  // namespace rpt::train
