// SPDX-License-Identifier: MIT
#include "rpt/experiment/reference_figures.h"

#include <array>

namespace rpt::experiment {
namespace {

TreatmentArm legacy(double dose, bool held = true) {
  return {.treatment = Treatment::legacy, .dose = dose, .held = held};
}

const std::string kSentences =
    "scored on eight sentences of about 120 tokens (one standard error is about 25 % of perplexity); its dose is "
    "nominal, of latents, of which few carry a code; another model";
// What every one of experiments 3 and 6 is not, whatever else keeps it apart.
const std::string kOurs =
    "; ours: pruned once, trained on whole documents and read with online scales, the sound optimiser";
const std::string kAfterOthers =
    "after a fine-tune at every lower level, so that the pruning is only part of it; ours: pruned once, from the "
    "untouched base";
const std::string kNoFineTuneAtNought =
    "no run at 0 % stands beside it, so that it is the fine-tunes' effect as well, one at every level up to this; "
    "masks "
    "were not held; a learning rate that means another step in every gauge; the first 6,350 tokens of a validation "
    "text; one run; another model";
const std::string kNoControl = "5 %, then 10 %; " + kNoFineTuneAtNought;
const std::string kLatents =
    "no run at 0 % stands beside it; read under another scale than it was trained with; the first 6,350 tokens of a "
    "validation text; one run; another model";
const std::string kScaleRule =
    "no run at 0 % stands beside it; 33.07 and 16.39 are one model under two scales, of which it was trained with the "
    "second; cumulative dose of nominally 14.5 % of latents; one run; another model";
const std::string kOtherReading =
    "; no arm here is read at other scales than it was trained at (rpt deploy --protocol legacy has all three "
    "readings)";

// The first level is pruned before anything is trained.
const std::string kFirstLevel =
    "pruned only, the first level; its dose is nominal, of latents, of which few carry a code; the first 6,350 tokens "
    "of a validation text; one run; another model";
const std::string kNoSuchArm = "; here none stands beside it: no arm prunes by the legacy threshold at this level";
const std::string kNoSuchFineTune =
    "; here none stands beside it: legacy arms are fine-tuned at 10 % only, and pruned once";

/// A level of experiment 3: pruned, or fine-tuned after that.
ReferenceFigure pruned(std::string_view what, double after, std::optional<TreatmentArm> arm) {
  return {3, what, 25.10, after, kAfterOthers + (arm ? "" : kNoSuchArm), arm, false, true};
}
ReferenceFigure tuned(std::string_view what, double after) {
  return {3, what, 25.10, after, kNoFineTuneAtNought + kNoSuchFineTune, std::nullopt, false, true};
}

}  // namespace

std::span<const ReferenceFigure> reference_figures() {
  static const std::array<ReferenceFigure, 25> figures{{
      {1, "the base, first 6,350 tokens of WikiText-2 validation", 25.13, 25.13,
       "another model and text; no document is whole", untouched_arm()},
      {2, "10 % pruned", 9.39, 6.94, kSentences, legacy(0.1)},
      {2, "20 % pruned", 9.39, 7.88, kSentences, legacy(0.2)},
      {2, "30 % pruned", 9.39, 12.68, kSentences, legacy(0.3)},
      {3, "5 % pruned", 25.10, 24.90, kFirstLevel + kNoSuchArm, std::nullopt},
      tuned("5 % pruned and fine-tuned", 15.05),
      pruned("10 % pruned", 17.42, legacy(0.1)),
      {3, "10 % pruned and fine-tuned", 25.10, 14.97, kNoControl + kOurs, legacy(0.1, false), true, true},
      pruned("15 % pruned", 18.44, std::nullopt),
      tuned("15 % pruned and fine-tuned", 15.36),
      pruned("20 % pruned", 17.48, legacy(0.2)),
      tuned("20 % pruned and fine-tuned", 15.46),
      pruned("25 % pruned", 18.08, std::nullopt),
      tuned("25 % pruned and fine-tuned", 16.09),
      pruned("30 % pruned", 18.62, legacy(0.3)),
      tuned("30 % pruned and fine-tuned", 16.46),
      pruned("40 % pruned", 30.94, std::nullopt),
      tuned("40 % pruned and fine-tuned", 17.73),
      pruned("50 % pruned", 44.04, std::nullopt),
      tuned("50 % pruned and fine-tuned", 20.23),
      {6, "5 % pruned", 25.13, 24.93, kFirstLevel + kNoSuchArm, std::nullopt},
      {6, "5 % pruned and fine-tuned, latents", 25.13, 25.05, kLatents + kOtherReading, std::nullopt, false, true},
      {6, "10 % pruned", 25.13, 27.55, kAfterOthers, legacy(0.1), false, true},
      {6, "10 % pruned and fine-tuned, latents", 25.13, 33.07, kScaleRule + kOtherReading, std::nullopt, false, true},
      {6, "10 % pruned and fine-tuned, snapped", 25.13, 16.39, kScaleRule + kOurs, legacy(0.1), true, true},
  }};
  return figures;
}

}  // namespace rpt::experiment
