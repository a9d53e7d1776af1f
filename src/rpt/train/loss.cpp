// SPDX-License-Identifier: MIT
#include "rpt/train/loss.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "rpt/core/exact_math.h"
#include "rpt/core/float16.h"
#include "rpt/core/parallel.h"
#include "rpt/kernels/isa.h"
#include "rpt/tensor/ops.h"
#include "rpt/tensor/product.h"

namespace rpt::train {
namespace {

/// Rounds a matrix to bf16, rows without gaps.
tensor::Operand to_bf16(tensor::MatrixView x, core::AlignedBuffer<std::uint16_t>& buffer) {
  buffer.reserve_scratch(static_cast<std::size_t>(x.rows * x.columns));
  const auto round = kernels::active().scale_to_bf16;
  core::parallel_for(x.rows, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) round(x.row(t), x.columns, 1.0F, buffer.data() + t * x.columns);
  });
  return tensor::operand(buffer.data(), x.rows, x.columns);
}

}  // namespace

HeadLoss::HeadLoss(model::BackwardType type)
    : type_(model::runnable(type)),
      wide_(type_ == model::BackwardType::f32 ||
            model::runnable(model::BackwardType::bf16) == model::BackwardType::f32) {}

std::int64_t HeadLoss::rows_at_once(std::int64_t vocabulary) {
  constexpr std::int64_t kMostLogits = std::int64_t{1} << 22;  // 16 MiB
  return std::clamp<std::int64_t>(kMostLogits / vocabulary, 64, 1024);
}

double HeadLoss::add(const model::EmbeddingWeight& head, tensor::MatrixView hidden,
                     std::span<const std::int32_t> targets, float weight, model::BackwardWork& work,
                     tensor::MutableMatrix dhidden, tensor::MutableMatrix dhead, bool overwrites) {
  const tensor::StoredView& e = head.values();
  if (std::cmp_not_equal(targets.size(), hidden.rows) || dhidden.rows != hidden.rows || dhead.rows != e.rows ||
      hidden.columns != e.columns || dhidden.columns != e.columns || dhead.columns != e.columns) {
    throw ShapeError(fmt::format("head [{}, {}], hidden [{}, {}], {} targets", e.rows, e.columns, hidden.rows,
                                 hidden.columns, targets.size()));
  }
  for (const std::int32_t target : targets) {
    if (target >= e.rows) throw ShapeError(fmt::format("target {} of a vocabulary of {}", target, e.rows));
  }
  if (wide_) {
    wide_head_.reshape(e.rows, e.columns);
    core::parallel_for(e.rows, 64, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        tensor::read_row(e, r, {wide_head_.view().row(r), static_cast<std::size_t>(e.columns)});
      }
    });
  } else {
    RPT_CHECK(e.type == tensor::DType::bf16, "a head in {}", tensor::name(e.type));
  }
  double sum = 0;
  const std::int64_t most = rows_at_once(e.rows);
  for (std::int64_t begin = 0; begin < hidden.rows; begin += most) {
    const std::int64_t end = std::min(begin + most, hidden.rows);
    sum += add_rows(head, hidden.slice(begin, end),
                    targets.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)), weight,
                    work, dhidden.slice(begin, end), dhead, overwrites && begin == 0);
  }
  return sum;
}

