// SPDX-License-Identifier: MIT
#include "rpt/train/cost.h"

#include <algorithm>

#include "rpt/core/aligned_buffer.h"
#include "rpt/core/timer.h"
#include "rpt/tensor/product.h"
#include "rpt/train/loss.h"

namespace rpt::train {
namespace {

std::int64_t ternary_weights(const model::Config& c) {
  const std::int64_t attention = c.hidden * (2 * c.query_size() + 2 * c.kv_size());
  return c.layers * (attention + 3 * c.hidden * c.feed_forward);
}

/// Bytes of masters and moments: what a checkpoint holds. Where masters are bf16 values, they are what the forward
/// reads.
std::uint64_t resumable_bytes(const model::Config& c, const TrainConfig& run) {
  const std::int64_t values = parameter_count(c);
  const std::uint64_t masters = static_cast<std::uint64_t>(values) * (run.masters == MasterType::f32 ? 4 : 2);
  return masters + 2 * Moment::bytes(run.optimiser.state, values);
}

std::int64_t padded(std::int64_t columns) {
  return (columns + 127) / 128 * 128;
}

}  // namespace

std::int64_t parameter_count(const model::Config& c) {
  const std::int64_t norms = c.layers * (2 * c.hidden + c.query_size() + c.feed_forward) + c.hidden;
  return ternary_weights(c) + norms + c.vocabulary * c.hidden * (c.tied_head ? 1 : 2);
}

double operations_per_token(const model::Config& c, std::int64_t context) {
  const auto products = static_cast<double>(ternary_weights(c) + c.vocabulary * c.hidden);
  return 6 * products + 6 * static_cast<double>(c.layers * c.query_size() * context);
}

StepMemory step_memory(const model::Config& c, const TrainConfig& run) {
  const auto values = static_cast<std::uint64_t>(parameter_count(c));
  const auto codes = static_cast<std::uint64_t>(ternary_weights(c));
  const std::int64_t rows = run.batch * run.context;
  const std::int64_t bf16 = run.step.backward == model::BackwardType::bf16 ? 2 : 4;
  StepMemory m;
  // Masters and moments, bf16 value beside an f32 master, f32 gradient, 2-bit code.
  m.weights = resumable_bytes(c, run) + values * (run.masters == MasterType::f32 ? 6 : 4) + codes / 4;
  // A tape holds, for each token: input, middle, gate, up, query, attended in f32; what the four products read in int8.
  const std::int64_t tape = 4 * (2 * c.hidden + 2 * c.feed_forward + 2 * c.query_size()) + 2 * padded(c.hidden) +
                            padded(c.query_size()) + padded(c.feed_forward);
  const std::int64_t tapes = run.step.checkpoint_activations ? tape + c.layers * 4 * c.hidden : c.layers * tape;
  const std::int64_t cache = c.layers * 4 * c.kv_size();
  m.activations = static_cast<std::uint64_t>(rows * (tapes + cache));
  // Streams, forward and backward scratch: the widest of each buffer that is kept.
  const std::int64_t widest = std::max({c.hidden, c.feed_forward, c.query_size()});
  const std::int64_t dense = run.quantisation.share(0) < 1 ? widest : 0;  // outputs of a quantisation warm-up
  const std::int64_t forward = 4 * (widest + 2 * c.kv_size() + 2 * c.hidden + widest + dense);  // and the int32 sums
  const std::int64_t backward =
      4 * (widest + 2 * c.query_size() + 2 * c.kv_size() + 3 * c.feed_forward) + bf16 * 2 * widest + 4 * 2 * c.hidden;
  const std::int64_t largest = std::max(c.hidden * c.feed_forward, c.hidden * c.query_size());
  const std::int64_t logit_rows = std::min(rows, HeadLoss::rows_at_once(c.vocabulary));
  const std::int64_t logits = logit_rows * c.vocabulary * (run.step.head == model::BackwardType::bf16 ? 6 : 4);
  m.scratch = static_cast<std::uint64_t>(rows * (forward + backward) + largest * bf16 + logits);
  return m;
}

std::uint64_t checkpoint_bytes(const model::Config& c, const TrainConfig& run) {
  return resumable_bytes(c, run);
}

double measure_product_rate(model::BackwardType type) {
  constexpr std::int64_t kSize = 1024;
  core::AlignedBuffer<float> a(kSize * kSize), b(kSize * kSize);
  tensor::Tensor c(kSize, kSize);
  const tensor::DType stored = type == model::BackwardType::bf16 ? tensor::DType::bf16 : tensor::DType::f32;
  double best = 0;
  for (int i = 0; i < 8; ++i) {
    const core::Stopwatch watch;
    tensor::multiply({a.data(), stored, kSize, kSize, kSize, false}, {b.data(), stored, kSize, kSize, kSize, false},
                     1.0F, false, c.view());
    best = std::max(best, 2.0 * kSize * kSize * kSize / watch.seconds());
  }
  return best;
}

}  // namespace rpt::train
