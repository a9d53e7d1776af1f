// SPDX-License-Identifier: MIT
#include "rpt/experiment/reproduce.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "rpt/experiment/reference_figures.h"
#include "rpt/experiment/reproduce_plots.h"
#include "rpt/experiment/reproduce_reference.h"
#include "rpt/experiment/reproduce_report.h"
#include "rpt/experiment/reproduce_samples.h"
#include "rpt/experiment/reproduce_scales.h"
#include "tests/unit/experiment/reproduce_testing.h"

namespace rpt::experiment {
namespace {

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
  const std::string known = reproduce_known_issues(config, result, findings_of(result, config));
  EXPECT_NE(known.find("Contrasts on the retention text have 3 of at least 8 documents"), std::string::npos);
}

TEST(Reproduce, SaysOfWhichBasesFiguresWereKnownBefore) {
  ReproduceConfig config = config_of(5);
  const ReproduceResult result = run_of(config);
  const auto known = [&] { return reproduce_known_issues(config, result, findings_of(result, config)); };
  const std::string fixed = "The declared contrast and the margin are fixed in the program";
  const std::string earlier = "after an earlier run on them arms of full runs were added";
  EXPECT_NE(known().find(fixed), std::string::npos);
  EXPECT_EQ(known().find(earlier), std::string::npos);
  config.bases[3] = "models/micro-4";
  EXPECT_NE(known().find(fixed), std::string::npos);
  EXPECT_NE(known().find(earlier), std::string::npos);
}

TEST(Reproduce, SaysWhichTemperatureLiesAtAnEnd) {
  const ReproduceConfig config = config_of(5);
  ReproduceResult result = run_of(config);
  const auto report = [&] { return report::to_json(reproduce_report(config, result, findings_of(result, config))); };
  for (auto& [cell, found] : result.cells) {
    if (needs_temperature(cell.arm)) found.numbers["temperature"] = 1.1 + 0.1 * static_cast<double>(cell.base);
  }
  const std::string within = report();
  EXPECT_NE(within.find("best logit temperature: base 1 1.100, base 2 1.200"), std::string::npos);
  EXPECT_EQ(within.find("At an end of that range"), std::string::npos);
  for (auto& [cell, found] : result.cells) {
    if (cell.arm.treatment == Treatment::logit_temperature && cell.base == 1) found.numbers["temperature"] = 1.995;
  }
  EXPECT_NE(report().find("beyond it: best logit temperature of base 2."), std::string::npos);
}

TEST(Reproduce, ShowsWhatArmsDoToScales) {
  const ReproduceConfig config = config_of(5);
  const ReproduceResult result = run_of(config);
  for (const bool fine_tuned : {false, true}) {
    const auto scales = scale_table(result, config, fine_tuned);
    ASSERT_TRUE(scales);
    const auto rows = nlohmann::json::parse(scales->table.to_json());
    std::set<std::pair<std::string, std::string>> seen;
    for (const auto& row : rows) {
      seen.emplace(row["arm"].get<std::string>(), row["gauge"].get<std::string>());
      EXPECT_NEAR(row["attn_q"].get<double>(), row["arm"].get<std::string>().ends_with("10 %") ? 1.2 : 1.0, 1e-12);
      EXPECT_EQ(row["ffn_up"], row["gauge"] == "own" ? 1 : 2);
    }
    EXPECT_EQ(seen.size(), rows.size());
    EXPECT_TRUE(seen.contains({"magnitude global, 10 %", "2b"}));
    EXPECT_FALSE(seen.contains({"no pruning", "2b"}));
  }
  const auto figures =
      nlohmann::json::parse(report::to_json(reproduce_report(config, result, findings_of(result, config))))["figures"];
  for (const auto& cell : figures["cells"]) {
    EXPECT_EQ(cell["scale_ratios"]["ffn_up"], cell["gauge"] == "own" ? 1 : 2);
    EXPECT_EQ(cell["scale_ratios"].size(), 2U);
  }
}

// Without training the second gauge has one base of what does not depend on it.
TEST(Reproduce, ComparesGaugesOfAsManyModels) {
  const ReproduceConfig config = config_of(5);
  const ReproduceResult result = run_of(config);
  const report::Report report = reproduce_report(config, result, findings_of(result, config));
  int tables = 0;
  int second = 0;
  for (const report::Section& section : report.sections) {
    for (const report::Block& block : section.blocks) {
      const auto* table = std::get_if<report::CaptionedTable>(&block);
      if (table == nullptr || !table->caption.starts_with("Arms ")) continue;
      ++tables;
      EXPECT_NE(table->caption.find("where it has as many models as the first"), std::string::npos);
      for (const auto& row : nlohmann::json::parse(table->table.to_json())) {
        EXPECT_EQ(row["models"], 5) << row;
        second += row["gauge"] == "2b" ? 1 : 0;
      }
    }
  }
  EXPECT_EQ(tables, 2);
  EXPECT_EQ(second, 5 + 5) << "what depends on the gauge, and all that is fine-tuned";
}

TEST(Reproduce, NamesWhatNoArmAsks) {
  ReproduceConfig config = config_of(5);
  const auto known = [&] {
    const ReproduceResult result = run_of(config);
    return reproduce_known_issues(config, result, findings_of(result, config));
  };
  const std::string quick = known();
  EXPECT_NE(quick.find("No arm learns from 0.1, 1 and 10 MB of the text"), std::string::npos);
  EXPECT_NE(quick.find("No pruning at the scales max|w|, refit and learned is no arm."), std::string::npos);
  EXPECT_NE(quick.find("quantised twice is a full run's."), std::string::npos);
  EXPECT_NE(quick.find("Random masks matched on the scales of magnitude, and scales"), std::string::npos);
  EXPECT_NE(quick.find("every arm here is pruned once, from the base"), std::string::npos);
  EXPECT_EQ(quick.find("raw text"), std::string::npos);
  config.retention = "wikitext-2:validation";
  EXPECT_NE(
      known().find("wikitext-2:validation is scored as it is tokenised, its <unk> giving no loss; the raw text is "
                   "not scored beside it."),
      std::string::npos);
  config.full = true;
  EXPECT_NE(known().find("only magnitude per tensor at 10 % does so too"), std::string::npos);
  EXPECT_NE(known().find("frozen scales and scales quantised twice, and these without pruning only."),
            std::string::npos);
}

TEST(Reproduce, SaysWhereThePlotOfLossesIsFull) {
  for (const bool full : {false, true}) {
    const ReproduceConfig config = config_of(5, full);
    const auto plot = loss_plot(run_of(config), config);
    ASSERT_TRUE(plot);
    EXPECT_EQ(plot->series.size(), full ? report::kMaxSeries : 6U);
    EXPECT_EQ(plot->caption.find("The first eight arms") != std::string::npos, full);
  }
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
  EXPECT_NE(reproduce_known_issues(config, result, findings).find("Failed: placebo"), std::string::npos);
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
  EXPECT_EQ(reproduce_known_issues(config, result, findings).find("of at least 8 documents"), std::string::npos);
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
    left += work_of(cell, config);
  }
  EXPECT_NEAR(spent + estimate.seconds(left), total, 0.25 * total);
}

