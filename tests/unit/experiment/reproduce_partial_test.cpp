// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "rpt/core/atomic_file.h"
#include "rpt/core/error.h"
#include "rpt/core/parallel.h"
#include "rpt/experiment/fine_tune.h"
#include "rpt/experiment/reproduce_report.h"
#include "rpt/prune/apply.h"
#include "rpt/train/token_stream.h"
#include "tests/shared_data.h"
#include "tests/unit/experiment/reproduce_testing.h"

/// Runs of `rpt reproduce` that are not finished.
namespace rpt::experiment {
namespace {

TEST(UnfinishedReproduce, ReportsWhatIsThere) {
  const ReproduceConfig config = config_of(5);
  const ReproduceResult whole = run_of(config);
  const std::string all = std::to_string(whole.cells.size());
  ASSERT_TRUE(is_complete(whole, config));
  EXPECT_EQ(reproduce_known_issues(config, whole, findings_of(whole, config)).find(" of " + all + " stages"),
            std::string::npos);
  // Ten stages are the declared contrast's.
  for (const std::size_t done : {1U, 9U, 10U, 11U, 40U}) {
    ReproduceResult result = whole;
    result.cells.resize(done);
    ASSERT_FALSE(is_complete(result, config));
    const Findings findings = findings_of(result, config);
    EXPECT_EQ(!findings.comparisons.empty() && findings.comparisons.front().declared, done >= 10) << done;
    const std::string json = report::to_json(reproduce_report(config, result, findings));
    EXPECT_EQ(json.find("It is missing: not all bases") != std::string::npos, done < 10) << done;
    const auto figures = nlohmann::json::parse(json)["figures"];
    EXPECT_EQ(figures["complete"], false);
    EXPECT_EQ(figures["planned_stages"], whole.cells.size());
    EXPECT_EQ(figures["cells"].size(), done);
    const std::string stages = std::to_string(done) + " of " + all + " stages";
    EXPECT_EQ(reproduce_known_issues(config, result, findings).rfind(stages, 0), 0U) << stages;
    EXPECT_NE(reproduce_tracking(config, result, "here").find("base1-own-no-pruning-tuned1"), std::string::npos);
  }
}

TEST(UnfinishedReproduce, AFullRunIsNotCompleteBeforeTheReferencesPipelineRanOnEveryBase) {
  const ReproduceConfig config = config_of(5, true);
  ReproduceResult result = run_of(config);
  EXPECT_TRUE(is_complete(result, config));
  const auto figures = [&] {
    const std::string report = report::to_json(reproduce_report(config, result, findings_of(result, config)));
    return nlohmann::json::parse(report)["figures"];
  };
  EXPECT_EQ(figures()["legacy"][4]["model"], "base 5");
  EXPECT_EQ(figures()["legacy"][4]["legacy_perplexity"], 94.0);
  result.legacy.pop_back();
  EXPECT_FALSE(is_complete(result, config));
  EXPECT_EQ(figures()["complete"], false);
  EXPECT_EQ(figures()["legacy"].size(), 4U);
}

TEST(UnfinishedReproduce, SaysNothingOfMeansOfDifferentBases) {
  const ReproduceConfig config = config_of(5);
  ReproduceResult result = run_of(config);
  const auto here = [&] {
    const auto report = report::to_json(reproduce_report(config, result, findings_of(result, config)));
    return nlohmann::json::parse(report)["figures"]["reference"][1]["here_change_percent"];
  };
  EXPECT_TRUE(here().is_number());
  std::erase_if(result.cells, [](const auto& entry) {
    return entry.first.base == 3 && entry.first.arm.treatment == Treatment::legacy;
  });
  EXPECT_TRUE(here().is_null());
}

TEST(UnfinishedReproduce, FirstFineTunesCountWhileSecondOnesAreMissing) {
  const ReproduceConfig config = config_of(5, true, 2);
  ReproduceResult result = run_of(config);
  std::erase_if(result.cells, [](const auto& entry) { return entry.first.base > 1 && entry.first.fine_tune == 1U; });
  const auto arm = arm_of(result, config, BaseGauge::own, declared_arm(), true);
  ASSERT_TRUE(arm);
  EXPECT_EQ(arm->models.size(), 5U);
  for (const ModelScores& model : arm->models) EXPECT_EQ(model.seed, 0U);
  std::erase_if(result.cells, [](const auto& entry) { return entry.first.base == 4 && entry.first.fine_tune == 0U; });
  EXPECT_FALSE(arm_of(result, config, BaseGauge::own, declared_arm(), true));
}

// A second fine-tune that goes 5 % worse, and is done of no pruning and of the declared arm alone, is no effect of
// others.
TEST(UnfinishedReproduce, ComparesFineTunesThatBothArmsHave) {
  const ReproduceConfig config = config_of(5, true, 2);
  ReproduceResult result = run_of(config);
  const TreatmentArm random{.treatment = Treatment::score,
                            .dose = kDeclaredDose,
                            .score = prune::Score::random,
                            .scope = prune::Scope::global};
  std::erase_if(result.cells, [&](const auto& entry) {
    return entry.first.fine_tune == 1U && entry.first.arm != untouched_arm() && entry.first.arm != declared_arm();
  });
  for (auto& [cell, found] : result.cells) {
    if (cell.fine_tune != 1U) continue;
    for (double& nll : found.series["nll"]) nll *= 1.05;
  }
  std::size_t seen = 0;
  for (const Comparison& c : findings_of(result, config).comparisons) {
    if (!c.fine_tuned || c.retention) continue;
    if (c.declared) {
      EXPECT_EQ(c.seeds, 2U);
    }
    if (c.arm != title(random)) continue;
    EXPECT_EQ(c.seeds, 1U);
    EXPECT_NEAR(c.contrast.estimate, 0, 1e-9) << c.name << " against " << c.against;
    ++seen;
  }
  EXPECT_EQ(seen, 1U);
}

TEST_F(ReproduceFolder, ALesserReportLeavesAFullerOne) {
  const ReproduceConfig config = config_of(5);
  const ReproduceResult whole = run_of(config);
  const Findings findings = findings_of(whole, config);
  EXPECT_FALSE(holds_fuller_report(folder_.path(), whole, findings));
  core::write_file_atomic(folder_ / "report.json", report::to_json(reproduce_report(config, whole, findings)));
  EXPECT_FALSE(holds_fuller_report(folder_.path(), whole, findings)) << "the same";
  ReproduceResult less = whole;
  less.cells.pop_back();
  EXPECT_TRUE(holds_fuller_report(folder_.path(), less, findings)) << "fewer models";
  Findings fewer = findings;
  fewer.comparisons.pop_back();
  EXPECT_TRUE(holds_fuller_report(folder_.path(), whole, fewer)) << "fewer contrasts";
  core::write_file_atomic(folder_ / "report.json", "{damaged");
  EXPECT_FALSE(holds_fuller_report(folder_.path(), less, fewer));
}

TEST_F(ReproduceFolder, FilesThatSomebodyHasEditedAreLeft) {
  RunDirectory run(folder_ / "run", "{}");
  const auto written = [&](const ReproduceConfig& config) {
    const ReproduceResult result = run_of(config);
    Surroundings around;
    std::string said;
    around.say = [&](const std::string& line) { said += line + "\n"; };
    write_reproduce_report(run, config, result, findings_of(result, config), around);
    return said;
  };
  const auto file = [&](const char* name) { return core::read_file(run.folder() / name); };
  EXPECT_EQ(written(config_of(2)).find("left as it is"), std::string::npos);
  const std::string readme = file("README.md");
  const std::string citation = file("CITATION.cff");
  EXPECT_EQ(written(config_of(3)).find("left as it is"), std::string::npos) << "its own may be renewed";
  EXPECT_NE(file("README.md"), readme);
  EXPECT_NE(file("CITATION.cff"), citation);
  for (const char* name : {"README.md", "CITATION.cff"}) {
    core::write_file_atomic(run.folder() / name, "mine");
    const std::string said = written(config_of(2));
    EXPECT_NE(said.find(std::string(name) + ": is not what this run wrote, and is left as it is"), std::string::npos)
        << said;
    EXPECT_EQ(file(name), "mine");
  }
  std::filesystem::remove(run.folder() / "README.md");
  written(config_of(2));
  EXPECT_EQ(file("README.md"), readme);
  EXPECT_NE(file("KNOWN_ISSUES.md").find("2 of at least 5 bases"), std::string::npos);
}

/// A run on one embedded model, with hardly any training.
class ReproduceRun : public ReproduceFolder {
 protected:
  ReproduceRun() {
    core::set_threads(1);
    bases_.push_back(model::open_model(test::source_dir() / "models/seedling"));
    config_.tune.steps = 2;
    config_.tune.batch = 1;
    config_.tune.context = 16;
    config_.tune.optimiser.relative = true;
    config_.tune.hold_out = 0;
    config_.stride = 64;
    config_.calibration_tokens = 32;
    std::string text;
    for (int i = 0; i < 20; ++i) text += "The house on the hill stood alone, and nobody came before the winter. ";
    texts_.train = {{.name = "hill", .text = text}};
    texts_.test.documents = {"In spring they came."};
    plan_ = plan_cells(config_);
    run_ = std::make_unique<RunDirectory>(folder_ / "run", to_json(config_, bases_, texts_));
    // What an earlier run finished behind the stages at hand.
    StageFigures later = made_up(plan_[7]);
    for (const char* series : {"nll", "tokens"}) later.series[series].resize(1);
    later.numbers.erase("sentences_nll");
    static_cast<void>(run_->stage(plan_[7].stage(), [&] { return later; }));
  }

