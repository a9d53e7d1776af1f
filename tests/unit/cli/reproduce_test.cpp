// SPDX-License-Identifier: MIT
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <map>
#include <set>
#include <thread>

#include "rpt/core/atomic_file.h"
#include "tests/unit/cli/cli_testing.h"

namespace rpt::cli {
namespace {

namespace fs = std::filesystem;

class Reproduce : public CommandTest {
 protected:
  /// Trains a base of one small block, hardly, and leaves the texts of the run.
  std::string base(int seed) {
    const std::string name = "base" + std::to_string(seed);
    const Json config = {
        {"model",
         {{"hidden", 64}, {"feed_forward", 64}, {"layers", 1}, {"heads", 2}, {"kv_heads", 1}, {"context", 64}}},
        {"tokenizer", seedling_},
        {"data", {{{"text", path("text.txt")}}}},
        {"steps", 2},
        {"batch", 2},
        {"context", 32},
        {"seed", seed},
        {"hold_out", 0}};
    std::string text;
    for (int i = 0; i < 200; ++i) text += "The house on hill " + std::to_string(i * i % 977) + " stood alone.\n\n";
    core::write_file_atomic(path("text.txt"), text);
    std::string lines;
    for (int i = 0; i < 8; ++i) {
      lines += Json({{"text", "Nobody came to hill " + std::to_string(i * 31) + " before winter."}}).dump() + "\n";
    }
    core::write_file_atomic(path("test.jsonl"), lines);
    core::write_file_atomic(path("other.jsonl"), R"({"text": "A second text, of other words: what becomes of it?"})");
    core::write_file_atomic(path(name + ".json"), config.dump());
    EXPECT_EQ(rpt({"train", path(name + ".json"), path(name), "--quiet"}).code, 0);
    return path(name + "/model");
  }

  std::vector<std::string> words(const std::string& out, const std::vector<std::string>& bases) const {
    std::vector<std::string> all{
        "reproduce",   path(out),          "--text", path("text.txt"), "--test", path("test.jsonl"), "--steps",
        "10",          "--batch",          "2",      "--context",      "32",     "--threads",        "1",
        "--retention", path("other.jsonl")};
    for (const std::string& b : bases) all.insert(all.end(), {"--base", b});
    return all;
  }

