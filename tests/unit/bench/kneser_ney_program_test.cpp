// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "rpt/core/atomic_file.h"
#include "tests/shared_data.h"

namespace rpt::bench {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

class KneserNeyProgram : public testing::Test {
 protected:
  KneserNeyProgram() : folder_(fs::temp_directory_path() / ("rpt-kneser-ney-" + std::to_string(::getpid()))) {
    fs::create_directories(folder_);
  }
  ~KneserNeyProgram() override { fs::remove_all(folder_); }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  void write(const std::string& name, const std::string& text) const { core::write_file_atomic(folder_ / name, text); }

  /// Runs the program; its exit code.
  int run(const std::string& arguments) const {
    const std::string program = (fs::path(RPT_BINARY_DIR) / "kneser_ney").string();
    const int status = std::system((program + " " + arguments + " > /dev/null 2>&1").c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  fs::path folder_;
};

TEST_F(KneserNeyProgram, LearnsTheConfigurationsTextsAndScoresWholeDocuments) {
  const std::string learnt = "The sea was calm and the sky was clear.\n\nThe sea was wild and the sky was dark.\n\n";
  const std::string held_out = "Nobody had ever seen such a night.\n";
  write("text.md", learnt + held_out);
  write("seen.txt", "The sea was calm.");
  write("two.jsonl", "{\"text\": \"The sky fell.\"}\n{\"text\": \"zebra\"}\n");
  const Json config = {{"tokenizer", (test::source_dir() / "models/seedling").string()},
                       {"data", {{{"text", "text.md"}, {"repeat", 3}}}},
                       {"hold_out", 0.3},
                       {"steps", 1}};
  write("config.json", config.dump());
  ASSERT_EQ(run(path("config.json") + " --order 3 --text " + path("seen.txt") + " --text " + path("two.jsonl") +
                " --save-nll " + path("a.tsv") + " --save-nll " + path("b.tsv") + " --json " + path("out.json") +
                " --save-training-text " + path("learnt.txt")),
            0);

  const std::string text = core::read_file(path("learnt.txt"));
  EXPECT_EQ(text.substr(0, 80), learnt.substr(0, 80));
  EXPECT_EQ(text.find("Nobody"), std::string::npos);
  EXPECT_EQ(text.find("The sea was calm", 1), std::string::npos) << "what is repeated is learnt once";

  const Json out = Json::parse(core::read_file(path("out.json")));
  EXPECT_EQ(out["order"], 3);
  EXPECT_EQ(out["training_documents"], 1);
  EXPECT_EQ(out["ngrams"].size(), 3U);
  const Json& texts = out["texts"];
  ASSERT_EQ(texts.size(), 2U);
  EXPECT_EQ(texts[0]["bytes"], 17);
  EXPECT_EQ(texts[1]["bytes"], 18);
  EXPECT_EQ(texts[1]["documents"], 2);
  EXPECT_LT(texts[0]["bits_per_byte"], texts[1]["bits_per_byte"]);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    std::istringstream table(core::read_file(path(i == 0 ? "a.tsv" : "b.tsv")));
    std::string line;
    std::getline(table, line);
    double sum = 0;
    int tokens = 0;
    while (std::getline(table, line)) {
      sum += std::stod(line.substr(line.rfind('\t') + 1));
      ++tokens;
    }
    EXPECT_EQ(texts[i]["scored_tokens"], tokens);
    EXPECT_NEAR(texts[i]["nll"].get<double>(), sum, 1e-9 * sum);
  }
}

TEST_F(KneserNeyProgram, SaysWhatIsWrong) {
  write("text.txt", "The sea was calm.");
  write("config.json", R"({"tokenizer": "none", "data": [{"text": "text.txt"}], "hold_out": 0, "steps": 1})");
  const std::string text = " --text " + path("text.txt");
  EXPECT_EQ(run(path("config.json")), 2);
  EXPECT_EQ(run(path("config.json") + text + text + " --save-nll " + path("a.tsv")), 2);
  EXPECT_EQ(run(path("none.json") + text), 3);
  EXPECT_EQ(run(path("config.json") + text), 3);
  EXPECT_EQ(run("--help"), 0);
}

}  // namespace
}  // namespace rpt::bench
