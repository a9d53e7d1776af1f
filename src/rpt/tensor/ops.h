// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "rpt/core/aligned_buffer.h"
#include "rpt/tensor/view.h"

/// Checked operations on matrices. They check shapes, split the work over threads and call the kernels in force; no
/// reduction is ever split, so the bits do not depend on the number of threads.
/// Letters: T rows (tokens), K inputs, N outputs, V vocabulary.
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

/// y [T, N] = float(codes [N, K] · q [T, K]) · ((s · a) / 127).
/// Throws: ShapeError when K or N do not fit. Cost: N·K/4 bytes of weights; T·N·K multiply-adds.
void matmul_ternary(const PackedTernaryView& weights, const QuantisedRows& x, MutableMatrix y);

/// Bytes of scratch that matmul_ternary keeps, on all threads together, after products of i2_s weights of up to N rows
/// and K columns with T tokens on the instruction set in force.
std::uint64_t matmul_ternary_scratch(std::int64_t rows, std::int64_t columns, std::int64_t tokens);

/// What the forward reads of a bfloat16 weight.
enum class Bf16 : std::uint8_t {
  as_f16,  ///< rounded to binary16: embedding and head
  exact,   ///< widened: a dense linear layer
};

/// y [T, N] = x [T, K] · Wᵀ for stored weights W [N, K] of a dense type (is_dense), each dot in 16 lanes.
/// Throws: ShapeError. Cost: every weight is read once; of blocked types it is dequantised once, into the cache.
void matmul_dense(const StoredView& weights, MatrixView x, MutableMatrix y, Bf16 bf16 = Bf16::as_f16);

/// Row `row` of stored weights [N, K] of a dense type as the forward reads it: f32, f16 widened, bf16 as said, blocked
/// types dequantised. Throws: ShapeError.
void read_row(const StoredView& weights, std::int64_t row, std::span<float> out, Bf16 bf16 = Bf16::as_f16);

/// First row of x [T, K] that holds an infinity or NaN, or −1.
std::int64_t first_not_finite(MatrixView x);

/// All values of a stored plain tensor (f32, f16, bf16), widened exactly (bf16 is not rounded to f16 here).
/// Throws: ShapeError.
std::vector<float> widen(const StoredView& values);

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

/// Negative log-likelihood of `target` under one row of logits [V], in nats: vocabulary blocks of 4,096, as
/// docs/forward.md "Loss". Throws: ShapeError when the target is outside.
double token_nll(std::span<const float> logits, std::int32_t target);

/// log Σ exp(logits), by the same blocks.
double log_sum_exp(std::span<const float> logits);

/// Index of the largest value, the lowest of equals. Throws: ShapeError when empty.
std::int32_t arg_max(std::span<const float> logits);

}  // namespace rpt::tensor
