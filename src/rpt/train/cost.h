// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>

#include "rpt/model/config.h"
#include "rpt/train/train_config.h"

namespace rpt::train {

/// Trained values of a model of this shape.
std::int64_t parameter_count(const model::Config& config);

/// Operations (multiplications and additions) of forward and backward for one token in sequences of `context` tokens:
/// three products with every ternary weight and with the head, and attention, 6·L·A·D·context.
double operations_per_token(const model::Config& config, std::int64_t context);

/// What a step needs in bytes, by part. Formula: docs/training.md, "Memory".
struct StepMemory {
  std::uint64_t weights = 0;      ///< masters, rounded values, gradients, moments, codes
  std::uint64_t activations = 0;  ///< tapes, caches of keys and values, streams
  std::uint64_t scratch = 0;      ///< of forward, backward and loss

  std::uint64_t total() const { return weights + activations + scratch; }
};

StepMemory step_memory(const model::Config& config, const TrainConfig& run);

/// Bytes of one checkpoint on disk.
std::uint64_t checkpoint_bytes(const model::Config& config, const TrainConfig& run);

/// Operations a second of large bf16 or float products on the threads in force, best of a few. Cost: about 0.1 s.
double measure_product_rate(model::BackwardType type);

}  // namespace rpt::train
