// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "rpt/model/export.h"
#include "rpt/model/model.h"

/// The gauge of online latents. A BitLinear computes float(dot) · ((s · a) / 127), and neither its codes nor the codes
/// of its input change when its latents, and so s, are multiplied by 2^j and the gains of the norm before it, and so a,
/// are divided by 2^j: not one bit of the output does. docs/gauge.md says why that matters.
namespace rpt::model {

/// Exponents j of one block. The latents of a group are multiplied by 2^j, the gains that feed it are divided by it.
struct BlockGauge {
  int attention = 0;     ///< attn_q, attn_k, attn_v behind attn_norm
  int attn_output = 0;   ///< attn_output behind attn_sub_norm
  int feed_forward = 0;  ///< ffn_gate, ffn_up behind ffn_norm
  int ffn_down = 0;      ///< ffn_down behind ffn_sub_norm
  int query_key = 0;     ///< besides: attn_q times 2^j, attn_k times 2^−j; no gain
  bool operator==(const BlockGauge&) const = default;
};

/// Exponents of every block [L].
using Gauge = std::vector<BlockGauge>;

/// A scale s for each kind of linear layer.
struct TypeScales {
  double attn_q = 1;
  double attn_k = 1;
  double attn_v = 1;
  double attn_output = 1;
  double ffn_gate = 1;
  double ffn_up = 1;
  double ffn_down = 1;
};

/// Scales of BitNet b1.58 2B-4T. Source: estimates from 750 published weights of layers 7 to 28 of its bf16 checkpoint.
inline constexpr TypeScales k2b4tScales{
    .attn_q = 0.79, .attn_k = 1.31, .attn_v = 4.2, .attn_output = 3.0, .ffn_gate = 2.1, .ffn_up = 2.5, .ffn_down = 3.2};

/// The inverse pattern: every scale s becomes smallest · largest / s, so that the kinds stand in reverse order within
/// the same range.
TypeScales inverse(const TypeScales& scales);

/// The gauge that brings the scales of every group nearest the targets of its kinds: j is the mean over the group of
/// log2(target / s), rounded. The same for another model of the same shape as target, tensor by tensor. `query_key`
/// stays 0. Throws: ConfigError where the model holds codes instead of latents, for scales or targets that are not
/// positive, for another shape.
Gauge gauge_towards(const Model& model, const TypeScales& targets);
Gauge gauge_towards(const Model& model, const Model& target);

/// The gauge of a freshly trained model, whose gains began as 1: every norm before a linear layer gets gains whose root
/// mean square is nearest 1, in log. Gains that are all 0 stay.
Gauge native_gauge(const Model& model);

/// The gauge nearest the model's own in which every scale lies in [low, high). Sizes: high ≥ 2 · low > 0, else
/// ConfigError. Throws: ConfigError naming the group of which no power of two brings all scales there; where the model
/// holds codes.
Gauge gauge_within(const Model& model, double low, double high);

/// What a forward saw in one block of the values whose size decides whether a gauge is exact.
struct BlockRanges {
  static constexpr float kNone = std::numeric_limits<float>::infinity();  ///< a smallest value where there was none
  /// Smallest max|x| over the rows that are not all zero of what each group quantises. The quantiser's
  /// a = max(max|x|, 1e-5) scales with x only while max|x| is at least 1e-5, before and after.
  float attention = kNone;
  float attn_output = kNone;
  float feed_forward = kNone;
  float ffn_down = kNone;
  /// Smallest |k| other than 0 and largest |k| after rope, before rounding to f16.
  float smallest_key = kNone;
  float largest_key = 0;
};

/// What a model says of some tokens, and what it met on the way.
struct GaugeCalibration {
  std::vector<BlockRanges> blocks;  ///< [L]
  std::vector<double> nlls;         ///< sequence_nlls of the model
};

/// Runs token sequences through the model. Throws: as sequence_nlls.
GaugeCalibration calibrate(const Model& model, std::span<const std::vector<std::int32_t>> sequences);

/// The model in another gauge, in memory; what does not change is shared with `model`'s files. Refused is what would
/// not be exact, naming the tensor: a latent or gain that its type cannot hold times the power of two; a scale outside
/// [2^−14, 65504], before or after, beyond which forms of a model disagree; gains so large that the norm may overflow;
/// by what `seen` says, rows at the floor 1e-5 of the activation quantiser, and with `query_key` some |k| outside f16's
/// normal range [2^−14, 65504], before or after. Sizes: gauge [L]. Throws: ConfigError for these, and where the model
/// holds codes instead of latents. Cost: memory for the latents that change.
std::unique_ptr<Model> apply_gauge(const Model& model, const Gauge& gauge, const GaugeCalibration& seen);

/// A linear layer before and after.
struct GaugedTensor {
  std::string name;  ///< GGUF's, as visit_weights
  std::string gain;  ///< the norm that feeds it
  int exponent = 0;  ///< of 2 in the factor of its latents
  float scale_before = 0;
  float scale_after = 0;
  /// Share of its latents among the smallest kSmallestShare of all latents: what a global threshold takes from it.
  double smallest_share_before = 0;
  double smallest_share_after = 0;
};

/// What write_in_gauge did and checked.
struct GaugeReport {
  static constexpr double kSmallestShare = 0.3;

  std::vector<GaugedTensor> tensors;
  /// Of the smallest kSmallestShare of all latents, the share that was not among them before: how far the gauge changes
  /// the order of magnitudes. Magnitudes are compared by exponent and 7 bits of the mantissa, equal ones taken
  /// together.
  double moved_share = 0;
  float smallest_maximum = 0;       ///< the smallest of BlockRanges' maxima in the new gauge; the floor is 1e-5
  std::string smallest_maximum_at;  ///< the norm that made it
  std::uint64_t tokens = 0;         ///< of the sequences compared
  std::string nll_sha256;           ///< of their NLLs, the same before and after
};

/// Writes the model in another gauge as a Hugging Face directory of latents. Before the folder appears it is read again
/// and must give every bit of the model's NLLs on `sequences`. Sizes: gauge [L]; options not lossy. Throws: as
/// sequence_nlls, apply_gauge and export_huggingface; CheckError where a bit differs.
GaugeReport write_in_gauge(const Model& model, const Gauge& gauge, std::span<const std::vector<std::int32_t>> sequences,
                           const std::filesystem::path& target, const ExportOptions& options);

}  // namespace rpt::model
