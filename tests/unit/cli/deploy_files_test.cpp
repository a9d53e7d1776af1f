// SPDX-License-Identifier: MIT
// What `rpt deploy` leaves in its folder when it is run again, and when it was killed.
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <thread>

#include "rpt/core/random.h"
#include "tests/unit/cli/deploy_testing.h"
#include "tests/unit/cli/program_testing.h"

namespace rpt::cli {
namespace {

TEST_F(Deploy, MakesAgainWhatIsGone) {
  const std::string model = small_model();
  auto all = words(model, "run");
  all.insert(all.end(), {"--sparsity", "0.05"});
  ASSERT_EQ(rpt(all).code, 0);
  const std::string gguf = file("run/model.gguf");
  const std::string masks = file("run/stages/level-5-prune/masks.safetensors");
  std::filesystem::remove(path("run/model.gguf"));
  std::filesystem::remove_all(path("run/packed"));
  std::filesystem::remove(path("run/stages/level-5-prune/masks.safetensors"));
  const std::string verified = forge_stage("verify");
  const std::string generated = forge_stage("generate");
  ASSERT_EQ(rpt(all).code, 0);
  EXPECT_EQ(file("run/model.gguf"), gguf);
  EXPECT_EQ(file("run/stages/level-5-prune/masks.safetensors"), masks);
  EXPECT_TRUE(std::filesystem::exists(path("run/packed")));
  EXPECT_EQ(file("run/stages/verify.json"), verified) << "of a file that was written anew";
  EXPECT_EQ(file("run/stages/generate.json"), generated);
  core::write_file_atomic(path("run/model.gguf"), gguf.substr(0, gguf.size() / 2));
  forge_stage("verify");
  ASSERT_EQ(rpt(all).code, 0);
  EXPECT_EQ(file("run/model.gguf"), gguf);
  EXPECT_EQ(file("run/stages/verify.json"), verified);
  // Where nothing is gone nothing is done again: what was forged stays, so that the checks above can fail.
  forge_stage("verify");
  ASSERT_EQ(rpt(all).code, 0);
  EXPECT_NE(file("run/stages/verify.json"), verified);
}

TEST_F(Deploy, LosesNothingThatPeopleHavePutThere) {
  const std::string model = small_model();
  auto all = words(model, "run");
  all.insert(all.end(), {"--sparsity", "0.05"});
  ASSERT_EQ(rpt(all).code, 0);
  const std::string weights = "run/latents/model.safetensors";
  const std::string latents = file(weights);
  const auto written = std::filesystem::last_write_time(path(weights));
  core::write_file_atomic(path("run/latents/notes.txt"), "mine");
  core::write_file_atomic(path("run/packed/notes.txt"), "mine");
  const std::string card = file("run/README.md") + "\nTrained on what I could find.\n";
  core::write_file_atomic(path("run/README.md"), card);

  // A form that is gone is written, and no other one; a card that was edited stays.
  std::filesystem::remove(path("run/model.gguf"));
  auto loud = all;
  loud.erase(std::find(loud.begin(), loud.end(), "--quiet"));
  const Outcome again = rpt(loud);
  ASSERT_EQ(again.code, 0) << again.err;
  EXPECT_TRUE(std::filesystem::exists(path("run/model.gguf")));
  EXPECT_EQ(file("run/latents/notes.txt"), "mine");
  EXPECT_EQ(file("run/packed/notes.txt"), "mine");
  EXPECT_EQ(std::filesystem::last_write_time(path(weights)), written);
  EXPECT_EQ(file("run/README.md"), card);
  EXPECT_NE(again.err.find("README.md: is not what this run wrote, and is left as it is"), std::string::npos)
      << again.err;

  // A folder that must be replaced is not, where that would cost somebody something.
  core::write_file_atomic(path(weights), latents.substr(0, latents.size() / 2));
  const Outcome refused = rpt(all);
  EXPECT_NE(refused.code, 0);
  EXPECT_EQ(std::count(refused.err.begin(), refused.err.end(), '\n'), 1) << refused.err;
  EXPECT_NE(refused.err.find("latents/notes.txt: this run did not write it"), std::string::npos) << refused.err;
  EXPECT_EQ(file("run/latents/notes.txt"), "mine");
  std::filesystem::remove(path("run/latents/notes.txt"));
  ASSERT_EQ(rpt(all).code, 0);
  EXPECT_EQ(file(weights), latents);
  EXPECT_EQ(file("run/packed/notes.txt"), "mine");

  // So is a GGUF that is not the run's, were it for one byte that the gate's tokens do not ask for.
  const std::string gguf = file("run/model.gguf");
  std::string bent = gguf;
  bent.back() = static_cast<char>(bent.back() ^ 1);
  core::write_file_atomic(path("run/model.gguf"), bent);
  const Outcome other = rpt(all);
  EXPECT_NE(other.code, 0);
  EXPECT_EQ(std::count(other.err.begin(), other.err.end(), '\n'), 1) << other.err;
  EXPECT_NE(other.err.find("model.gguf: is a model, but not the file that this run wrote"), std::string::npos)
      << other.err;
  EXPECT_EQ(file("run/model.gguf"), bent);
  std::filesystem::rename(path("run/model.gguf"), path("run/mine.gguf"));
  ASSERT_EQ(rpt(all).code, 0);
  EXPECT_EQ(file("run/model.gguf"), gguf);
  EXPECT_EQ(file("run/mine.gguf"), bent);
}

// One byte that the gate's tokens do not ask for makes another model.
TEST_F(Deploy, GoesOnOnlyFromTheModelThatAFineTuneEndedWith) {
  const std::string model = small_model();
  auto all = words(model, "run");
  all.insert(all.end(), {"--sparsity", "0.05"});
  ASSERT_EQ(rpt(all).code, 0);
  const std::string trained = "run/stages/level-5-tune/model";
  const std::string weights = trained + "/model.safetensors";
  const std::string bytes = file(weights);
  std::string bent = bytes;
  bent.back() = static_cast<char>(bent.back() ^ 1);
  core::write_file_atomic(path(weights), bent);
  const Outcome refused = rpt(all);
  EXPECT_EQ(refused.code, 3);
  EXPECT_EQ(std::count(refused.err.begin(), refused.err.end(), '\n'), 1) << refused.err;
  EXPECT_NE(refused.err.find(path(weights) + ": expected what the fine-tune ended with (SHA-256 "), std::string::npos)
      << refused.err;
  EXPECT_NE(refused.err.find("move " + path(trained) + " away"), std::string::npos) << refused.err;
  EXPECT_EQ(file(weights), bent);
  std::filesystem::rename(path(trained), path("bent"));
  ASSERT_EQ(rpt(all).code, 0);
  EXPECT_EQ(file(weights), bytes);

  // A run of an older version does not know, and goes on as it did.
  core::write_file_atomic(path(weights), bent);
  const std::string stage = "run/stages/level-5-tune.json";
  Json json = Json::parse(file(stage));
  ASSERT_EQ(json["texts"].erase("weights_sha256"), 1U);
  core::write_file_atomic(path(stage), json.dump(1) + "\n");
  EXPECT_EQ(rpt(all).code, 0);
}

TEST_F(Deploy, RemovesWhatAKilledRunWasWriting) {
  const std::string model = small_model();
  auto all = words(model, "run");
  all.insert(all.end(), {"--sparsity", "0.05"});
  ASSERT_EQ(rpt(all).code, 0);
  EXPECT_EQ(temporary_files("run"), 0U);
  for (const char* folder : {"run/latents", "run/packed", "run/stages/level-5-tune/model"}) {
    std::filesystem::create_directories(path(std::string(folder) + ".tmp.4711.0"));
    core::write_file_atomic(path(std::string(folder) + ".tmp.4711.0/model.safetensors"), "half");
  }
  const std::vector<std::string> files{"run/model.gguf",
                                       "run/README.md",
                                       "run/rpt_metadata.json",
                                       "run/report.html",
                                       "run/run.json",
                                       "run/stages/verify.json",
                                       "run/report.json",
                                       "run/stages/card.json",
                                       "run/stages/level-5-prune/masks.safetensors",
                                       "run/report.md",
                                       "run/stages/export.json",
                                       "run/stages/level-5-tune/training.json",
                                       "run/plot-1.svg",
                                       "run/stages/generate.json"};
  for (const std::string& name : files) core::write_file_atomic(path(name + ".tmp.4711.1"), "half");
  core::write_file_atomic(path("run/notes.tmp.1.2"), "of somebody else");
  EXPECT_EQ(temporary_files("run"), files.size() + 7);
  // As it would be where they were being written: what is finished has left nothing.
  for (const char* stage : {"verify", "generate", "export", "card"}) {
    std::filesystem::remove(path(std::string("run/stages/") + stage + ".json"));
  }
  ASSERT_EQ(rpt(all).code, 0);
  EXPECT_EQ(temporary_files("run"), 1U);
  EXPECT_EQ(file("run/notes.tmp.1.2"), "of somebody else");
}

class SlowDeploy : public Deploy {
 protected:
  /// Whether a fine-tune of the run in "cut" has a checkpoint and is not done: the next start goes on within it.
  bool is_within_fine_tune() const {
    for (const char* stage : {"level-5-tune", "level-10-tune"}) {
      const std::filesystem::path folder = path(std::string("cut/stages/") + stage);
      std::error_code none;
      if (!std::filesystem::exists(folder / "checkpoints", none) || std::filesystem::exists(folder / "model", none)) {
        continue;
      }
      for (const auto& entry : std::filesystem::directory_iterator(folder / "checkpoints")) {
        if (entry.path().filename().string().find(".tmp.") == std::string::npos) return true;
      }
    }
    return false;
  }

