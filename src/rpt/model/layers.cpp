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

void require_norm(std::int64_t bad, std::int64_t layer, std::string_view name) {
  if (bad < 0) return;
  throw NumericError(fmt::format("layer blk.{}.{}: the sum of squares of row {} is not finite", layer, name, bad), bad);
}

tensor::Gating gating(Activation activation) {
  return activation == Activation::relu2 ? tensor::Gating::relu2 : tensor::Gating::silu;
}

/// The factor that multiplies an output last.
void scale_output(const std::optional<float>& scale, tensor::MutableMatrix y) {
  if (!scale) return;
  for (std::int64_t t = 0; t < y.rows; ++t) {
    for (std::int64_t n = 0; n < y.columns; ++n) y.row(t)[n] *= *scale;
  }
}

/// True where binary16 bits are an infinity or a NaN.
bool holds_infinity(const std::uint16_t* bits, std::int64_t count) {
  return std::any_of(bits, bits + count, [](std::uint16_t b) { return (b & 0x7c00U) == 0x7c00U; });
}

}  // namespace

void BitLinear::forward(const tensor::QuantisedRows& x, tensor::MutableMatrix y, BackwardWork* training) const {
  const core::ScopedTrace trace("model::BitLinear::forward");
  if (training != nullptr && training->warms_up()) {
    warm_up(x, y, *training);
  } else {
    tensor::matmul_ternary(weights_.weight.codes(), x, y);
  }
  scale_output(weights_.output_scale, y);
}

void BitLinear::warm_up(const tensor::QuantisedRows& x, tensor::MutableMatrix y, BackwardWork& training) const {
  const float share = training.ternary_share;
  if (share > 0) tensor::matmul_ternary(weights_.weight.codes(), x, y);
  training.dense.reshape(y.rows, y.columns);
  tensor::Operand latents = training.latents(weights_.weight);
  latents.transposed = true;
  tensor::multiply(training.input(), latents, std::nullopt, false, training.dense.view());
  core::parallel_for(y.rows, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const float factor = (1.0F - share) * (x.amax[static_cast<std::size_t>(t)] / 127.0F);
      const float* dense = training.dense.view().row(t);
      float* out = y.row(t);
      for (std::int64_t n = 0; n < y.columns; ++n) {
        out[n] = factor * dense[n] + (share > 0 ? share * out[n] : 0.0F);
      }
    }
  });
}

void BitLinear::forward(tensor::MatrixView x, tensor::QuantisedRows& quantised, tensor::MutableMatrix y,
                        BackwardWork* training) const {
  quantise(x, quantised, training);
  forward(quantised, y, training);
}

void BitLinear::quantise(tensor::MatrixView x, tensor::QuantisedRows& out, BackwardWork* training) const {
  accept(tensor::quantise_rows(x, out), out, training);
}

void BitLinear::accept(std::int64_t bad, const tensor::QuantisedRows& x, BackwardWork* training) const {
  if (bad >= 0)
    throw NumericError(fmt::format("layer {}: the input of row {} holds an infinity or NaN", name_, bad), bad);
  if (training != nullptr && training->warms_up()) training->load_input(x);
}

void BitLinear::backward(const tensor::QuantisedRows& x, tensor::MatrixView dy, BackwardWork& work,
                         tensor::MutableMatrix dx, bool accumulate, tensor::MutableMatrix dweight) const {
  const float last = weights_.output_scale.value_or(1.0F);
  std::vector<float> steps(x.amax.size());  // of the quantiser, row by row
  std::transform(x.amax.begin(), x.amax.end(), steps.begin(), [&](float a) { return a / 127.0F * last; });
  if (work.type() == BackwardType::int8) {
    const BackwardWork::Int8Gradient rounded = work.int8_rows(dy, steps);
    const tensor::PackedTernaryView& codes = weights_.weight.codes();
    std::vector<float> factors(rounded.row_steps.begin(), rounded.row_steps.end());
    for (float& factor : factors) factor *= codes.scale * last;
    tensor::multiply_int8_rows(rounded.row_codes, work.codes(codes), factors, accumulate, dx);
    tensor::Operand transposed = rounded.column_codes;
    transposed.transposed = true;
    tensor::multiply_int8_rows(transposed, work.input(), rounded.column_steps, !work.overwrites, dweight);
    return;
  }
  const BackwardWork::Gradient rows = work.rows(dy, steps);
  input_gradient(rows.plain, work, dx, accumulate);
  tensor::Operand transposed = rows.scaled;
  transposed.transposed = true;
  tensor::multiply(transposed, work.input(), std::nullopt, !work.overwrites, dweight);
}

