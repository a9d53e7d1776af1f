// SPDX-License-Identifier: MIT
#pragma once
#include <csignal>

namespace rpt::cli {

/// While it lives, interrupting the program only sets asked(), so that a run can end with a checkpoint, or an answer
/// early; a second time ends the program at once. One at a time.
class StopSignals {
 public:
  enum class Of {
    interrupt,  ///< SIGINT, Ctrl-C
    all,        ///< SIGINT and SIGTERM
  };
  explicit StopSignals(Of of = Of::all);
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  /// Whether the program was interrupted since the last StopSignals began.
  static bool asked();

 private:
  struct sigaction interrupt_ {};
  struct sigaction terminate_ {};
};

}  // namespace rpt::cli
