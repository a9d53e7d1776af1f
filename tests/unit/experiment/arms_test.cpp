// SPDX-License-Identifier: MIT
#include "rpt/experiment/arms.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <regex>
#include <set>

#include "rpt/core/parallel.h"
#include "rpt/model/gate.h"
#include "rpt/model/gauge.h"
#include "rpt/prune/account.h"
#include "tests/tiny_model.h"

namespace rpt::experiment {
namespace {

using Sequences = std::vector<std::vector<std::int32_t>>;

const test::TinyShape kSmall{.hidden = 64, .feed_forward = 96, .vocabulary = 100};

/// A model in two gauges, and what its layers are given in each.
class TwoGauges : public ::testing::Test {
 protected:
  TwoGauges() {
    core::set_threads(1);  // layers so small are slower with more
    own_ = test::TinyModel::make(kSmall);
    const Sequences tokens{model::gate_ids(own_->config, 40)};
    other_ =
        model::apply_gauge(*own_, model::gauge_towards(*own_, model::k2b4tScales), model::calibrate(*own_, tokens));
    seen_own_ = prune::calibrate(*own_, tokens, prune::Moments::inputs);
    seen_other_ = prune::calibrate(*other_, tokens, prune::Moments::inputs);
  }

  ~TwoGauges() override { core::set_threads(0); }

