// SPDX-License-Identifier: MIT
#pragma once
#include <string>
#include <vector>

#include "rpt/core/atomic_file.h"
#include "tests/unit/cli/cli_testing.h"

namespace rpt::cli {

/// Runs of `rpt deploy` on a small model.
class Deploy : public CommandTest {
 protected:
  /// Folder of a model of two small blocks, hardly trained.
  std::string small_model() {
    const Json config = {
        {"model", {{"hidden", 128}, {"feed_forward", 128}, {"layers", 2}, {"heads", 2}, {"kv_heads", 1}}},
        {"tokenizer", seedling_},
        {"data", {{{"text", "sotu:test"}}}},
        {"steps", 4},
        {"batch", 4},
        {"context", 32},
        {"hold_out", 0}};
    core::write_file_atomic(path("config.json"), config.dump());
    EXPECT_EQ(rpt({"train", path("config.json"), path("base"), "--quiet"}).code, 0);
    core::write_file_atomic(path("text.txt"), text(400));
    core::write_file_atomic(path("test.jsonl"), lines(10));
    return path("base/model");
  }

  std::vector<std::string> words(const std::string& model, const std::string& out) const {
    return {"deploy",  model, path(out),   "--text", path("text.txt"), "--test", path("test.jsonl"), "--steps", "6",
            "--batch", "2",   "--context", "32",     "--tokens",       "4",      "--quiet"};
  }

  /// The words of a command line in which nothing is quoted but by '.
  static std::vector<std::string> words_of(const std::string& command) {
    std::vector<std::string> words(1);
    bool quoted = false;
    for (const char c : command) {
      if (c == '\'') {
        quoted = !quoted;
      } else if (c == ' ' && !quoted) {
        words.emplace_back();
      } else {
        words.back() += c;
      }
    }
    return words;
  }

  std::string file(const std::string& name) const { return core::read_file(path(name)); }

  /// How many files and folders of a run have a name that is given to what is still being written.
  std::size_t temporary_files(const std::string& run) const {
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(path(run))) {
      if (entry.path().lexically_relative(path(run)).string().find(".tmp.") != std::string::npos) ++count;
    }
    return count;
  }

  /// Adds to what a finished stage of the run in "run" found, and returns what it was: it comes back only where the
  /// stage is done again.
  std::string forge_stage(const std::string& stage) const {
    const std::string name = "run/stages/" + stage + ".json";
    const std::string before = file(name);
    Json json = Json::parse(before);
    json["texts"]["forged"] = "yes";
    core::write_file_atomic(path(name), json.dump(1) + "\n");
    return before;
  }

  static std::string lines(int count) {
    std::string all;
    for (int i = 0; i < count; ++i) {
      all += Json({{"text", "Nobody came to hill " + std::to_string(i * 31) + " before winter."}}).dump() + "\n";
    }
    return all;
  }

 private:
  static std::string text(int count) {
    std::string all;
    for (int i = 0; i < count; ++i) all += "The house on hill " + std::to_string(i * i % 977) + " stood alone.\n\n";
    return all;
  }
};

}  // namespace rpt::cli
