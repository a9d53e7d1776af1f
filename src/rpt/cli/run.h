// SPDX-License-Identifier: MIT
#pragma once
#include <iosfwd>

namespace rpt::cli {

/// Runs the command line and returns the exit code: 0 done, 1 a check or comparison failed, 2 wrong usage, 3 bad input,
/// 4 the environment lacks something. Errors become one line on `err`.
int run(int argc, const char* const* argv, std::istream& in, std::ostream& out, std::ostream& err);

}  // namespace rpt::cli
