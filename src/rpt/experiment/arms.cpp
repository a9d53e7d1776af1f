// SPDX-License-Identifier: MIT
#include "rpt/experiment/arms.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>

#include "rpt/core/error.h"
#include "rpt/prune/apply.h"
#include "rpt/prune/legacy.h"
#include "rpt/prune/snap.h"

namespace rpt::experiment {
namespace {

using prune::Scope;
using prune::Score;

constexpr double kLevels[] = {0.01, 0.02, 0.05, 0.2, 0.4};

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
  }
  return {};
}

std::string title(const TreatmentArm& arm) {
  if (arm.dose == 0) return kind(arm);
  return fmt::format("{}, {:g} %", kind(arm), std::round(arm.dose * 1e6) / 1e4);
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
      return true;
    default:
      return false;
  }
}

bool needs_calibration(const TreatmentArm& arm) {
  return arm.treatment == Treatment::score && prune::needs_calibration(arm.score);
}

TreatmentArm declared_arm() {
  return scored_arm(Score::magnitude, Scope::tensor, kDeclaredDose);
}

std::vector<TreatmentArm> raw_arms(bool full) {
  std::vector<TreatmentArm> arms{untouched_arm()};
  append(arms, main_arms(kDeclaredDose));
  append(arms, control_arms(kDeclaredDose));
  append(arms, {{.treatment = Treatment::legacy, .dose = kDeclaredDose},
                {.treatment = Treatment::zeros},
                {.treatment = Treatment::placebo}});
  return with_levels(std::move(arms), full);
}

std::vector<TreatmentArm> tuned_arms(bool full) {
  std::vector<TreatmentArm> arms{untouched_arm()};
  append(arms, main_arms(kDeclaredDose));
  if (full) {
    append(arms, control_arms(kDeclaredDose));
    append(arms, {{.treatment = Treatment::legacy, .dose = kDeclaredDose},
                  {.treatment = Treatment::legacy, .dose = kDeclaredDose, .held = false},
                  {.treatment = Treatment::zeros}});
  }
  return with_levels(std::move(arms), full);
}

model::Masks make_masks(const model::Model& base, const TreatmentArm& arm, std::uint64_t seed,
                        const prune::Calibration* calibration) {
  switch (arm.treatment) {
    case Treatment::none:
      break;
    case Treatment::score:
      return prune::select(base, *prune::make_saliency(arm.score, base, seed, calibration), selection_of(arm));
    case Treatment::matched: {
      const TreatmentArm like = scored_arm(Score::magnitude, Scope::global, arm.dose);
      return prune::select_matched(base, *prune::random_saliency(base, seed), prune::Dose::codes,
                                   make_masks(base, like, seed, nullptr));
    }
    case Treatment::legacy:
      return prune::select_above(base, prune::legacy_threshold(prune::legacy_pool(base, seed), 100 * arm.dose));
    case Treatment::zeros:
    case Treatment::placebo:
      return prune::zero_code_masks(base);
  }
  return model::full_masks(base.config);
}

std::unique_ptr<model::Model> treated(const model::Model& base, const TreatmentArm& arm, const model::Masks& masks) {
  auto model = prune::apply_masks(base, masks);
  if (arm.treatment != Treatment::placebo) return model;
  return prune::snap(*model, prune::SnapRule::frozen, {.base = &base}).model;
}

}  // namespace rpt::experiment
