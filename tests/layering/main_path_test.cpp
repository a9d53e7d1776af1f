// SPDX-License-Identifier: MIT
// The main path that docs/architecture.md writes down is the one that runs.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "rpt/cli/run.h"
#include "rpt/core/parallel.h"
#include "rpt/core/trace.h"
#include "rpt/model/export.h"
#include "tests/tiny_model.h"

namespace {

/// Remembers the deepest stack of scopes.
class DeepestPath final : public rpt::core::TraceSink {
 public:
  void enter(const char* name) override {
    stack_.emplace_back(name);
    if (stack_.size() > deepest_.size()) deepest_ = stack_;
  }
  void leave(const char*) override { stack_.pop_back(); }
  const std::vector<std::string>& path() const { return deepest_; }

 private:
  std::vector<std::string> stack_;
  std::vector<std::string> deepest_;
};

/// The names between the arrows of the paragraph "The main path" in docs/architecture.md.
std::vector<std::string> documented_path() {
  std::ifstream file(std::filesystem::path(RPT_SOURCE_DIR) / "docs/architecture.md");
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const auto begin = text.find('`', text.find("**The main path"));
  const auto end = text.find('`', begin + 1);
  std::string path = text.substr(begin + 1, end - begin - 1);
  std::replace(path.begin(), path.end(), '\n', ' ');
  std::vector<std::string> names;
  for (std::size_t at = 0; at < path.size();) {
    const auto arrow = std::min(path.find("→", at), path.size());
    std::string name = path.substr(at, arrow - at);
    name.erase(0, name.find_first_not_of(' '));
    name.erase(name.find_last_not_of(' ') + 1);
    names.push_back(name);
    at = arrow + std::string("→").size();
  }
  return names;
}

TEST(MainPath, IsTheOneThatIsWrittenDown) {
  const auto documented = documented_path();
  ASSERT_EQ(documented.size(), 8U);
  EXPECT_EQ(documented.front(), "cli/main.cpp main");

  DeepestPath sink;
  rpt::core::set_trace_sink(&sink);
  const char* argv[] = {"rpt", "generate", "seedling", "-p", "The", "-n", "2", "--quiet"};
  std::istringstream in;
  std::ostringstream out, err;
  const int code = rpt::cli::run(8, argv, in, out, err);
  rpt::core::set_trace_sink(nullptr);
  ASSERT_EQ(code, 0) << err.str();

  // main itself cannot be traced from a test; everything behind it is.
  std::vector<std::string> expected(documented.begin() + 1, documented.end());
  expected.back() = "kernels::gemm_ternary2_int8";
  EXPECT_EQ(documented.back(), "kernels::active().gemm_ternary2_int8");
  EXPECT_EQ(sink.path(), expected);
}

}  // namespace
