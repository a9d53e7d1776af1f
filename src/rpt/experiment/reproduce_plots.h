// SPDX-License-Identifier: MIT
#pragma once
#include <optional>
#include <string>

#include "rpt/experiment/reproduce_findings.h"
#include "rpt/report/report.h"

/// The plots of `rpt reproduce`, each nothing where there are no stages for it.
namespace rpt::experiment {

/// Effect on the NLL against the dose, with intervals, a line an arm.
std::optional<report::Plot> dose_plot(const Findings& findings, const ReproduceConfig& config, bool fine_tuned);

/// The effect of every arm in the second gauge against that in the first.
std::optional<report::Plot> gauge_plot(const ReproduceResult& result, const ReproduceConfig& config);

/// Losses of the fine-tunes at 10 %, mean over bases, seeds and ten steps.
std::optional<report::Plot> loss_plot(const ReproduceResult& result, const ReproduceConfig& config);

/// Codes removed in every block by the arms at 10 %, mean over bases.
std::optional<report::Plot> flips_plot(const ReproduceResult& result);

/// The same for every linear layer.
std::optional<report::CaptionedTable> flips_table(const ReproduceResult& result);

}  // namespace rpt::experiment
