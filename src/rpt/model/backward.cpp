// SPDX-License-Identifier: MIT
#include "rpt/model/backward.h"

#include <algorithm>

#include "rpt/core/float16.h"
#include "rpt/core/parallel.h"
#include "rpt/kernels/isa.h"
#include "rpt/ternary/layouts.h"

namespace rpt::model {
namespace {

/// Rows that a thread converts at a time.
constexpr std::int64_t kRows = 32;

void for_rows(std::int64_t count, const std::function<void(std::int64_t)>& body) {
  core::parallel_for(count, kRows, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) body(i);
  });
}

/// The place of row i in an operand that reserve() made.
std::uint16_t* bf16_row(const tensor::Operand& x, std::int64_t i) {
  return static_cast<std::uint16_t*>(const_cast<void*>(x.data)) + i * x.stride;
}
float* float_row(const tensor::Operand& x, std::int64_t i) {
  return static_cast<float*>(const_cast<void*>(x.data)) + i * x.stride;
}

}  // namespace

tensor::Operand BackwardWork::reserve(core::AlignedBuffer<float>& buffer, std::int64_t rows,
                                      std::int64_t columns) const {
  const bool bf16 = type_ == BackwardType::bf16;
  const auto count = static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns);
  buffer.reserve_scratch(bf16 ? (count + 1) / 2 : count);
  return {buffer.data(), bf16 ? tensor::DType::bf16 : tensor::DType::f32, rows, columns, columns, false};
}

void BackwardWork::load_input(const tensor::QuantisedRows& x) {
  input_ = reserve(input_values_, x.rows, x.columns);
  const auto& table = kernels::active();
  for_rows(x.rows, [&](std::int64_t t) {
    const std::int8_t* q = x.q.data() + t * x.stride;
    if (type_ == BackwardType::bf16) {
      table.int8_to_bf16(q, x.columns, bf16_row(input_, t));
    } else {
      std::copy_n(q, x.columns, float_row(input_, t));
    }
  });
}

tensor::Operand BackwardWork::codes(const tensor::PackedTernaryView& weights) {
  const tensor::Operand out = reserve(code_values_, weights.rows, weights.columns);
  const auto& table = kernels::active();
  const bool direct = type_ == BackwardType::bf16 && weights.type == tensor::DType::i2_s;
  const std::int64_t row_bytes = (weights.columns + ternary::kI2sBlock - 1) / ternary::kI2sBlock * 32;
  core::parallel_for(weights.rows, kRows, [&](std::int64_t begin, std::int64_t end) {
    std::vector<std::int8_t> codes(direct ? 0 : static_cast<std::size_t>(weights.columns));
    for (std::int64_t n = begin; n < end; ++n) {
      if (direct) {
        table.ternary2_to_bf16(weights.data + n * row_bytes, weights.columns, bf16_row(out, n));
        continue;
      }
      ternary::unpack_row(weights, n, codes);
      if (type_ == BackwardType::bf16) {
        table.int8_to_bf16(codes.data(), weights.columns, bf16_row(out, n));
      } else {
        std::copy(codes.begin(), codes.end(), float_row(out, n));
      }
    }
  });
  return out;
}

tensor::Operand BackwardWork::latents(const TernaryWeight& weight) {
  const tensor::StoredView& stored = weight.stored_latents();
  RPT_CHECK(stored.data != nullptr && stored.type == tensor::DType::bf16, "{}: no latents in bf16",
            weight.origin().tensor);
  const auto* bits = reinterpret_cast<const std::uint16_t*>(stored.data);
  if (type_ == BackwardType::bf16) return tensor::operand(bits, stored.rows, stored.columns);
  const tensor::Operand out = reserve(code_values_, stored.rows, stored.columns);
  for_rows(stored.rows, [&](std::int64_t n) {
    const std::uint16_t* row = bits + n * stored.columns;
    std::transform(row, row + stored.columns, float_row(out, n), core::bf16_to_float);
  });
  return out;
}

tensor::Operand BackwardWork::rows(tensor::MatrixView dy, const std::vector<float>* factors) {
  if (type_ == BackwardType::f32 && factors == nullptr) return tensor::operand(dy);
  const tensor::Operand out = reserve(gradient_values_, dy.rows, dy.columns);
  const auto& table = kernels::active();
  for_rows(dy.rows, [&](std::int64_t t) {
    const float factor = factors == nullptr ? 1.0F : (*factors)[static_cast<std::size_t>(t)];
    if (type_ == BackwardType::bf16) {
      table.scale_to_bf16(dy.row(t), dy.columns, factor, bf16_row(out, t));
    } else {
      std::transform(dy.row(t), dy.row(t) + dy.columns, float_row(out, t), [&](float v) { return v * factor; });
    }
  });
  return out;
}

}  // namespace rpt::model
