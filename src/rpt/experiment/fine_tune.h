// SPDX-License-Identifier: MIT
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "rpt/core/progress.h"
#include "rpt/model/masks.h"
#include "rpt/model/model.h"
#include "rpt/train/token_stream.h"
#include "rpt/train/train_config.h"
#include "rpt/train/weight_hooks.h"

namespace rpt::experiment {

/// What an experiment asks of those who started it.
struct Surroundings {
  std::string machine;  ///< processor, instruction set and threads, for checkpoints
  core::ProgressSink* progress = &core::null_progress();
  std::function<void(const std::string&)> say = [](const std::string&) {};  ///< a line for people
  std::function<bool()> interrupted = [] { return false; };
};

/// Trains `start`, a model with latents, further on a stream, under masks where there are any, and leaves the run
/// (train::run_training) in `folder` and the model in folder/model, a Hugging Face directory. Goes on where an earlier
/// call was killed or interrupted, with the same bits; where the model is there already, nothing is trained. With
/// `scales`, the model is trained at the scales of that base (train::LegacyScaleHook); latents are left all the same.
/// Returns the model as it was read again; nothing where it was interrupted. Throws: as train::run_training, the gate
/// and model::open_model.
std::unique_ptr<model::Model> fine_tune(std::unique_ptr<model::Model> start, const model::Masks* masks,
                                        const train::TrainConfig& config, const train::TokenStream& stream,
                                        const std::filesystem::path& folder, const Surroundings& around,
                                        const model::Model* scales = nullptr);

/// The scales by which a model's latents are quantised, as bf16. Throws: ConfigError for codes without latents.
train::LegacyScaleHook::Scales scales_of(const model::Model& model);

/// The losses of the steps that metrics.jsonl in `folder` holds, nats. Throws: IoError; FormatError.
std::vector<double> step_losses(const std::filesystem::path& folder);

}  // namespace rpt::experiment
