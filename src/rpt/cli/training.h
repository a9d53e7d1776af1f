// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <memory>
#include <string>

#include "rpt/cli/context.h"
#include "rpt/train/hold_out.h"
#include "rpt/train/parameters.h"
#include "rpt/train/train_config.h"

namespace rpt::cli {

/// What `rpt train` and `rpt finetune` have in common once they know what to train and how.
struct TrainingJob {
  std::string command;  ///< "train", "finetune"
  std::string model;    ///< for reports
  train::TrainConfig config;
  std::filesystem::path base;  ///< folder in which relative paths of the configuration are looked for first
  std::filesystem::path out;
  bool resume = false;
  bool dry_run = false;
  /// Makes the model that is trained, or one of its configuration and vocabulary without weights.
  std::function<std::unique_ptr<model::Model>()> make_model;
  /// Bytes of the masks that are held with such a model; after a check of what make_parameters would refuse.
  std::function<std::uint64_t(const model::Model&)> held_bytes;
  /// Makes of it what is trained; not with `dry_run`, which would need the memory that it is to tell.
  std::function<std::unique_ptr<train::Parameters>(std::unique_ptr<model::Model>)> make_parameters;
};

/// Trains and leaves in `out`: the run (train::run_training), held_out.jsonl, and model/, a Hugging Face directory that
/// has passed the gate. Returns the exit code.
int run_training_job(TrainingJob job, Context& context);

/// The texts of a configuration, taken apart into what is learnt and what is held out. `base` as in TrainingJob. Throws
/// as train::load_documents and train::hold_out.
train::HoldOutSplit load_training_texts(const train::TrainConfig& config, const std::filesystem::path& base);

/// A path of a configuration: as it stands, or below `base` where that exists.
std::filesystem::path find_path(const std::string& path, const std::filesystem::path& base);

}  // namespace rpt::cli
