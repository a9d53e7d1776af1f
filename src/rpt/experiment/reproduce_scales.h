// SPDX-License-Identifier: MIT
#pragma once
#include <map>
#include <optional>
#include <string>

#include "rpt/experiment/reproduce.h"
#include "rpt/report/report.h"

/// What arms do to the scales of the linear layers, which some of them set by hand.
namespace rpt::experiment {

/// Scale by that of the base in the same gauge, mean over the blocks, by type of layer ("attn_q"); empty where the
/// stage has none.
std::map<std::string, double> mean_scale_ratios(const StageFigures& found);

/// A row an arm and gauge: these ratios, mean over bases and seeds. Nothing where no stage has any.
std::optional<report::CaptionedTable> scale_table(const ReproduceResult& result, const ReproduceConfig& config,
                                                  bool fine_tuned);

}  // namespace rpt::experiment
