// SPDX-License-Identifier: MIT
#include "rpt/report/program.h"

#include <spawn.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "rpt/core/error.h"

extern char** environ;

namespace rpt::report {
namespace {

struct Close {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, Close>;

[[noreturn]] void fail(const std::string& program, const char* what, int error) {
  throw IoError(fmt::format("{}: {}: {}", program, what, std::strerror(error)));
}

File temporary(const std::string& program) {
  File file(std::tmpfile());
  if (!file) fail(program, "temporary file", errno);
  return file;
}

std::string read_all(std::FILE* file) {
  std::string text;
  char buffer[65536];
  std::rewind(file);
  while (const std::size_t n = std::fread(buffer, 1, sizeof buffer, file)) text.append(buffer, n);
  return text;
}

struct Actions {
  posix_spawn_file_actions_t list;
  Actions() { posix_spawn_file_actions_init(&list); }
  ~Actions() { posix_spawn_file_actions_destroy(&list); }
  Actions(const Actions&) = delete;
  Actions& operator=(const Actions&) = delete;
};

}  // namespace

ProgramOutput run_program(const std::vector<std::string>& command, std::string_view input) {
  RPT_CHECK(!command.empty());
  const std::string& program = command.front();
  const File in = temporary(program);
  const File out = temporary(program);
  const File err = temporary(program);
  if (std::fwrite(input.data(), 1, input.size(), in.get()) != input.size() || std::fflush(in.get()) != 0) {
    fail(program, "temporary file", errno);
  }
  std::rewind(in.get());

  Actions actions;
  posix_spawn_file_actions_adddup2(&actions.list, fileno(in.get()), 0);
  posix_spawn_file_actions_adddup2(&actions.list, fileno(out.get()), 1);
  posix_spawn_file_actions_adddup2(&actions.list, fileno(err.get()), 2);
  std::vector<char*> arguments;
  for (const std::string& argument : command) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  pid_t child = 0;
  const int error = posix_spawnp(&child, program.c_str(), &actions.list, nullptr, arguments.data(), environ);
  if (error == ENOENT || error == EACCES || error == ENOTDIR) return {};
  if (error != 0) fail(program, "start", error);

  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) fail(program, "wait", errno);
  }
  return {true, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), read_all(out.get()),
          read_all(err.get())};
}

}  // namespace rpt::report
