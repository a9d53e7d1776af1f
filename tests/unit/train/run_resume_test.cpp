// SPDX-License-Identifier: MIT
// What a run asks of the folder in which it begins or goes on.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "rpt/core/atomic_file.h"
#include "rpt/kernels/isa.h"
#include "rpt/tensor/product.h"
#include "rpt/train/metrics.h"
#include "rpt/train/run.h"
#include "rpt/train/run_folder.h"
#include "tests/message_of.h"
#include "tests/unit/train/optimiser_test_support.h"

namespace rpt::train {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using test::message_of;

class RunResume : public ::testing::Test {
 protected:
  RunResume() {
    core::Random random(3);
    for (int i = 0; i < 500; ++i) stream_.tokens.push_back(static_cast<std::int32_t>(random.below(301)));
    stream_.is_target.assign(500, 1);
    stream_.targets = 500;
    stream_.sha256 = "text";
    config_.data.emplace_back();
    config_.steps = 5;
    config_.batch = 2;
    config_.context = 16;
    config_.checkpoint_every = 2;
  }

  /// Runs until the end or for `steps` steps on the weights that `first_weights` seeds.
  RunResult run(bool resume, std::int64_t steps = 99, std::uint64_t first_weights = 1) {
    const auto parameters = Parameters::random(test::TinyModel::make(test::small_shape()), 0.02, first_weights);
    if (change_) change_(const_cast<model::Model&>(parameters->model()));
    RunHooks hooks;
    hooks.interrupted = [&] { return --steps == 0; };
    hooks.warn = [&](const std::string& line) { warnings_.push_back(line); };
    return run_training(config_, *parameters, stream_, run_, resume, "machine", hooks);
  }
  std::string refusal(bool resume, std::uint64_t first_weights = 1) {
    return message_of([&] { run(resume, 99, first_weights); });
  }

  std::string metrics() const { return core::read_file(run_ / "metrics.jsonl"); }
  /// The numbers of the steps that metrics.jsonl holds.
  std::vector<int> steps() const {
    std::istringstream lines(metrics());
    std::vector<int> steps;
    for (std::string line; std::getline(lines, line);) steps.push_back(Json::parse(line)["step"].get<int>());
    return steps;
  }

