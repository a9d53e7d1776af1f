// SPDX-License-Identifier: MIT
#include "rpt/experiment/arms.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <utility>

#include "rpt/core/error.h"
#include "rpt/experiment/deploy.h"
#include "rpt/model/gauge_groups.h"
#include "rpt/prune/apply.h"
#include "rpt/prune/legacy.h"
#include "rpt/prune/snap.h"

namespace rpt::experiment {
namespace {

using prune::Scope;
using prune::Score;

constexpr std::int64_t kLonger = 4;
constexpr std::int64_t kProgressive = 2;  // 5 %, then 10 %
constexpr double kLevels[] = {0.01, 0.02, 0.05, 0.2, 0.3, 0.4, 0.5};

TreatmentArm scored_arm(Score score, Scope scope, double dose) {
  return {.treatment = Treatment::score, .dose = dose, .score = score, .scope = scope};
}

/// The arms of a quick fine-tune at one dose, the declared one first.
std::vector<TreatmentArm> main_arms(double dose) {
  return {scored_arm(Score::magnitude, Scope::tensor, dose), scored_arm(Score::magnitude, Scope::global, dose),
          scored_arm(Score::code, Scope::global, dose), scored_arm(Score::random, Scope::global, dose)};
}

/// The controls beside them.
std::vector<TreatmentArm> control_arms(double dose) {
  return {scored_arm(Score::wanda, Scope::global, dose), {.treatment = Treatment::matched, .dose = dose}};
}

void append(std::vector<TreatmentArm>& to, std::vector<TreatmentArm> more) {
  to.insert(to.end(), more.begin(), more.end());
}

std::vector<TreatmentArm> with_levels(std::vector<TreatmentArm> arms, bool full) {
  if (!full) return arms;
  for (const double level : kLevels) {
    append(arms, main_arms(level));
    append(arms, control_arms(level));
  }
  return arms;
}

prune::Selection selection_of(const TreatmentArm& arm) {
  return {.sparsity = arm.dose, .dose = prune::Dose::codes, .scope = arm.scope};
}

model::Masks magnitude_global(const model::Model& base, double dose) {
  return make_masks(base, scored_arm(Score::magnitude, Scope::global, dose), 0, nullptr);
}

using Linears = std::vector<model::LinearWeight model::BlockWeights::*>;

Linears every_linear() {
  Linears all;
  for (const model::GaugeGroup& group : model::kGaugeGroups) {
    for (const model::GaugeLinear& linear : group.linears) all.push_back(linear.weight);
  }
  return all;
}

/// Makes these layers of a model multiply by the scales that they have in another.
void set_scales(model::Model& model, const model::Model& like, const Linears& linears) {
  for (std::size_t b = 0; b < model.weights.blocks.size(); ++b) {
    for (const auto linear : linears) {
      model::LinearWeight& to = model.weights.blocks[b].*linear;
      const float wanted = (like.weights.blocks[b].*linear).weight.codes().scale;
      to.output_scale = to.output_scale.value_or(1) * (wanted / to.weight.codes().scale);
    }
  }
}

}  // namespace

std::string kind(const TreatmentArm& arm) {
  switch (arm.treatment) {
    case Treatment::none:
      return "no pruning";
    case Treatment::score:
      return fmt::format("{} {}", prune::name(arm.score),
                         arm.scope == Scope::global ? "global" : fmt::format("per {}", prune::name(arm.scope)));
    case Treatment::matched:
      return "random as magnitude global";
    case Treatment::legacy:
      return arm.held ? "legacy threshold" : "legacy threshold, not held";
    case Treatment::zeros:
      return "zeros frozen";
    case Treatment::placebo:
      return "placebo";
    case Treatment::qk_scales:
      return "q and k scales of magnitude global";
    case Treatment::matched_scales:
      return "random with the scales of magnitude global";
    case Treatment::attention_temperature:
      return "best attention temperature";
    case Treatment::logit_temperature:
      return "best logit temperature";
    case Treatment::norms:
      return "norms and embedding only";
    case Treatment::frozen_scales:
      return "no pruning, scales frozen";
    case Treatment::legacy_scales:
      return "no pruning, scales quantised twice";
  }
  return {};
}

std::string title(const TreatmentArm& arm) {
  std::string title = kind(arm);
  if (arm.dose != 0) title += fmt::format(", {:g} %", std::round(arm.dose * 1e6) / 1e4);
  if (arm.length != 1) title += fmt::format(", {} times as long", arm.length);
  if (arm.levels != 1) title += fmt::format(", in {} fine-tunes", arm.levels);
  return title;
}

std::string slug(const TreatmentArm& arm) {
  std::string out;
  for (const char c : title(arm)) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
      out += c;
    } else if (!out.empty() && out.back() != '-') {
      out += '-';
    }
  }
  while (out.back() == '-') out.pop_back();
  return out;
}

bool depends_on_gauge(const TreatmentArm& arm) {
  switch (arm.treatment) {
    case Treatment::score:
      return arm.score == Score::magnitude && arm.scope == Scope::global;
    case Treatment::matched:
    case Treatment::legacy:
    case Treatment::qk_scales:
    case Treatment::matched_scales:
      return true;
    default:
      return false;
  }
}

bool needs_calibration(const TreatmentArm& arm) {
  return arm.treatment == Treatment::score && prune::needs_calibration(arm.score);
}

bool needs_temperature(const TreatmentArm& arm) {
  return arm.treatment == Treatment::attention_temperature || arm.treatment == Treatment::logit_temperature;
}

