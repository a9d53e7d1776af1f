// SPDX-License-Identifier: MIT
#include "rpt/tensor/ops.h"

#include <algorithm>
#include <cmath>

#include "rpt/core/exact_math.h"
#include "rpt/core/float16.h"
#include "rpt/core/parallel.h"
#include "rpt/core/trace.h"
#include "rpt/kernels/isa.h"
#include "rpt/tensor/blocks.h"
#include "rpt/tensor/panels.h"
#include "rpt/tensor/partition.h"
#include "rpt/tensor/product.h"

namespace rpt::tensor {
namespace {

/// Rows of weights are handed out in multiples of this, so that tiles of the kernels stay whole.
constexpr std::int64_t kRowTile = 16;

void fits(const char* what, std::int64_t out, std::int64_t in, std::int64_t x_rows, std::int64_t x_columns,
          MatrixView y) {
  if (in != x_columns || y.columns != out || y.rows != x_rows) {
    throw ShapeError(fmt::format("{}: weights [{}, {}], input [{}, {}], output [{}, {}]", what, out, in, x_rows,
                                 x_columns, y.rows, y.columns));
  }
}

/// bfloat16 bits rounded to binary16 and widened: what the forward reads of a bf16 embedding.
void bf16_row_as_f16(const std::uint16_t* row, std::span<float> out) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = core::f16_to_float(core::float_to_f16(core::bf16_to_float(row[i])));
  }
}

using TernaryKernel = void (*)(const kernels::TernaryGemm&) noexcept;

struct NamedKernel {
  TernaryKernel run;
  const char* name;
};

NamedKernel ternary_kernel(DType type) {
  const auto& table = kernels::active();
  switch (type) {
    case DType::i2_s:
      return {table.gemm_ternary2_int8, "kernels::gemm_ternary2_int8"};
    case DType::tq2_0:
      return {table.gemm_tq2_int8, "kernels::gemm_tq2_int8"};
    case DType::tq1_0:
      return {table.gemm_tq1_int8, "kernels::gemm_tq1_int8"};
    case DType::hf_packed:
      return {table.gemm_hf2_int8, "kernels::gemm_hf2_int8"};
    default:
      throw ShapeError(fmt::format("matmul_ternary: {} holds no ternary codes", name(type)));
  }
}

/// Rows that a thread unpacks at a time: few enough that codes and sums stay in the second-level cache, and that every
/// thread has some.
std::int64_t unpacked_rows(std::int64_t rows) {
  constexpr std::int64_t kMost = 256;
  const std::int64_t even = (rows + core::threads() - 1) / core::threads();
  return std::min((even + kRowTile - 1) / kRowTile * kRowTile, kMost);
}

/// So do sums of that many tokens by them.
constexpr std::int64_t kTokensAtOnce = 512;
/// From so many tokens on unpacking pays.
constexpr std::int64_t kUnpackedTokens = 128;

bool unpacking_pays(std::int64_t tokens) {
  static const bool has_int8 = multiplies_int8();
  return tokens >= kUnpackedTokens && (uses_panels() || (has_int8 && kernels::active().library_products));
}

/// The same product for many tokens: codes are unpacked to bytes once and multiplied by oneDNN, which is exact.
void matmul_unpacked(const PackedTernaryView& weights, const QuantisedRows& x, MutableMatrix y) {
  const auto& table = kernels::active();
  const std::int64_t row_bytes = (weights.columns + 127) / 128 * 32;
  const std::int64_t at_once = unpacked_rows(weights.rows);
  core::parallel_for(weights.rows, at_once, [&](std::int64_t first, std::int64_t last) {
    static thread_local core::AlignedBuffer<std::int8_t> codes;
    static thread_local core::AlignedBuffer<std::int32_t> sums;
    for (std::int64_t begin = first; begin < last; begin += at_once) {
      const std::int64_t n = std::min(at_once, last - begin);
      codes.reserve_scratch(static_cast<std::size_t>(n * weights.columns));
      sums.reserve_scratch(static_cast<std::size_t>(std::min(x.rows, kTokensAtOnce) * n));
      for (std::int64_t r = 0; r < n; ++r) {
        table.ternary2_to_int8(weights.data + (begin + r) * row_bytes, weights.columns,
                               codes.data() + r * weights.columns);
      }
      for (std::int64_t t = 0; t < x.rows; t += kTokensAtOnce) {
        const std::int64_t tokens = std::min(kTokensAtOnce, x.rows - t);
        multiply_int8(x.q.data() + t * x.stride, x.stride, codes.data(), weights.columns, tokens, n, weights.columns,
                      sums.data(), n);
        for (std::int64_t i = 0; i < tokens; ++i) {
          const float factor = (weights.scale * x.amax[static_cast<std::size_t>(t + i)]) / 127.0F;
          table.scale_int32(sums.data() + i * n, n, factor, y.row(t + i) + begin);
        }
      }
    }
  });
}

}  // namespace

