// SPDX-License-Identifier: MIT
#include "rpt/experiment/reproduce.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "rpt/experiment/reference_figures.h"
#include "rpt/experiment/reproduce_plots.h"
#include "rpt/experiment/reproduce_report.h"
#include "rpt/experiment/reproduce_samples.h"
#include "tests/tiny_model.h"

namespace rpt::experiment {
namespace {

ReproduceConfig config_of(std::size_t bases, bool full = false, std::int64_t seeds = 1) {
  ReproduceConfig config;
  for (std::size_t b = 0; b < bases; ++b) config.bases.push_back("base " + std::to_string(b + 1));
  config.text = "train.txt";
  config.test = "it's a test.jsonl";
  config.full = full;
  config.seeds = seeds;
  config.tune.steps = 20;
  return config;
}

/// A run whose fine-tune alone lowers every NLL by 10 %, whose pruning costs 1 % more by magnitude within tensors, 2 %
/// within the model, in the second gauge 4 %, and nothing otherwise. Bases and documents add what they add.
StageFigures made_up(const ReproduceCell& cell) {
  constexpr std::size_t kDocuments = 12;
  const bool by_magnitude = cell.arm.treatment == Treatment::score && cell.arm.score == prune::Score::magnitude;
  double cost = by_magnitude ? 0.01 : 0;
  if (by_magnitude && cell.arm.scope == prune::Scope::global) cost = cell.gauge == BaseGauge::own ? 0.02 : 0.04;
  StageFigures f;
  double sum = 0;
  double tokens = 0;
  // A fine-tune forgets 3 % of another text, whatever was pruned.
  f.series["retention_tokens"] = std::vector<double>(9, 100.0);
  for (std::size_t d = 0; d < 9; ++d) {
    f.series["retention_nll"].push_back(400 + static_cast<double>(d + cell.base) + (cell.fine_tune ? 12.0 : 0.0));
  }
  for (std::size_t d = 0; d < kDocuments; ++d) {
    const auto length = static_cast<double>(100 + 10 * d);
    const double noise = cost * (0.02 * static_cast<double>(d % 3) + 0.03 * static_cast<double>(cell.base % 2));
    f.series["tokens"].push_back(length);
    f.series["nll"].push_back(length * (4 + 0.1 * static_cast<double>(cell.base)) *
                              ((cell.fine_tune ? 0.9 : 1.0) + cost + noise));
    sum += f.series["nll"].back();
    tokens += length;
  }
  f.numbers = {{"mean_nll", sum / tokens},
               {"perplexity", 50},
               {"scored_tokens", tokens},
               {"guess_tuning", 1},
               {"guess_scoring", 1},
               {"guess_masking", 1},
               {"guess_retention", 0},
               {"seconds_scoring", 2},
               {"seconds_masking", 0.1},
               {"codes_zero_share", 0.4},
               {"codes_removed_share", cell.arm.dose},
               {"codes_gained_share", 0},
               {"codes_turned_share", 0},
               {"latents_zeroed_share", cell.arm.dose},
               {"dose blk.0.attn_q", cell.arm.dose},
               {"dose blk.10.attn_q", cell.arm.dose}};
  if (cell.fine_tune) {
    f.numbers["seconds_tuning"] = 20;
    f.series["losses"].assign(20, 5.0);
    f.numbers["seconds_retention"] = 1;
  }
  // Pruning makes one of the bases loop and costs another more than a half of the sentences' perplexity.
  f.numbers["coherent"] = by_magnitude && cell.base == 1 ? 0 : 1;
  f.numbers["sentences_nll"] = 6 + (by_magnitude && cell.base == 2 ? 0.5 : 0.0);
  f.texts["sample 1"] = "The capital of France is base " + std::to_string(cell.base + 1);
  f.texts["nll_sha256"] = std::to_string(cell.base) + (cell.fine_tune ? " tuned " : " raw ") + std::to_string(cost);
  f.texts["machine"] = "a machine";
  f.texts["masks_sha256"] = f.texts["nll_sha256"];
  return f;
}

class ReproduceFolder : public ::testing::Test {
 protected:
  test::ScratchFolder folder_;
};

ReproduceResult run_of(const ReproduceConfig& config) {
  ReproduceResult result;
  for (const ReproduceCell& cell : plan_cells(config)) result.cells.emplace_back(cell, made_up(cell));
  return result;
}

const Comparison& find(const Findings& findings, const std::string& name, const std::string& against) {
  for (const Comparison& c : findings.comparisons) {
    if (c.name == name && c.against == against) return c;
  }
  throw std::runtime_error("no " + name + " against " + against);
}

// In the second gauge an arm that does not depend on it is fine-tuned once, and fine-tunes differ.
TEST(Reproduce, WhatDoesNotDependOnTheGaugeLiesOnThePlotsDiagonal) {
  ReproduceConfig config = config_of(5, true);
  config.seeds = 2;
  ReproduceResult result = run_of(config);
  for (auto& [cell, found] : result.cells) {
    const double factor = 1 + 0.1 * static_cast<double>(cell.fine_tune.value_or(0)) * (cell.arm.dose > 0 ? 2 : 1);
    for (double& nll : found.series["nll"]) nll *= factor;
  }
  const auto plot = gauge_plot(result, config);
  ASSERT_TRUE(plot);
  int on_diagonal = 0;
  int off = 0;
  for (const report::Series& series : plot->series) {
    if (series.name == "diagonal") continue;
    for (const report::Point& p : series.points) (std::abs(p.x - p.y) < 1e-9 ? on_diagonal : off) += 1;
  }
  EXPECT_EQ(off, 2) << "magnitude global, without training and fine-tuned";
  EXPECT_GE(on_diagonal, 6);
}

TEST(Reproduce, LooksAtSamplesAsTheReferenceDid) {
  const ReproduceConfig config = config_of(5);
  ReproduceResult result = run_of(config);
  const auto raw = samples_table(result, config, false);
  ASSERT_TRUE(raw);
  const std::string text = raw->table.to_markdown();
  const auto row_of = [&](const std::string& arm) {
    const std::size_t at = text.find("| " + arm);
    return at == std::string::npos ? "" : text.substr(at, text.find('\n', at) - at);
  };
  const std::string untouched = row_of("no pruning");
  EXPECT_NE(untouched.find("403.43"), std::string::npos) << untouched;
  EXPECT_NE(untouched.find("5 of 5"), std::string::npos) << untouched;
  EXPECT_NE(untouched.find("The capital of France is base 1"), std::string::npos) << untouched;
  const std::string pruned = row_of("magnitude per tensor");
  EXPECT_NE(pruned.find("10.5"), std::string::npos) << pruned;  // exp(0.5 / 5) − 1
  EXPECT_NE(pruned.find("4 of 5"), std::string::npos) << pruned;
  EXPECT_NE(pruned.find("3 of 5"), std::string::npos) << pruned;
  EXPECT_TRUE(samples_table(result, config, true));
  for (auto& [cell, found] : result.cells) found.numbers.erase("coherent");
  EXPECT_FALSE(samples_table(result, config, false));
}

TEST(Reproduce, DrawsNoDoseOfArmsThatTakeNoCode) {
  const ReproduceConfig config = config_of(5);
  const auto plot = dose_plot(findings_of(run_of(config), config), config, false);
  ASSERT_TRUE(plot);
  std::set<std::string> names;
  for (const report::Series& series : plot->series) names.insert(series.name);
  EXPECT_FALSE(names.contains("q and k scales of magnitude global"));
  EXPECT_TRUE(names.contains("random with the scales of magnitude global")) << "and so there is room for all others";
}

TEST(Reproduce, AsksWhatIsForgottenInOneGauge) {
  ReproduceConfig config = config_of(5);
  config.retention = "other.txt";
  int asked = 0;
  for (const ReproduceCell& cell : plan_cells(config)) {
    if (work_of(cell, config)[Work::retention] == 0) continue;
    EXPECT_EQ(cell.gauge, BaseGauge::own) << "no contrast reads it in the other";
    ++asked;
  }
  EXPECT_EQ(asked, 5 * (5 + 1));
}

TEST(Reproduce, SaysThatTooFewDocumentsGiveNoIntervals) {
  const ReproduceConfig config = config_of(5);
  ReproduceResult result = run_of(config);
  for (auto& [cell, found] : result.cells) {
    for (const char* series : {"retention_nll", "retention_tokens"}) found.series[series].resize(3);
  }
  const std::string known = reproduce_known_issues(config, findings_of(result, config));
  EXPECT_NE(known.find("Contrasts on the retention text have 3 of at least 8 documents"), std::string::npos);
}

TEST(Reproduce, BeginsWithTheDeclaredContrast) {
  const std::vector<ReproduceCell> plan = plan_cells(config_of(5));
  // In the second gauge without training: what depends on it, and what does not in one base; no temperatures.
  EXPECT_EQ(plan.size(), 5U * (14U + 5U + 2U * 5U) + 7U);
  for (std::size_t i = 0; i < 10; ++i) {
    EXPECT_TRUE(plan[i].fine_tune && plan[i].gauge == BaseGauge::own);
    EXPECT_TRUE(plan[i].arm == declared_arm() || plan[i].arm == untouched_arm());
  }
  EXPECT_FALSE(plan[10].fine_tune);
}

TEST(Reproduce, FullRunsHoldTheStagesOfQuickOnesAndNoStageTwice) {
  std::set<std::string> full;
  for (const ReproduceCell& cell : plan_cells(config_of(5, true, 2))) {
    EXPECT_TRUE(full.insert(cell.stage()).second) << cell.stage();
  }
  for (const ReproduceCell& cell : plan_cells(config_of(5))) EXPECT_TRUE(full.contains(cell.stage())) << cell.stage();
}

TEST(Reproduce, AFullRunAsksHowFarItIsFromAPlateau) {
  const ReproduceConfig config = config_of(5, true);
  TreatmentArm longer = untouched_arm();
  longer.length = 4;
  const ReproduceCell cell{0, BaseGauge::own, longer, 0};
  EXPECT_EQ(cell.stage(), "base1-own-no-pruning-4-times-as-long-tuned1");
  EXPECT_EQ(work_of(cell, config)[Work::tuning], 4.0 * static_cast<double>(config.tune.steps));
  EXPECT_EQ(tune_of(longer, config.tune).steps, 4 * config.tune.steps);
  int longer_cells = 0;
  for (const ReproduceCell& c : plan_cells(config)) {
    longer_cells += c.arm.length == 4 ? 1 : 0;
    EXPECT_TRUE(c.arm.length == 1 || c.gauge == BaseGauge::own);
  }
  EXPECT_EQ(longer_cells, 2 * 5);
  const Findings findings = findings_of(run_of(config), config);
  EXPECT_NEAR(find(findings, "no pruning, 4 times as long, fine-tuned, gauge own", "no pruning, fine-tuned, gauge own")
                  .contrast.estimate,
              0, 1e-9);
  EXPECT_GT(find(findings, "magnitude per tensor, 10 %, 4 times as long, fine-tuned, gauge own",
                 "no pruning, 4 times as long, fine-tuned, gauge own")
                .contrast.estimate,
            1);
}

TEST(Reproduce, EveryBaseAndFineTuneDrawsAnew) {
  const ReproduceConfig config = config_of(5, true, 2);
  std::map<std::pair<std::size_t, std::int64_t>, std::set<std::uint64_t>> seeds;
  std::set<std::uint64_t> all;
  for (const ReproduceCell& cell : plan_cells(config)) {
    seeds[{cell.base, cell.fine_tune.value_or(0)}].insert(seed_of(config, cell));
    all.insert(seed_of(config, cell));
  }
  EXPECT_EQ(seeds.size(), 10U);
  EXPECT_EQ(all.size(), 10U);
  for (const auto& [who, drawn] : seeds) EXPECT_EQ(drawn.size(), 1U);  // whatever arm and gauge
}

TEST_F(ReproduceFolder, AQuickRunLeavesAFullerOneAlone) {
  RunDirectory run(folder_ / "run", "{}");
  const ReproduceConfig quick = config_of(5);
  for (const ReproduceCell& cell : plan_cells(quick))
    static_cast<void>(run.stage(cell.stage(), [] { return StageFigures{}; }));
  EXPECT_NO_THROW(require_nothing_fuller(quick, run));
  const ReproduceCell beyond = plan_cells(config_of(5, true)).back();
  static_cast<void>(run.stage(beyond.stage(), [] { return StageFigures{}; }));
  EXPECT_NO_THROW(require_nothing_fuller(config_of(5, true), run));
  try {
    require_nothing_fuller(quick, run);
    FAIL();
  } catch (const ConfigError& e) {
    EXPECT_NE(std::string(e.what()).find(beyond.stage()), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("--full --seeds"), std::string::npos) << e.what();
  }
}

TEST_F(ReproduceFolder, FewerSeedsLeaveMoreAlone) {
  RunDirectory run(folder_ / "run", "{}");
  ReproduceConfig three = config_of(5);
  three.seeds = 3;
  for (const ReproduceCell& cell : plan_cells(three))
    static_cast<void>(run.stage(cell.stage(), [] { return StageFigures{}; }));
  EXPECT_NO_THROW(require_nothing_fuller(three, run));
  ReproduceConfig two = three;
  two.seeds = 2;
  try {
    require_nothing_fuller(two, run);
    FAIL();
  } catch (const ConfigError& e) {
    EXPECT_NE(std::string(e.what()).find("; --seeds 3 goes on with it"), std::string::npos) << e.what();
  }
}

TEST(Reproduce, FindsWhatWasPutIn) {
  const ReproduceConfig config = config_of(5);
  const Findings findings = findings_of(run_of(config), config);
  const std::string untuned = "no pruning, without training, gauge own";
  const std::string tuned = "no pruning, fine-tuned, gauge own";
  const Comparison& declared = findings.comparisons.front();
  EXPECT_TRUE(declared.declared);
  EXPECT_EQ(declared.against, tuned);
  EXPECT_NEAR(declared.contrast.estimate, 1.13, 0.03);
  ASSERT_TRUE(declared.contrast.inference);
  EXPECT_EQ(declared.judgement.verdict, Verdict::worsens);
  EXPECT_EQ(std::count_if(findings.comparisons.begin(), findings.comparisons.end(),
                          [](const Comparison& c) { return c.declared; }),
            1);
  EXPECT_EQ(find(findings, tuned, untuned).judgement.verdict, Verdict::improves);
  EXPECT_EQ(find(findings, "code global, 10 %, fine-tuned, gauge own", tuned).judgement.verdict, Verdict::equivalent);
  // What is forgotten is the fine-tune's doing.
  const std::string there = ", retention text";
  EXPECT_NEAR(find(findings, tuned + there, untuned + there).contrast.estimate, 3, 0.1);
  EXPECT_NEAR(find(findings, declared.name + there, tuned + there).contrast.estimate, 0, 1e-9);
  // In the second gauge only what differs there is a contrast of its own.
  const std::string global = "magnitude global, 10 %, fine-tuned, gauge ";
  EXPECT_NEAR(find(findings, global + "own", tuned).contrast.estimate, 2.27, 0.06);
  EXPECT_NEAR(find(findings, global + "2b", tuned).contrast.estimate, 4.53, 0.12);
  EXPECT_GT(find(findings, global + "2b", global + "own").contrast.estimate, 2);
  for (const Comparison& c : findings.comparisons) {
    EXPECT_TRUE(c.gauge == "own" || c.arm == "magnitude global, 10 %") << c.name;
  }
  ASSERT_TRUE(findings.fine_tune_share && findings.fine_tune_share->share);
  EXPECT_NEAR(*findings.fine_tune_share->share, 10.0 / 9.0, 0.02);
  for (const ExactCheck& check : findings.checks) EXPECT_TRUE(check.passed()) << check.name;
}

TEST(Reproduce, SaysWhereAPlaceboChangedSomething) {
  const ReproduceConfig config = config_of(2);
  ReproduceResult result = run_of(config);
  for (auto& [cell, found] : result.cells) {
    if (cell.arm.treatment == Treatment::placebo && cell.base == 1) found.texts["nll_sha256"] = "other";
  }
  const Findings findings = findings_of(result, config);
  const ExactCheck& placebo = findings.checks.front();
  EXPECT_FALSE(placebo.passed());
  EXPECT_EQ(placebo.equal, 2U);
  EXPECT_EQ(placebo.pairs, 3U);  // in the second gauge, the first base alone
  EXPECT_NE(reproduce_known_issues(config, findings).find("Failed: placebo"), std::string::npos);
}

TEST(Reproduce, ClaimsNothingOfFourBases) {
  const ReproduceConfig config = config_of(4);
  const ReproduceResult result = run_of(config);
  const Findings findings = findings_of(result, config);
  for (const Comparison& c : findings.comparisons) {
    EXPECT_FALSE(c.contrast.inference) << c.name;
    EXPECT_EQ(c.judgement.verdict, Verdict::undecided);
    EXPECT_TRUE(c.by_base.front().interval) << "documents are enough for one base by itself";
  }
  EXPECT_NE(report::to_json(reproduce_report(config, result, findings)).find("There is no interval"),
            std::string::npos);
}

TEST(Reproduce, ReportHoldsEveryContrast) {
  const ReproduceConfig config = config_of(5);
  const ReproduceResult result = run_of(config);
  const Findings findings = findings_of(result, config);
  const report::Report r = reproduce_report(config, result, findings);
  const auto figures = nlohmann::json::parse(report::to_json(r))["figures"];
  EXPECT_EQ(figures["contrasts"].size(), findings.comparisons.size());
  for (const auto& c : figures["contrasts"]) {
    EXPECT_EQ(c["interval"].size(), 2U);
    EXPECT_LE(c["interval"][0], c["effect"]);
    EXPECT_GE(c["interval"][1], c["effect"]);
    EXPECT_EQ(c["documents"], c["text"] == "test" ? 12 : 9);
    EXPECT_EQ(c["bases"], 5);
    EXPECT_EQ(c["seeds"], 1);
    EXPECT_NE(c["verdict"], "undecided");
  }
  EXPECT_EQ(figures["cells"].size(), result.cells.size());
  EXPECT_EQ(reproduce_known_issues(config, findings).find("of at least 8 documents"), std::string::npos);
  EXPECT_EQ(figures["machines"], nlohmann::json::array({"a machine"}));
  EXPECT_FALSE(figures["version"].get<std::string>().empty());
  EXPECT_EQ(figures["reference"].size(), reference_figures().size());
  std::size_t plots = 0;
  for (const report::Section& section : r.sections) {
    for (const report::Block& block : section.blocks) {
      const auto* plot = std::get_if<report::Plot>(&block);
      if (plot == nullptr) continue;
      ++plots;
      EXPECT_LE(plot->series.size(), report::kMaxSeries);
    }
  }
  EXPECT_EQ(plots, 5U) << "dose twice, flips, losses, gauge against gauge";
  EXPECT_NE(reproduce_command(config, "OUT").find("--test 'it'\\''s a test.jsonl'"), std::string::npos);
}

TEST(Reproduce, NamesOfFilesNeedNotBeUtf8) {
  ReproduceConfig config = config_of(0);
  config.text = "t\xe4xt.txt";  // Latin-1
  std::string json;
  ASSERT_NO_THROW(json = to_json(config, {}, {}));
  EXPECT_EQ(nlohmann::json::parse(json)["text"], "t\xef\xbf\xbdxt.txt");
}

TEST(Reproduce, EstimatesWithinAQuarterAfterATenth) {
  const ReproduceConfig config = config_of(5);
  const ReproduceResult result = run_of(config);
  double total = 0;
  for (const auto& [cell, f] : result.cells) {
    total += f.number("seconds_scoring") + (needs_calibration(cell.arm) ? f.number("seconds_masking") : 0) +
             (cell.fine_tune ? f.number("seconds_tuning") : 0);
  }
  TimeEstimate estimate(WorkAmounts{{0.3, 7, 0.1}});  // a poor guess
  double spent = 0;
  WorkAmounts left;
  for (const auto& [cell, f] : result.cells) {
    if (spent < total / 10) {
      learn(estimate, cell, config, f);
      spent += f.number("seconds_scoring") + f.number("seconds_tuning");
      continue;
    }
    const WorkAmounts more = work_of(cell, config);
    for (std::size_t w = 0; w < left.of.size(); ++w) left.of[w] += more.of[w];
  }
  EXPECT_NEAR(spent + estimate.seconds(left), total, 0.25 * total);
}

TEST(ReferenceFigures, SayWhyTheyAreNotComparable) {
  for (const ReferenceFigure& f : reference_figures()) {
    EXPECT_FALSE(f.why_not.empty());
    EXPECT_EQ(std::set<int>({1, 2, 3, 6}).count(f.experiment), 1U);
  }
  EXPECT_NEAR(reference_figures()[1].change_percent(), -26.1, 0.05);
  EXPECT_NEAR(reference_figures()[5].change_percent(), -40.4, 0.05);
  EXPECT_NEAR(reference_figures()[8].change_percent(), -34.8, 0.05);
}

}  // namespace
}  // namespace rpt::experiment
