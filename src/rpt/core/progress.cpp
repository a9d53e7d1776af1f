// SPDX-License-Identifier: MIT
#include "rpt/core/progress.h"

#include <algorithm>

#include "rpt/core/error.h"

namespace rpt::core {
namespace {

class NullProgress final : public ProgressSink {
 public:
  void begin(std::uint64_t, std::string_view, std::string_view) override {}
  void advance(std::uint64_t) override {}
  void finish() override {}
};

}  // namespace

ProgressSink& null_progress() {
  static NullProgress sink;
  return sink;
}

void RateEstimator::update(std::uint64_t done, double seconds) {
  RPT_CHECK(done >= done_ && seconds >= measured_seconds_, "{} at {} s after {} at {} s", done, seconds, done_,
            measured_seconds_);
  done_ = done;
  const double elapsed = seconds - measured_seconds_;
  if (elapsed <= 0) return;
  const double newest = static_cast<double>(done_ - measured_done_) / elapsed;
  const double weight = measured_ ? elapsed / (elapsed + kMemory) : 1.0;
  rate_ += weight * (newest - rate_);
  measured_ = true;
  measured_done_ = done_;
  measured_seconds_ = seconds;
}

std::optional<double> RateEstimator::share() const {
  if (total_ == 0) return std::nullopt;
  return std::min(1.0, static_cast<double>(done_) / static_cast<double>(total_));
}

std::optional<double> RateEstimator::remaining_seconds() const {
  if (total_ == 0 || rate_ <= 0) return std::nullopt;
  return static_cast<double>(total_ - std::min(done_, total_)) / rate_;
}

}  // namespace rpt::core
