// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "rpt/model/masks.h"
#include "rpt/model/weight_hook.h"

namespace rpt::train {

/// Holds masks during a training: pruned weights are read as 0 and get no gradient, so that they never come back.
class MaskHook : public model::WeightHook {
 public:
  explicit MaskHook(model::Masks masks);

  /// "mask " and the masks' SHA-256.
  std::string description() const override { return description_; }
  /// Throws: ConfigError where a linear has no mask, or one of another size.
  void moved(const model::TrainedWeight& weight, std::int64_t steps) override;
  void published(const model::TrainedWeight& weight, std::span<std::uint16_t> values) const override;
  void gradient(const model::TrainedWeight& weight, std::span<float> gradient) const override;
  std::span<std::uint8_t> state(const model::TrainedWeight&) override { return {}; }
  std::uint64_t held_bytes() const override;

 private:
  model::Masks masks_;
  std::string description_;
};

/// A scale that does not follow the latents.
struct FixedScale {
  float inv = 0;    ///< code = clamp(rhe(w · inv), −1, 1)
  float scale = 0;  ///< what is read is scale · code; a bfloat16 value
};

/// What the forward takes of weights that are 0 and ±s0.
enum class FixedScaleReading : std::uint8_t {
  frozen,  ///< s0
  twice,   ///< quantises them online once more: s0 times the density of the codes
};

/// Trains at scales that do not follow the latents: a linear is read as their codes at a scale s0, of before pruning or
/// training, times s0. Masks are held as by MaskHook; gradients go straight through. Without the hook the same masters
/// are read as latents. Source of `twice`: RPT, deploy/rpt_deploy_a100.py, the step of its fine-tune.
class FixedScaleHook : public MaskHook {
 public:
  using Scales = std::map<std::string, FixedScale, std::less<>>;
  /// Scales of every linear, by name.
  FixedScaleHook(model::Masks masks, Scales scales, FixedScaleReading reading);

  /// How scales are read, their SHA-256, and the masks'.
  std::string description() const override { return description_; }
  /// Throws: ConfigError as MaskHook, and where a linear has no scale or no float32 master.
  void moved(const model::TrainedWeight& weight, std::int64_t steps) override;
  void published(const model::TrainedWeight& weight, std::span<std::uint16_t> values) const override;
  bool publishes_scales() const override { return reading_ == FixedScaleReading::frozen; }

 private:
  Scales scales_;
  FixedScaleReading reading_;
  std::string description_;
};

/// Among which weights the smallest are found.
enum class ReviveScope : std::uint8_t {
  groups,  ///< each `of` neighbours in a row: N:M
  row,
  tensor,
};

/// "groups", "row", "tensor".
std::string_view name(ReviveScope scope);
/// The scope of a name. Throws ConfigError.
ReviveScope parse_revive_scope(std::string_view text);

struct ReviveOptions {
  ReviveScope scope = ReviveScope::groups;
  std::int64_t keep = 2;   ///< N: groups keep their largest N …
  std::int64_t of = 4;     ///< … of M
  double sparsity = 0.5;   ///< row and tensor: share of the weights that is pruned, rounded down to whole weights
  std::int64_t every = 1;  ///< optimiser steps between refreshes of the masks
};

/// Masks that follow the magnitudes of the masters: the smallest weights of every linear are read as 0, but all get
/// their gradient, so that a pruned one that grows comes back. Among equals the first ones stay.
/// Source: Zhang et al., "Sparse-BitNet", arXiv 2603.05168, whose masks are refreshed at every step. Its scale is that
/// of the weights before the mask; here it follows, as in every file of latents, from the values that are read.
/// Cost of a refresh: a selection over the weights; scope `tensor` runs on one thread.
class ReviveHook : public model::WeightHook {
 public:
  /// Throws: ConfigError for options outside their bounds.
  explicit ReviveHook(const ReviveOptions& options);

  std::string description() const override;
  /// Throws: ConfigError where a row does not divide into groups, or where there are no float32 masters.
  void moved(const model::TrainedWeight& weight, std::int64_t steps) override;
  void published(const model::TrainedWeight& weight, std::span<std::uint16_t> values) const override;
  void gradient(const model::TrainedWeight&, std::span<float>) const override {}
  /// The mask in force, 1 keeps.
  std::span<std::uint8_t> state(const model::TrainedWeight& weight) override;
  std::uint64_t held_bytes() const override;

 private:
  ReviveOptions options_;
  std::map<std::string, std::vector<std::uint8_t>, std::less<>> masks_;
};

/// Sets mask [n] to 1 for the `keep` largest magnitudes of weights [n] and to 0 for the others; among equals the first
/// ones are kept. `scratch` is overwritten.
void keep_largest(std::span<const float> weights, std::int64_t keep, std::span<std::uint8_t> mask,
                  std::vector<std::uint32_t>& scratch);

}  // namespace rpt::train
