// SPDX-License-Identifier: MIT
#include "rpt/train/cost.h"

#include <algorithm>

#include "rpt/core/aligned_buffer.h"
#include "rpt/core/parallel.h"
#include "rpt/core/timer.h"
#include "rpt/kernels/kernel_table.h"
#include "rpt/model/backward.h"
#include "rpt/model/decoder.h"
#include "rpt/tensor/ops.h"
#include "rpt/tensor/product.h"
#include "rpt/train/loss.h"

namespace rpt::train {
namespace {

/// Bytes of masters and moments: what a checkpoint holds. Where masters are bf16 values, they are what the forward
/// reads.
std::uint64_t resumable_bytes(const model::Config& c, const TrainConfig& run) {
  const std::int64_t values = parameter_count(c);
  const std::uint64_t masters = static_cast<std::uint64_t>(values) * (run.masters == MasterType::f32 ? 4 : 2);
  return masters + 2 * Moment::bytes(run.optimiser.state, values);
}

/// Numbers a row of quantised activations takes.
std::int64_t padded(std::int64_t columns) {
  return (columns + 127) / 128 * 128;
}

std::uint64_t bytes(std::int64_t count) {
  return static_cast<std::uint64_t>(count);
}

/// Bytes of a number in the products of a type.
std::int64_t size_of(model::BackwardType type) {
  return type == model::BackwardType::int8 ? 1 : type == model::BackwardType::bf16 ? 2 : 4;
}

std::int64_t widest(const model::Config& c) {
  return std::max({c.hidden, c.feed_forward, c.query_size()});
}

/// i2_s codes of all ternary weights.
std::int64_t code_bytes(const model::Config& c) {
  const std::int64_t from_hidden = (c.query_size() + 2 * c.kv_size() + 2 * c.feed_forward) * padded(c.hidden);
  return c.layers * (from_hidden + c.hidden * (padded(c.query_size()) + padded(c.feed_forward))) / 4;
}

/// Of one token in one layer: input, middle, query, attended, gate and up in f32; what the four products read in int8,
/// with maximum and sum. As model::BlockTape.
std::int64_t tape_bytes(const model::Config& c) {
  return 4 * (2 * c.hidden + 2 * c.query_size() + 2 * c.feed_forward) + 2 * padded(c.hidden) + padded(c.query_size()) +
         padded(c.feed_forward) + 4 * 8;
}

/// Of one token: its id, and its place in the cache for decoder and tape.
constexpr std::int64_t kPlaceBytes = 4 + 2 * 16;

/// Of one token: key, value, projected. As model::Workspace of ternary layers that nobody watches.
std::int64_t forward_bytes(const model::Config& c) {
  return 4 * (2 * c.kv_size() + c.hidden);
}

/// Of one token: normed, attended, query, key, value, gate, up; what the products read: input and gradient, in bf16 and
/// int8 the gradient twice, in int8 its largest numbers, shared by 32 tokens. As model::BackwardWork.
std::int64_t backward_bytes(const model::Config& c, model::BackwardType type) {
  const std::int64_t maxima = type == model::BackwardType::int8 ? widest(c) / 8 : 0;
  const std::int64_t operands = type == model::BackwardType::f32 ? 2 : 3;
  return 4 * (widest(c) + 2 * c.query_size() + 2 * c.kv_size() + 2 * c.feed_forward) +
         operands * size_of(type) * widest(c) + maxima;
}

/// Weights of the largest linear.
std::int64_t largest(const model::Config& c) {
  return c.hidden * std::max(c.feed_forward, c.query_size());
}

/// Keys, values and sums of the sequence that a thread is at.
std::int64_t attention_scratch(const model::Config& c, std::int64_t context, model::BackwardType type) {
  const std::int64_t sums = kernels::attention_backward_scratch(context, c.head_size, c.heads / c.kv_heads,
                                                                model::attention_in_bf16(type, c.head_size));
  return core::threads() * 4 * (2 * context * c.head_size + sums);
}

/// Logits and, in bf16, their gradient and the hidden states; in f32 the whole head. In int8 logits, hidden states in
/// bf16 and int8, codes and largest numbers of head and logits as far as they outgrow those of the linears.
std::int64_t head_bytes(const model::Config& c, std::int64_t rows, model::BackwardType type) {
  const std::int64_t at_once = std::min(rows, HeadLoss::rows_at_once(c.vocabulary));
  if (type == model::BackwardType::f32) return 4 * at_once * c.vocabulary + 4 * c.vocabulary * c.hidden;
  if (type == model::BackwardType::int8) {
    const std::int64_t linears = rows * widest(c);
    const std::int64_t codes = 2 * std::max<std::int64_t>(at_once * c.vocabulary - linears, 0);
    const std::int64_t maxima = std::max<std::int64_t>(at_once * c.vocabulary - linears, 0) / 8;
    const std::int64_t wide = tensor::multiplies_bf16() ? 0 : 4 * c.vocabulary * c.hidden;  // what logits are made of
    return at_once * (4 * c.vocabulary + 2 * c.hidden + padded(c.hidden)) + c.vocabulary * c.hidden + codes + maxima +
           wide;
  }
  return at_once * (6 * c.vocabulary + 2 * c.hidden);
}

std::uint64_t product_scratch(const model::Config& c, std::int64_t rows, const StepOptions& step) {
  const std::int64_t outputs = std::max(widest(c), step.head == model::BackwardType::int8 ? c.vocabulary : 0);
  std::uint64_t backward = 0;
  if (model::runnable(step.backward) == model::BackwardType::int8) {
    backward = tensor::multiply_int8_rows_scratch(rows, widest(c), outputs, false) +
               tensor::multiply_int8_rows_scratch(outputs, widest(c), rows, true);
  }
  return tensor::matmul_ternary_scratch(widest(c), widest(c), rows) + backward;
}

/// A decoder that scores: keys, values and hidden states of all tokens, and a block of them on its way.
std::uint64_t scoring_bytes(const model::Config& c, std::int64_t tokens) {
  const std::int64_t block = std::min(tokens, model::Decoder::kBlockRows);
  return bytes(tokens * 4 * (c.layers * c.kv_size() + c.hidden) + block * (forward_bytes(c) + tape_bytes(c)));
}

/// Bytes that scoring takes for each byte of a text: its tokens, windows, likelihoods. One text is scored after the
/// other. Measured.
constexpr std::uint64_t kScoredFactor = 12;

/// Code and libraries, and what tokenizer, oneDNN and allocator keep for themselves, in all and for each thread.
/// Measured.
constexpr std::uint64_t kProgramBytes = 20'000'000;
constexpr std::uint64_t kThreadBytes = 3'000'000;

}  // namespace

std::int64_t ternary_weights(const model::Config& c) {
  const std::int64_t attention = c.hidden * (2 * c.query_size() + 2 * c.kv_size());
  return c.layers * (attention + 3 * c.hidden * c.feed_forward);
}

std::int64_t parameter_count(const model::Config& c) {
  const std::int64_t norms = c.layers * (2 * c.hidden + c.query_size() + c.feed_forward) + c.hidden;
  return ternary_weights(c) + norms + c.vocabulary * c.hidden * (c.tied_head ? 1 : 2);
}

double operations_per_token(const model::Config& c, std::int64_t context) {
  const auto products = static_cast<double>(ternary_weights(c) + c.vocabulary * c.hidden);
  return 6 * products + 6 * static_cast<double>(c.layers * c.query_size() * context);
}

RunMemory run_memory(const model::Config& c, const TrainConfig& run, const Surroundings& around) {
  const std::int64_t rows = rows_together(run.batch, run.context) * run.context;
  const model::BackwardType backward = model::runnable(run.step.backward);
  RunMemory m;
  // Masters and moments, bf16 value beside an f32 master, f32 gradient, 2-bit code.
  const std::int64_t beside = run.masters == MasterType::f32 ? 6 : 4;
  m.weights = resumable_bytes(c, run) + bytes(beside * parameter_count(c) + code_bytes(c)) + around.mask_bytes;
  if (run.revive) m.weights += bytes(ternary_weights(c));
  const std::int64_t tapes = run.step.checkpoint_activations ? 1 : c.layers;
  const std::int64_t streams = run.step.checkpoint_activations ? c.layers + 1 : 0;
  const std::int64_t hidden_states = 3 + streams;  // after the last block, normed, their gradient
  m.activations =
      bytes(rows * (tapes * tape_bytes(c) + c.layers * 4 * c.kv_size() + hidden_states * 4 * c.hidden + kPlaceBytes) +
            8 * run.accumulation * run.batch * run.context);
  const std::int64_t dense = run.quantisation.share(0) < 1 ? 4 * widest(c) : 0;  // outputs of a quantisation warm-up
  m.scratch = bytes(rows * (forward_bytes(c) + dense + backward_bytes(c, backward)) + size_of(backward) * largest(c) +
                    attention_scratch(c, run.context, backward) + head_bytes(c, rows, model::runnable(run.step.head))) +
              product_scratch(c, rows, run.step);
  if (run.step.head == model::BackwardType::int8 && run.quantisation.share(0) < 1) {
    m.scratch += bytes(2 * std::min(rows, HeadLoss::rows_at_once(c.vocabulary)) * c.vocabulary);  // logits in bf16
  }
  if (run.revive && run.revive->scope == ReviveScope::tensor) {
    m.scratch += bytes(4 * largest(c));  // magnitudes to select from
  }
  // The gate reads a model again as it was saved: bf16 latents and codes.
  const std::uint64_t saved = bytes(2 * parameter_count(c) + code_bytes(c));
  const std::uint64_t scoring = around.scoring_tokens > 0 ? scoring_bytes(c, around.scoring_tokens) : 0;
  const std::uint64_t held = 5 * around.stream_tokens + around.watched_bytes;
  m.scoring = scoring + (run.stop_on_overfitting ? saved : 0);
  m.texts = held + kScoredFactor * around.part_bytes;
  m.program = kProgramBytes + kThreadBytes * static_cast<std::uint64_t>(core::threads());
  const std::uint64_t moments = 2 * Moment::bytes(run.optimiser.state, parameter_count(c));
  m.at_end = m.weights - moments + saved + scoring + held + kScoredFactor * around.largest_bytes + m.program;
  return m;
}

std::uint64_t checkpoint_bytes(const model::Config& c, const TrainConfig& run) {
  return resumable_bytes(c, run) + (run.revive ? bytes(ternary_weights(c)) : 0);
}

double measure_product_rate(model::BackwardType wanted) {
  const model::BackwardType type = model::runnable(wanted);
  constexpr std::int64_t kSize = 1024;
  core::AlignedBuffer<float> a(kSize * kSize), b(kSize * kSize);
  tensor::Tensor c(kSize, kSize);
  const bool int8 = type == model::BackwardType::int8;
  const tensor::DType stored = int8                                ? tensor::DType::i8
                               : type == model::BackwardType::bf16 ? tensor::DType::bf16
                                                                   : tensor::DType::f32;
  const tensor::Operand left{a.data(), stored, kSize, kSize, kSize, false};
  const tensor::Operand right{b.data(), stored, kSize, kSize, kSize, false};
  const std::vector<float> factors(kSize, 1.0F);
  double best = 0;
  for (int i = 0; i < 8; ++i) {
    const core::Stopwatch watch;
    if (int8) {
      tensor::multiply_int8_rows(left, right, factors, false, c.view());
    } else {
      tensor::multiply(left, right, std::nullopt, false, c.view());
    }
    best = std::max(best, 2.0 * kSize * kSize * kSize / watch.seconds());
  }
  return best;
}

double guess_seconds_per_token(const model::Config& config, const TrainConfig& run, double product_rate) {
  return operations_per_token(config, run.context) / (0.6 * product_rate);
}

}  // namespace rpt::train
