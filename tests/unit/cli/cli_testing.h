// SPDX-License-Identifier: MIT
#pragma once
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "rpt/cli/run.h"
#include "rpt/core/parallel.h"
#include "rpt/kernels/isa.h"
#include "tests/shared_data.h"
#include "tests/tiny_model.h"

namespace rpt::cli {

using Json = nlohmann::json;

/// What a command left: its exit code and streams.
struct Outcome {
  int code = 0;
  std::string out;
  std::string err;
};

/// Tests that run commands within this process.
class CommandTest : public ::testing::Test {
 protected:
  Outcome rpt(const std::vector<std::string>& words, const std::string& input = "") {
    std::vector<const char*> argv{"rpt"};
    for (const auto& w : words) argv.push_back(w.c_str());
    std::istringstream in(input);
    std::ostringstream out, err;
    const int code = run(static_cast<int>(argv.size()), argv.data(), in, out, err);
    return {code, out.str(), err.str()};
  }

  /// Runs with --json - and expects success.
  Json json(std::vector<std::string> words, const std::string& input = "") {
    words.insert(words.end(), {"--json", "-"});
    const Outcome o = rpt(words, input);
    EXPECT_EQ(o.code, 0) << o.err;
    return o.code == 0 ? Json::parse(o.out) : Json();
  }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  /// Threads and instruction set as they are at first.
  void TearDown() override {
    core::set_threads(0);
    for (const auto& isa : kernels::list_isas()) {
      if (isa.supported) kernels::force_isa(isa.name);
    }
  }

  const std::string seedling_ = (test::source_dir() / "models/seedling").string();
  test::ScratchFolder folder_;
};

}  // namespace rpt::cli