  std::string file(const std::string& name) const { return core::read_file(path(name)); }
};

TEST_F(Reproduce, HoldsItsChecksAndGoesOnToTheSameReport) {
  const std::vector<std::string> bases{base(1), base(2)};
  const auto dry_run = [&] {
    auto all = words("run", bases);
    all.erase(all.begin() + 1);
    all.insert(all.end(), {path("run"), "--dry-run"});  // --base takes one name, not what follows
    return json(all);
  };
  const Json dry = dry_run();
  EXPECT_FALSE(fs::exists(path("run")));
  EXPECT_EQ(dry["stages"], 2 * (14 + 5 + 2 * 5) + 7);
  EXPECT_EQ(dry["stages_done"], 0);
  EXPECT_GT(dry["seconds"].get<double>(), 0);

  const Outcome whole = rpt(words("run", bases));
  ASSERT_EQ(whole.code, 0) << whole.err;
  EXPECT_LT(whole.err.find("65 stages, about "), whole.err.find("1/65 "));
  EXPECT_NE(whole.err.find("2 of 5 bases: there will be no intervals"), std::string::npos) << whole.err;
  const std::string report = file("run/report.json");
  const Json figures = Json::parse(report)["figures"];
  EXPECT_EQ(figures["bases_sha256"], Json::parse(file("run/run.json"))["bases_sha256"]);
  EXPECT_EQ(figures["texts_sha256"], Json::parse(file("run/run.json"))["texts_sha256"]);

  // What must be exact is: the placebo, and the gauge where nothing compares tensors by their latents.
  std::size_t placebos = 0;
  for (const Json& check : figures["checks"]) {
    EXPECT_TRUE(check["passed"]) << check;
    placebos += check["check"].get<std::string>().starts_with("placebo: ") ? 1U : 0U;
  }
  EXPECT_EQ(placebos, 1U);
  // The arm without pruning, scored without training, is the base as `rpt perplexity` scores it, in both gauges of the
  // first.
  const Json scored =
      json({"perplexity", bases[0], "--text", path("test.jsonl"), "--stride", figures["stride"].dump()});
  std::size_t untouched = 0;
  for (const Json& cell : figures["cells"]) {
    if (cell["arm"] != "no pruning" || cell["base"] != bases[0] || !cell["fine_tune"].is_null()) continue;
    EXPECT_EQ(cell["nll_sha256"], scored["nll_sha256"]);
    ++untouched;
  }
  EXPECT_EQ(untouched, 2U);
  for (const Json& cell : figures["cells"]) {
    const std::string arm = cell["arm"];
    if (!cell["fine_tune"].is_null() || arm.starts_with("legacy") || !arm.ends_with("10 %") ||
        arm.starts_with("q and k"))
      continue;
    EXPECT_NEAR(cell["codes_removed_share"].get<double>(), 0.1, 0.01) << arm;
  }
  // A global threshold prunes whatever gauge it meets.
  std::map<std::string, std::string> by_stage;
  for (const Json& cell : figures["cells"]) by_stage[cell["stage"]] = cell["masks_sha256"];
  EXPECT_NE(by_stage.at("base1-own-magnitude-global-10-raw"), by_stage.at("base1-2b-magnitude-global-10-raw"));
  EXPECT_EQ(by_stage.at("base1-own-code-global-10-raw"), by_stage.at("base1-2b-code-global-10-raw"));

  const Json& declared = figures["contrasts"][0];
  EXPECT_EQ(declared["declared_beforehand"], true);
  EXPECT_EQ(declared["arm"], "magnitude per tensor, 10 %, fine-tuned, gauge own");
  EXPECT_EQ(declared["baseline"], "no pruning, fine-tuned, gauge own");
  for (const Json& c : figures["contrasts"]) {
    EXPECT_TRUE(c["effect"].is_number());
    EXPECT_TRUE(c["interval"].is_null());
    EXPECT_EQ(c["documents"], c["text"] == "test" ? 8 : 1);
    EXPECT_EQ(c["bases"], 2);
    EXPECT_EQ(c["seeds"], 1);
    EXPECT_EQ(c["verdict"], "undecided");
  }
  for (const char* left :
       {"report.html", "report.md", "tables.tex", "tracking.md", "CITATION.cff", "KNOWN_ISSUES.md", "README.md"}) {
    EXPECT_FALSE(file(std::string("run/") + left).empty()) << left;
  }
  EXPECT_NE(file("run/KNOWN_ISSUES.md").find("2 of at least 5 bases"), std::string::npos);
  // Fine-tuned models are scored and gone.
  for (const fs::directory_entry& left : fs::directory_iterator(path("run/stages"))) {
    EXPECT_EQ(left.path().extension(), ".json") << left.path();
  }

  // As if it had been killed: stages are missing, among them one whose models had not been removed.
  std::set<std::string> stages;
  for (const fs::directory_entry& stage : fs::directory_iterator(path("run/stages"))) {
    stages.insert(stage.path().string());
  }
  EXPECT_EQ(dry_run()["stages_done"], 65);
  EXPECT_EQ(dry_run()["seconds"], 0);
  std::size_t i = 0;
  std::size_t removed = 0;
  for (const std::string& stage : stages) {
    if (++i % 4 != 0) continue;
    fs::remove(stage);
    removed += fs::path(stage).filename().string().starts_with("base") ? 1U : 0U;
  }
  const Json left = dry_run();
  EXPECT_EQ(left["stages"], 65);
  EXPECT_EQ(left["stages_done"], 65 - removed);
  EXPECT_GT(left["seconds"].get<double>(), 0);
  fs::remove(path("run/report.json"));
  fs::create_directories(path("run/stages/base1-own-no-pruning-tuned1"));
  ASSERT_EQ(rpt(words("run", bases)).code, 0);
  EXPECT_EQ(file("run/report.json"), report);
  EXPECT_FALSE(fs::exists(path("run/stages/base1-own-no-pruning-tuned1")));
}

/// Interrupts this process, as Ctrl-C does, once a file is there.
class InterruptAt {
 public:
  explicit InterruptAt(const std::string& file)
      : thread_([file] {
          for (int i = 0; i < 120'000 && !fs::exists(file); ++i) {
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
          }
          if (fs::exists(file)) kill(getpid(), SIGINT);
        }) {}
  ~InterruptAt() { thread_.join(); }

