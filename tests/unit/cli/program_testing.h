// SPDX-License-Identifier: MIT
#pragma once
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <vector>

namespace rpt::cli {

/// Folder of the built program, `rpt`.
inline const std::string kProgramFolder = RPT_BINARY_DIR;

/// Starts a program by its path, with its output going to a file and, where given, its input from an open one, and
/// returns its process.
inline pid_t start_program(const std::string& program, const std::vector<std::string>& words,
                           const std::string& output = "/dev/null", int input = -1) {
  const pid_t child = fork();
  if (child != 0) return child;
  const int fd = open(output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0) _exit(126);
  if (input >= 0 && dup2(input, STDIN_FILENO) < 0) _exit(126);
  std::vector<char*> argv{const_cast<char*>(program.c_str())};
  for (const std::string& w : words) argv.push_back(const_cast<char*>(w.c_str()));
  argv.push_back(nullptr);
  execv(program.c_str(), argv.data());
  _exit(127);
}

/// How a process ended.
struct Ended {
  int status = 0;                ///< as waitpid says it; 0 for exit code 0
  std::uint64_t peak_bytes = 0;  ///< largest resident set
};

/// Waits for a process. Its peak is at least what this process has resident when it starts it.
inline Ended wait_for(pid_t child) {
  Ended ended;
  struct rusage usage {};
  if (wait4(child, &ended.status, 0, &usage) != child) ended.status = -1;
  ended.peak_bytes = static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
  return ended;
}

}  // namespace rpt::cli