  ~ReproduceRun() override { core::set_threads(0); }

  bool done(std::size_t stage) const { return run_->finished(plan_[stage].stage()).has_value(); }

  void expect_what_is_there(const ReproduceResult& result) const {
    ASSERT_EQ(result.cells.size(), 4U);
    for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(result.cells[i].first, plan_[i]);
    EXPECT_EQ(result.cells[3].first, plan_[7]);
    EXPECT_FALSE(is_complete(result, config_));
    EXPECT_FALSE(result.bases_sha256.empty());
    EXPECT_FALSE(report::to_json(reproduce_report(config_, result, findings_of(result, config_))).empty());
  }

  Bases bases_;
  ReproduceConfig config_ = config_of(1);
  Texts texts_;
  std::vector<ReproduceCell> plan_;
  std::unique_ptr<RunDirectory> run_;
};

TEST_F(ReproduceRun, ReturnsWhatIsFinishedWhereItIsInterrupted) {
  Surroundings around;
  around.interrupted = [&] { return done(2); };
  const ReproduceResult result = reproduce(config_, bases_, texts_, *run_, around);
  EXPECT_TRUE(result.interrupted && result.failures.empty());
  expect_what_is_there(result);
}

TEST_F(ReproduceRun, AStageThatFailsByItsNumbersKeepsBackNoOther) {
  Surroundings around;
  std::string said;
  around.say = [&](const std::string& line) { said += line + "\n"; };
  int asked = 0;
  around.interrupted = [&]() -> bool {
    // Stage 1 is asked for, and fails; what comes behind it is done, up to the stage that is interrupted.
    if (done(0) && ++asked == 1) throw NumericError("step 7: the training has diverged", 0);
    return done(3);
  };
  const ReproduceResult result = reproduce(config_, bases_, texts_, *run_, around);
  ASSERT_EQ(result.cells.size(), 4U);
  const std::size_t finished[] = {0, 2, 3, 7};
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(result.cells[i].first, plan_[finished[i]]);
  EXPECT_TRUE(result.interrupted);
  ASSERT_EQ(result.failures.size(), 1U);
  EXPECT_EQ(result.failures[0].stage, plan_[1].stage());
  EXPECT_NE(said.find("stage " + plan_[1].stage() + " failed, and the others go on"), std::string::npos) << said;
  EXPECT_NE(said.find("4/" + std::to_string(plan_.size()) + " "), std::string::npos) << said;
  const std::string failed = "Failed: stage " + plan_[1].stage() + ": step 7: the training has diverged.";
  const std::string report = report::to_json(reproduce_report(config_, result, findings_of(result, config_)));
  EXPECT_NE(report.find(failed), std::string::npos);
}

TEST_F(ReproduceRun, ReturnsWhatIsFinishedWhereStagesFailByTheirNumbers) {
  Surroundings around;
  around.interrupted = [&]() -> bool {
    if (done(2)) throw NumericError("step 7: the training has diverged", 0);
    return false;
  };
  const ReproduceResult result = reproduce(config_, bases_, texts_, *run_, around);
  expect_what_is_there(result);
  EXPECT_FALSE(result.interrupted);
  EXPECT_EQ(result.failures.size(), plan_.size() - 4);
  try {
    result.throw_failures();
    FAIL();
  } catch (const NumericError& e) {
    EXPECT_EQ(e.what(), "stage " + plan_[3].stage() + ": step 7: the training has diverged; " +
                            std::to_string(plan_.size() - 5) + " more failed too");
  }
}

// Pruned to 5 %, fine-tuned, pruned on to 10 % and fine-tuned: as by hand.
TEST_F(ReproduceRun, AProgressiveArmIsPrunedLevelByLevel) {
  config_.full = true;
  TreatmentArm arm = declared_arm();
  arm.levels = 2;
  const ReproduceCell cell{0, BaseGauge::own, arm, 0};
  ASSERT_EQ(cell.stage(), "base1-own-magnitude-per-tensor-10-in-2-fine-tunes-tuned1");
  for (const ReproduceCell& other : plan_cells(config_)) {  // all others are done already
    if (other == cell || run_->finished(other.stage())) continue;
    static_cast<void>(run_->stage(other.stage(), [&] { return made_up(other); }));
  }
  // Killed behind the first level, it goes on with the second.
  Surroundings killed;
  const auto second = run_->stage_folder(cell.stage()) / "level-2";
  killed.interrupted = [&] { return std::filesystem::exists(second); };
  ASSERT_TRUE(reproduce(config_, bases_, texts_, *run_, killed).interrupted);
  ASSERT_TRUE(std::filesystem::exists(second.parent_path() / "level-1/model"));
  Surroundings until_done;  // the reference's pipeline, which comes then, asks for a longer text
  until_done.interrupted = [&] { return run_->finished(cell.stage()).has_value(); };
  const ReproduceResult result = reproduce(config_, bases_, texts_, *run_, until_done);
  const StageFigures* found = result.find(cell);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->list("losses").size(), 4U);