  test::ScratchFolder folder_;
  const fs::path run_ = folder_ / "run";
  TokenStream stream_;
  TrainConfig config_;
  std::function<void(model::Model&)> change_;
  std::vector<std::string> warnings_;
};

TEST_F(RunResume, ANewRunLeavesWhatOthersWroteAlone) {
  for (const char* name : {"metrics.jsonl", "checkpoints/step-00000004/state.json"}) {
    for (const bool resume : {false, true}) {
      if (resume && fs::path(name).has_parent_path()) continue;  // a checkpoint, then, and it is read
      fs::create_directories((run_ / name).parent_path());
      core::write_file_atomic(run_ / name, "somebody's own");
      const std::string refused = refusal(resume);
      EXPECT_NE(refused.find((run_ / *fs::path(name).begin()).string() + ": is there already; expected"),
                std::string::npos)
          << refused;
      EXPECT_EQ(core::read_file(run_ / name), "somebody's own");
      EXPECT_FALSE(fs::exists(run_ / "training.json"));
      fs::remove_all(run_);
    }
  }
  fs::create_directories(run_ / "checkpoints");  // empty
  core::write_file_atomic(run_ / "notes.txt", "mine");
  EXPECT_EQ(run(false).steps, 5);
}

TEST_F(RunResume, AnotherFirstModelIsRefused) {
  run(false, 3);
  const std::string refused = refusal(true, 2);
  EXPECT_NE(refused.find("checkpoints/step-00000003: the run was started on another model: expected sha256 "),
            std::string::npos)
      << refused;
  // Weights are not all that decides what is trained.
  change_ = [](model::Model& m) { m.config.rope_theta = 500; };
  EXPECT_NE(refusal(true).find("another model"), std::string::npos);
  change_ = nullptr;
  EXPECT_EQ(run(true).steps, 5);
}

TEST_F(RunResume, AnotherConfigurationIsNamed) {
  run(false, 3);
  config_.seed = 7;
  EXPECT_NE(refusal(true).find("step-00000003: the run was started with another configuration: seed was 0, is 7"),
            std::string::npos)
      << refusal(true);
  config_.seed = 0;
  config_.optimiser.lr = 0.25;
  EXPECT_NE(refusal(true).find(": optimiser.lr was 0.001, is 0.25"), std::string::npos) << refusal(true);
  config_.optimiser.lr = 0.001;
  config_.revive.emplace();
  EXPECT_NE(refusal(true).find(": revive was \"not given\", is "), std::string::npos) << refusal(true);
  // Before the first checkpoint too.
  config_.revive.reset();
  fs::remove_all(run_);
  run(false, 1);
  fs::remove_all(run_ / "checkpoints");
  config_.seed = 7;
  EXPECT_NE(refusal(true).find("training.json: the run was started with another configuration: seed was 0, is 7"),
            std::string::npos)
      << refusal(true);
  config_.seed = 0;
  EXPECT_EQ(run(true).first_step, 0);
  ASSERT_EQ(warnings_.size(), 1U);
  EXPECT_NE(warnings_[0].find("holds no checkpoint yet"), std::string::npos);
  EXPECT_EQ(steps(), (std::vector<int>{1, 2, 3, 4, 5}));
}

TEST_F(RunResume, ARunWhoseCheckpointsAreGoneDoesNotBeginAnew) {
  run(false, 3);
  const std::string written = metrics();
  fs::rename(run_ / "checkpoints", folder_ / "away");
  for (const char* cut : {"", "{\"step\": 4, \"lo"}) {  // the process may have been killed within a line
    core::write_file_atomic(run_ / "metrics.jsonl", written + cut);
    EXPECT_EQ(refusal(true), run_.string() +
                                 ": metrics.jsonl goes to step 3, but there is no checkpoint: bring checkpoints/ back, "
                                 "or move metrics.jsonl away to begin anew");
    EXPECT_EQ(metrics(), written + cut);
  }
  fs::rename(folder_ / "away", run_ / "checkpoints");
  EXPECT_EQ(run(true).first_step, 3);
  fs::remove_all(run_ / "checkpoints");
  fs::remove(run_ / "metrics.jsonl");
  EXPECT_EQ(run(true).first_step, 0);
  EXPECT_EQ(steps(), (std::vector<int>{1, 2, 3, 4, 5}));
}

TEST_F(RunResume, ARunKilledAtItsFirstCheckpointBeginsAnew) {
  run(false, 2);  // as far as the checkpoint that is saved every two steps
  fs::remove_all(run_ / "checkpoints");
  EXPECT_EQ(run(true).first_step, 0);
  EXPECT_EQ(steps(), (std::vector<int>{1, 2, 3, 4, 5}));
}

TEST_F(RunResume, MetricsThatAreShorterThanTheCheckpointSaysAreSaid) {
  run(false, 3);
  const std::string all = metrics();
  const std::size_t two = all.find('\n', all.find('\n') + 1) + 1;
  struct Damage {
    std::string text;
    std::vector<int> steps;
  };
  const std::string zeros(all.size() - two - 20, '\0');
  const std::vector<Damage> list{{all.substr(0, two), {1, 2, 4, 5}},
                                 {all.substr(0, two + 9), {1, 2, 4, 5}},
                                 {all.substr(0, two + 20) + zeros, {1, 2, 4, 5}},
                                 {"", {4, 5}}};
  fs::copy(run_, folder_ / "before", fs::copy_options::recursive);
  for (const Damage& damage : list) {
    fs::remove_all(run_);
    fs::copy(folder_ / "before", run_, fs::copy_options::recursive);
    core::write_file_atomic(run_ / "metrics.jsonl", damage.text);
    warnings_.clear();
    EXPECT_EQ(run(true).steps, 5);
    EXPECT_EQ(steps(), damage.steps);
    EXPECT_EQ(metrics().find('\0'), std::string::npos);
    ASSERT_EQ(warnings_.size(), 1U);
    EXPECT_NE(warnings_[0].find("metrics.jsonl: expected " + std::to_string(all.size()) + " bytes"), std::string::npos)
        << warnings_[0];
  }
  // Lines behind the checkpoint are cut off in silence: they are written again.
  fs::remove_all(run_);
  fs::copy(folder_ / "before", run_, fs::copy_options::recursive);
  core::write_file_atomic(run_ / "metrics.jsonl", all + "{\"step\": 4}\n{\"st");
  warnings_.clear();
  run(true);
  EXPECT_TRUE(warnings_.empty());
  EXPECT_EQ(steps(), (std::vector<int>{1, 2, 3, 4, 5}));
}

TEST_F(RunResume, NobodyElseRunsInTheFolderWhileTheResultIsHeld) {
  std::optional<RunResult> result = run(false);
  std::optional<RunResult> copy = result;
  for (std::optional<RunResult>* held : {&result, &copy}) {
    EXPECT_EQ(refusal(true), (run_ / "metrics.jsonl").string() + ": another run is writing to it");
    held->reset();
  }
  EXPECT_EQ(run(true).first_step, 5);
}

TEST_F(RunResume, MetricsOfSomebodyElseStay) {
  run(false, 3);
  const std::string own(metrics().size() + 100, 'x');
  core::write_file_atomic(run_ / "metrics.jsonl", own);
  EXPECT_NE(refusal(true).find("metrics.jsonl: expected the end of a line behind "), std::string::npos)
      << refusal(true);
  EXPECT_EQ(metrics(), own);
}

TEST_F(RunResume, OtherArithmeticIsWarnedAbout) {
  run(false, 3);
  fs::copy(run_, folder_ / "before", fs::copy_options::recursive);
  const Json good = Json::parse(core::read_file(run_ / "checkpoints/step-00000003/state.json"));
  const std::string here = "machine, " + describe_products();
  EXPECT_EQ(good["machine"], here);
  EXPECT_EQ(good["arithmetic"], kTrainingArithmetic);
  struct Other {
    std::function<void(Json&)> change;
    std::string warning;
  };
  const std::vector<Other> list{
      {[](Json& j) { j["arithmetic"] = 1; }, "whose steps compute otherwise (arithmetic 3, it was 1): it will not end"},
      {[](Json& j) { j["machine"] = "machine, others"; }, "goes on on " + here + ", it was started on machine, others"},
      {[](Json&) {}, ""}};
  for (const Other& other : list) {
    fs::remove_all(run_);
    fs::copy(folder_ / "before", run_, fs::copy_options::recursive);
    Json j = good;
    other.change(j);
    core::write_file_atomic(run_ / "checkpoints/step-00000003/state.json", j.dump());
    warnings_.clear();
    EXPECT_EQ(run(true).steps, 5);
    ASSERT_EQ(warnings_.size(), other.warning.empty() ? 0U : 1U);
    if (!warnings_.empty()) {
      EXPECT_NE(warnings_[0].find(other.warning), std::string::npos) << warnings_[0];
    }
  }
}

TEST(Products, AreThoseOfProcessorAndInstructionSet) {
  const std::string active(kernels::active().name);
  const auto names = [](const std::string& what) { return describe_products().find(what) != std::string::npos; };
  EXPECT_EQ(names("int8"), tensor::multiplies_int8());
  EXPECT_EQ(names("products: bf16") || names("int8, bf16"), tensor::multiplies_bf16());
  EXPECT_EQ(names("attention in bf16"), kernels::active().multiplies_bf16);
  kernels::force_isa("reference");
  EXPECT_FALSE(names("attention"));
  EXPECT_EQ(names("no native"), !tensor::multiplies_int8() && !tensor::multiplies_bf16());
  kernels::force_isa(active);
}

TEST_F(RunResume, DamagedStatesAreNamed) {
  run(false, 3);
  const fs::path file = run_ / "checkpoints/step-00000003/state.json";
  const Json good = Json::parse(core::read_file(file));
  const auto expect = [&](const std::function<void(Json&)>& damage, const std::string& what) {
    Json j = good;
    damage(j);
    core::write_file_atomic(file, j.dump());
    const std::string refused = refusal(true);
    EXPECT_NE(refused.find(file.string()), std::string::npos) << refused;
    EXPECT_NE(refused.find(what), std::string::npos) << refused;
  };
  expect([](Json& j) { j.erase("version"); }, "expected a checkpoint of version 3, found version 1");
  expect([](Json& j) { j["version"] = 4; }, "found version 4");
  expect([](Json& j) { j["step"] = -3; }, "(step): expected a whole number from 0 to ");
  expect([](Json& j) { j["step"] = std::uint64_t{18446744073709551615U}; }, "found 18446744073709551615");
  expect([](Json& j) { j["step"] = j["optimiser_steps"] = 2; }, "expected that of step-00000003, found 2");
  expect([](Json& j) { j["optimiser_steps"] = 4; }, "(optimiser_steps): expected a whole number from 3 to 3, found 4");
  expect([](Json& j) { j["monitor"]["best_step"] = 9; }, "(best_step): expected a whole number from -1 to 3, found 9");
  expect([](Json& j) { j["monitor"]["evaluations_since"] = "3"; }, "(evaluations_since)");
  expect([](Json& j) { j.erase("base_sha256"); }, "base_sha256");
  expect([](Json& j) { j.erase("arithmetic"); }, "arithmetic");
  expect([](Json& j) { j = Json::array(); }, "what a checkpoint holds");
  core::write_file_atomic(file, good.dump());
  EXPECT_EQ(run(true).steps, 5);
}

TEST_F(RunResume, AChangedBitOfWeightsOrMomentsIsRefused) {
  run(false, 3);
  const fs::path file = run_ / "checkpoints/step-00000003/state.safetensors";
  const std::string good = core::read_file(file);
  for (const std::size_t from_end : {std::size_t{1}, std::size_t{1000}, good.size() / 2}) {
    std::string bad = good;
    char& byte = bad[bad.size() - from_end];
    byte = static_cast<char>(byte ^ 1);
    core::write_file_atomic(file, bad);
    const std::string refused = refusal(true);
    EXPECT_NE(refused.find(file.string()), std::string::npos) << refused;
    EXPECT_NE(refused.find("expected the SHA-256 that state.json has"), std::string::npos) << refused;
  }
  core::write_file_atomic(file, good);
  EXPECT_EQ(run(true).steps, 5);
}

TEST_F(RunResume, CheckpointsWithoutASumOfTheirValuesGoOn) {
  run(false, 3);
  const fs::path file = run_ / "checkpoints/step-00000003/state.json";
  Json j = Json::parse(core::read_file(file));
  EXPECT_EQ(j.at("values_sha256").get<std::string>().size(), 64U);
  j.erase("values_sha256");
  core::write_file_atomic(file, j.dump());
  EXPECT_EQ(run(true).steps, 5);
}

TEST_F(RunResume, WhatAKilledProcessMovedAwayComesBack) {
  const auto put = [&](const std::string& name, const std::string& text) {
    fs::create_directories(run_ / name);
    core::write_file_atomic(run_ / name / "file", text);
  };
  put("best.tmp.17.0.old", "old");
  put("best.tmp.17.0", "new");
  put("best.tmp.mine.old", "mine");
  put("best.old", "mine");
  remove_leftovers(run_ / "best");
  EXPECT_EQ(core::read_file(run_ / "best/file"), "old");
  put("best.tmp.18.3.old", "older");
  remove_leftovers(run_ / "best");
  EXPECT_EQ(core::read_file(run_ / "best/file"), "old");
  std::vector<std::string> left;
  for (const fs::directory_entry& entry : fs::directory_iterator(run_)) left.push_back(entry.path().filename());
  std::sort(left.begin(), left.end());
  EXPECT_EQ(left, (std::vector<std::string>{"best", "best.old", "best.tmp.mine.old"}));
}

TEST_F(RunResume, WhatStandsInTheWayOfCheckpointsIsNamed) {
  core::write_file_atomic(folder_ / "file", "no folder");
  const auto parameters = Parameters::random(test::TinyModel::make(test::small_shape()), 0.02, 1);
  Adamw optimiser(*parameters, config_.optimiser);
  EXPECT_NE(message_of([&] { save_checkpoint(folder_ / "file", *parameters, optimiser, {}, 1); }).find("file: "),
            std::string::npos);
  EXPECT_THROW(save_checkpoint(folder_ / "file", *parameters, optimiser, {}, 1), OutputError);
}

TEST_F(RunResume, OnlyTheHeldOutPartDecidesAboutOverfitting) {
  config_.evaluate_every = 1;
  config_.hold_out = 0.1;
  config_.stop_on_overfitting = true;
  config_.overfit.patience = 2;
  for (const bool held_out : {true, false}) {
    const auto parameters = Parameters::random(test::TinyModel::make(test::small_shape()), 0.02, 1);
    double nll = 1;
    RunHooks hooks;
    hooks.evaluate = [&](const model::Model&) {
      Evaluation e;
      e.mean_nll = nll++;  // ever worse
      e.is_held_out = held_out;
      return std::vector<Evaluation>{e};
    };
    const RunResult r = run_training(config_, *parameters, stream_, folder_ / (held_out ? "a" : "b"), false, "", hooks);
    EXPECT_EQ(r.end, held_out ? RunEnd::overfitting : RunEnd::done);
    EXPECT_EQ(r.best_step, held_out ? 1 : -1);
  }
}

/// A run whose held-out text is read best after step 3 of 5, and what is kept of it.
class BestOfRun : public RunResume {
 protected:
  BestOfRun() {
    config_.evaluate_every = 1;
    config_.checkpoint_every = 4;
    config_.hold_out = 0.1;
    config_.stop_on_overfitting = true;
  }