void BitLinear::input_gradient(const tensor::Operand& dy, BackwardWork& work, tensor::MutableMatrix dx,
                               bool accumulate) const {
  const float last = weights_.output_scale.value_or(1.0F);
  const float share = work.ternary_share;
  if (share > 0) {
    const tensor::PackedTernaryView& codes = weights_.weight.codes();
    tensor::multiply(dy, work.codes(codes), share * codes.scale * last, accumulate, dx);
  }
  if (work.warms_up()) {
    tensor::multiply(dy, work.latents(weights_.weight), (1.0F - share) * last, accumulate || share > 0, dx);
  }
}

void Linear::forward_dense(tensor::MatrixView x, tensor::MutableMatrix y) const {
  const std::int64_t bad = tensor::first_not_finite(x);
  if (bad >= 0)
    throw NumericError(fmt::format("layer {}: the input of row {} holds an infinity or NaN", name_, bad), bad);
  tensor::matmul_dense(weights_.dense->values(), x, y, weights_.dense->bf16());
  scale_output(weights_.output_scale, y);
}

void project_quantised(std::int64_t bad, const tensor::QuantisedRows& x, std::initializer_list<Projection> layers,
                       BackwardWork* training) {
  layers.begin()->layer.ternary().accept(bad, x, training);
  for (const auto& [layer, y] : layers) layer.ternary().forward(x, y, training);
}

