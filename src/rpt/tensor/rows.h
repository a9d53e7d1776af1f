// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "rpt/core/aligned_buffer.h"
#include "rpt/tensor/view.h"

/// Checked operations on activations row by row, forward and backward: as ops.h, whose letters they share.
namespace rpt::tensor {

/// Activations quantised to int8, one scale a row, as docs/forward.md "Activations and product".
struct QuantisedRows {
  std::int64_t rows = 0;               ///< T
  std::int64_t columns = 0;            ///< K
  std::int64_t stride = 0;             ///< K rounded up to 128; the rest of a row is zero
  core::AlignedBuffer<std::int8_t> q;  ///< [T, stride]
  std::vector<float> amax;             ///< [T] a = max(max|x|, 1e-5)
  std::vector<std::int32_t> sum;       ///< [T] Σ q
};

/// Quantises x [T, K] row by row. Returns the first row that holds an infinity or NaN (the content of `out` is then
/// unspecified), or −1.
std::int64_t quantise_rows(MatrixView x, QuantisedRows& out);

/// Rows that norm_and_quantise could not use, the first of each kind; −1: none. What it wrote is then unspecified.
struct UnusableRows {
  std::int64_t norm = -1;   ///< its sum of squares is not finite
  std::int64_t value = -1;  ///< normed, it holds an infinity or NaN
};

/// rms_norm and quantise_rows of x [T, K] with gain [K], a row at a time, so that the normed row stays in the
/// first-level cache; the same bits. Throws: ShapeError.
UnusableRows norm_and_quantise(MatrixView x, std::span<const float> gain, float eps, QuantisedRows& out);

/// What stands between gate and up.
enum class Gating : std::uint8_t {
  relu2,  ///< relu²(gate) · up
  silu,   ///< silu(gate) · up
};

/// The same of y = gate_mul(gate, up), both [T, K].
UnusableRows gate_norm_and_quantise(Gating gating, MatrixView gate, MatrixView up, std::span<const float> gain,
                                    float eps, QuantisedRows& out);

/// First row of x [T, K] that holds an infinity or NaN, or −1.
std::int64_t first_not_finite(MatrixView x);

/// y = RMSNorm(x) row by row; x, y [T, K], gain [K]; y may be x. Returns the first row whose sum of squares is not
/// finite (its y is then meaningless), or −1. Throws: ShapeError.
[[nodiscard]] std::int64_t rms_norm(MatrixView x, std::span<const float> gain, float eps, MutableMatrix y);

/// y = relu²(gate) · up or silu(gate) · up, element by element, all [T, N]; y may be gate. Throws: ShapeError.
void gate_mul(Gating gating, MatrixView gate, MatrixView up, MutableMatrix y);

/// The backward of rms_norm: dx [T, K] = its gradient, added where `accumulate`, and dgain [1, K] += Σ over rows. dx
/// may be dy where nothing is accumulated. The bits do not depend on the number of threads. Throws: ShapeError.
void rms_norm_backward(MatrixView x, std::span<const float> gain, float eps, MatrixView dy, bool accumulate,
                       MutableMatrix dx, MutableMatrix dgain);

/// The backward of rms_norm(gate_mul(gate, up)): dgate and dup [T, K] from dy [T, K], and dgain [1, K] += Σ over rows.
/// What gate_mul gave is computed again, a row at a time. The bits do not depend on the number of threads. Throws:
/// ShapeError.
void gate_norm_backward(Gating gating, MatrixView gate, MatrixView up, std::span<const float> gain, float eps,
                        MatrixView dy, MutableMatrix dgate, MutableMatrix dup, MutableMatrix dgain);

/// to = from.
void copy(MatrixView from, Tensor& to);

/// x += y, both [T, K]. Throws: ShapeError.
void add(MutableMatrix x, MatrixView y);

}  // namespace rpt::tensor
