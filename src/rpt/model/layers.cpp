// SPDX-License-Identifier: MIT
#include "rpt/model/layers.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "rpt/core/parallel.h"
#include "rpt/core/trace.h"
#include "rpt/kernels/isa.h"

namespace rpt::model {
namespace {

void observe(LayerObserver* observer, std::string_view name, std::int64_t layer, tensor::MatrixView values) {
  if (observer != nullptr) observer->activation(name, layer, values);
}

/// RMSNorm in which an overflow or a NaN is an error that names the layer.
void norm(tensor::MatrixView x, const NormWeight& weight, float epsilon, tensor::MutableMatrix y, std::int64_t layer,
          std::string_view name) {
  const std::int64_t bad = tensor::rms_norm(x, weight.gain, epsilon, y);
  if (bad >= 0) {
    throw NumericError(fmt::format("layer blk.{}.{}: the sum of squares of row {} is not finite", layer, name, bad),
                       bad);
  }
}

/// True where binary16 bits are an infinity or a NaN.
bool holds_infinity(const std::uint16_t* bits, std::int64_t count) {
  return std::any_of(bits, bits + count, [](std::uint16_t b) { return (b & 0x7c00U) == 0x7c00U; });
}

}  // namespace

void BitLinear::forward(const tensor::QuantisedRows& x, tensor::MutableMatrix y) const {
  const core::ScopedTrace trace("model::BitLinear::forward");
  tensor::matmul_ternary(weights_.weight.codes(), x, y);
  if (weights_.output_scale) {
    for (std::int64_t t = 0; t < y.rows; ++t) {
      for (std::int64_t n = 0; n < y.columns; ++n) y.row(t)[n] *= *weights_.output_scale;
    }
  }
}

void BitLinear::forward(tensor::MatrixView x, tensor::QuantisedRows& scratch, tensor::MutableMatrix y) const {
  quantise(x, scratch);
  forward(scratch, y);
}

void BitLinear::quantise(tensor::MatrixView x, tensor::QuantisedRows& out) const {
  const std::int64_t bad = tensor::quantise_rows(x, out);
  if (bad >= 0)
    throw NumericError(fmt::format("layer {}: the input of row {} holds an infinity or NaN", name_, bad), bad);
}

Block::Block(const Config& config, const BlockWeights& weights, std::int64_t layer)
    : config_(config),
      weights_(weights),
      layer_(layer),
      q_(weights.attn_q, fmt::format("blk.{}.attn_q", layer)),
      k_(weights.attn_k, fmt::format("blk.{}.attn_k", layer)),
      v_(weights.attn_v, fmt::format("blk.{}.attn_v", layer)),
      o_(weights.attn_output, fmt::format("blk.{}.attn_output", layer)),
      gate_(weights.ffn_gate, fmt::format("blk.{}.ffn_gate", layer)),
      up_(weights.ffn_up, fmt::format("blk.{}.ffn_up", layer)),
      down_(weights.ffn_down, fmt::format("blk.{}.ffn_down", layer)) {}

void Block::forward(tensor::MutableMatrix h, Workspace& work, const RopeTable& rope, LayerObserver* observer) const {
  const core::ScopedTrace trace("model::Block::forward");
  attention(h, work, rope, observer);
  feed_forward(h, work, observer);
  observe(observer, "block", layer_, h);
}

void Block::attention(tensor::MutableMatrix h, Workspace& work, const RopeTable& rope, LayerObserver* observer) const {
  const std::int64_t rows = h.rows;
  work.normed.reshape(rows, config_.hidden);
  work.query.reshape(rows, config_.query_size());
  work.key.reshape(rows, config_.kv_size());
  work.value.reshape(rows, config_.kv_size());
  work.attended.reshape(rows, config_.query_size());
  work.projected.reshape(rows, config_.hidden);

  norm(h, weights_.attn_norm, config_.norm_epsilon, work.normed.view(), layer_, "attn_norm");
  observe(observer, "attn_norm", layer_, work.normed.view());
  q_.quantise(work.normed.view(), work.quantised);
  q_.forward(work.quantised, work.query.view());
  k_.forward(work.quantised, work.key.view());
  v_.forward(work.quantised, work.value.view());
  observe(observer, "attn_q", layer_, work.query.view());
  observe(observer, "attn_k", layer_, work.key.view());
  observe(observer, "attn_v", layer_, work.value.view());
  write_cache(work, rope);
  attend(work);
  observe(observer, "attention", layer_, work.attended.view());
  norm(work.attended.view(), weights_.attn_sub_norm, config_.norm_epsilon, work.attended.view(), layer_,
       "attn_sub_norm");
  observe(observer, "attn_sub_norm", layer_, work.attended.view());
  o_.forward(work.attended.view(), work.quantised, work.projected.view());
  observe(observer, "attn_output", layer_, work.projected.view());
  tensor::add(h, work.projected.view());
}

/// Rotates queries in place; rotates keys, then rounds keys and values to f16 into the caches.
void Block::write_cache(Workspace& work, const RopeTable& rope) const {
  const auto& table = kernels::active();
  const std::int64_t d = config_.head_size;
  std::atomic<std::int64_t> bad{-1};
  core::parallel_for(static_cast<std::int64_t>(work.rows.size()), 8, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const Row& row = work.rows[static_cast<std::size_t>(t)];
      const float* cos = rope.cos(row.position);
      const float* sin = rope.sin(row.position);
      float* query = work.query.view().row(t);
      float* key = work.key.view().row(t);
      const float* value = work.value.view().row(t);
      for (std::int64_t head = 0; head < config_.heads; ++head) table.rope_halves(query + head * d, cos, sin, d);
      for (std::int64_t head = 0; head < config_.kv_heads; ++head) {
        table.rope_halves(key + head * d, cos, sin, d);
        std::uint16_t* k = row.cache->keys(layer_, head) + row.position * d;
        std::uint16_t* v = row.cache->values(layer_, head) + row.position * d;
        table.f32_to_f16(key + head * d, d, k);
        table.f32_to_f16(value + head * d, d, v);
        if (holds_infinity(k, d) || holds_infinity(v, d)) bad = t;
      }
    }
  });
  if (bad >= 0) {
    throw NumericError(
        fmt::format("layer blk.{}.attn_k or attn_v: row {} holds a value beyond f16", layer_, bad.load()), bad);
  }
}

