// SPDX-License-Identifier: MIT
#include <fmt/format.h>

#include <sstream>

#include "rpt/core/atomic_file.h"
#include "tests/unit/cli/cli_testing.h"
#include "tests/unit/cli/program_testing.h"

namespace rpt::cli {
namespace {

/// The fenced blocks of a page as one shell script: ```sh as it stands, ```json as a file of the name that the line
/// above it gives between backquotes.
std::string script_of(const std::string& page) {
  std::istringstream lines(page);
  std::string script, file, block;
  for (std::string line; std::getline(lines, line);) {
    if (!block.empty()) {
      const bool ends = line == "```";
      if (!ends) script += line + "\n";
      if (ends && block == "json") script += "END-OF-FILE\n";
      if (ends) block.clear();
    } else if (line == "```sh") {
      block = "sh";
    } else if (line == "```json") {
      block = "json";
      EXPECT_NE(file, "") << "a JSON block without a name";
      script += "cat > " + file + " <<'END-OF-FILE'\n";
    } else if (line.starts_with('`') && line.ends_with("`:")) {
      file = line.substr(1, line.size() - 3);
    } else if (!line.empty()) {
      file.clear();
    }
  }
  return script;
}

class SlowOwnTextPage : public CommandTest {};

TEST_F(SlowOwnTextPage, EveryCommandDoesWhatThePageSays) {
  const std::string script = script_of(core::read_file(test::source_dir() / "docs/train-your-own.md"));
  for (const std::string command :
       {"tokenizer train", "train", "generate", "perplexity", "gauge", "export", "compare", "finetune"}) {
    EXPECT_NE(script.find("\nrpt " + command + " "), std::string::npos) << command;
  }
  std::filesystem::create_directory_symlink(test::source_dir() / "data", folder_ / "data");
  core::write_file_atomic(path("page.sh"), "set -eux\nexport PATH=\"" + kProgramFolder + ":$PATH\"\ncd \"" +
                                               folder_.path().string() + "\"\n" + script);
  const Ended ended = wait_for(start_program("/bin/sh", {path("page.sh")}, path("log")));
  ASSERT_EQ(ended.status, 0) << core::read_file(path("log"));

  for (const std::string file :
       {"my-tokenizer/tokenizer.json", "runs/my-model/training.json", "runs/my-model/metrics.jsonl",
        "runs/my-model/held_out.jsonl", "runs/my-model/model/model.safetensors", "my-model-gauged/model.safetensors",
        "my-model.gguf", "runs/speeches/model/model.safetensors", "speeches.json"}) {
    EXPECT_TRUE(std::filesystem::exists(path(file))) << file;
  }
  // "The number that training ended with", "learnt", "the price".
  const Json scored = json({"perplexity", path("runs/my-model/model"), "--text", path("runs/my-model/held_out.jsonl")});
  const std::string log = core::read_file(path("log"));
  EXPECT_NE(log.find(fmt::format("held out NLL {:.4f} (", scored["mean_nll"].get<double>())), std::string::npos);
  EXPECT_NE(log.find("identical to the last bit"), std::string::npos);
  const Json speeches = Json::parse(core::read_file(path("speeches.json")));
  EXPECT_EQ(speeches["evaluations"][1]["text"], "book.txt");
  const Json held_out = json({"perplexity", seedling_, "--text", path("runs/speeches/held_out.jsonl")});
  EXPECT_LT(speeches["evaluations"][0]["mean_nll"], held_out["mean_nll"]);
  const Json book = json({"perplexity", seedling_, "--text", path("book.txt")});
  EXPECT_GT(speeches["evaluations"][1]["mean_nll"], book["mean_nll"]);
}

}  // namespace
}  // namespace rpt::cli
