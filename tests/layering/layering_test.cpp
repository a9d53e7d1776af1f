// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;

/// Which rooms a room may include, itself aside: docs/architecture.md §1.
const std::map<std::string, std::set<std::string>>& allowed() {
  static const std::map<std::string, std::set<std::string>> rooms{
      {"core", {}},
      {"kernels", {"core"}},
      {"tensor", {"kernels", "core"}},
      {"ternary", {"tensor", "kernels", "core"}},
      {"io", {"tensor", "core"}},
      {"text", {"tensor", "core"}},
      {"report", {"core"}},
      {"model", {"text", "io", "ternary", "tensor", "kernels", "core"}},
      {"generate", {"model", "text", "io", "ternary", "tensor", "kernels", "core"}},
      {"train", {"model", "text", "io", "ternary", "tensor", "kernels", "core"}},
      {"prune", {"model", "text", "io", "ternary", "tensor", "kernels", "core"}},
      {"evaluate", {"generate", "model", "text", "io", "ternary", "tensor", "kernels", "core"}},
      {"experiment",
       {"evaluate", "prune", "train", "generate", "report", "model", "text", "io", "ternary", "tensor", "kernels",
        "core"}},
      {"cli",
       {"experiment", "evaluate", "prune", "train", "generate", "report", "model", "text", "io", "ternary", "tensor",
        "kernels", "core"}},
  };
  return rooms;
}

std::vector<fs::path> sources() {
  std::vector<fs::path> out;
  for (const auto& entry : fs::recursive_directory_iterator(fs::path(RPT_SOURCE_DIR) / "src/rpt")) {
    if (entry.path().extension() == ".cpp" || entry.path().extension() == ".h") out.push_back(entry.path());
  }
  return out;
}

std::string room_of(const fs::path& path) {
  return (*fs::relative(path, fs::path(RPT_SOURCE_DIR) / "src/rpt").begin()).string();
}

TEST(Layering, NoRoomIncludesOneAboveIt) {
  const std::regex include("^\\s*#\\s*include\\s*\"([^\"]+)\"");
  std::size_t seen = 0;
  for (const auto& path : sources()) {
    const std::string room = room_of(path);
    ASSERT_TRUE(allowed().contains(room)) << path << " is in no known room";
    std::ifstream file(path);
    std::string line;
    while (std::getline(file, line)) {
      std::smatch match;
      if (!std::regex_search(line, match, include)) continue;
      const std::string name = match[1];
      ASSERT_TRUE(name.starts_with("rpt/")) << path << ": " << line << " is not included as rpt/<room>/<file>.h";
      const std::string other = name.substr(4, name.find('/', 4) - 4);
      EXPECT_TRUE(other == room || allowed().at(room).contains(other)) << path << " includes " << name;
      ++seen;
    }
  }
  EXPECT_GT(seen, 100U);
}

TEST(Layering, EveryFileNamesItsLicence) {
  for (const auto& path : sources()) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    EXPECT_EQ(line, "// SPDX-License-Identifier: MIT") << path;
  }
}

TEST(Layering, LibrariesNeitherPrintNorExit) {
  const std::regex speaks("std::cout|std::cerr|\\bprintf\\(|\\bexit\\(|\\babort\\(");
  for (const auto& path : sources()) {
    if (room_of(path) == "cli") continue;
    std::ifstream file(path);
    std::string line;
    while (std::getline(file, line)) EXPECT_FALSE(std::regex_search(line, speaks)) << path << ": " << line;
  }
}

TEST(Layering, HeavyHeadersStayOutOfHeaders) {
  for (const auto& path : sources()) {
    if (path.extension() != ".h") continue;
    std::ifstream file(path);
    std::string line;
    while (std::getline(file, line)) {
      EXPECT_EQ(line.find("nlohmann/json.hpp"), std::string::npos) << path;
      EXPECT_EQ(line.find("<pcre2.h>"), std::string::npos) << path;
    }
  }
}

}  // namespace
