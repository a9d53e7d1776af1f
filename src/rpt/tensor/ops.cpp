// SPDX-License-Identifier: MIT
#include "rpt/tensor/ops.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "rpt/core/exact_math.h"
#include "rpt/core/float16.h"
#include "rpt/core/parallel.h"
#include "rpt/core/trace.h"
#include "rpt/kernels/isa.h"
#include "rpt/tensor/blocks.h"
#include "rpt/tensor/product.h"

namespace rpt::tensor {
namespace {

/// Rows of weights are handed out in multiples of this, so that tiles of the kernels stay whole.
constexpr std::int64_t kRowTile = 16;
/// A thread is woken only for at least so many multiply-adds.
constexpr std::int64_t kWorkPerRange = 1 << 16;

/// How many of `rows` one range takes when a row costs `work` operations: about four ranges a thread, none too small.
std::int64_t row_grain(std::int64_t rows, std::int64_t work, std::int64_t tile) {
  const std::int64_t even = rows / (4 * core::threads());
  const std::int64_t enough = kWorkPerRange / std::max<std::int64_t>(work, 1);
  const std::int64_t grain = std::max<std::int64_t>({even, enough, 1});
  return (grain + tile - 1) / tile * tile;
}

void for_rows(std::int64_t rows, std::int64_t work, const std::function<void(std::int64_t)>& body) {
  core::parallel_for(rows, row_grain(rows, work, 1), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) body(t);
  });
}

void same_shape(const char* what, MatrixView a, MatrixView b) {
  if (a.rows != b.rows || a.columns != b.columns) {
    throw ShapeError(
        fmt::format("{}: shapes [{}, {}] and [{}, {}] differ", what, a.rows, a.columns, b.rows, b.columns));
  }
}

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

/// Forward and backward of what stands between gate and up.
struct GateKernels {
  decltype(kernels::KernelTable::relu2_mul) forward;
  decltype(kernels::KernelTable::relu2_mul_backward) backward;
};

GateKernels gate_kernels(Gating gating) {
  const auto& table = kernels::active();
  return gating == Gating::relu2 ? GateKernels{table.relu2_mul, table.relu2_mul_backward}
                                 : GateKernels{table.silu_mul, table.silu_mul_backward};
}

void fits_gain(const char* what, std::span<const float> gain, MatrixView x) {
  if (std::cmp_not_equal(gain.size(), x.columns)) {
    throw ShapeError(fmt::format("{}: gain [{}] for rows of {}", what, gain.size(), x.columns));
  }
}

/// Keeps the smallest of what several threads offer.
class Smallest {
 public:
  void offer(std::int64_t value) {
    for (std::int64_t smallest = value_; value < smallest && !value_.compare_exchange_weak(smallest, value);) {
    }
  }
  /// −1 where nothing was offered.
  std::int64_t get() const { return value_ == kNone ? -1 : value_.load(); }

 private:
  static constexpr std::int64_t kNone = std::numeric_limits<std::int64_t>::max();
  std::atomic<std::int64_t> value_{kNone};
};

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

void reshape(std::int64_t rows, std::int64_t columns, QuantisedRows& out) {
  out.rows = rows;
  out.columns = columns;
  out.stride = (columns + 127) / 128 * 128;
  out.q.reserve_scratch(static_cast<std::size_t>(out.stride * rows));
  out.amax.resize(static_cast<std::size_t>(rows));
  out.sum.resize(static_cast<std::size_t>(rows));
}

/// Row t of `out` from x; false where x holds an infinity or NaN.
bool quantise_row(const float* x, std::int64_t t, QuantisedRows& out) {
  const auto i = static_cast<std::size_t>(t);
  std::int8_t* q = out.q.data() + t * out.stride;
  out.amax[i] = kernels::active().quantize_int8(x, out.columns, q, &out.sum[i]);
  std::fill(q + out.columns, q + out.stride, std::int8_t{0});  // another width may have stood here
  return std::isfinite(out.amax[i]);
}