void project(tensor::MatrixView x, tensor::QuantisedRows& quantised, std::initializer_list<Projection> layers,
             BackwardWork* training) {
  bool is_quantised = false;
  for (const auto& [layer, y] : layers) {
    if (!layer.is_ternary()) {
      layer.forward_dense(x, y);
      continue;
    }
    if (!is_quantised) layer.ternary().quantise(x, quantised, training);
    is_quantised = true;
    layer.ternary().forward(quantised, y, training);
  }
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

void Block::forward(tensor::MutableMatrix h, Workspace& work, const RopeTable& rope, LayerObserver* observer,
                    BlockTape* tape) const {
  const core::ScopedTrace trace("model::Block::forward");
  attention(h, work, rope, observer, tape);
  feed_forward(h, work, observer, tape);
  observe(observer, "block", layer_, h);
}

void Block::attention(tensor::MutableMatrix h, Workspace& work, const RopeTable& rope, LayerObserver* observer,
                      BlockTape* tape) const {
  BlockTape& kept = tape != nullptr ? *tape : work.tape;
  if (tape != nullptr) tensor::copy(h, tape->input);
  const std::int64_t rows = h.rows;
  kept.query.reshape(rows, config_.query_size());
  work.key.reshape(rows, config_.kv_size());
  work.value.reshape(rows, config_.kv_size());
  kept.attended.reshape(rows, config_.query_size());
  work.projected.reshape(rows, config_.hidden);

  project_normed({h, weights_.attn_norm, "attn_norm"}, kept.attn_input,
                 {{q_, kept.query.view()}, {k_, work.key.view()}, {v_, work.value.view()}}, work, observer);
  observe(observer, "attn_q", layer_, kept.query.view());
  observe(observer, "attn_k", layer_, work.key.view());
  observe(observer, "attn_v", layer_, work.value.view());
  write_cache(work, kept, rope);
  attend(work, kept);
  observe(observer, "attention", layer_, kept.attended.view());
  if (config_.sub_norms) {
    project_normed({kept.attended.view(), weights_.attn_sub_norm, "attn_sub_norm"}, kept.output_input,
                   {{o_, work.projected.view()}}, work, observer);
  } else {
    project(kept.attended.view(), kept.output_input, {{o_, work.projected.view()}}, work.training);
  }
  observe(observer, "attn_output", layer_, work.projected.view());
  tensor::add(h, work.projected.view());
}

/// Rotates queries in place; rotates keys, then rounds keys and values to f16 into the caches.
void Block::write_cache(Workspace& work, BlockTape& tape, const RopeTable& rope) const {
  const auto& table = kernels::active();
  const std::int64_t d = config_.head_size;
  std::atomic<std::int64_t> bad{-1};
  core::parallel_for(static_cast<std::int64_t>(work.rows.size()), 8, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const Row& row = work.rows[static_cast<std::size_t>(t)];
      const float* cos = rope.cos(row.position);
      const float* sin = rope.sin(row.position);
      float* query = tape.query.view().row(t);
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

/// Every row attends to the positions up to its own. The query heads of a group, and neighbouring rows of a sequence,
/// share their keys and values: the kernel takes them together.
void Block::attend(const Workspace& work, BlockTape& tape) const {
  constexpr std::int64_t kRowsTogether = 8;
  const auto kernel = kernels::active().attention_head;
  const std::int64_t d = config_.head_size;
  const std::int64_t group = config_.heads / config_.kv_heads;
  const auto rows = static_cast<std::int64_t>(work.rows.size());
  kernels::AttentionHead shared;
  shared.stride = d;
  shared.head_size = d;
  shared.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(d)));
  core::parallel_for(rows * config_.kv_heads, rows == 1 ? 1 : kRowsTogether, [&](std::int64_t begin, std::int64_t end) {
    std::vector<kernels::AttentionQuery> queries;
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t t = i % rows;
      const std::int64_t kv_head = i / rows;
      const Row& row = work.rows[static_cast<std::size_t>(t)];
      for (std::int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
        queries.push_back(
            {tape.query.view().row(t) + head * d, tape.attended.view().row(t) + head * d, row.position + 1});
      }
      const bool last = i + 1 == end || t + 1 == rows || work.rows[static_cast<std::size_t>(t + 1)].cache != row.cache;
      if (!last && std::cmp_less(queries.size(), kRowsTogether * group)) continue;
      kernels::AttentionHead a = shared;
      a.key = row.cache->keys(layer_, kv_head);
      a.value = row.cache->values(layer_, kv_head);
      a.queries = queries.data();
      a.count = static_cast<std::int64_t>(queries.size());
      kernel(a);
      queries.clear();
    }
  });
}

void Block::feed_forward(tensor::MutableMatrix h, Workspace& work, LayerObserver* observer, BlockTape* tape) const {
  BlockTape& kept = tape != nullptr ? *tape : work.tape;
  if (tape != nullptr) tensor::copy(h, tape->middle);
  const std::int64_t rows = h.rows;
  kept.gate.reshape(rows, config_.feed_forward);
  kept.up.reshape(rows, config_.feed_forward);
  work.projected.reshape(rows, config_.hidden);

  project_normed({h, weights_.ffn_norm, "ffn_norm"}, kept.ffn_input, {{gate_, kept.gate.view()}, {up_, kept.up.view()}},
                 work, observer);
  observe(observer, "ffn_gate", layer_, kept.gate.view());
  observe(observer, "ffn_up", layer_, kept.up.view());
  project_gated(kept, work, observer);
  observe(observer, "ffn_down", layer_, work.projected.view());
  tensor::add(h, work.projected.view());
}