 private:
  std::thread thread_;
};

TEST_F(Reproduce, InterruptedItLeavesTheReportOfWhatIsDone) {
  const std::vector<std::string> bases{base(1)};
  const std::string third = path("run/stages/base1-own-no-pruning-raw.json");
  const auto interrupted = [&] {
    const InterruptAt at(third);
    return rpt(words("run", bases));
  };
  const Outcome begun = interrupted();
  EXPECT_EQ(begun.code, 1) << begun.err;
  EXPECT_NE(begun.err.find("interrupted after "), std::string::npos) << begun.err;
  EXPECT_NE(begun.out.find("report.html"), std::string::npos) << begun.out;
  const Json first = Json::parse(file("run/report.json"))["figures"];
  EXPECT_EQ(first["complete"], false);
  EXPECT_EQ(first["planned_stages"], 36);
  EXPECT_GE(first["cells"].size(), 3U);
  EXPECT_EQ(first["contrasts"][0]["declared_beforehand"], true);
  EXPECT_NE(file("run/KNOWN_ISSUES.md").find(" of 36 stages"), std::string::npos);

  ASSERT_EQ(rpt(words("run", bases)).code, 0);
  const std::string whole = file("run/report.json");
  EXPECT_EQ(Json::parse(whole)["figures"]["complete"], true);
  EXPECT_EQ(file("run/KNOWN_ISSUES.md").find(" of 36 stages"), std::string::npos);

  // Stages were lost, and an interrupted run has less to say than the report that is there.
  std::vector<fs::path> raw;
  for (const fs::directory_entry& stage : fs::directory_iterator(path("run/stages"))) {
    if (stage.path().string().ends_with("-raw.json")) raw.push_back(stage.path());
  }
  for (const fs::path& stage : raw) fs::remove(stage);
  const Outcome again = interrupted();
  EXPECT_EQ(again.code, 1) << again.err;
  EXPECT_NE(again.err.find("has more than this run so far"), std::string::npos) << again.err;
  EXPECT_EQ(file("run/report.json"), whole);
}

TEST_F(Reproduce, RefusesWhatItCannotUse) {
  const std::string one = base(1);
  EXPECT_EQ(rpt(words("run", {one, one})).code, 2);
  auto both = words("run", {one});
  both.insert(both.end(), {"--quick", "--full"});
  EXPECT_EQ(rpt(both).code, 2);
  EXPECT_EQ(rpt(words("run", {path("nowhere")})).code, 3);
  // A base without latents, and one of another vocabulary, are refused before anything is spent.
  ASSERT_EQ(rpt({"snap", one, path("codes"), "--quiet"}).code, 0);
  const Outcome codes = rpt(words("run", {path("codes")}));
  EXPECT_EQ(codes.code, 3) << codes.err;
  fs::copy(one, path("other"), fs::copy_options::recursive);
  Json tokenizer = Json::parse(file("other/tokenizer.json"));
  tokenizer["model"]["merges"].erase(0);  // ids stay, texts are read in other pieces
  core::write_file_atomic(path("other/tokenizer.json"), tokenizer.dump());
  const Outcome other = rpt(words("run", {one, path("other")}));
  EXPECT_EQ(other.code, 3);
  EXPECT_NE(other.err.find("bases must have one vocabulary"), std::string::npos) << other.err;
  // One model in two folders, or in two gauges, is one base; another context means other windows.
  fs::copy(one, path("same"), fs::copy_options::recursive);
  ASSERT_EQ(rpt({"gauge", one, path("gauged"), "--like", "2b", "--quiet"}).code, 0);
  for (const char* same : {"same", "gauged"}) {
    const Outcome twice = rpt(words("run", {one, path(same)}));
    EXPECT_EQ(twice.code, 3);
    EXPECT_NE(twice.err.find("bases must be trained independently"), std::string::npos) << twice.err;
  }
  const std::string two = base(2);
  Json config = Json::parse(file("base2/model/config.json"));
  config["max_position_embeddings"] = 48;
  core::write_file_atomic(path("base2/model/config.json"), config.dump());
  const Outcome windows = rpt(words("run", {one, two}));
  EXPECT_EQ(windows.code, 3);
  EXPECT_NE(windows.err.find("is read in windows of 64 tokens"), std::string::npos) << windows.err;
  EXPECT_FALSE(fs::exists(path("run")));
}

}  // namespace
}  // namespace rpt::cli
