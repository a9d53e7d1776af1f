// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

namespace rpt::kernels {
namespace {

/// Standard output of a command; a test failure where it cannot run.
std::string output_of(const std::string& command) {
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  EXPECT_NE(pipe, nullptr) << command;
  std::string text;
  char buffer[4096];
  while (pipe && std::fgets(buffer, sizeof(buffer), pipe.get()) != nullptr) text += buffer;
  return text;
}

/// Weak symbols that hold no code of ours: references to the runtime's personality routine, and what sanitizers add
/// (among it type information of functions, _ZTIF and _ZTSF).
bool is_harmless(const std::string& symbol) {
  for (const char* prefix : {"DW.ref.", "__asan", "__ubsan", "__tsan", "__sanitizer", "__odr_asan", "__start_asan",
                             "__start___sancov", "__stop___sancov", "__stop_asan", "asan.", "_ZTIF", "_ZTSF"}) {
    if (symbol.rfind(prefix, 0) == 0) return true;
  }
  return false;
}

/// The weak and unique symbols in the objects of one folder of kernels.
std::vector<std::string> weak_symbols(const std::string& isa, int& objects) {
  std::vector<std::string> found;
  const auto folder = std::filesystem::path(RPT_BINARY_DIR) / "CMakeFiles/rpt_kernels.dir/src/rpt/kernels" / isa;
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    if (file.path().extension() != ".o") continue;
    ++objects;
    std::istringstream lines(output_of("nm -P '" + file.path().string() + "'"));  // name, type, …
    std::string line;
    while (std::getline(lines, line)) {
      std::istringstream fields(line);
      std::string name;
      std::string type;
      fields >> name >> type;
      if (type.size() == 1 && std::string("WwVvu").find(type) != std::string::npos && !is_harmless(name)) {
        found.push_back(file.path().filename().string() + ": " + line);
      }
    }
  }
  return found;
}

// A weak function that was compiled for AVX-512 could be the copy that the linker keeps for the whole program.
TEST(Symbols, FilesOfAnInstructionSetLeaveNoWeakOnes) {
#if !defined(__x86_64__)
  GTEST_SKIP() << "no such files in this build";
#else
  for (const char* isa : {"avx2", "avx512"}) {
    int objects = 0;
    const auto found = weak_symbols(isa, objects);
    EXPECT_GE(objects, 3) << isa;
    for (const std::string& symbol : found) ADD_FAILURE() << isa << ": " << symbol;
  }
  // The test can see weak symbols: the reference uses the standard library and leaves some.
  int objects = 0;
  EXPECT_FALSE(weak_symbols(".", objects).empty());
#endif
}

}  // namespace
}  // namespace rpt::kernels
