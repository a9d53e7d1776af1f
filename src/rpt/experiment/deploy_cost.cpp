// SPDX-License-Identifier: MIT
#include "rpt/experiment/deploy_cost.h"

#include <fmt/format.h>

#include "rpt/core/error.h"
#include "rpt/train/cost.h"

namespace rpt::experiment {
namespace {

constexpr std::uint64_t kBytesPerToken = 4;
constexpr double kLatentsAndCodes = 2.25;  ///< bytes of a bf16 value and its code

}  // namespace

double deploy_memory(const DeployConfig& config, const model::Config& shape, const Texts& texts) {
  std::uint64_t train_bytes = 0;
  std::uint64_t test_bytes = 0;
  for (const train::Document& d : texts.train) train_bytes += d.text.size();
  for (const std::string& d : texts.test.documents) test_bytes += d.size();
  train::Surroundings around{.stream_tokens = train_bytes / kBytesPerToken,
                             .watched_bytes = train_bytes + test_bytes,
                             .largest_bytes = test_bytes,
                             .part_bytes = test_bytes,
                             .scoring_tokens = 2048};
  if (config.sparsity > 0 || is_legacy(config)) {
    around.mask_bytes = 2 * static_cast<std::uint64_t>(train::ternary_weights(shape));
  }
  return static_cast<double>(train::run_memory(shape, config.tune, around).total()) +
         2 * kLatentsAndCodes * static_cast<double>(train::parameter_count(shape));
}

bool fit_memory(DeployConfig& config, const model::Config& shape, const Texts& texts, double limit) {
  train::TrainConfig& tune = config.tune;
  const auto need = [&] { return deploy_memory(config, shape, texts); };
  if (need() <= limit) return false;
  tune.step.checkpoint_activations = true;
  if (need() > limit) tune.optimiser.state = train::StateType::int8;
  if (need() > limit && !is_legacy(config)) tune.masters = train::MasterType::bf16_stochastic;
  if (need() > limit) {
    throw ConfigError(
        fmt::format("a memory limit of {:.3g} GB: the run needs {:.3g} GB at least", limit / 1e9, need() / 1e9));
  }
  return true;
}

DeployCost guess_cost(const DeployConfig& config, const model::Config& shape, const Texts& texts) {
  const auto levels = static_cast<double>(levels_to(config.sparsity).size());
  const train::TrainConfig& c = config.tune;
  // The baseline, every level fine-tuned and, where anything goes, pruned, the GGUF; in protocol legacy the snapped
  // model under two scales.
  const double scorings = (is_legacy(config) ? 4 : 2) + (config.sparsity > 0 ? 2 : 1) * levels;
  const double trained = levels * static_cast<double>(c.steps * c.batch * c.accumulation * c.context);
  DeployCost cost;
  cost.seconds = (trained + scorings * guess_scored_tokens(texts.test) / 3) *
                 train::guess_seconds_per_token(shape, c, train::measure_product_rate(c.step.backward));
  cost.memory_bytes = deploy_memory(config, shape, texts);
  const auto values = static_cast<double>(train::parameter_count(shape));
  cost.disk_bytes = levels * (static_cast<double>(train::checkpoint_bytes(shape, c)) * 2 + 3 * values) + 5 * values;
  return cost;
}

}  // namespace rpt::experiment
