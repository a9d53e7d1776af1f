// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "rpt/experiment/deploy.h"

namespace rpt::experiment {

/// The losses of a level's steps, and the level's name.
using LevelLosses = std::pair<std::string, std::vector<double>>;

/// What the states of a run say, a row a state: NLL, perplexity, difference to the baseline in per cent of NLL with its
/// interval over documents, share of code 0, codes removed.
report::Table stage_table(const DeployResult& result);

/// The command that does a run again, into `folder`.
std::string deploy_command(const DeployConfig& config, const std::string& folder);

/// The report of a pipeline.
report::Report deploy_report(const model::Model& base, const DeployConfig& config, const DeployResult& result,
                             const std::vector<LevelLosses>& losses);

/// rpt_metadata.json: the members that the reference writes (base_model, method, target_sparsity, actual_sparsity,
/// pct_ternary, progressive, ft_steps_per_level, ft_lr, batch_size, seq_len, baseline_ppl, final_ppl, improvement,
/// gpu, which is null) and processor, seed, rules and hashes. actual_sparsity is of codes; pct_ternary is counted over
/// the GGUF. Perplexities are those of protocol full, and in protocol legacy what they are there: by its 50 chunks,
/// final_ppl of the snapped model quantised online again. final_ppl_gguf is the GGUF's. masks_sha256 is of the last
/// level's masks, null without pruning.
std::string deploy_metadata(const DeployConfig& config, const DeployResult& result, const std::string& machine);

/// The model card of what a run leaves, as Markdown.
std::string deploy_card(const model::Model& base, const DeployConfig& config, const DeployResult& result);

/// Writes the report's forms, rpt_metadata.json and README.md (as write_card) into the run's folder; says why plots are
/// missing, or nothing. Throws: as report::write_report.
std::string write_deploy_report(RunDirectory& run, const model::Model& base, const DeployConfig& config,
                                const DeployResult& result, const std::vector<LevelLosses>& losses,
                                const Surroundings& around);

}  // namespace rpt::experiment