  const model::Model& base = *bases_[0];
  const auto stream = train::encode_documents(texts_.train, base.vocabulary(), train::separators_of(base.vocabulary()));
  train::TrainConfig tune = config_.tune;
  tune.seed = seed_of(config_, cell);
  const model::Masks first = make_masks(base, at_level(arm, 0.05), 0, nullptr);
  auto model = fine_tune(prune::apply_masks(base, first), &first, tune, stream, folder_ / "first", {});
  const prune::Progress progress{&base, &first};
  const model::Masks masks = make_masks(*model, at_level(arm, 0.1), 0, nullptr, &progress);
  EXPECT_EQ(found->text("masks_sha256"), model::sha256_of(masks));
  EXPECT_NE(masks, make_masks(base, at_level(arm, 0.1), 0, nullptr)) << "not those of pruning once";
  for (std::size_t i = 0; i < masks.linears.size(); ++i)
    EXPECT_GT(masks.linears[i].pruned(), first.linears[i].pruned());
  ++tune.seed;
  model = fine_tune(prune::apply_masks(*model, masks), &masks, tune, stream, folder_ / "second", {});
  EXPECT_EQ(found->text("nll_sha256"), scored(*model, texts_.test, {.stride = config_.stride}, {}).text("nll_sha256"));
}

TEST(Reproduce, AProgressiveArmIsHeldAgainstAsManyFineTunes) {
  const ReproduceConfig config = config_of(5, true);
  TreatmentArm arm = declared_arm();
  arm.levels = 2;
  EXPECT_EQ(levels_of(arm), (std::vector<double>{0.05, 0.1}));
  EXPECT_EQ(levels_of(control_of(arm)), (std::vector<double>{0, 0}));
  EXPECT_EQ(work_of({0, BaseGauge::own, arm, 0}, config)[Work::tuning], 2.0 * static_cast<double>(config.tune.steps));
  int cells = 0;
  for (const ReproduceCell& c : plan_cells(config)) {
    if (c.arm.levels == 1) continue;
    EXPECT_TRUE(c.fine_tune && c.gauge == BaseGauge::own) << c.stage();
    ++cells;
  }
  EXPECT_EQ(cells, 2 * 5);
  for (const ReproduceCell& c : plan_cells(config_of(5))) EXPECT_EQ(c.arm.levels, 1) << "a quick run has none";
  bool compared = false;
  for (const Comparison& c : findings_of(run_of(config), config).comparisons) {
    if (c.arm != title(arm) || c.retention) continue;
    EXPECT_EQ(c.against, "no pruning, in 2 fine-tunes, fine-tuned, gauge own");
    compared = true;
  }
  EXPECT_TRUE(compared);
}

}  // namespace
}  // namespace rpt::experiment