  std::unique_ptr<model::Model> own_;
  std::unique_ptr<model::Model> other_;
  prune::Calibration seen_own_;
  prune::Calibration seen_other_;
};

TEST_F(TwoGauges, OnlyWhatComparesTensorsByTheirLatentsSeesThem) {
  ASSERT_NE(prune::account(*own_, *own_).tensors[2].scale_before,
            prune::account(*other_, *other_).tensors[2].scale_before);
  for (const TreatmentArm& arm : raw_arms(false)) {
    const model::Masks masks = make_masks(*own_, arm, 7, &seen_own_);
    const model::Masks others = make_masks(*other_, arm, 7, &seen_other_);
    if (depends_on_gauge(arm)) {
      EXPECT_EQ(masks == others, arm.treatment == Treatment::qk_scales) << title(arm);
      EXPECT_NE(model::gate_nlls(*treated(*own_, arm, masks)), model::gate_nlls(*treated(*other_, arm, others)))
          << title(arm);
      continue;
    }
    EXPECT_EQ(masks, others) << title(arm);
    EXPECT_EQ(model::gate_nlls(*treated(*own_, arm, masks)), model::gate_nlls(*treated(*other_, arm, others)))
        << title(arm);
  }
}

TEST_F(TwoGauges, PlaceboChangesNoBit) {
  TreatmentArm placebo{.treatment = Treatment::placebo};
  TreatmentArm zeros{.treatment = Treatment::zeros};
  for (const model::Model* base : {own_.get(), other_.get()}) {
    const std::string hash = model::nll_sha256(model::gate_nlls(*base));
    const model::Masks masks = make_masks(*base, placebo, 0, nullptr);
    EXPECT_EQ(masks, make_masks(*base, zeros, 0, nullptr));
    EXPECT_GT(masks.pruned(), 0U);
    EXPECT_EQ(model::nll_sha256(model::gate_nlls(*treated(*base, placebo, masks))), hash);
    // The same masks where the scale follows: no code changes, but what they are multiplied by does.
    const auto follows = treated(*base, zeros, masks);
    const prune::WeightAccount total = prune::account(*base, *follows).total;
    EXPECT_EQ(total.codes_removed + total.codes_gained + total.codes_turned, 0U);
    EXPECT_NE(model::nll_sha256(model::gate_nlls(*follows)), hash);
  }
}

TEST_F(TwoGauges, DosesAreWhatTheySay) {
  for (const TreatmentArm& arm : raw_arms(false)) {
    if (arm.treatment != Treatment::score && arm.treatment != Treatment::matched) continue;
    const model::Masks masks = make_masks(*own_, arm, 1, &seen_own_);
    const auto weights = static_cast<double>(prune::account(*own_, *own_).total.weights);
    EXPECT_NEAR(static_cast<double>(masks.pruned()), arm.dose * weights, 0.5) << title(arm);
  }
}

TEST_F(TwoGauges, MatchedArmsTakeAsMuchFromEveryTensor) {
  const model::Masks like =
      make_masks(*other_, {.treatment = Treatment::score, .dose = 0.2, .scope = prune::Scope::global}, 1, nullptr);
  const model::Masks masks = make_masks(*other_, {.treatment = Treatment::matched, .dose = 0.2}, 1, nullptr);
  EXPECT_NE(masks, like);
  for (std::size_t i = 0; i < like.linears.size(); ++i) EXPECT_EQ(masks.linears[i].pruned(), like.linears[i].pruned());
}

TEST_F(TwoGauges, ScalesSetByHandAreThoseOfMagnitude) {
  const TreatmentArm like{.treatment = Treatment::score, .dose = 0.1, .scope = prune::Scope::global};
  const auto pruned = treated(*own_, like, make_masks(*own_, like, 1, nullptr));
  for (const Treatment treatment : {Treatment::qk_scales, Treatment::matched_scales}) {
    const TreatmentArm arm{.treatment = treatment, .dose = 0.1};
    const auto model = treated(*own_, arm, make_masks(*own_, arm, 1, nullptr));
    const auto effective = [](const model::LinearWeight& w) {
      return w.weight.codes().scale * w.output_scale.value_or(1);
    };
    for (std::size_t b = 0; b < own_->weights.blocks.size(); ++b) {
      const model::BlockWeights& now = model->weights.blocks[b];
      const model::BlockWeights& then = pruned->weights.blocks[b];
      EXPECT_NEAR(effective(now.attn_k) / effective(then.attn_k), 1, 1e-6);
      EXPECT_NEAR(effective(now.attn_q) / effective(then.attn_q), 1, 1e-6);
      const model::BlockWeights& up = treatment == Treatment::qk_scales ? own_->weights.blocks[b] : then;
      EXPECT_NEAR(effective(now.ffn_up) / effective(up.ffn_up), 1, 1e-6);
    }
    const prune::Account of_hand = prune::account(*own_, *model);
    const prune::Account of_pruning = prune::account(*own_, *pruned);
    for (std::size_t i = 0; i < of_hand.tensors.size(); ++i) {
      if (treatment == Treatment::qk_scales && !of_hand.tensors[i].name.ends_with("attn_k")) continue;
      EXPECT_NEAR(of_hand.tensors[i].scale_after / of_pruning.tensors[i].scale_after, 1, 1e-6)
          << of_hand.tensors[i].name;
    }
    EXPECT_EQ(of_hand.total.codes_removed == 0, treatment == Treatment::qk_scales);
  }
}

TEST_F(TwoGauges, TemperaturesMultiplyScores) {
  const std::vector<double> base = model::gate_nlls(*own_);
  for (const Treatment treatment : {Treatment::attention_temperature, Treatment::logit_temperature}) {
    const TreatmentArm arm{.treatment = treatment};
    const model::Masks none = make_masks(*own_, arm, 1, nullptr);
    EXPECT_EQ(model::gate_nlls(*treated(*own_, arm, none)), base);
    EXPECT_NE(model::gate_nlls(*treated(*own_, arm, none, 1.5)), base);
  }
  // Logits times nearly nothing: every token costs log V.
  const TreatmentArm flat{.treatment = Treatment::logit_temperature};
  for (const double nll : model::gate_nlls(*treated(*own_, flat, make_masks(*own_, flat, 1, nullptr), 1e-9))) {
    EXPECT_NEAR(nll, std::log(static_cast<double>(kSmall.vocabulary)), 1e-5);
  }
}

TEST(Arms, NormsLeaveTheLatentsAlone) {
  const train::TrainConfig tune;
  EXPECT_EQ(train::to_json(tune_of(declared_arm(), tune)), train::to_json(tune));
  const train::TrainConfig norms = tune_of({.treatment = Treatment::norms}, tune);
  ASSERT_EQ(norms.optimiser.groups.size(), 1U);
  EXPECT_EQ(norms.optimiser.groups[0].lr_factor, 0);
  const std::regex pattern(norms.optimiser.groups[0].pattern);
  std::size_t held = 0;
  const auto model = test::TinyModel::make(kSmall);
  model::visit_weights(model->weights, [&]<typename W>(const std::string& name, const W&) {
    EXPECT_EQ(std::regex_match(name, pattern), (std::is_same_v<W, model::LinearWeight>)) << name;
    held += std::regex_match(name, pattern) ? 1U : 0U;
  });
  EXPECT_EQ(held, 7 * model->weights.blocks.size());
}

TEST(Arms, HaveNamesOfTheirOwn) {
  std::set<std::string> slugs;
  std::vector<TreatmentArm> all = raw_arms(true);
  for (const TreatmentArm& arm : tuned_arms(true)) {
    if (!arm.held) all.push_back(arm);
  }
  for (const TreatmentArm& arm : all) {
    EXPECT_TRUE(slugs.insert(slug(arm)).second) << slug(arm);
    EXPECT_EQ(slug(arm).find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-"), std::string::npos) << slug(arm);
  }
  EXPECT_EQ(title(declared_arm()), "magnitude per tensor, 10 %");
  EXPECT_EQ(slug(declared_arm()), "magnitude-per-tensor-10");
  EXPECT_EQ(title(untouched_arm()), "no pruning");
}

TEST(Arms, OfAQuickRunAreAmongThoseOfAFullOne) {
  for (const auto arms_of : {raw_arms, tuned_arms}) {
    const std::vector<TreatmentArm> full = arms_of(true);
    const std::vector<TreatmentArm> quick = arms_of(false);
    EXPECT_LT(quick.size(), full.size());
    for (const TreatmentArm& arm : quick) EXPECT_NE(std::find(full.begin(), full.end(), arm), full.end()) << title(arm);
  }
}

}  // namespace
}  // namespace rpt::experiment