  /// Runs to the end. `refuse` says after how many steps the model cannot be kept.
  RunResult look(const std::string& name, bool resume, std::int64_t refuse) {
    const auto parameters = Parameters::random(test::TinyModel::make(test::small_shape()), 0.02, 1);
    RunHooks hooks;
    std::int64_t step = resume ? read_run_state(*newest_checkpoint(folder_ / name / "checkpoints")).step : 0;
    hooks.step = [&](const StepRecord& r) { step = r.step; };
    hooks.warn = [&](const std::string& line) { warnings_.push_back(line); };
    hooks.evaluate = [&](const model::Model&) {
      Evaluation e;
      e.mean_nll = 1 + std::abs(static_cast<double>(step - 3)) / 1000;
      e.is_held_out = true;
      return std::vector<Evaluation>{e};
    };
    hooks.best = [&](const model::Model&) {
      if (step == refuse) throw OutputError("best: something stands there");
      kept_.push_back(step);
      return "model of step " + std::to_string(step);
    };
    const RunResult result = run_training(config_, *parameters, stream_, folder_ / name, resume, "machine", hooks);
    weights_.clear();
    for (const Parameter& p : parameters->all()) {
      weights_.insert(weights_.end(), p.master.data(), p.master.data() + p.size());
    }
    return result;
  }

