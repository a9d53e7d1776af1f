// SPDX-License-Identifier: MIT
#pragma once
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "rpt/experiment/arms.h"

/// What the reference reports of its experiments 1, 2, 3 and 6, and why our figures are other figures.
namespace rpt::experiment {

struct ReferenceFigure {
  int experiment = 0;
  std::string_view what;
  double before = 0;    ///< perplexity without the treatment
  double after = 0;     ///< and with it
  std::string why_not;  ///< comparable with ours
  /// Which arm of ours stands beside it, against the untouched base; nothing where none does the like, and why_not says
  /// so.
  std::optional<TreatmentArm> arm;
  bool fine_tuned = false;       ///< that arm
  bool after_fine_tune = false;  ///< the reference's figure has a fine-tune in it: our control of one stands beside

  /// Change of the perplexity, per cent.
  double change_percent() const { return 100 * (after / before - 1); }
};

/// All of the 2B-4T model in bf16, one run each, without seeds or intervals.
std::span<const ReferenceFigure> reference_figures();

}  // namespace rpt::experiment