TreatmentArm declared_arm() {
  return scored_arm(Score::magnitude, Scope::tensor, kDeclaredDose);
}

TreatmentArm control_of(const TreatmentArm& arm) {
  if (arm.dose == 0 && arm.treatment == Treatment::none) return {};
  return {.length = arm.length, .levels = arm.levels};
}

std::vector<double> levels_of(const TreatmentArm& arm) {
  if (arm.levels == 1) return {arm.dose};
  std::vector<double> levels(static_cast<std::size_t>(arm.levels));
  if (arm.dose != 0) levels = levels_to(arm.dose);
  RPT_CHECK(std::cmp_equal(levels.size(), arm.levels), "{}: {} levels", title(arm), levels.size());
  return levels;
}

TreatmentArm at_level(TreatmentArm arm, double dose) {
  arm.dose = dose;
  arm.levels = 1;
  return arm;
}

std::vector<TreatmentArm> raw_arms(bool full) {
  std::vector<TreatmentArm> arms{untouched_arm()};
  append(arms, main_arms(kDeclaredDose));
  append(arms, control_arms(kDeclaredDose));
  append(arms, {{.treatment = Treatment::legacy, .dose = kDeclaredDose},
                {.treatment = Treatment::zeros},
                {.treatment = Treatment::placebo},
                {.treatment = Treatment::qk_scales, .dose = kDeclaredDose},
                {.treatment = Treatment::matched_scales, .dose = kDeclaredDose},
                {.treatment = Treatment::attention_temperature},
                {.treatment = Treatment::logit_temperature}});
  if (full) {  // beside the reference's
    append(arms, {{.treatment = Treatment::legacy, .dose = 0.2}, {.treatment = Treatment::legacy, .dose = 0.3}});
  }
  return with_levels(std::move(arms), full);
}

std::vector<TreatmentArm> tuned_arms(bool full) {
  std::vector<TreatmentArm> arms{untouched_arm()};
  append(arms, main_arms(kDeclaredDose));
  if (full) {
    append(arms, control_arms(kDeclaredDose));
    append(arms, {{.treatment = Treatment::legacy, .dose = kDeclaredDose},
                  {.treatment = Treatment::legacy, .dose = kDeclaredDose, .held = false},
                  {.treatment = Treatment::zeros},
                  {.treatment = Treatment::norms},
                  {.treatment = Treatment::frozen_scales},
                  {.treatment = Treatment::legacy_scales}});
    for (TreatmentArm arm : {untouched_arm(), declared_arm()}) {
      arm.length = kLonger;
      arms.push_back(arm);
    }
    for (TreatmentArm arm : {untouched_arm(), declared_arm()}) {
      arm.levels = kProgressive;
      arms.push_back(arm);
    }
  }
  return with_levels(std::move(arms), full);
}

model::Masks make_masks(const model::Model& base, const TreatmentArm& arm, std::uint64_t seed,
                        const prune::Calibration* calibration, const prune::Progress* progress) {
  switch (arm.treatment) {
    case Treatment::none:
    case Treatment::qk_scales:
    case Treatment::attention_temperature:
    case Treatment::logit_temperature:
    case Treatment::norms:
    case Treatment::frozen_scales:
    case Treatment::legacy_scales:
      break;
    case Treatment::score:
      return prune::select(base, *prune::make_saliency(arm.score, base, seed, calibration), selection_of(arm),
                           progress);
    case Treatment::matched:
    case Treatment::matched_scales:
      return prune::select_matched(base, *prune::random_saliency(base, seed), prune::Dose::codes,
                                   magnitude_global(base, arm.dose));
    case Treatment::legacy:
      return prune::select_above(base, prune::legacy_threshold(prune::legacy_pool(base, seed), 100 * arm.dose));
    case Treatment::zeros:
    case Treatment::placebo:
      return prune::zero_code_masks(base);
  }
  return model::full_masks(base.config);
}

std::unique_ptr<model::Model> treated(const model::Model& base, const TreatmentArm& arm, const model::Masks& masks,
                                      double temperature) {
  auto model = prune::apply_masks(base, masks);
  const auto factor = static_cast<float>(temperature);
  switch (arm.treatment) {
    case Treatment::placebo:
      return prune::snap(*model, prune::SnapRule::frozen, {.base = &base}).model;
    case Treatment::qk_scales:
      set_scales(*model, *prune::apply_masks(base, magnitude_global(base, arm.dose)),
                 {&model::BlockWeights::attn_q, &model::BlockWeights::attn_k});
      break;
    case Treatment::matched_scales:
      set_scales(*model, *prune::apply_masks(base, magnitude_global(base, arm.dose)), every_linear());
      break;
    case Treatment::attention_temperature:
      for (model::BlockWeights& block : model->weights.blocks) {
        block.attn_q.output_scale = block.attn_q.output_scale.value_or(1) * factor;
      }
      break;
    case Treatment::logit_temperature:
      for (float& gain : model->weights.output_norm.gain) gain *= factor;
      break;
    default:
      break;
  }
  return model;
}

train::TrainConfig tune_of(const TreatmentArm& arm, train::TrainConfig tune) {
  tune.steps *= arm.length;
  if (arm.treatment != Treatment::norms) return tune;
  train::ParameterGroup latents;
  latents.pattern = R"(blk\.\d+\.(attn_q|attn_k|attn_v|attn_output|ffn_gate|ffn_up|ffn_down))";
  latents.lr_factor = 0;
  tune.optimiser.groups.insert(tune.optimiser.groups.begin(), latents);
  return tune;
}

}  // namespace rpt::experiment
