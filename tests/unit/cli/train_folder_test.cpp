// SPDX-License-Identifier: MIT
// What rpt train and rpt finetune do to a folder in which something stands already.
#include <fstream>

#include "rpt/core/atomic_file.h"
#include "tests/unit/cli/cli_testing.h"

namespace rpt::cli {
namespace {

namespace fs = std::filesystem;

class TrainFolder : public CommandTest {
 protected:
  TrainFolder() {
    std::string text;
    for (int i = 0; i < 60; ++i) text += "House " + std::to_string(i * i) + " stood on the hill, and nobody came.\n\n";
    core::write_file_atomic(path("text.txt"), text);
  }

  std::string config(const Json& changes = Json::object()) {
    Json j = {{"model", {{"hidden", 64}, {"feed_forward", 128}, {"layers", 1}, {"heads", 2}, {"kv_heads", 1}}},
              {"tokenizer", seedling_},
              {"data", {{{"text", path("text.txt")}}}},
              {"steps", 4},
              {"batch", 2},
              {"context", 16},
              {"hold_out", 0.1},
              {"checkpoint_every", 2}};
    j.update(changes);
    const std::string file = path("config.json");
    core::write_file_atomic(file, j.dump());
    return file;
  }

  Outcome train(const std::vector<std::string>& more = {}) {
    std::vector<std::string> words{"train", config(), path("run")};
    words.insert(words.end(), more.begin(), more.end());
    return rpt(words);
  }

  Outcome finetune(const std::string& base, const std::vector<std::string>& more = {}) {
    std::vector<std::string> words{"finetune", base, path("run"), "--text", path("text.txt"),     "--steps", "3",
                                   "--batch",  "2",  "--context", "16",     "--checkpoint-every", "2"};
    words.insert(words.end(), more.begin(), more.end());
    return rpt(words);
  }

  void write(const std::string& name, const std::string& content) {
    fs::create_directories(fs::path(path(name)).parent_path());
    core::write_file_atomic(path(name), content);
  }

  void expect_refused(const Outcome& o, int code, const std::string& what) {
    EXPECT_EQ(o.code, code) << o.err;
    EXPECT_NE(o.err.find(what), std::string::npos) << o.err;
    EXPECT_EQ(o.err.find("a mistake within rpt"), std::string::npos) << o.err;
  }

