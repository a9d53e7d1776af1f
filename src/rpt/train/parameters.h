// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "rpt/core/aligned_buffer.h"
#include "rpt/model/backward.h"
#include "rpt/model/model.h"
#include "rpt/model/weight_hook.h"

namespace rpt::train {

/// What a trained tensor is: groups of the optimiser are chosen by it and by the name.
enum class ParameterKind : std::uint8_t { embedding, norm, linear };

/// What the optimiser moves.
enum class MasterType : std::uint8_t {
  f32,              ///< float32 values beside the bfloat16 ones
  bf16_nearest,     ///< the bfloat16 values themselves, rounded half to even after a step
  bf16_stochastic,  ///< the same, rounded up or down at random, so that the mean step is the whole step
};

/// "f32", "bf16-nearest", "bf16-stochastic".
std::string_view name(MasterType type);
/// The type of a name. Throws ConfigError.
MasterType parse_masters(std::string_view type_name);

/// One trained tensor [rows, columns]; norms are [1, n].
struct Parameter {
  std::string name;  ///< GGUF's, without ".weight"
  ParameterKind kind = ParameterKind::linear;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  core::AlignedBuffer<float> master;           ///< what the optimiser moves; empty where that is `rounded`
  core::AlignedBuffer<std::uint16_t> rounded;  ///< bf16(master): what the forward reads and files hold
  core::AlignedBuffer<float> gradient;

  std::int64_t size() const { return rows * columns; }
  bool has_master() const { return master.size() > 0; }
  /// As hooks see it.
  model::TrainedWeight trained_weight() const {
    return {name, kind == ParameterKind::linear, rows, columns, master.span()};
  }
};

/// Throws: ConfigError naming the first weight of a model that has no latents to train on.
void require_latents(const model::Model& model);

/// The weights of a model under training: masters, and a model over their bf16 values that is to every reader what a
/// saved directory of these values would be, unless a hook publishes scales. Source: docs/forward.md, "What is read".
class Parameters {
 public:
  /// Trains `model` on from its weights, which must be latents. Throws: ConfigError naming a tensor that has none.
  static std::unique_ptr<Parameters> of_model(std::unique_ptr<model::Model> model,
                                              MasterType masters = MasterType::f32);
  /// Fills `shell`, a model with configuration and vocabulary but without weights: normal numbers of standard deviation
  /// `deviation`, drawn by `seed`, in embeddings and linears; ones in norms.
  static std::unique_ptr<Parameters> random(std::unique_ptr<model::Model> shell, double deviation, std::uint64_t seed,
                                            MasterType masters = MasterType::f32);

  Parameters(const Parameters&) = delete;
  Parameters& operator=(const Parameters&) = delete;

  /// The model over the values that were published last.
  const model::Model& model() const { return *model_; }
  const model::Gradients& gradients() const { return gradients_; }
  std::vector<Parameter>& all() { return parameters_; }
  const std::vector<Parameter>& all() const { return parameters_; }
  MasterType masters() const { return masters_; }
  /// Number of trained values.
  std::int64_t count() const;

  /// Rounds float32 masters; from now on the model's weights are the rounded values, as the hook leaves them.
  void publish();
  void zero_gradients();
  /// Zeroes only the gradients that a first backward pass adds to and does not write whole: norms, and the embedding
  /// where the head is a matrix of its own.
  void zero_added_gradients();

  /// Lets `hook` take part from now on, null none, and publishes. Throws: ConfigError where it does not fit a weight;
  /// the hook from before stays then.
  void set_hook(std::shared_ptr<model::WeightHook> hook);
  model::WeightHook* hook() const { return hook_.get(); }
  /// Shows the gradients of a step to the hook; the optimiser calls it before it reads them.
  void finish_gradients();
  /// Tells the hook that the masters have moved, `steps` optimiser steps in all, and publishes.
  void moved(std::int64_t steps);

 private:
  Parameters(std::unique_ptr<model::Model> model, MasterType masters);
  void connect_gradients();

  std::unique_ptr<model::Model> model_;
  MasterType masters_;
  std::vector<Parameter> parameters_;  ///< in the order of visit_weights
  model::Gradients gradients_;
  std::shared_ptr<model::WeightHook> hook_;
};

}  // namespace rpt::train
