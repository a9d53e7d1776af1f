// SPDX-License-Identifier: MIT
#include "rpt/experiment/reference_figures.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "rpt/experiment/reproduce_reference.h"
#include "rpt/experiment/reproduce_report.h"
#include "tests/unit/experiment/reproduce_testing.h"

namespace rpt::experiment {
namespace {

// The fine-tunes of the legacy arms are a full run's, their control is every run's.
TEST(ReferenceFigures, TheControlStandsBesideEveryOneWithAFineTune) {
  for (const bool full : {false, true}) {
    const ReproduceConfig config = config_of(5, full);
    const ReproduceResult result = run_of(config);
    const auto records = reference_records(config, result);
    ASSERT_EQ(records.size(), reference_figures().size());
    for (std::size_t i = 0; i < records.size(); ++i) {
      const ReferenceFigure& f = reference_figures()[i];
      const auto r = nlohmann::json::parse(records[i].to_json());
      EXPECT_EQ(f.after_fine_tune, f.experiment > 2 && f.what != "5 % pruned") << f.what;
      EXPECT_EQ(r["here_control_change_percent"].is_number(), f.after_fine_tune) << i;
      // A tenth of the NLL, 4 to 4.4 nats a token, the bases' mean in log.
      if (f.after_fine_tune) {
        EXPECT_NEAR(r["here_control_change_percent"].get<double>(), 100 * (std::exp(-0.42) - 1), 1e-6);
      }
      const bool has_arm = f.arm && (full || (!f.fine_tuned && f.arm->dose <= 0.1));
      EXPECT_EQ(r["here_change_percent"].is_number(), has_arm) << i;
      // An empty column says why it is.
      EXPECT_EQ(r["why_not"].get<std::string>().find("only a full run has that arm") != std::string::npos,
                f.arm && !has_arm);
      EXPECT_TRUE(f.arm || f.why_not.find("here none stands beside it") != std::string::npos ||
                  f.why_not.find("no arm here is read at other scales") != std::string::npos)
          << f.what;
    }
  }
}

// One model under two scales: no arm is read at other scales than it was trained at.
TEST(ReferenceFigures, NoArmStandsBesideTwo) {
  std::set<std::string> stages;
  for (const ReferenceFigure& f : reference_figures()) {
    if (f.experiment != 6 || !f.arm) continue;
    EXPECT_TRUE(stages.insert(title(*f.arm) + (f.fine_tuned ? " tuned" : " raw")).second) << f.what;
  }
  EXPECT_EQ(stages.size(), 2U);
  for (const ReferenceFigure& f : reference_figures()) {
    EXPECT_EQ(f.fine_tuned,
              f.why_not.find("trained on whole documents and read with online scales") != std::string::npos)
        << f.what;
  }
}

TEST(ReferenceFigures, SayWhyTheyAreNotComparable) {
  for (const ReferenceFigure& f : reference_figures()) {
    EXPECT_FALSE(f.why_not.empty());
    EXPECT_EQ(std::set<int>({1, 2, 3, 6}).count(f.experiment), 1U);
  }
  EXPECT_NEAR(reference_figures()[1].change_percent(), -26.1, 0.05);
}

// What it publishes of experiment 3 against its base, in per cent after each level's fine-tune, and of experiment 6.
TEST(ReferenceFigures, HoldEveryPublishedLevel) {
  const std::vector<std::tuple<int, std::string, double>> published{
      {3, "5 %", -40.0},  {3, "10 %", -40.4}, {3, "15 %", -38.8}, {3, "20 %", -38.4}, {3, "25 %", -35.9},
      {3, "30 %", -34.4}, {3, "40 %", -29.3}, {3, "50 %", -19.4}, {6, "5 %", -0.3},   {6, "10 %", -34.8}};
  for (const auto& [experiment, level, change] : published) {
    const ReferenceFigure* last = nullptr;
    std::size_t pruned = 0;
    for (const ReferenceFigure& f : reference_figures()) {
      if (f.experiment != experiment || !f.what.starts_with(level)) continue;
      pruned += f.what == level + " pruned" ? 1U : 0U;
      last = &f;
    }
    ASSERT_TRUE(last) << experiment << ": " << level;
    EXPECT_EQ(pruned, 1U) << experiment << ": " << level;
    EXPECT_NE(last->what.find("fine-tuned"), std::string_view::npos);
    EXPECT_NEAR(last->change_percent(), change, 0.1) << experiment << ": " << level;
  }
}

}  // namespace
}  // namespace rpt::experiment