/// Nobody watching and all layers ternary, the normed values go straight into the quantiser.
void Block::project_normed(const NormInput& input, tensor::QuantisedRows& quantised,
                           std::initializer_list<Projection> layers, Workspace& work, LayerObserver* observer) const {
  const bool ternary =
      std::all_of(layers.begin(), layers.end(), [](const Projection& p) { return p.layer.is_ternary(); });
  if (observer == nullptr && ternary) {
    const tensor::UnusableRows bad =
        tensor::norm_and_quantise(input.x, input.weight.gain, config_.norm_epsilon, quantised);
    require_norm(bad.norm, layer_, input.name);
    project_quantised(bad.value, quantised, layers, work.training);
    return;
  }
  work.normed.reshape(input.x.rows, input.x.columns);
  const std::int64_t bad = tensor::rms_norm(input.x, input.weight.gain, config_.norm_epsilon, work.normed.view());
  require_norm(bad, layer_, input.name);
  observe(observer, input.name, layer_, work.normed.view());
  project(work.normed.view(), quantised, layers, work.training);
}

/// The same of what stands between gate and up.
void Block::project_gated(BlockTape& kept, Workspace& work, LayerObserver* observer) const {
  const tensor::Gating between = gating(config_.activation);
  const tensor::MatrixView gate = kept.gate.view();
  if (observer == nullptr && config_.sub_norms && down_.is_ternary()) {
    const tensor::UnusableRows bad = tensor::gate_norm_and_quantise(
        between, gate, kept.up.view(), weights_.ffn_sub_norm.gain, config_.norm_epsilon, kept.down_input);
    require_norm(bad.norm, layer_, "ffn_sub_norm");
    project_quantised(bad.value, kept.down_input, {{down_, work.projected.view()}}, work.training);
    return;
  }
  work.normed.reshape(gate.rows, gate.columns);
  tensor::gate_mul(between, gate, kept.up.view(), work.normed.view());
  observe(observer, "ffn_act", layer_, work.normed.view());
  if (config_.sub_norms) {
    project_normed({work.normed.view(), weights_.ffn_sub_norm, "ffn_sub_norm"}, kept.down_input,
                   {{down_, work.projected.view()}}, work, observer);
  } else {
    project(work.normed.view(), kept.down_input, {{down_, work.projected.view()}}, work.training);
  }
}

void Block::backward(tensor::MutableMatrix dh, const BlockTape& tape, std::span<const Sequence> sequences,
                     const RopeTable& rope, BackwardWork& work, const BlockGradients& gradients) const {
  feed_forward_backward(dh, tape, work, gradients);
  attention_backward(dh, tape, sequences, rope, work, gradients);
}

void Block::feed_forward_backward(tensor::MutableMatrix dh, const BlockTape& tape, BackwardWork& work,
                                  const BlockGradients& gradients) const {
  const std::int64_t rows = dh.rows;
  const std::int64_t wide = config_.feed_forward;
  work.normed.reshape(rows, wide);
  work.load_input(tape.down_input);
  down_.ternary().backward(tape.down_input, dh, work, work.normed.view(), false, gradients.ffn_down);

  work.gate.reshape(rows, wide);
  work.up.reshape(rows, wide);
  tensor::gate_norm_backward(gating(config_.activation), tape.gate.view(), tape.up.view(), weights_.ffn_sub_norm.gain,
                             config_.norm_epsilon, work.normed.view(), work.gate.view(), work.up.view(),
                             gradients.ffn_sub_norm);
  work.normed.reshape(rows, config_.hidden);
  work.load_input(tape.ffn_input);
  gate_.ternary().backward(tape.ffn_input, work.gate.view(), work, work.normed.view(), false, gradients.ffn_gate);
  up_.ternary().backward(tape.ffn_input, work.up.view(), work, work.normed.view(), true, gradients.ffn_up);
  tensor::rms_norm_backward(tape.middle.view(), weights_.ffn_norm.gain, config_.norm_epsilon, work.normed.view(), true,
                            dh, gradients.ffn_norm);
}