  /// The files of a run whose bytes do not depend on when it was killed, by their names in its folder.
  std::map<std::string, std::string> lasting_files(const std::string& run) const {
    std::map<std::string, std::string> files;
    const std::filesystem::path folder = path(run);
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
      if (!entry.is_regular_file()) continue;
      const std::string name = entry.path().lexically_relative(folder).string();
      const bool whole = !name.starts_with("stages/") || name.ends_with("masks.safetensors") ||
                         name.find("-tune/model/") != std::string::npos;
      if (whole) files[name] = core::read_file(entry.path());
    }
    return files;
  }
};

TEST_F(SlowDeploy, KilledAtRandomMomentsEndsWithTheSameFiles) {
  const std::string program = kProgramFolder + "/rpt";
  ASSERT_TRUE(std::filesystem::exists(program)) << program;
  const std::string model = small_model();
  const auto start = [&](const std::string& out) {
    auto all = words(model, out);
    all[8] = "40";  // steps
    return start_program(program, all);
  };
  const auto begun = std::chrono::steady_clock::now();
  ASSERT_EQ(wait_for(start("whole")).status, 0);
  const auto whole = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begun);
  core::Random random(20261122);
  int kills = 0;
  int within = 0;  // of a fine-tune, behind a checkpoint of it
  for (int attempt = 0; attempt < 400; ++attempt) {
    const pid_t child = start("cut");
    const bool enough = kills >= 20 && within > 0;
    if (!enough) {
      std::this_thread::sleep_for(whole / 4 * random.uniform());
      kill(child, SIGKILL);
    }
    const int status = wait_for(child).status;
    if (WIFSIGNALED(status)) {
      ++kills;
      within += is_within_fine_tune() ? 1 : 0;
      continue;
    }
    ASSERT_EQ(status, 0);
    if (enough) break;
    std::filesystem::remove_all(path("cut"));  // it was done before the last kill: once more from the start
  }
  EXPECT_GE(kills, 20);
  EXPECT_GT(within, 0) << "no fine-tune went on from a checkpoint";
  const auto expected = lasting_files("whole");
  const auto found = lasting_files("cut");
  for (const char* name : {"model.gguf", "packed/model.safetensors", "latents/model.safetensors", "report.json",
                           "stages/level-10-prune/masks.safetensors"}) {
    EXPECT_TRUE(expected.contains(name)) << name;
  }
  for (const auto& [name, bytes] : expected) {
    ASSERT_TRUE(found.contains(name)) << name;
    EXPECT_TRUE(found.at(name) == bytes) << name;
  }
  EXPECT_EQ(found.size(), expected.size());
  EXPECT_EQ(temporary_files("cut"), 0U);
}

}  // namespace
}  // namespace rpt::cli
