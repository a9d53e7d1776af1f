// SPDX-License-Identifier: MIT
#pragma once
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "rpt/experiment/reproduce.h"
#include "tests/tiny_model.h"

/// Runs of `rpt reproduce` whose stages are made up.
namespace rpt::experiment {

inline ReproduceConfig config_of(std::size_t bases, bool full = false, std::int64_t seeds = 1) {
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
inline StageFigures made_up(const ReproduceCell& cell) {
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
               {"dose blk.10.attn_q", cell.arm.dose},
               {"scale_ratio blk.0.attn_q", 1 + cell.arm.dose},
               {"scale_ratio blk.10.attn_q", 1 + 3 * cell.arm.dose},
               {"scale_ratio blk.10.ffn_up", cell.gauge == BaseGauge::own ? 1.0 : 2.0}};
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

inline ReproduceResult run_of(const ReproduceConfig& config) {
  ReproduceResult result;
  for (const ReproduceCell& cell : plan_cells(config)) result.cells.emplace_back(cell, made_up(cell));
  for (std::size_t b = 0; config.full && b < config.bases.size(); ++b) {
    DeployStage state{"baseline", "baseline", {}};
    state.found.numbers = {{"legacy_perplexity", 90.0 + static_cast<double>(b)},
                           {"legacy_nll", 4.5},
                           {"legacy_tokens", 800},
                           {"mean_nll", 4.4},
                           {"perplexity", 81.5}};
    result.legacy.push_back({config.bases[b], {state}, "sum"});
  }
  return result;
}

}  // namespace rpt::experiment