  /// Goes back to the checkpoint before the last one.
  void forget_last_checkpoint() { fs::remove_all(path("run/checkpoints/step-00000004")); }
};

TEST_F(TrainFolder, ANewRunReplacesNothing) {
  for (const char* name : {"run/model/notes.txt", "run/model", "run/best/config.json", "run/held_out.jsonl",
                           "run/metrics.jsonl", "run/checkpoints/step-00000001/state.json"}) {
    write(name, "mine");
    const std::string place = path("run/" + (++fs::path(name).begin())->string());
    expect_refused(train(), 4, place + ": is there already; expected");
    expect_refused(finetune(seedling_), 4, place + ": is there already; expected");
    EXPECT_EQ(core::read_file(path(name)), "mine");
    EXPECT_FALSE(fs::exists(path("run/training.json")));
    fs::remove_all(path("run"));
  }
  core::write_file_atomic(path("run"), "no folder");
  expect_refused(train(), 4, path("run") + ": exists and is no folder");
  fs::remove(path("run"));
  // A link is somebody's too, wherever it leads.
  write("run/notes.txt", "no obstacle");
  fs::create_directory_symlink(seedling_, path("run/model"));
  expect_refused(train(), 4, "run/model: is there already");
  fs::remove(path("run/model"));
  fs::create_directory(path("run/model"));  // empty
  EXPECT_EQ(train().code, 0);
}

TEST_F(TrainFolder, ARunThatGoesOnReplacesNothingElse) {
  ASSERT_EQ(train().code, 0);
  const std::string weights = core::read_file(path("run/model/model.safetensors"));
  const std::string held_out = core::read_file(path("run/held_out.jsonl"));
  // At its end it writes again what is there.
  ASSERT_EQ(train({"--resume"}).code, 0);
  EXPECT_EQ(core::read_file(path("run/model/model.safetensors")), weights);

  write("run/model/notes.txt", "mine");
  expect_refused(train({"--resume"}), 4, "run/model/notes.txt: expected what this run wrote there, found something");
  EXPECT_EQ(core::read_file(path("run/model/notes.txt")), "mine");
  fs::remove(path("run/model/notes.txt"));
  write("run/model/config.json", "{}");
  expect_refused(train({"--resume"}), 4, "run/model/config.json: expected what this run wrote there");
  EXPECT_EQ(core::read_file(path("run/model/config.json")), "{}");
  write("run/held_out.jsonl", "mine");
  expect_refused(train({"--resume"}), 4, "run/held_out.jsonl: expected what this run wrote there");
  EXPECT_EQ(core::read_file(path("run/held_out.jsonl")), "mine");

  // Before its end it has written neither.
  write("run/held_out.jsonl", held_out);
  forget_last_checkpoint();
  expect_refused(train({"--resume"}), 4, "run/model: is there already; expected nothing after 2 of 4 steps");
  fs::rename(path("run/model"), path("run/mine"));
  expect_refused(train({"--resume"}), 4, "run/held_out.jsonl: is there already; expected nothing after 2 of 4 steps");
  fs::remove(path("run/held_out.jsonl"));
  ASSERT_EQ(train({"--resume"}).code, 0);
  EXPECT_EQ(core::read_file(path("run/model/model.safetensors")), weights);
  EXPECT_EQ(core::read_file(path("run/mine/config.json")), "{}");
}

TEST_F(TrainFolder, TheBestModelReplacesNoOtherFiles) {
  const Json changes = {{"evaluate_every", 1}, {"stop_on_overfitting", true}, {"steps", 8}};
  ASSERT_EQ(rpt({"train", config(changes), path("run")}).code, 0);
  fs::remove_all(path("run/checkpoints"));
  fs::remove_all(path("run/model"));
  fs::remove(path("run/held_out.jsonl"));
  write("run/best/notes.txt", "mine");
  const std::vector<std::string> words{"train", path("config.json"), path("run"), "--resume"};
  expect_refused(rpt(words), 3, path("run") + ": metrics.jsonl goes to step ");
  fs::remove(path("run/metrics.jsonl"));
  expect_refused(rpt(words), 4, "run/best/notes.txt: expected what this run wrote there");
  EXPECT_EQ(core::read_file(path("run/best/notes.txt")), "mine");
  EXPECT_TRUE(fs::exists(path("run/checkpoints/step-00000001")));  // nothing is lost for it
  fs::remove(path("run/best/notes.txt"));
  write("run/best.tmp.17.0/model.safetensors", "of a process that was killed");
  write("run/model.tmp.17.0/model.safetensors", "of a process that was killed");
  write("run/model.tmp.mine/notes.txt", "mine");
  EXPECT_EQ(rpt(words).code, 0);
  EXPECT_FALSE(fs::exists(path("run/best.tmp.17.0")));
  EXPECT_FALSE(fs::exists(path("run/model.tmp.17.0")));
  EXPECT_TRUE(fs::exists(path("run/model.tmp.mine/notes.txt")));
}

TEST_F(TrainFolder, TheBestModelIsThatOfTheBestStep) {
  // So high a rate makes every look worse than the first.
  std::vector<std::string> words{"finetune", seedling_,    path("run"),        "--text",     path("text.txt"),
                                 "--batch",  "1",          "--context",        "16",         "--lr",
                                 "0.5",      "--schedule", "constant",         "--hold-out", "0.1",
                                 "--steps",  "12",         "--evaluate-every", "1"};
  const Json r = json(words);
  ASSERT_LT(r["model_step"], r["steps"]);
  const std::string weights = core::read_file(path("run/model/model.safetensors"));
  words.push_back("--resume");

  // As if the run had been killed before its end, and best/ were of another step.
  fs::remove_all(path("run/model"));
  fs::rename(path("run/best"), path("kept"));
  fs::copy(seedling_, path("run/best"), fs::copy_options::recursive);
  expect_refused(rpt(words), 3,
                 path("run/best") + ": expected the model of step " + r["model_step"].dump() + ", whose");
  EXPECT_FALSE(fs::exists(path("run/model")));
  fs::remove_all(path("run/best"));
  fs::rename(path("kept"), path("run/best"));
  ASSERT_EQ(rpt(words).code, 0);
  EXPECT_EQ(core::read_file(path("run/model/model.safetensors")), weights);

  // A process that was killed while it replaced best/ has left it under another name.
  fs::rename(path("run/best"), path("run/best.tmp.17.0.old"));
  const Outcome back = rpt(words);
  EXPECT_EQ(back.code, 0) << back.err;
  EXPECT_EQ(back.err.find("warning"), std::string::npos) << back.err;
  EXPECT_TRUE(fs::exists(path("run/best/config.json")));

  // What has been written at the end once will do for it.
  fs::remove_all(path("run/best"));
  const Outcome o = rpt(words);
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_NE(o.err.find("warning: " + path("run/best") + ": expected the model of step "), std::string::npos) << o.err;
  EXPECT_EQ(core::read_file(path("run/model/model.safetensors")), weights);
  fs::remove_all(path("run/model"));
  fs::copy(seedling_, path("run/model"), fs::copy_options::recursive);
  expect_refused(rpt(words), 3, path("run/model") + ": expected the model of step ");
  EXPECT_TRUE(fs::exists(path("run/model/config.json")));
}

TEST_F(TrainFolder, GoesOnWithItsOwnBaseOnly) {
  ASSERT_EQ(finetune(seedling_).code, 0);
  ASSERT_EQ(rpt({"gauge", seedling_, path("other"), "--like", "2b"}).code, 0);
  expect_refused(finetune(path("other"), {"--resume"}), 3, "the run was started on another model: expected sha256 ");
  fs::copy(seedling_, path("same"), fs::copy_options::recursive);
  EXPECT_EQ(finetune(path("same"), {"--resume"}).code, 0);  // what counts is what it holds
}

TEST_F(TrainFolder, WithoutAHeldOutPartNothingStopsTheRun) {
  // So high a rate makes every look worse than the first.
  const std::vector<std::string> words{
      "--hold-out", "0",   "--also-evaluate", path("text.txt"), "--steps",          "12",
      "--lr",       "0.5", "--schedule",      "constant",       "--evaluate-every", "1"};
  std::vector<std::string> all{"finetune", seedling_, path("run"), "--text", path("text.txt"),
                               "--batch",  "1",       "--context", "16"};
  all.insert(all.end(), words.begin(), words.end());
  const Json r = json(all);
  EXPECT_EQ(r["steps"], 12);
  EXPECT_EQ(r["stopped_on_overfitting"], false);
  EXPECT_EQ(r["model_step"], 12);
  expect_refused(rpt({"train", config({{"hold_out", 0}, {"stop_on_overfitting", true}}), path("x")}), 3,
                 "stop_on_overfitting: expected false where hold_out is 0");
}

TEST_F(TrainFolder, TheSeedOfTheCommandLineOverridesTheConfiguration) {
  ASSERT_EQ(train({"--seed", "9"}).code, 0);
  EXPECT_EQ(Json::parse(core::read_file(path("run/training.json")))["seed"], 9);
  expect_refused(train({"--resume"}), 3, "the run was started with another configuration: seed was 9, is 0");
  EXPECT_EQ(train({"--resume", "--seed", "9"}).code, 0);
  ASSERT_EQ(rpt({"train", config({{"seed", 9}}), path("same")}).code, 0);
  const auto weights = [&](const std::string& run) { return core::read_file(path(run + "/model/model.safetensors")); };
  EXPECT_EQ(weights("run"), weights("same"));
  ASSERT_EQ(rpt({"train", config({{"seed", 9}}), path("zero"), "--seed", "0"}).code, 0);
  EXPECT_NE(weights("zero"), weights("same"));
}

TEST_F(TrainFolder, ShortMetricsAreWarnedAbout) {
  ASSERT_EQ(train().code, 0);
  forget_last_checkpoint();
  fs::remove_all(path("run/model"));
  fs::remove(path("run/held_out.jsonl"));
  fs::resize_file(path("run/metrics.jsonl"), 10);
  const Outcome o = train({"--resume"});
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_NE(o.err.find("warning: " + path("run/metrics.jsonl") + ": expected "), std::string::npos) << o.err;
  EXPECT_EQ(core::read_file(path("run/metrics.jsonl")).find('\0'), std::string::npos);
}

TEST_F(TrainFolder, NamesThatAreNoUtf8AreNoMistake) {
  fs::copy_file(path("text.txt"), path("te\xfft.txt"));
  EXPECT_EQ(rpt({"finetune", seedling_, path("run"), "--text", path("te\xfft.txt"), "--also-evaluate",
                 path("te\xfft.txt"), "--steps", "1", "--batch", "1", "--context", "16"})
                .code,
            0);
}

TEST_F(TrainFolder, WhatTheSystemRefusesIsNoMistake) {
  const std::string longer(5000, 'x');
  expect_refused(rpt({"finetune", seedling_, path("run"), "--text", longer}), 4, "File name too long");
}

TEST_F(TrainFolder, DryRunsOfManyStepsAreCounted) {
  const Json r = json({"train", config({{"steps", 1000000000000}, {"batch", 65536}, {"accumulation", 65536}}),
                       path("run"), "--dry-run"});
  EXPECT_EQ(r["tokens_to_read"], 1e12 * 65536 * 65536 * 16);
}

TEST_F(TrainFolder, ADryRunNeedsNotTheMemoryThatItTells) {
  const Json shape = {{"hidden", 8192}, {"feed_forward", 32768}, {"layers", 100}, {"heads", 64}};
  const Json r = json({"train", config({{"model", shape}}), path("run"), "--dry-run"});
  EXPECT_GT(r["parameters"], 100'000'000'000);
  EXPECT_GT(r["memory_bytes"], 1'800'000'000'000);
}

TEST_F(TrainFolder, DryRunsOfAFinetuneLookAtModelAndMask) {
  ASSERT_EQ(rpt({"export", seedling_, path("packed"), "--to", "hf-packed"}).code, 0);
  expect_refused(finetune(path("packed"), {"--dry-run"}), 3, "holds codes, not latents");
  expect_refused(finetune(seedling_, {"--dry-run", "--mask", path("none")}), 3, path("none"));
  EXPECT_EQ(finetune(seedling_, {"--dry-run"}).code, 0);
}

TEST_F(TrainFolder, DryRunsRefuseWhatTheRunRefuses) {
  for (const auto& [context, what] :
       {std::pair{2000, "training context 2000"}, std::pair{1000, "one window of 1000 takes one more"}}) {
    core::write_file_atomic(path("text.txt"), "Nobody came.\nNobody.\n");
    config({{"context", context}, {"hold_out", 0}});
    for (const char* dry : {"--dry-run", "--quiet"}) {
      expect_refused(rpt({"train", path("config.json"), path("run"), dry}), 3, what);
    }
  }
}

TEST_F(TrainFolder, NamesInConfigurationsAreSaidWhere) {
  const std::string file = config({{"schedule", ""}});
  expect_refused(rpt({"train", file, path("run")}), 3, file + ": the configuration.schedule: unknown schedule \"\"");
  config({{"optimiser", {{"state", "int4"}}}});
  expect_refused(rpt({"train", file, path("run")}), 3, file + ": optimiser.state: unknown state \"int4\"");
  config({{"model", {{"hidden", 64}, {"activation", "gelu"}}}});
  expect_refused(rpt({"train", file, path("run")}), 3, file + ": model.activation: unknown activation \"gelu\"");
}

}  // namespace
}  // namespace rpt::cli
