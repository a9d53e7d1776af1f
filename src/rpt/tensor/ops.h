// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "rpt/tensor/rows.h"
#include "rpt/tensor/view.h"

/// Checked operations on matrices. They check shapes, split the work over threads and call the kernels in force; no
/// reduction is ever split, so the bits do not depend on the number of threads.
/// Letters: T rows (tokens), K inputs, N outputs, V vocabulary.
namespace rpt::tensor {

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

/// All values of a stored plain tensor (f32, f16, bf16), widened exactly (bf16 is not rounded to f16 here).
/// Throws: ShapeError.
std::vector<float> widen(const StoredView& values);

/// Negative log-likelihood of `target` under one row of logits [V], in nats: vocabulary blocks of 4,096, as
/// docs/forward.md "Loss". Throws: ShapeError when the target is outside.
double token_nll(std::span<const float> logits, std::int32_t target);

/// log Σ exp(logits), by the same blocks.
double log_sum_exp(std::span<const float> logits);

/// Index of the largest value, the lowest of equals. Throws: ShapeError when empty.
std::int32_t arg_max(std::span<const float> logits);

}  // namespace rpt::tensor
