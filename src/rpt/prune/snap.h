// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "rpt/model/model.h"
#include "rpt/prune/calibration.h"

/// From latents to codes and one scale a tensor, for good. docs/forward.md, "Weight codes and scale", defines the
/// rules.
namespace rpt::prune {

/// Where codes and scale of a snapped tensor come from. W are its latents, s0 is the scale of the same tensor of a
/// base. The rules online_dense (the mean before a mask) and learned are none of these: on a saved model the first is
/// `frozen` with the unpruned model as base, and nothing here trains a scale.
enum class SnapRule : std::uint8_t {
  online,         ///< online_absmean of W: what every reader of the latents computes, so that no bit changes
  stored,         ///< W is 0 and ±s already: its signs and s
  max,            ///< sign of what is 1e-6 or more in magnitude, and max|W|: what bitnet.cpp's i2_s converter stores
  frozen,         ///< codes of W at s0, and s0
  refit,          ///< the codes of `frozen`, and the scale with which they come closest to the base's output
  legacy_double,  ///< `frozen`, whose {0, ±s0} is quantised online again: s0 times the density of the codes
};
std::string_view name(SnapRule rule);
/// Throws: ConfigError.
SnapRule parse_snap_rule(std::string_view text);
/// True for frozen, refit and legacy_double.
bool needs_base(SnapRule rule);

/// What became of one tensor, and the scales that others would read it with. They are one only where the latents lie on
/// ±s without zeros: that is why a snapped model must say which one it means.
struct SnappedTensor {
  std::string name;  ///< GGUF's, without ".weight"
  std::uint64_t weights = 0;
  std::uint64_t ternary = 0;  ///< latents that are 0 or ±largest: all of them where W is snapped already
  std::uint64_t zeros = 0;    ///< codes written as 0
  std::uint64_t changed = 0;  ///< codes that are others than under `online`
  float online_scale = 0;     ///< with which the latents are read as they stand
  float largest = 0;          ///< max|W|
  float scale = 0;            ///< written
  float scale_again = 0;      ///< if the written {0, ±s} were quantised online again
};

struct Snapped {
  std::unique_ptr<model::Model> model;  ///< codes and scales in memory; what is no linear layer is shared
  std::vector<SnappedTensor> tensors;   ///< in the order of model::visit_weights
};

/// What a rule looks at besides the latents.
struct SnapSource {
  const model::Model* base = nullptr;        ///< of frozen, refit, legacy_double: a model of the same shape
  const Calibration* calibration = nullptr;  ///< of refit: the base's inputs; without, all inputs count alike
};

/// Snaps every linear layer. Formula of refit: with the codes C of the base at s0 and C' of `frozen`,
/// s' = s0·⟨C'X, CX⟩ / ‖C'X‖², or s0·⟨C', C⟩ / ‖C'‖² without X; s0 where that is not above 0. Scales are rounded to the
/// type of the latents. Throws: ConfigError naming a tensor that holds codes instead of latents (unless the rule is
/// stored or max and its file holds floats), under `stored` one that is not 0 and ±s, for a base of another shape or
/// none where one is needed, for calibration without inputs; FormatError as TernaryWeight::codes; ShapeError for rows
/// that are no multiple of 4. Cost of refit with calibration: as the score `code`.
Snapped snap(const model::Model& model, SnapRule rule, const SnapSource& source = {});

/// The scale that online_absmean finds in a tensor of `weights` values of which `nonzero` are ±scale and the others 0,
/// rounded to `type`.
float scale_read_again(float scale, std::uint64_t nonzero, std::uint64_t weights, tensor::DType type);

}  // namespace rpt::prune
