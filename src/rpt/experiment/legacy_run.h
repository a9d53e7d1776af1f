// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "rpt/experiment/deploy.h"

/// The reference's pipeline beside an experiment: what stands in its column was found by its own procedure.
namespace rpt::experiment {

/// `deploy` of protocol legacy to 10 %, with the steps, texts and seed of an experiment.
DeployConfig legacy_config(const std::string& name, const model::Model& base, const train::TrainConfig& tune,
                           const std::string& test, const Texts& texts);

/// One model that went through it.
struct LegacyRun {
  std::string model;  ///< as it was named
  std::vector<DeployStage> states;
  std::string gguf_sha256;
};

/// Runs what is left of it in `folder`, which is a run of `rpt deploy` then. Nothing where it was interrupted. Throws:
/// as deploy().
std::optional<LegacyRun> run_legacy(const model::Model& base, const DeployConfig& config, const Texts& texts,
                                    const std::filesystem::path& folder, const Surroundings& around);

/// Perplexities by model and state. There must be a run.
report::CaptionedTable legacy_table(const std::vector<LegacyRun>& runs);
/// A record for each state of each model: model, state, legacy_perplexity, legacy_nll and legacy_tokens of the
/// reference's protocol, mean_nll and perplexity of every token.
std::vector<report::Record> legacy_records(const std::vector<LegacyRun>& runs);

}  // namespace rpt::experiment
