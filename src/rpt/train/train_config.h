// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rpt/model/config.h"
#include "rpt/train/adamw.h"
#include "rpt/train/documents.h"
#include "rpt/train/overfit_monitor.h"
#include "rpt/train/schedule.h"
#include "rpt/train/step.h"
#include "rpt/train/weight_hooks.h"
#include "rpt/train/window_sampler.h"

namespace rpt::train {

/// Everything that decides what a run does to a model; where its files go is not part of it.
struct TrainConfig {
  // What is trained: a new model, or (rpt finetune) one that exists.
  std::optional<model::Config> model;  ///< vocabulary and special ids come from the tokenizer
  std::string tokenizer;               ///< folder with tokenizer.json, for a new model
  double initial_deviation = 0.02;     ///< of a new model's weights
  MasterType masters = MasterType::f32;

  // What on.
  std::vector<Source> data;
  double hold_out = 0.02;                  ///< share of the documents that is held out of training, 0 for none
  std::string chat_template;               ///< file (Jinja) for conversations; empty: the model's own
  std::vector<std::string> also_evaluate;  ///< texts that are reported beside the held-out part: forgetting shows here

  // How.
  std::int64_t steps = 0;
  std::int64_t batch = 8;         ///< sequences that run together
  std::int64_t accumulation = 1;  ///< batches a step
  std::int64_t context = 128;     ///< tokens a sequence
  Sampling sampling = Sampling::epochs;
  std::uint64_t seed = 0;
  Schedule schedule;
  QuantisationSchedule quantisation;
  AdamwOptions optimiser;
  StepOptions step;
  std::optional<ReviveOptions> revive;  ///< masks that follow the masters

  // When it looks up.
  std::int64_t evaluate_every = 0;       ///< steps, 0 for only at the end
  std::int64_t evaluate_tokens = 65536;  ///< at most so many tokens of each text are scored on the way
  bool stop_on_overfitting = false;
  OverfitOptions overfit;
  std::int64_t checkpoint_every = 200;  ///< steps
  std::int64_t keep_checkpoints = 2;
};

/// Reads a configuration; `file` is named in errors. Members that it does not know are errors. Throws: FormatError for
/// malformed JSON, ConfigError for a member that is unknown, of the wrong type or out of bounds.
TrainConfig parse_train_config(std::string_view json, const std::string& file);

/// The same configuration as JSON. Every member is written out but those of quantisation, masks, "chat_template",
/// "masters" and "optimiser.state" where they are the default: a run goes on only where this text is the one it began
/// with, and runs began before these members were.
std::string to_json(const TrainConfig& config);

/// Checks the bounds that do not depend on model or data. Throws: ConfigError naming the member.
void validate(const TrainConfig& config, const std::string& file);

}  // namespace rpt::train
