// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "rpt/model/decoder.h"
#include "rpt/train/loss.h"
#include "rpt/train/parameters.h"
#include "rpt/train/window_sampler.h"

namespace rpt::train {

/// How a training step computes.
struct StepOptions {
  model::BackwardType backward = model::BackwardType::bf16;
  model::BackwardType head = model::BackwardType::bf16;
  bool checkpoint_activations = false;
};

/// Of a batch of `rows` sequences of `length` tokens, how many run together: about 1,024 tokens, the rest follows in
/// further pieces of that size or less. More would save no time (what a layer leaves is read back from memory instead
/// of the caches), but take more memory.
std::int64_t rows_together(std::int64_t rows, std::int64_t length);

/// Seconds that the parts of gradient steps took, added up.
struct StepTimes {
  double forward = 0;
  double loss = 0;  ///< the head and its backward included
  double backward = 0;
};

/// Forward, loss and backward of batches: adds gradients to parameters, moves no weight. The forward is the model's own
/// (Decoder), with the weights that were published last; only in a quantisation warm-up it is another one.
class GradientStep {
 public:
  /// Sequences of at most `context` tokens. `parameters` must outlive it. Throws ConfigError for a context that the
  /// model does not have, and for a head in int8 where the backward pass is
  /// not, or of more rows than tensor::kMostInt8Terms.
  GradientStep(Parameters& parameters, std::int64_t context, const StepOptions& options);

  /// Σ NLL (nats) over the batch's targets; adds the gradient of weight · Σ to the parameters'. `rows` sequences of
  /// equal length, rows_together() at a time. Throws: as Decoder::forward and HeadLoss::add.
  double add(const Batch& batch, std::int64_t rows, float weight);

  /// λ of a quantisation warm-up, 0 … 1, from the next batch on: the share of the ternary product in the output of each
  /// linear, the rest being the dense product of bf16 latents and quantised activations. Source: docs/forward.md.
  void set_ternary_share(double share);
  /// Begins a step: the next batch's gradients take the place of what is there instead of being added to it, and
  /// backward products in int8 round by `seed` and the number of the step.
  void begin_step(std::uint64_t seed, std::int64_t step);
  /// Adds the times of all later batches to `times`; null turns that off.
  void set_times(StepTimes* times) { times_ = times; }

 private:
  /// The same for sequences that run together.
  double add_piece(std::span<const std::int32_t> tokens, std::span<const std::int32_t> targets, std::int64_t rows,
                   float weight);

  Parameters& parameters_;
  model::Decoder decoder_;
  HeadLoss loss_;
  model::BackwardWork work_;
  model::Tape tape_;
  std::int64_t context_;
  std::vector<std::unique_ptr<model::KvCache>> caches_;
  tensor::Tensor hidden_, dhidden_;
  StepTimes* times_ = nullptr;
};

/// How many targets a batch asks for.
std::int64_t count_targets(const Batch& batch);

}  // namespace rpt::train