  /// Lines of metrics.jsonl: the step of each, and whether it is a look.
  std::vector<std::pair<int, bool>> lines(const std::string& name) const {
    std::istringstream text(core::read_file(folder_ / name / "metrics.jsonl"));
    std::vector<std::pair<int, bool>> found;
    for (std::string line; std::getline(text, line);) {
      const Json j = Json::parse(line);
      found.emplace_back(j["step"].get<int>(), j.contains("evaluation"));
    }
    return found;
  }

  std::vector<std::int64_t> kept_;
  std::vector<float> weights_;
};

TEST_F(BestOfRun, WhatCannotBeKeptLosesNoStep) {
  ASSERT_EQ(look("whole", false, 0).best_step, 3);
  EXPECT_EQ(kept_, (std::vector<std::int64_t>{1, 2, 3}));
  const std::vector<float> whole = weights_;
  for (const std::int64_t refused : {3, 1}) {
    const std::string name = "cut" + std::to_string(refused);
    kept_.clear();
    warnings_.clear();
    for (const bool resume : {false, true}) {  // refused twice
      EXPECT_EQ(message_of([&] { look(name, resume, refused); }), "best: something stands there");
    }
    ASSERT_EQ(warnings_.size(), 2U);
    EXPECT_EQ(warnings_[0], "step " + std::to_string(refused) +
                                ": the best model so far cannot be kept; a checkpoint is saved from which --resume "
                                "goes on");
    EXPECT_EQ(newest_checkpoint(folder_ / name / "checkpoints")->filename(), "step-0000000" + std::to_string(refused));
    const RunResult result = look(name, true, 0);
    EXPECT_EQ(result.first_step, refused);
    EXPECT_EQ(result.best_step, 3);
    EXPECT_EQ(result.best_sha256, "model of step 3");
    EXPECT_EQ(kept_, (std::vector<std::int64_t>{1, 2, 3}));
    EXPECT_EQ(weights_, whole);
    EXPECT_EQ(lines(name), lines("whole"));
  }
}

TEST_F(BestOfRun, WhatCannotBeKeptAfterTheLastStepIsKeptLater) {
  config_.steps = 3;
  EXPECT_EQ(message_of([&] { look("run", false, 3); }), "best: something stands there");
  EXPECT_EQ(kept_, (std::vector<std::int64_t>{1, 2}));
  EXPECT_EQ(look("run", true, 0).best_step, 3);
  EXPECT_EQ(look("run", true, 0).best_step, 3);  // what has been kept is not kept again
  EXPECT_EQ(kept_, (std::vector<std::int64_t>{1, 2, 3}));
  EXPECT_EQ(lines("run").size(), 6U);
}

TEST_F(BestOfRun, ARunThatGoesOnKnowsWhichModelWasKept) {
  look("run", false, 0);
  for (const auto& [step, best] : {std::pair{5, 3}, std::pair{4, 3}}) {
    kept_.clear();
    const RunResult result = look("run", true, 0);
    EXPECT_EQ(result.first_step, step);
    EXPECT_EQ(result.best_step, best);
    EXPECT_EQ(result.best_sha256, "model of step 3");
    EXPECT_TRUE(kept_.empty());
    fs::remove_all(folder_ / "run/checkpoints/step-00000005");
  }
}

}  // namespace
}  // namespace rpt::train