std::uint64_t matmul_ternary_scratch(std::int64_t rows, std::int64_t columns, std::int64_t tokens) {
  if (!unpacking_pays(tokens)) return static_cast<std::uint64_t>(4 * rows * tokens);
  if (uses_panels()) return ternary_panels_scratch(rows, columns, tokens);
  const std::int64_t at_once = unpacked_rows(rows);
  const std::int64_t busy = std::min<std::int64_t>(core::threads(), (rows + at_once - 1) / at_once);
  return static_cast<std::uint64_t>(busy * at_once * (columns + 4 * std::min(tokens, kTokensAtOnce)));
}

void matmul_ternary(const PackedTernaryView& weights, const QuantisedRows& x, MutableMatrix y) {
  const core::ScopedTrace trace("tensor::matmul_ternary");
  fits("matmul_ternary", weights.rows, weights.columns, x.rows, x.columns, y);
  if (weights.type == DType::i2_s && unpacking_pays(x.rows)) {
    return uses_panels() ? multiply_ternary_panels(weights, x, y) : matmul_unpacked(weights, x, y);
  }
  const NamedKernel kernel = ternary_kernel(weights.type);
  const core::ScopedTrace kernel_trace(kernel.name);
  const auto scale_row = kernels::active().scale_int32;
  static thread_local core::AlignedBuffer<std::int32_t> sums;  // [T, N], of the calling thread
  sums.reserve_scratch(static_cast<std::size_t>(weights.rows * x.rows));
  kernels::TernaryGemm job;
  job.weights = weights.data;
  job.rows = weights.rows;
  job.columns = weights.columns;
  job.q = x.q.data();
  job.q_stride = x.stride;
  job.q_sum = x.sum.data();
  job.tokens = x.rows;
  job.acc = sums.data();
  job.acc_stride = weights.rows;
  core::parallel_for(weights.rows, row_grain(weights.rows, weights.columns * x.rows, kRowTile),
                     [&](std::int64_t begin, std::int64_t end) {
                       kernels::TernaryGemm a = job;
                       a.n_begin = begin;
                       a.n_end = end;
                       kernel.run(a);
                       for (std::int64_t t = 0; t < x.rows; ++t) {
                         const float factor = (weights.scale * x.amax[static_cast<std::size_t>(t)]) / 127.0F;
                         scale_row(a.acc + t * a.acc_stride + begin, end - begin, factor, y.row(t) + begin);
                       }
                     });
}

namespace {

using FloatKernel = void (*)(const kernels::FloatGemm&) noexcept;

/// The product that reads a type as it is stored, or nullptr where rows are widened first.
FloatKernel float_kernel(DType type, Bf16 bf16) {
  const auto& table = kernels::active();
  if (type == DType::f32) return table.gemm_f32_f32;
  if (type == DType::f16) return table.gemm_f16_f32;
  if (type == DType::bf16 && bf16 == Bf16::as_f16) return table.gemm_bf16_f32;
  return nullptr;
}

/// Rows that are widened together: of one token as few as stay in the first-level cache, since every row is read once.
std::int64_t widened_rows(std::int64_t tokens) {
  return tokens == 1 ? 2 : kRowTile;
}

}  // namespace

void matmul_dense(const StoredView& weights, MatrixView x, MutableMatrix y, Bf16 bf16) {
  fits("matmul_dense", weights.rows, weights.columns, x.rows, x.columns, y);
  if (!is_dense(weights.type)) throw ShapeError(fmt::format("matmul_dense: {} is no dense type", name(weights.type)));
  const FloatKernel kernel = float_kernel(weights.type, bf16);
  const FloatKernel kernel_of_widened = kernels::active().gemm_f32_f32;
  core::parallel_for(weights.rows, row_grain(weights.rows, weights.columns * x.rows, kRowTile),
                     [&](std::int64_t begin, std::int64_t end) {
                       kernels::FloatGemm a;
                       a.columns = weights.columns;
                       a.row_stride = weights.columns;
                       a.x = x.data;
                       a.x_stride = x.stride;
                       a.tokens = x.rows;
                       a.y_stride = y.stride;
                       if (kernel != nullptr) {
                         a.weights = weights.data;
                         a.n_begin = begin;
                         a.n_end = end;
                         a.y = y.data;
                         kernel(a);
                         return;
                       }
                       // A tile of rows is widened, then multiplied as f32.
                       const std::int64_t together = widened_rows(x.rows);
                       static thread_local core::AlignedBuffer<float> tile;
                       tile.reserve_scratch(static_cast<std::size_t>(together * weights.columns));
                       for (std::int64_t n = begin; n < end; n += together) {
                         const std::int64_t count = std::min(together, end - n);
                         for (std::int64_t r = 0; r < count; ++r) {
                           read_row(weights, n + r,
                                    {tile.data() + r * weights.columns, static_cast<std::size_t>(weights.columns)},
                                    bf16);
                         }
                         a.weights = tile.data();
                         a.n_begin = 0;
                         a.n_end = count;
                         a.y = y.data + n;
                         kernel_of_widened(a);
                       }
                     });
}

