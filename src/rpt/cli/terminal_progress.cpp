// SPDX-License-Identifier: MIT
#include "rpt/cli/terminal_progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <iostream>
#include <string>

#include "rpt/core/timer.h"

namespace rpt::cli {
namespace {

constexpr double kSilentSeconds = 2.0;
constexpr double kRedrawSeconds = 0.2;
constexpr int kBarWidth = 24;

std::string clock_time(double seconds) {
  const auto s = static_cast<long>(seconds + 0.5);
  return s >= 3600 ? fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
                   : fmt::format("{}:{:02}", s / 60, s % 60);
}

class TerminalProgress final : public core::ProgressSink {
 public:
  void begin(std::uint64_t total, std::string_view unit, std::string_view what) override {
    unit_ = unit;
    what_ = what;
    note_.clear();
    total_ = total;
    done_ = 0;
    estimator_ = core::RateEstimator(total);
    watch_.restart();
    drawn_at_ = 0;
    drawn_ = false;
  }

  void advance(std::uint64_t n) override {
    done_ += n;
    const double now = watch_.seconds();
    estimator_.update(done_, now);
    if (now < kSilentSeconds || now - drawn_at_ < kRedrawSeconds) return;
    drawn_at_ = now;
    draw();
  }

  void note(std::string_view text) override { note_ = text; }

  void finish() override {
    if (drawn_) std::cerr << "\r\x1b[K" << std::flush;
    drawn_ = false;
  }

  ~TerminalProgress() override { TerminalProgress::finish(); }

 private:
  void draw() {
    std::string line = what_ + " ";
    if (const auto share = estimator_.share()) {
      const int filled = static_cast<int>(*share * kBarWidth);
      line += fmt::format("[{:#<{}}{:.<{}}] {:3.0f} % ", "", filled, "", kBarWidth - filled, *share * 100);
    }
    line += fmt::format("{} {}, {:.1f} {}/s", done_, unit_, estimator_.rate(), unit_);
    if (const auto left = estimator_.remaining_seconds()) line += fmt::format(", {} left", clock_time(*left));
    if (!note_.empty()) line += ", " + note_;
    std::cerr << '\r' << line << "\x1b[K" << std::flush;
    drawn_ = true;
  }

  std::string unit_;
  std::string what_;
  std::string note_;
  std::uint64_t total_ = 0;
  std::uint64_t done_ = 0;
  core::RateEstimator estimator_{0};
  core::Stopwatch watch_;
  double drawn_at_ = 0;
  bool drawn_ = false;
};

}  // namespace

std::unique_ptr<core::ProgressSink> make_terminal_progress() {
  class Silent final : public core::ProgressSink {
    void begin(std::uint64_t, std::string_view, std::string_view) override {}
    void advance(std::uint64_t) override {}
    void finish() override {}
  };
  if (isatty(STDERR_FILENO) == 0) return std::make_unique<Silent>();
  return std::make_unique<TerminalProgress>();
}

}  // namespace rpt::cli
