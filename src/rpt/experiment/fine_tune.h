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

/// Scales that a fine-tune keeps: those of `base`, as `reading` has them; none where there is no base.
struct FixedScales {
  const model::Model* base = nullptr;
  train::FixedScaleReading reading = train::FixedScaleReading::frozen;

  /// The model that was trained at these scales, made of its latents, which is what fine_tune() returns. There must be
  /// a base.
  std::unique_ptr<model::Model> snap(const model::Model& latents) const;
};

/// Trains `start`, a model with latents, further on a stream, under masks where there are any, and leaves the run
/// (train::run_training) in `folder` and the model in folder/model, a Hugging Face directory. Goes on where an earlier
/// call was killed or interrupted, with the same bits, and removes what that was writing; where the model is there
/// already, nothing is trained. With fixed scales (train::FixedScaleHook) latents are left all the same, and nothing in
/// the folder says how to read them. Returns the model as it was read again; nothing where it was interrupted. Throws:
/// as train::run_training, the gate and model::open_model.
std::unique_ptr<model::Model> fine_tune(std::unique_ptr<model::Model> start, const model::Masks* masks,
                                        const train::TrainConfig& config, const train::TokenStream& stream,
                                        const std::filesystem::path& folder, const Surroundings& around,
                                        const FixedScales& scales = {});

/// The scales by which a model's latents are quantised, as bf16. Throws: ConfigError for codes without latents.
train::FixedScaleHook::Scales scales_of(const model::Model& model);

/// The losses of the steps that metrics.jsonl in `folder` holds, nats. Throws: IoError; FormatError.
std::vector<double> step_losses(const std::filesystem::path& folder);

}  // namespace rpt::experiment
