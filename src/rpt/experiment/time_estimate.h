// SPDX-License-Identifier: MIT
#pragma once
#include <array>
#include <cstdint>
#include <utility>

namespace rpt::experiment {

/// What the stages of an experiment spend their time on.
enum class Work : std::uint8_t { tuning, scoring, masking, retention };

/// All of them, with their names.
inline constexpr std::array<std::pair<Work, const char*>, 4> kWorks{
    {{Work::tuning, "tuning"}, {Work::scoring, "scoring"}, {Work::masking, "masking"}, {Work::retention, "retention"}}};

/// How much of each a stage does, in any unit that is proportional to its time.
struct WorkAmounts {
  std::array<double, kWorks.size()> of{};
  double& operator[](Work work) { return of[static_cast<std::size_t>(work)]; }
  double operator[](Work work) const { return of[static_cast<std::size_t>(work)]; }
  WorkAmounts& operator+=(const WorkAmounts& more) {
    for (std::size_t i = 0; i < of.size(); ++i) of[i] += more.of[i];
    return *this;
  }
};

/// Seconds that work will take, from what finished work took; of kinds that were not measured yet, from the guess.
class TimeEstimate {
 public:
  /// Guessed seconds of a unit of each kind.
  explicit TimeEstimate(const WorkAmounts& guess) : guess_(guess) {}

  /// Amounts > 0 of one kind took so many seconds.
  void measured(Work work, double amount, double seconds);

  const WorkAmounts& guess() const { return guess_; }

  /// Seconds of so much work.
  double seconds(const WorkAmounts& amounts) const;

 private:
  WorkAmounts guess_;
  WorkAmounts amount_;
  WorkAmounts seconds_;
};

}  // namespace rpt::experiment
