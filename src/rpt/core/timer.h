// SPDX-License-Identifier: MIT
#pragma once
#include <chrono>

namespace rpt::core {

/// Seconds of the steady clock since it was made or restarted.
class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }
  void restart() { start_ = Clock::now(); }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_ = Clock::now();
};

/// Adds the seconds of its own life to a total. With a null total it does not even look at the clock.
class ScopedTimer {
 public:
  explicit ScopedTimer(double* total) : total_(total) {
    if (total_ != nullptr) start_ = Clock::now();
  }
  ~ScopedTimer() {
    if (total_ != nullptr) *total_ += std::chrono::duration<double>(Clock::now() - start_).count();
  }
  ScopedTimer(const ScopedTimer&) = delete;
  ScopedTimer& operator=(const ScopedTimer&) = delete;

 private:
  using Clock = std::chrono::steady_clock;
  double* total_;
  Clock::time_point start_{};
};

}  // namespace rpt::core
