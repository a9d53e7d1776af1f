// SPDX-License-Identifier: MIT
#pragma once
#include <optional>

#include "rpt/experiment/reproduce.h"
#include "rpt/report/report.h"

/// The looks of experiments 1 to 3 in the report of `rpt reproduce`.
namespace rpt::experiment {

/// A row an arm, gauge own: perplexity of the eight sentences, how many models are coherent, how many the reference's
/// rule would call usable (coherent, and below 1.5 times the perplexity of their base), and what the first one says.
/// Nothing where no stage has samples.
std::optional<report::CaptionedTable> samples_table(const ReproduceResult& result, const ReproduceConfig& config,
                                                    bool fine_tuned);

}  // namespace rpt::experiment
