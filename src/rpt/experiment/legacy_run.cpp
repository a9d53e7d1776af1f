// SPDX-License-Identifier: MIT
#include "rpt/experiment/legacy_run.h"

#include <utility>

#include "rpt/core/error.h"

namespace rpt::experiment {

DeployConfig legacy_config(const std::string& name, const model::Model& base, const train::TrainConfig& tune,
                           const std::string& test, const Texts& texts) {
  DeployConfig config;
  config.model = name;
  config.text = tune.data.empty() ? std::string() : tune.data.front().text;
  config.test = test;
  config.sparsity = levels_to(0.1).back();
  config.recipe.protocol = prune::Protocol::legacy;
  config.recipe.seed = tune.seed;
  config.tune = tune;
  follow_reference(config.tune);
  config.prompts = default_prompts(base, texts.test);
  return config;
}

std::optional<LegacyRun> run_legacy(const model::Model& base, const DeployConfig& config, const Texts& texts,
                                    const std::filesystem::path& folder, const Surroundings& around) {
  RPT_CHECK(is_legacy(config), "{}", config.model);
  RunDirectory run(folder, to_json(config, base, texts));
  auto result = deploy(base, config, texts, run, around);
  if (!result) return std::nullopt;
  return LegacyRun{config.model, std::move(result->stages), std::move(result->gguf_sha256)};
}

report::CaptionedTable legacy_table(const std::vector<LegacyRun>& runs) {
  RPT_CHECK(!runs.empty(), "no run");
  std::vector<report::Column> columns{{"model"}};
  for (const DeployStage& state : runs.front().states) columns.push_back(report::number_column(state.name, 3));
  report::Table table(std::move(columns));
  for (const LegacyRun& run : runs) {
    std::vector<report::Cell> row{run.model};
    for (const DeployStage& state : run.states) row.emplace_back(state.found.number("legacy_perplexity"));
    table.add_row(std::move(row));
  }
  return {
      "The reference's pipeline as it is (rpt deploy --protocol legacy): perplexity of each state by the "
      "reference's own protocol, on few and short lines. It has no control: what it gains is what the same "
      "training gains without pruning, which the other tables show.",
      std::move(table)};
}

std::vector<report::Record> legacy_records(const std::vector<LegacyRun>& runs) {
  std::vector<report::Record> records;
  for (const LegacyRun& run : runs) {
    for (const DeployStage& state : run.states) {
      report::Record r;
      r.set("model", run.model);
      r.set("state", state.name);
      for (const char* number : {"legacy_perplexity", "legacy_nll", "legacy_tokens", "mean_nll", "perplexity"}) {
        r.set(number, state.found.number(number));
      }
      records.push_back(std::move(r));
    }
  }
  return records;
}

}  // namespace rpt::experiment
