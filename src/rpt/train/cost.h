// SPDX-License-Identifier: MIT
#pragma once
#include <algorithm>
#include <cstdint>

#include "rpt/model/config.h"
#include "rpt/train/train_config.h"

namespace rpt::train {

/// Weights of the ternary linear layers of a model of this shape.
std::int64_t ternary_weights(const model::Config& config);

/// Trained values of a model of this shape.
std::int64_t parameter_count(const model::Config& config);

/// Operations (multiplications and additions) of forward and backward for one token in sequences of `context` tokens:
/// three products with every ternary weight and with the head, and attention, 6·L·A·D·context.
double operations_per_token(const model::Config& config, std::int64_t context);

/// Seconds that a run takes for each token it reads, about, given the rate of products in operations a second. Products
/// reach most of that rate; everything around them costs about as much again as a third of them. Scoring a token takes
/// a third of it.
double guess_seconds_per_token(const model::Config& config, const TrainConfig& run, double product_rate);

/// What stands in memory beside a step.
struct Surroundings {
  std::uint64_t stream_tokens = 0;  ///< of the text that is trained on
  std::uint64_t watched_bytes = 0;  ///< of the texts that are held to be scored, all together
  std::uint64_t largest_bytes = 0;  ///< of the largest of them, scored whole at the end
  std::uint64_t part_bytes = 0;     ///< of the largest part of a text that is scored on the way
  std::int64_t scoring_tokens = 0;  ///< that scoring runs through the model together; 0 where nothing is scored
  std::uint64_t mask_bytes = 0;     ///< of masks that are held; those of `revive` follow from the configuration
};

/// What a run needs in bytes at its peak, by part. Formula: docs/training.md, "Memory".
struct RunMemory {
  std::uint64_t weights = 0;      ///< masters, rounded values, gradients, moments, codes, masks
  std::uint64_t activations = 0;  ///< tapes, caches of keys and values, streams
  std::uint64_t scratch = 0;      ///< of forward, backward and loss
  std::uint64_t scoring = 0;      ///< the decoder that scores watched texts, and the best model while it is saved
  std::uint64_t texts = 0;        ///< training tokens, watched texts
  std::uint64_t program = 0;      ///< code, libraries and what they keep
  /// All that stands at the end, while the model is saved and whole texts are scored, and moments and the step's
  /// buffers are gone; more than the parts above only where texts are large and the model is small.
  std::uint64_t at_end = 0;

  std::uint64_t total() const { return std::max(weights + activations + scratch + scoring + texts + program, at_end); }
};

/// Reads threads and instruction set in force, since scratch space depends on them.
RunMemory run_memory(const model::Config& config, const TrainConfig& run, const Surroundings& around);

/// Bytes of one checkpoint on disk.
std::uint64_t checkpoint_bytes(const model::Config& config, const TrainConfig& run);

/// Operations a second of large bf16 or float products on the threads in force, best of a few. Cost: about 0.1 s.
double measure_product_rate(model::BackwardType type);

}  // namespace rpt::train
