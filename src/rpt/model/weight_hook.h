// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace rpt::model {

/// A weight under training [rows, columns], as a hook sees it; norms are [1, n].
struct TrainedWeight {
  std::string_view name;  ///< as visit_weights() names it
  bool linear = false;    ///< of a BitLinear; else an embedding or a norm
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::span<const float> master;  ///< empty where the published bf16 values are the masters themselves
};

/// Stands between the masters of a training and the model over them: masks that are held, masks that follow the
/// masters, weights whose gradient is taken away. A step calls gradient() for every weight, then the optimiser moves
/// the masters, then moved() and published() follow for every weight. (A gradient that is taken away does not stop
/// weight decay: a master that may not move at all belongs to an optimiser group without learning rate.)
class WeightHook {
 public:
  virtual ~WeightHook() = default;

  /// What tells this hook from others, in one line: a run that is resumed must have been started under the same one.
  virtual std::string description() const = 0;

  /// The masters have moved, `steps` optimiser steps are taken; 0 when the hook is set. Throws: ConfigError at 0 where
  /// the hook cannot work on such a weight.
  virtual void moved(const TrainedWeight& weight, std::int64_t steps) = 0;

  /// May change `values` [rows · columns], bf16(master), before the model gets them: they are what the forward reads,
  /// what the scale follows from (but see publishes_scales) and what files hold. A zero has code 0.
  virtual void published(const TrainedWeight& weight, std::span<std::uint16_t> values) const = 0;

  /// Whether the values of linear layers are 0 and ±s with s the scale itself, which is not to be found anew.
  virtual bool publishes_scales() const { return false; }

  /// May change the gradient [rows · columns] of a step, before the optimiser measures its norm.
  virtual void gradient(const TrainedWeight& weight, std::span<float> gradient) const = 0;

  /// What cannot be told from masters and steps, for checkpoints to store and to restore in place; of the same size
  /// ever since moved(weight, 0).
  virtual std::span<std::uint8_t> state(const TrainedWeight& weight) = 0;

  /// Bytes that it keeps.
  virtual std::uint64_t held_bytes() const = 0;
};

}  // namespace rpt::model