/// Every row attends to the positions up to its own.
void Block::attend(Workspace& work) const {
  const auto kernel = kernels::active().attention_head;
  const std::int64_t d = config_.head_size;
  const std::int64_t group = config_.heads / config_.kv_heads;
  const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(d)));
  const auto rows = static_cast<std::int64_t>(work.rows.size());
  core::parallel_for(rows * config_.kv_heads, rows == 1 ? 1 : 8, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      // Rows of one head follow each other, so that its keys and values stay in the cache.
      const std::int64_t t = i % rows;
      const std::int64_t kv_head = i / rows;
      const Row& row = work.rows[static_cast<std::size_t>(t)];
      kernels::AttentionHead a;
      a.key = row.cache->keys(layer_, kv_head);
      a.value = row.cache->values(layer_, kv_head);
      a.stride = d;
      a.keys = row.position + 1;
      a.head_size = d;
      a.scale = scale;
      for (std::int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
        a.query = work.query.view().row(t) + head * d;
        a.out = work.attended.view().row(t) + head * d;
        kernel(a);
      }
    }
  });
}

void Block::feed_forward(tensor::MutableMatrix h, Workspace& work, LayerObserver* observer) const {
  const std::int64_t rows = h.rows;
  work.normed.reshape(rows, config_.hidden);
  work.gate.reshape(rows, config_.feed_forward);
  work.up.reshape(rows, config_.feed_forward);
  work.projected.reshape(rows, config_.hidden);

  norm(h, weights_.ffn_norm, config_.norm_epsilon, work.normed.view(), layer_, "ffn_norm");
  observe(observer, "ffn_norm", layer_, work.normed.view());
  gate_.quantise(work.normed.view(), work.quantised);
  gate_.forward(work.quantised, work.gate.view());
  up_.forward(work.quantised, work.up.view());
  observe(observer, "ffn_gate", layer_, work.gate.view());
  observe(observer, "ffn_up", layer_, work.up.view());
  if (config_.activation == Activation::relu2) {
    tensor::relu2_mul(work.gate.view(), work.up.view(), work.gate.view());
  } else {
    tensor::silu_mul(work.gate.view(), work.up.view(), work.gate.view());
  }
  observe(observer, "ffn_act", layer_, work.gate.view());
  norm(work.gate.view(), weights_.ffn_sub_norm, config_.norm_epsilon, work.gate.view(), layer_, "ffn_sub_norm");
  observe(observer, "ffn_sub_norm", layer_, work.gate.view());
  down_.forward(work.gate.view(), work.quantised, work.projected.view());
  observe(observer, "ffn_down", layer_, work.projected.view());
  tensor::add(h, work.projected.view());
}

}  // namespace rpt::model
