// SPDX-License-Identifier: MIT
#include "rpt/experiment/reference_figures.h"

#include <array>

namespace rpt::experiment {
namespace {

TreatmentArm legacy(double dose, bool held = true) {
  return {.treatment = Treatment::legacy, .dose = dose, .held = held};
}

constexpr std::string_view kSentences =
    "scored on eight sentences of about 120 tokens (one standard error is about 25 % of perplexity); its dose is "
    "nominal, of latents, of which few carry a code; another model";
constexpr std::string_view kNoControl =
    "no run at 0 % stands beside it, so that it is the fine-tune's effect as well; masks were not held; a learning "
    "rate "
    "that means another step in every gauge; the first 6,350 tokens of a validation text; one run; another model";
constexpr std::string_view kScaleRule =
    "no run at 0 % stands beside it; 33.07 and 16.39 are one model under two scales, of which it was trained with the "
    "second; cumulative dose of nominally 14.5 % of latents; one run; another model";

}  // namespace

std::span<const ReferenceFigure> reference_figures() {
  static const std::array<ReferenceFigure, 9> figures{{
      {1, "the base, first 6,350 tokens of WikiText-2 validation", 25.13, 25.13,
       "another model and text; no document is whole", untouched_arm(), false},
      {2, "10 % pruned", 9.39, 6.94, kSentences, legacy(0.1), false},
      {2, "20 % pruned", 9.39, 7.88, kSentences, legacy(0.2), false},
      {2, "30 % pruned", 9.39, 12.68, kSentences, legacy(0.3), false},
      {3, "10 % pruned", 25.10, 17.42, "after a fine-tune at 5 %, so that the pruning is only part of it", legacy(0.1),
       false},
      {3, "10 % pruned and fine-tuned", 25.10, 14.97, kNoControl, legacy(0.1, false), true},
      {6, "10 % pruned", 25.13, 27.55, "after a fine-tune at 5 %, so that the pruning is only part of it", legacy(0.1),
       false},
      {6, "10 % pruned and fine-tuned, latents", 25.13, 33.07, kScaleRule, legacy(0.1), true},
      {6, "10 % pruned and fine-tuned, snapped", 25.13, 16.39, kScaleRule, legacy(0.1), true},
  }};
  return figures;
}

}  // namespace rpt::experiment