double HeadLoss::add_rows(const model::EmbeddingWeight& head, tensor::MatrixView hidden,
                          std::span<const std::int32_t> targets, float weight, model::BackwardWork& work,
                          tensor::MutableMatrix dhidden, tensor::MutableMatrix dhead, bool overwrites) {
  const tensor::StoredView& e = head.values();
  const bool f32 = wide_;
  const bool int8 = type_ == model::BackwardType::int8 && work.type() == model::BackwardType::int8;
  const bool bf16 = !f32 && !int8;
  const tensor::Operand values =
      f32 ? tensor::operand(wide_head_.view())
          : tensor::operand(reinterpret_cast<const std::uint16_t*>(e.data), e.rows, e.columns);
  const tensor::Operand states = f32 ? tensor::operand(hidden) : to_bf16(hidden, hidden_);
  logits_.reshape(hidden.rows, e.rows);
  if (f32) {
    tensor::matmul_dense(e, hidden, logits_.view());
  } else {
    tensor::Operand transposed = values;
    transposed.transposed = true;
    tensor::multiply(states, transposed, std::nullopt, false, logits_.view());
  }
  std::vector<double> nll(targets.size());
  const auto& table = kernels::active();
  if (bf16) dlogits_.reserve_scratch(static_cast<std::size_t>(hidden.rows * e.rows));
  target_gradients_.assign(int8 ? targets.size() : 0, 0.0F);
  core::parallel_for(hidden.rows, 4, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const auto i = static_cast<std::size_t>(t);
      float* row = logits_.view().row(t);
      std::uint16_t* rounded = bf16 ? dlogits_.data() + t * e.rows : nullptr;
      if (targets[i] < 0) {
        if (bf16) {
          std::fill_n(rounded, e.rows, std::uint16_t{0});
        } else {
          std::fill_n(row, e.rows, 0.0F);
        }
        continue;
      }
      const double log_sum = tensor::log_sum_exp({row, static_cast<std::size_t>(e.rows)});
      const float logit = row[targets[i]];
      nll[i] = log_sum - static_cast<double>(logit);
      const auto shift = static_cast<float>(log_sum);
      if (bf16) {
        table.softmax_to_bf16(row, e.rows, shift, weight, rounded);
        rounded[targets[i]] = core::float_to_bf16(weight * core::exact_exp(logit - shift) - weight);
        continue;
      }
      table.softmax_scaled(row, e.rows, shift, weight);
      row[targets[i]] -= weight;
      if (int8) target_gradients_[i] = std::exchange(row[targets[i]], 0.0F);
    }
  });
  if (int8) {
    add_int8_gradients(e, hidden, targets, work, dhidden, dhead, overwrites);
  } else {
    tensor::Operand dlogits =
        bf16 ? tensor::operand(dlogits_.data(), hidden.rows, e.rows) : tensor::operand(logits_.view());
    tensor::multiply(dlogits, values, std::nullopt, false, dhidden);
    dlogits.transposed = true;
    tensor::multiply(dlogits, states, std::nullopt, !overwrites, dhead);
  }
  double sum = 0;
  for (const double v : nll) sum += v;
  return sum;
}

void HeadLoss::add_int8_gradients(const tensor::StoredView& head, tensor::MatrixView hidden,
                                  std::span<const std::int32_t> targets, model::BackwardWork& work,
                                  tensor::MutableMatrix dhidden, tensor::MutableMatrix dhead, bool overwrites) {
  const std::int64_t columns = hidden.columns;
  tensor::quantise_rows(hidden, states_);
  std::vector<float> steps(states_.amax.size());
  std::transform(states_.amax.begin(), states_.amax.end(), steps.begin(), [](float a) { return a / 127.0F; });
  const model::BackwardWork::Int8Head values = work.int8_head(head);
  const model::BackwardWork::Int8Gradient dlogits = work.int8_rows(logits_.view(), steps);
  tensor::multiply_int8_rows(dlogits.row_codes, values.codes, dlogits.row_steps, false, dhidden);
  core::parallel_for(hidden.rows, 32, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> row(static_cast<std::size_t>(columns));
    for (std::int64_t t = begin; t < end; ++t) {
      const auto i = static_cast<std::size_t>(t);
      const float gradient = target_gradients_[i];
      if (targets[i] >= 0) tensor::read_row(head, targets[i], row, tensor::Bf16::exact);
      float* out = dhidden.row(t);
      for (std::size_t h = 0; h < row.size(); ++h) out[h] = out[h] * values.column_steps[h] + gradient * row[h];
    }
  });
  const tensor::Operand states{states_.q.data(), tensor::DType::i8, states_.rows, columns, states_.stride, false};
  tensor::Operand transposed = dlogits.column_codes;
  transposed.transposed = true;
  tensor::multiply_int8_rows(transposed, states, dlogits.column_steps, !overwrites, dhead);
  // Tokens may share a target: each thread goes over all of them, in columns of its own.
  core::parallel_for(columns, 64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = 0; t < hidden.rows; ++t) {
      const auto i = static_cast<std::size_t>(t);
      if (targets[i] < 0) continue;
      const float* x = hidden.row(t);
      float* out = dhead.row(targets[i]);
      for (std::int64_t h = begin; h < end; ++h) out[h] += target_gradients_[i] * x[h];
    }
  });
}

}  // namespace rpt::train
