// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <string>

#include "rpt/experiment/reproduce_findings.h"
#include "rpt/report/report.h"

namespace rpt::experiment {

/// A row a contrast: effect in per cent of NLL with its interval, bases, seeds, documents, adjusted p-values, verdict.
report::Table contrast_table(const Findings& findings);

/// The report of a run: the same bytes for the same stages, whenever and in how many goes they were done. Some may be
/// missing, but not all; what needs them is left out.
report::Report reproduce_report(const ReproduceConfig& config, const ReproduceResult& result, const Findings& findings);

/// "12 of 65 stages": how far a run has come.
std::string stages_done(const ReproduceResult& result, const ReproduceConfig& config);

/// tracking.md: every stage with what it took, and how the time estimate after the first tenth of the time did.
std::string reproduce_tracking(const ReproduceConfig& config, const ReproduceResult& result,
                               const std::string& machine);

/// KNOWN_ISSUES.md: what a reader must not take from the report.
std::string reproduce_known_issues(const ReproduceConfig& config, const ReproduceResult& result,
                                   const Findings& findings);

/// CITATION.cff.
std::string reproduce_citation(const ReproduceConfig& config);

/// The command that makes the same run in `folder`.
std::string reproduce_command(const ReproduceConfig& config, const std::string& folder);

/// Whether the report in `folder` has more models or more contrasts than these, so that theirs should not take its
/// place.
bool holds_fuller_report(const std::filesystem::path& folder, const ReproduceResult& result, const Findings& findings);

/// Writes the report's forms, tracking.md, KNOWN_ISSUES.md, CITATION.cff and README.md (how to run it again) into
/// the run's folder, the last two as write_own(); says why plots are missing, or nothing. Throws: as
/// report::write_report.
std::string write_reproduce_report(RunDirectory& run, const ReproduceConfig& config, const ReproduceResult& result,
                                   const Findings& findings, const Surroundings& around);

}  // namespace rpt::experiment
