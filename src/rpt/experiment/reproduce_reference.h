// SPDX-License-Identifier: MIT
#pragma once
#include <vector>

#include "rpt/experiment/reproduce.h"
#include "rpt/report/report.h"

/// The reference's figures in the report of `rpt reproduce`, each with what stands beside it here and why it is not
/// comparable.
namespace rpt::experiment {

/// A row a figure: the reference's change of perplexity, that by the nearest arm here, and, where the reference's has a
/// fine-tune in it, that by the fine-tune without pruning. Empty fields where a base is missing.
report::CaptionedTable reference_table(const ReproduceConfig& config, const ReproduceResult& result);

/// The same for report.json.
std::vector<report::Record> reference_records(const ReproduceConfig& config, const ReproduceResult& result);

}  // namespace rpt::experiment
