// SPDX-License-Identifier: MIT
#include "rpt/cli/stop_signals.h"

namespace rpt::cli {
namespace {

volatile std::sig_atomic_t stop_asked = 0;

void ask_to_stop(int) {
  stop_asked = 1;
}

}  // namespace

StopSignals::StopSignals(Of of) {
  stop_asked = 0;
  struct sigaction action {};
  action.sa_handler = ask_to_stop;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigaction(SIGINT, &action, &interrupt_);
  sigaction(SIGTERM, of == Of::all ? &action : nullptr, &terminate_);
}

StopSignals::~StopSignals() {
  sigaction(SIGINT, &interrupt_, nullptr);
  sigaction(SIGTERM, &terminate_, nullptr);
}

bool StopSignals::asked() {
  return stop_asked != 0;
}

}  // namespace rpt::cli
