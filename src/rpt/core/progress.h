// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

namespace rpt::core {

/// Where long work reports how far it is. The library never prints: who wants a bar on a terminal hands in a sink.
/// Calls come from one thread at a time, begin … advance … finish; an exception may leave out finish.
class ProgressSink {
 public:
  virtual ~ProgressSink() = default;
  /// Work of `total` units (0 where unknown) begins: what = "reading weights", unit = "tensors".
  virtual void begin(std::uint64_t total, std::string_view unit, std::string_view what) = 0;
  /// `n` more units are done.
  virtual void advance(std::uint64_t n) = 0;
  /// Something about the work as it stands, shown behind the figures: "loss 3.21".
  virtual void note(std::string_view) {}
  /// The work is done.
  virtual void finish() = 0;
};

/// The sink that ignores everything; the default of every function that takes one.
ProgressSink& null_progress();

/// Rate and remaining time of steady work. Knows no clock: the caller says what time it is.
/// Formula: rate' = rate + w · (Δdone / Δt − rate), w = Δt / (Δt + kMemory), so that about the last kMemory seconds
/// count; the first measurement is taken as it is.
class RateEstimator {
 public:
  static constexpr double kMemory = 10.0;  ///< seconds

  /// `total` units in all, 0 where unknown.
  explicit RateEstimator(std::uint64_t total) : total_(total) {}

  /// `done` units are done at `seconds` after the start; neither may decrease from call to call (LogicError). Calls at
  /// one and the same moment count with the next moment.
  void update(std::uint64_t done, double seconds);

  /// Units per second; 0 before anything was measured.
  double rate() const { return rate_; }
  /// Share done, 0 … 1; nothing where the total is unknown.
  std::optional<double> share() const;
  /// Seconds still to go; nothing where total or rate are unknown.
  std::optional<double> remaining_seconds() const;

 private:
  std::uint64_t total_;
  std::uint64_t done_ = 0;           ///< newest
  std::uint64_t measured_done_ = 0;  ///< at the moment that rate_ takes account of
  double measured_seconds_ = 0;
  double rate_ = 0;
  bool measured_ = false;
};

}  // namespace rpt::core
