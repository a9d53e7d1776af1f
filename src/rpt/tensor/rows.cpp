// SPDX-License-Identifier: MIT
#include "rpt/tensor/rows.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <functional>
#include <limits>

#include "rpt/core/parallel.h"
#include "rpt/kernels/isa.h"
#include "rpt/tensor/partition.h"

namespace rpt::tensor {
namespace {

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

/// What stands between gate and up.
auto gate_kernel(Gating gating) {
  return gating == Gating::relu2 ? kernels::active().relu2_mul : kernels::active().silu_mul;
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
  const auto multiply = gate_kernel(gating);
  return norm_and_quantise_rows(gate.rows, gate.columns, gain, eps, out, [&](std::int64_t t, float* scratch) {
    multiply(gate.row(t), up.row(t), gate.columns, scratch);
    return static_cast<const float*>(scratch);
  });
}

std::int64_t first_not_finite(MatrixView x) {
  Smallest bad;
  for_rows(x.rows, x.columns, [&](std::int64_t t) {
    if (!std::all_of(x.row(t), x.row(t) + x.columns, [](float v) { return std::isfinite(v); })) bad.offer(t);
  });
  return bad.get();
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
  const auto kernel = gate_kernel(gating);
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
  const auto& table = kernels::active();
  const std::int64_t n = gate.columns;
  sum_gain_gradients("gate_norm_backward", gate.rows, n, gain, dgain, [&](std::int64_t t, float* sums) {
    if (gating == Gating::relu2) {
      return table.relu2_norm_backward(gate.row(t), up.row(t), gain.data(), dy.row(t), n, eps, dgate.row(t), dup.row(t),
                                       sums);
    }
    static thread_local core::AlignedBuffer<float> rows;
    rows.reserve_scratch(static_cast<std::size_t>(2 * n));
    float* activated = rows.data();
    float* gradient = activated + n;
    table.silu_mul(gate.row(t), up.row(t), n, activated);
    std::fill_n(gradient, n, 0.0F);
    table.rms_norm_backward(activated, gain.data(), dy.row(t), n, eps, gradient, sums);
    table.silu_mul_backward(gate.row(t), up.row(t), gradient, n, dgate.row(t), dup.row(t));
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

}  // namespace rpt::tensor
