// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <limits>

namespace rpt::train {

struct OverfitOptions {
  std::int64_t patience = 3;  ///< evaluations that the best one must be old, at least 1
  double tolerance = 0.01;    ///< by how much of the best NLL the newest must lie above it, at least 0
};

/// Says when training should stop because the held-out text gets worse.
class OverfitMonitor {
 public:
  /// All that it remembers; store it to go on later.
  struct State {
    std::int64_t best_step = -1;  ///< −1 before any evaluation that is a number
    double best_nll = std::numeric_limits<double>::infinity();
    std::int64_t evaluations_since = 0;  ///< since the best one
    bool operator==(const State&) const = default;
  };

  /// Throws ConfigError for options outside their bounds.
  explicit OverfitMonitor(const OverfitOptions& options);

  /// Takes the mean NLL of the held-out text after `step` steps. True where the best evaluation is `patience`
  /// evaluations old or older and this one is above best · (1 + tolerance), or no finite number.
  bool add(std::int64_t step, double nll);

  /// True where the newest evaluation is the best one, the first of equals.
  bool is_best() const { return state_.best_step >= 0 && state_.evaluations_since == 0; }

  const State& state() const { return state_; }
  void restore(const State& state) { state_ = state; }

 private:
  OverfitOptions options_;
  State state_;
};

}  // namespace rpt::train
