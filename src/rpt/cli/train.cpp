// SPDX-License-Identifier: MIT
#include <fmt/format.h>

#include "rpt/cli/training.h"
#include "rpt/core/atomic_file.h"
#include "rpt/model/assemble.h"

namespace rpt::cli {
namespace {

struct TrainOptions {
  std::string config;
  std::string out;
  bool resume = false;
  bool dry_run = false;
  bool own_seed = false;  ///< --seed was given
};

/// A model without weights: the configuration's shape, the tokenizer's vocabulary.
std::unique_ptr<model::Model> make_shell(const train::TrainConfig& config, const std::filesystem::path& base,
                                         const std::string& file) {
  if (!config.model) throw ConfigError(fmt::format("{}: lacks \"model\", the shape to be trained", file));
  if (config.tokenizer.empty()) throw ConfigError(fmt::format("{}: lacks \"tokenizer\"", file));
  auto shell = std::make_unique<model::Model>();
  shell->format = "huggingface";
  shell->config = *config.model;
  const std::filesystem::path folder = find_path(config.tokenizer, base);
  shell->path = folder;
  // The embedding has as many rows as the vocabulary has ids.
  std::vector<std::string> warnings;
  shell->config.vocabulary = model::open_vocabulary(folder, warnings).vocab_size();
  model::load_vocabulary(folder, *shell);
  if (!shell->tokenizer) throw ConfigError(fmt::format("{}: {}", folder.string(), shell->tokenizer_fault));
  shell->config.bos_id = shell->bos_id;
  shell->config.eos_ids = shell->end_ids;
  model::validate(shell->config, file);
  return shell;
}

int run_train(const TrainOptions& options, Context& context) {
  TrainingJob job;
  job.command = "train";
  job.model = options.config;
  job.config = train::parse_train_config(core::read_file(options.config), options.config);
  if (options.own_seed) job.config.seed = context.common.seed;
  job.base = std::filesystem::path(options.config).parent_path();
  job.out = options.out;
  job.resume = options.resume;
  job.dry_run = options.dry_run;
  job.make_model = [config = job.config, base = job.base, file = options.config] {
    return make_shell(config, base, file);
  };
  job.held_bytes = [](const model::Model&) { return 0; };
  job.make_parameters = [config = job.config](std::unique_ptr<model::Model> shell) {
    return train::Parameters::random(std::move(shell), config.initial_deviation, config.seed, config.masters);
  };
  return run_training_job(std::move(job), context);
}

}  // namespace

Command add_train(CLI::App& program) {
  auto options = std::make_shared<TrainOptions>();
  CLI::App* app = program.add_subcommand("train", "Train a model from nothing");
  app->add_option("CONFIG", options->config, "JSON: shape, texts and course of the training (docs/training.md)")
      ->required();
  app->add_option("OUT", options->out, "Folder for checkpoints, metrics and the model")
      ->required()
      ->check(check_not_empty);
  app->add_flag("--resume", options->resume, "Go on from the newest checkpoint in OUT");
  app->add_flag("--dry-run", options->dry_run, "Only estimate time, memory and disk");
  app->footer("Example:\n  rpt train my-model.json runs/my-model");
  return {app, [options, app](Context& context) {
            options->own_seed = app->count("--seed") > 0;
            return run_train(*options, context);
          }};
}

}  // namespace rpt::cli