/// Norms and quantises the rows that input(t, scratch) gives, each [K].
template <typename Input>
UnusableRows norm_and_quantise_rows(std::int64_t rows, std::int64_t columns, std::span<const float> gain, float eps,
                                    QuantisedRows& out, const Input& input) {
  reshape(rows, columns, out);
  const auto norm = kernels::active().rms_norm;
  Smallest bad_norm, bad_value;
  core::parallel_for(rows, row_grain(rows, columns, 1), [&](std::int64_t begin, std::int64_t end) {
    static thread_local core::AlignedBuffer<float> normed;
    normed.reserve_scratch(static_cast<std::size_t>(columns));
    for (std::int64_t t = begin; t < end; ++t) {
      const float r = norm(input(t, normed.data()), gain.data(), columns, eps, normed.data());
      if (!(r > 0)) bad_norm.offer(t);
      if (!quantise_row(normed.data(), t, out)) bad_value.offer(t);
    }
  });
  return {bad_norm.get(), bad_value.get()};
}

}  // namespace

std::int64_t quantise_rows(MatrixView x, QuantisedRows& out) {
  reshape(x.rows, x.columns, out);
  Smallest bad;
  for_rows(x.rows, x.columns, [&](std::int64_t t) {
    if (!quantise_row(x.row(t), t, out)) bad.offer(t);
  });
  return bad.get();
}

UnusableRows norm_and_quantise(MatrixView x, std::span<const float> gain, float eps, QuantisedRows& out) {
  fits_gain("norm_and_quantise", gain, x);
  return norm_and_quantise_rows(x.rows, x.columns, gain, eps, out, [&](std::int64_t t, float*) { return x.row(t); });
}

UnusableRows gate_norm_and_quantise(Gating gating, MatrixView gate, MatrixView up, std::span<const float> gain,
                                    float eps, QuantisedRows& out) {
  same_shape("gate_norm_and_quantise", gate, up);
  fits_gain("gate_norm_and_quantise", gain, gate);
  const auto multiply = gate_kernels(gating).forward;
  return norm_and_quantise_rows(gate.rows, gate.columns, gain, eps, out, [&](std::int64_t t, float* scratch) {
    multiply(gate.row(t), up.row(t), gate.columns, scratch);
    return static_cast<const float*>(scratch);
  });
}

namespace {

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
  return has_int8 && tokens >= kUnpackedTokens && kernels::active().library_products;
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
  const std::int64_t at_once = unpacked_rows(rows);
  const std::int64_t busy = std::min<std::int64_t>(core::threads(), (rows + at_once - 1) / at_once);
  return static_cast<std::uint64_t>(busy * at_once * (columns + 4 * std::min(tokens, kTokensAtOnce)));
}

void matmul_ternary(const PackedTernaryView& weights, const QuantisedRows& x, MutableMatrix y) {
  const core::ScopedTrace trace("tensor::matmul_ternary");
  fits("matmul_ternary", weights.rows, weights.columns, x.rows, x.columns, y);
  if (weights.type == DType::i2_s && unpacking_pays(x.rows)) return matmul_unpacked(weights, x, y);
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

std::int64_t first_not_finite(MatrixView x) {
  Smallest bad;
  for_rows(x.rows, x.columns, [&](std::int64_t t) {
    if (!std::all_of(x.row(t), x.row(t) + x.columns, [](float v) { return std::isfinite(v); })) bad.offer(t);
  });
  return bad.get();
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

std::int64_t rms_norm(MatrixView x, std::span<const float> gain, float eps, MutableMatrix y) {
  same_shape("rms_norm", x, y);
  fits_gain("rms_norm", gain, x);
  const auto kernel = kernels::active().rms_norm;
  Smallest bad;
  for_rows(x.rows, x.columns, [&](std::int64_t t) {
    if (!(kernel(x.row(t), gain.data(), x.columns, eps, y.row(t)) > 0)) bad.offer(t);
  });
  return bad.get();
}

void gate_mul(Gating gating, MatrixView gate, MatrixView up, MutableMatrix y) {
  same_shape("gate_mul", gate, up);
  same_shape("gate_mul", gate, y);
  const auto kernel = gate_kernels(gating).forward;
  for_rows(y.rows, y.columns, [&](std::int64_t t) { kernel(gate.row(t), up.row(t), y.columns, y.row(t)); });
}

namespace {

/// row(t, dgain_sums) for every row. Every block of rows sums the gradients of the gains for itself; the blocks are
/// then added in order.
void sum_gain_gradients(const char* what, std::int64_t rows, std::int64_t columns, std::span<const float> gain,
                        MutableMatrix dgain, const std::function<void(std::int64_t, float*)>& row) {
  if (std::cmp_not_equal(gain.size(), columns) || dgain.rows != 1 || dgain.columns != columns) {
    throw ShapeError(fmt::format("{}: gain [{}], its gradient [{}, {}] for rows of {}", what, gain.size(), dgain.rows,
                                 dgain.columns, columns));
  }
  constexpr std::int64_t kBlock = 64;
  const std::int64_t blocks = (rows + kBlock - 1) / kBlock;
  Tensor partial(blocks, columns);
  core::parallel_for(blocks, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin * kBlock; t < std::min(end * kBlock, rows); ++t) {
      row(t, partial.view().row(t / kBlock));
    }
  });
  const auto add_row = kernels::active().add;
  for (std::int64_t b = 0; b < blocks; ++b) add_row(dgain.row(0), partial.view().row(b), columns);
}

}  // namespace

