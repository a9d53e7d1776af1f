// SPDX-License-Identifier: MIT
#pragma once
#include <array>
#include <span>
#include <string>
#include <string_view>

#include "rpt/model/gauge.h"

/// Which linear layers share a norm, and where their figures stand: what the parts of the gauge share.
namespace rpt::model {

struct GaugeLinear {
  std::string_view name;
  LinearWeight BlockWeights::*weight;
  double TypeScales::*type_scale;
  int query_key;  ///< sign with which BlockGauge::query_key counts
};

struct GaugeGroup {
  std::string_view norm;
  NormWeight BlockWeights::*gain;
  std::span<const GaugeLinear> linears;
  int BlockGauge::*exponent;
  float BlockRanges::*smallest_maximum;
};

inline constexpr std::array kAttentionLinears{GaugeLinear{"attn_q", &BlockWeights::attn_q, &TypeScales::attn_q, 1},
                                              GaugeLinear{"attn_k", &BlockWeights::attn_k, &TypeScales::attn_k, -1},
                                              GaugeLinear{"attn_v", &BlockWeights::attn_v, &TypeScales::attn_v, 0}};
inline constexpr std::array kOutputLinears{
    GaugeLinear{"attn_output", &BlockWeights::attn_output, &TypeScales::attn_output, 0}};
inline constexpr std::array kFeedForwardLinears{
    GaugeLinear{"ffn_gate", &BlockWeights::ffn_gate, &TypeScales::ffn_gate, 0},
    GaugeLinear{"ffn_up", &BlockWeights::ffn_up, &TypeScales::ffn_up, 0}};
inline constexpr std::array kDownLinears{GaugeLinear{"ffn_down", &BlockWeights::ffn_down, &TypeScales::ffn_down, 0}};

/// The groups of a block, in the order of the forward.
inline constexpr std::array kGaugeGroups{GaugeGroup{"attn_norm", &BlockWeights::attn_norm, kAttentionLinears,
                                                    &BlockGauge::attention, &BlockRanges::attention},
                                         GaugeGroup{"attn_sub_norm", &BlockWeights::attn_sub_norm, kOutputLinears,
                                                    &BlockGauge::attn_output, &BlockRanges::attn_output},
                                         GaugeGroup{"ffn_norm", &BlockWeights::ffn_norm, kFeedForwardLinears,
                                                    &BlockGauge::feed_forward, &BlockRanges::feed_forward},
                                         GaugeGroup{"ffn_sub_norm", &BlockWeights::ffn_sub_norm, kDownLinears,
                                                    &BlockGauge::ffn_down, &BlockRanges::ffn_down}};

/// Exponent by which the latents of a linear layer move.
inline int exponent_of(const BlockGauge& gauge, const GaugeGroup& group, const GaugeLinear& linear) {
  return gauge.*group.exponent + linear.query_key * gauge.query_key;
}

/// "blk.3.attn_q".
std::string block_tensor_name(std::size_t block, std::string_view part);

/// The latents of a linear layer. Throws: ConfigError naming it where the model holds codes.
tensor::StoredView latents_in_gauge(const std::string& name, const LinearWeight& linear);

}  // namespace rpt::model
