// SPDX-License-Identifier: MIT
#pragma once
#include <memory>

#include "rpt/core/progress.h"

namespace rpt::cli {

/// A progress bar with rate and remaining time on standard error; silent where that is no terminal, and for the first
/// two seconds of any work.
std::unique_ptr<core::ProgressSink> make_terminal_progress();

}  // namespace rpt::cli