void read_row(const StoredView& weights, std::int64_t row, std::span<float> out, Bf16 bf16) {
  if (row < 0 || row >= weights.rows || std::cmp_not_equal(out.size(), weights.columns)) {
    throw ShapeError(
        fmt::format("read_row: row {} of [{}, {}] into {} values", row, weights.rows, weights.columns, out.size()));
  }
  const std::int64_t n = weights.columns;
  const auto& table = kernels::active();
  const auto* halves = reinterpret_cast<const std::uint16_t*>(weights.data) + row * n;
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(weights.data);
  switch (weights.type) {
    case DType::f32:
      std::copy_n(reinterpret_cast<const float*>(weights.data) + row * n, n, out.data());
      return;
    case DType::f16:
      table.f16_to_f32(halves, n, out.data());
      return;
    case DType::bf16:
      if (bf16 == Bf16::as_f16) {
        bf16_row_as_f16(halves, out);
      } else {
        table.bf16_to_f32(halves, n, out.data());
      }
      return;
    case DType::q8_0:
      table.q8_0_to_f32(bytes + row * q8_0_row_bytes(n), n, out.data());
      return;
    case DType::q4_0:
      table.q4_0_to_f32(bytes + row * q4_0_row_bytes(n), n, out.data());
      return;
    case DType::q4_1:
      table.q4_1_to_f32(bytes + row * q4_1_row_bytes(n), n, out.data());
      return;
    case DType::q6_k:
      table.q6_k_to_f32(bytes + row * q6_k_row_bytes(n), n, out.data());
      return;
    default:
      throw ShapeError(fmt::format("read_row: {} is no dense type", name(weights.type)));
  }
}

std::vector<float> widen(const StoredView& values) {
  const std::int64_t n = values.rows * values.columns;
  std::vector<float> out(static_cast<std::size_t>(n));
  const auto* halves = reinterpret_cast<const std::uint16_t*>(values.data);
  switch (values.type) {
    case DType::f32:
      std::copy_n(reinterpret_cast<const float*>(values.data), n, out.data());
      break;
    case DType::f16:
      kernels::active().f16_to_f32(halves, n, out.data());
      break;
    case DType::bf16:
      kernels::active().bf16_to_f32(halves, n, out.data());
      break;
    default:
      throw ShapeError(fmt::format("widen: {} is no plain float type", name(values.type)));
  }
  return out;
}

double log_sum_exp(std::span<const float> logits) {
  constexpr std::size_t kBlock = 4096;
  const auto kernel = kernels::active().sum_exp;
  double maximum = -HUGE_VAL;
  double sum = 0;
  for (std::size_t begin = 0; begin < logits.size(); begin += kBlock) {
    const auto block = logits.subspan(begin, std::min(kBlock, logits.size() - begin));
    const kernels::BlockSum b = kernel(block.data(), static_cast<std::int64_t>(block.size()));
    const double m_b = static_cast<double>(b.maximum);
    const double next = std::max(maximum, m_b);
    const double kept = sum == 0 ? 0 : sum * core::exact_exp(maximum - next);
    sum = kept + static_cast<double>(b.sum) * core::exact_exp(m_b - next);
    maximum = next;
  }
  return maximum + core::exact_log(sum);
}

double token_nll(std::span<const float> logits, std::int32_t target) {
  if (target < 0 || std::cmp_greater_equal(target, logits.size())) {
    throw ShapeError(fmt::format("token_nll: target {} of {} logits", target, logits.size()));
  }
  return log_sum_exp(logits) - static_cast<double>(logits[static_cast<std::size_t>(target)]);
}

std::int32_t arg_max(std::span<const float> logits) {
  if (logits.empty()) throw ShapeError("arg_max: no logits");
  return static_cast<std::int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

}  // namespace rpt::tensor
