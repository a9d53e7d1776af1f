// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "rpt/model/masks.h"
#include "rpt/model/model.h"
#include "rpt/prune/calibration.h"
#include "rpt/prune/score.h"
#include "rpt/prune/select.h"
#include "rpt/train/train_config.h"

/// What `rpt reproduce` does to a base, treatment by treatment: docs/experiments.md, "The arms".
namespace rpt::experiment {

/// How the masks of an arm are made.
enum class Treatment : std::uint8_t {
  none,     ///< nothing is pruned
  score,    ///< the smallest by `score` within `scope`, codes counted
  matched,  ///< at random; every tensor loses as many codes as by magnitude within the whole model
  legacy,   ///< the reference's sampled global threshold; the dose is nominal, of latents
  zeros,    ///< all weights whose code is 0, and no other
  placebo,  ///< the same, and the scale stays what it was: nothing changes
  // Nothing is pruned, or nothing but codes, and scales are set by hand: what of pruning is its change of scale?
  qk_scales,       ///< no code changes; q and k have the scales that magnitude within the whole model leaves them
  matched_scales,  ///< `matched`, with the scales that magnitude within the whole model leaves
  attention_temperature,  ///< no code changes; scores of attention times the one factor that fits best
  logit_temperature,      ///< the same with logits
  norms,                  ///< fine-tuned only: latents stay, norms and embedding are trained
  // Fine-tuned only, and nothing is pruned: codes are multiplied by another scale than the mean of their latents.
  frozen_scales,  ///< the base's, s0
  legacy_scales,  ///< as in the reference's pipeline, s0 · density
};

struct TreatmentArm {
  Treatment treatment = Treatment::none;
  double dose = 0;  ///< share of all ternary weights; 0 for none, zeros and placebo
  prune::Score score = prune::Score::magnitude;
  prune::Scope scope = prune::Scope::tensor;
  /// Whether the fine-tune holds the masks; the reference's progressive pruning does not: zeros grow again.
  bool held = true;
  std::int64_t length = 1;  ///< of the fine-tune, in lengths of the run's: how far is it from a plateau?
  std::int64_t levels = 1;  ///< fine-tunes one after the other, each under the masks of its level
  bool operator==(const TreatmentArm&) const = default;
};

/// "no pruning", "magnitude per tensor, 10 %", ….
std::string title(const TreatmentArm& arm);

/// The title without its dose.
std::string kind(const TreatmentArm& arm);

/// The title in letters, digits and '-', for names of stages: "magnitude-per-tensor-10".
std::string slug(const TreatmentArm& arm);

/// Whether the arm's outcome may depend on the gauge: where latents of several tensors are compared with each other.
bool depends_on_gauge(const TreatmentArm& arm);

/// Whether making its masks needs a calibration, with inputs.
bool needs_calibration(const TreatmentArm& arm);

/// Whether its one factor is fitted, on text that is not scored.
bool needs_temperature(const TreatmentArm& arm);

/// The arm of the contrast that was declared beforehand, and its baseline.
TreatmentArm declared_arm();
inline TreatmentArm untouched_arm() {
  return {};
}
/// What a fine-tuned arm is held against: nothing pruned, as long, in as many fine-tunes.
TreatmentArm control_of(const TreatmentArm& arm);

/// The doses of the arm's levels, the last its own: levels_to()'s, or as often nothing. Throws: LogicError for another
/// number of levels than those.
std::vector<double> levels_of(const TreatmentArm& arm);
/// An arm at one level of its own.
TreatmentArm at_level(TreatmentArm arm, double dose);

/// The dose of the declared contrast and of `--quick`.
inline constexpr double kDeclaredDose = 0.1;

/// Arms that are scored without training: at 10 %, and in a full run at 1, 2, 5, 20, 30, 40 and 50 % too.
std::vector<TreatmentArm> raw_arms(bool full);

/// Arms that are fine-tuned: 0 %, magnitude global and per tensor, code and random at 10 %; in a full run all others
/// that can be, at every level, and 0 % and the declared arm four times as long, and in two fine-tunes: the reference
/// prunes level by level.
std::vector<TreatmentArm> tuned_arms(bool full);

/// Masks of an arm on a model with latents; full ones for `none`. `seed` is that of random scores and of the legacy
/// sample; `calibration` is needed where needs_calibration() says so. A later level goes on from `progress`, which
/// scores have only. Throws: as prune::select and its saliencies.
model::Masks make_masks(const model::Model& base, const TreatmentArm& arm, std::uint64_t seed,
                        const prune::Calibration* calibration, const prune::Progress* progress = nullptr);

/// The model under the masks of its arm; the placebo's keeps the scales of `base`, as codes; where scales are set by
/// hand they are so by the factor of a layer's output. `temperature` is the factor of the arms that have one. Throws:
/// as prune::apply_masks and prune::snap.
std::unique_ptr<model::Model> treated(const model::Model& base, const TreatmentArm& arm, const model::Masks& masks,
                                      double temperature = 1);

/// The configuration of each of its fine-tunes as the arm changes it: its length; `norms` trains no latents.
train::TrainConfig tune_of(const TreatmentArm& arm, train::TrainConfig tune);

}  // namespace rpt::experiment
