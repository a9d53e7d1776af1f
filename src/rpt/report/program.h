// SPDX-License-Identifier: MIT
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace rpt::report {

struct ProgramOutput {
  bool found = false;  ///< whether there is such a program; the rest only then
  int exit_code = 0;   ///< 128 + the signal where one ended it
  std::string standard_output;
  std::string standard_error;
};

/// Runs a program (a path, or a name looked for in PATH) to its end with `input` as standard input. No shell takes
/// part. Input and outputs pass through unnamed temporary files, so that neither side waits for the other. Throws:
/// IoError where the system refuses files or processes.
ProgramOutput run_program(const std::vector<std::string>& command, std::string_view input);

}  // namespace rpt::report