void rms_norm_backward(MatrixView x, std::span<const float> gain, float eps, MatrixView dy, bool accumulate,
                       MutableMatrix dx, MutableMatrix dgain) {
  same_shape("rms_norm_backward", x, dy);
  same_shape("rms_norm_backward", x, dx);
  const auto kernel = kernels::active().rms_norm_backward;
  sum_gain_gradients("rms_norm_backward", x.rows, x.columns, gain, dgain, [&](std::int64_t t, float* sums) {
    if (accumulate) return kernel(x.row(t), gain.data(), dy.row(t), x.columns, eps, dx.row(t), sums);
    static thread_local core::AlignedBuffer<float> row;
    row.reserve_scratch(static_cast<std::size_t>(x.columns));
    std::fill_n(row.data(), x.columns, 0.0F);
    kernel(x.row(t), gain.data(), dy.row(t), x.columns, eps, row.data(), sums);
    std::copy_n(row.data(), x.columns, dx.row(t));
  });
}

void gate_norm_backward(Gating gating, MatrixView gate, MatrixView up, std::span<const float> gain, float eps,
                        MatrixView dy, MutableMatrix dgate, MutableMatrix dup, MutableMatrix dgain) {
  for (const MatrixView other : {up, dy, MatrixView(dgate), MatrixView(dup)}) {
    same_shape("gate_norm_backward", gate, other);
  }
  const GateKernels multiply = gate_kernels(gating);
  const auto norm_backward = kernels::active().rms_norm_backward;
  const std::int64_t n = gate.columns;
  sum_gain_gradients("gate_norm_backward", gate.rows, n, gain, dgain, [&](std::int64_t t, float* sums) {
    static thread_local core::AlignedBuffer<float> rows;
    rows.reserve_scratch(static_cast<std::size_t>(2 * n));
    float* activated = rows.data();
    float* gradient = activated + n;
    multiply.forward(gate.row(t), up.row(t), n, activated);
    std::fill_n(gradient, n, 0.0F);
    norm_backward(activated, gain.data(), dy.row(t), n, eps, gradient, sums);
    multiply.backward(gate.row(t), up.row(t), gradient, n, dgate.row(t), dup.row(t));
  });
}

void copy(MatrixView from, Tensor& to) {
  to.reshape(from.rows, from.columns);
  for_rows(from.rows, from.columns, [&](std::int64_t t) { std::copy_n(from.row(t), from.columns, to.view().row(t)); });
}

void add(MutableMatrix x, MatrixView y) {
  same_shape("add", x, y);
  const auto kernel = kernels::active().add;
  for_rows(y.rows, y.columns, [&](std::int64_t t) { kernel(x.row(t), y.row(t), y.columns); });
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
