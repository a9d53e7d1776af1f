// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "rpt/core/aligned_buffer.h"
#include "rpt/model/backward.h"
#include "rpt/model/model.h"
#include "rpt/model/weight_hook.h"

namespace rpt::train {

/// What a trained tensor is: groups of the optimiser are chosen by it and by the name.
enum class ParameterKind : std::uint8_t { embedding, norm, linear };

/// One trained tensor [rows, columns]; norms are [1, n].
struct Parameter {
  std::string name;  ///< GGUF's, without ".weight"
  ParameterKind kind = ParameterKind::linear;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  core::AlignedBuffer<float> master;           ///< what the optimiser moves
  core::AlignedBuffer<std::uint16_t> rounded;  ///< bf16(master): what the forward reads and files hold
  core::AlignedBuffer<float> gradient;

  std::int64_t size() const { return rows * columns; }
  /// As hooks see it.
  model::TrainedWeight trained_weight() const {
    return {name, kind == ParameterKind::linear, rows, columns, master.span()};
  }
};

/// The weights of a model under training: float32 masters, and a model over their bf16 values that is to every reader
/// what a saved directory of these values would be. Source: docs/forward.md, "What is read".
class Parameters {
 public:
  /// Trains `model` on from its weights, which must be latents. Throws: ConfigError naming a tensor that has none.
  static std::unique_ptr<Parameters> of_model(std::unique_ptr<model::Model> model);
  /// Fills `shell`, a model with configuration and vocabulary but without weights: normal numbers of standard deviation
  /// `deviation`, drawn by `seed`, in embeddings and linears; ones in norms.
  static std::unique_ptr<Parameters> random(std::unique_ptr<model::Model> shell, double deviation, std::uint64_t seed);

  Parameters(const Parameters&) = delete;
  Parameters& operator=(const Parameters&) = delete;

  /// The model over the values that were published last.
  const model::Model& model() const { return *model_; }
  const model::Gradients& gradients() const { return gradients_; }
  std::vector<Parameter>& all() { return parameters_; }
  const std::vector<Parameter>& all() const { return parameters_; }
  /// Number of trained values.
  std::int64_t count() const;

  /// Rounds the masters; from now on the model's weights are these values, as the hook leaves them.
  void publish();
  void zero_gradients();

  /// Lets `hook` take part from now on, null none, and publishes. Throws: ConfigError where it does not fit a weight;
  /// the hook from before stays then.
  void set_hook(std::shared_ptr<model::WeightHook> hook);
  model::WeightHook* hook() const { return hook_.get(); }
  /// Shows the gradients of a step to the hook; the optimiser calls it before it reads them.
  void finish_gradients();
  /// Tells the hook that the masters have moved, `steps` optimiser steps in all, and publishes.
  void moved(std::int64_t steps);

 private:
  explicit Parameters(std::unique_ptr<model::Model> model);
  void connect_gradients();

  std::unique_ptr<model::Model> model_;
  std::vector<Parameter> parameters_;  ///< in the order of visit_weights
  model::Gradients gradients_;
  std::shared_ptr<model::WeightHook> hook_;
};

}  // namespace rpt::train