void Block::attention_backward(tensor::MutableMatrix dh, const BlockTape& tape, std::span<const Sequence> sequences,
                               const RopeTable& rope, BackwardWork& work, const BlockGradients& gradients) const {
  const std::int64_t rows = dh.rows;
  work.normed.reshape(rows, config_.query_size());
  work.load_input(tape.output_input);
  o_.ternary().backward(tape.output_input, dh, work, work.normed.view(), false, gradients.attn_output);
  work.attended.reshape(rows, config_.query_size());
  tensor::rms_norm_backward(tape.attended.view(), weights_.attn_sub_norm.gain, config_.norm_epsilon, work.normed.view(),
                            false, work.attended.view(), gradients.attn_sub_norm);
  attend_backward(tape, sequences, rope, work);

  work.normed.reshape(rows, config_.hidden);
  work.load_input(tape.attn_input);
  q_.ternary().backward(tape.attn_input, work.query.view(), work, work.normed.view(), false, gradients.attn_q);
  k_.ternary().backward(tape.attn_input, work.key.view(), work, work.normed.view(), true, gradients.attn_k);
  v_.ternary().backward(tape.attn_input, work.value.view(), work, work.normed.view(), true, gradients.attn_v);
  tensor::rms_norm_backward(tape.input.view(), weights_.attn_norm.gain, config_.norm_epsilon, work.normed.view(), true,
                            dh, gradients.attn_norm);
}

/// work.attended → work.query, work.key, work.value, each before rope. A key/value head of a sequence is one task,
/// since its query heads add to the same keys.
void Block::attend_backward(const BlockTape& tape, std::span<const Sequence> sequences, const RopeTable& rope,
                            BackwardWork& work) const {
  const auto& table = kernels::active();
  const std::int64_t d = config_.head_size;
  const std::int64_t group = config_.heads / config_.kv_heads;
  work.query.reshape(tape.query.rows(), config_.query_size());
  work.key.reshape(tape.query.rows(), config_.kv_size());
  work.value.reshape(tape.query.rows(), config_.kv_size());
  const bool bf16 = work.attention_in_bf16(d);
  const auto kernel = bf16 ? table.attention_backward_bf16 : table.attention_backward;
  const std::int64_t tasks = static_cast<std::int64_t>(sequences.size()) * config_.kv_heads;
  core::parallel_for(tasks, 1, [&](std::int64_t begin, std::int64_t end) {
    static thread_local core::AlignedBuffer<float> keys, values, scratch;
    for (std::int64_t task = begin; task < end; ++task) {
      const Sequence& s = sequences[static_cast<std::size_t>(task / config_.kv_heads)];
      const std::int64_t kv_head = task % config_.kv_heads;
      keys.reserve_scratch(static_cast<std::size_t>(s.length * d));
      values.reserve_scratch(static_cast<std::size_t>(s.length * d));
      scratch.reserve_scratch(static_cast<std::size_t>(kernels::attention_backward_scratch(s.length, d, group, bf16)));
      table.f16_to_f32(s.cache->keys(layer_, kv_head), s.length * d, keys.data());
      table.f16_to_f32(s.cache->values(layer_, kv_head), s.length * d, values.data());

      kernels::AttentionBackward a;
      a.query_stride = config_.query_size();
      a.key = keys.data();
      a.value = values.data();
      a.dkey = work.key.view().row(s.first_row) + kv_head * d;
      a.dvalue = work.value.view().row(s.first_row) + kv_head * d;
      a.key_grad_stride = config_.kv_size();
      a.heads = group;
      a.positions = s.length;
      a.head_size = d;
      a.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(d)));
      a.scratch = scratch.data();
      for (std::int64_t t = 0; t < s.length; ++t) {
        std::fill_n(a.dkey + t * a.key_grad_stride, d, 0.0F);
        std::fill_n(a.dvalue + t * a.key_grad_stride, d, 0.0F);
      }
      a.query = tape.query.view().row(s.first_row) + kv_head * group * d;
      a.dout = work.attended.view().row(s.first_row) + kv_head * group * d;
      a.dquery = work.query.view().row(s.first_row) + kv_head * group * d;
      kernel(a);
      for (std::int64_t t = 0; t < s.length; ++t) {
        for (std::int64_t head = 0; head < group; ++head) {
          table.rope_halves_backward(a.dquery + t * a.query_stride + head * d, rope.cos(t), rope.sin(t), d);
        }
        table.rope_halves_backward(a.dkey + t * a.key_grad_stride, rope.cos(t), rope.sin(t), d);
      }
    }
  });
}

}  // namespace rpt::model