TEST(Reproduce, TheReferencesPipelineIsWorkOfFullRunsOnly) {
  EXPECT_EQ(legacy_work(config_of(5), 5).of, WorkAmounts{}.of);
  const WorkAmounts work = legacy_work(config_of(5, true), 3);
  EXPECT_EQ(work[Work::tuning], 3.0 * 2 * 20);
  EXPECT_EQ(work[Work::scoring], 3.0 * 7);
}

// What a fine-tune took that was interrupted is not known: it is neither in what stages took nor in the estimate of it.
TEST(Reproduce, TheEstimateIsHeldAgainstStagesThatWereTimed) {
  const ReproduceConfig config = config_of(5);
  ReproduceResult result = run_of(config);
  std::size_t scored = 0;
  std::size_t tuned = 0;
  for (auto& [cell, found] : result.cells) {
    if (cell.fine_tune) {
      if (++tuned % 2 == 0) found.numbers.erase("seconds_tuning");
    } else {
      ++scored;
    }
  }
  ASSERT_EQ(tuned, 50U);
  const std::string tracking = reproduce_tracking(config, result, "here");
  const double total = 25 * (20 + 2 + 1 + 0.1) + static_cast<double>(scored) * 2.1;
  EXPECT_NE(tracking.find(fmt::format("Stages took {:.0f} s together, by what each measured", total)),
            std::string::npos)
      << tracking.substr(0, 400);
  EXPECT_NE(tracking.find("25 of " + std::to_string(scored + tuned) + " stages, which were interrupted"),
            std::string::npos);
  const std::size_t per_cent = tracking.find(" s were estimated (") + 19;
  EXPECT_NEAR(std::stod(tracking.substr(per_cent)), 0, 10) << tracking.substr(0, 400);
  EXPECT_EQ(reproduce_tracking(config, run_of(config), "here").find("which were interrupted"), std::string::npos);
}

}  // namespace
}  // namespace rpt::experiment
