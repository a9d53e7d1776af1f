// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <limits>
#include <optional>

#include "rpt/tensor/dtype.h"
#include "rpt/tensor/view.h"

/// Dense products of training, through oneDNN. Their bits depend on the processor and on how many threads there are,
/// so that nothing of the forward contract uses them but the integer product, which is exact.
/// Letters: M rows and N columns of the result, K the length of the sums.
namespace rpt::tensor {

/// A matrix that takes part in a product: [rows, columns] in memory, row-major with `stride` elements from row to row;
/// used as its transpose where `transposed`.
struct Operand {
  const void* data = nullptr;
  DType type = DType::f32;  ///< f32, bf16 or i8; both operands of a product have the same
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t stride = 0;
  bool transposed = false;
};

Operand operand(MatrixView x, bool transposed = false);
Operand operand(const std::uint16_t* bf16, std::int64_t rows, std::int64_t columns, bool transposed = false);

/// c [M, N] = α · a [M, K] · b [K, N], or without a factor where `alpha` is none, added to c where `accumulate`; a and
/// b are f32 or bf16 (after `transposed`), sums are float. With a factor and without one sums may be made in another
/// order, so that an α of 1 is not none; a power of two changes no bit but the exponent. Throws: ShapeError where
/// shapes or types do not fit. Cost: 2·M·N·K operations. Split over threads by rows or columns of c, the larger one.
void multiply(const Operand& a, const Operand& b, std::optional<float> alpha, bool accumulate, MutableMatrix c);

/// c [M, N] = a [M, K] · bᵀ, b [N, K], exact; rows of c `c_stride` apart. Runs on the calling thread alone. Only where
/// multiplies_int8().
void multiply_int8(const std::int8_t* a, std::int64_t a_stride, const std::int8_t* b, std::int64_t b_stride,
                   std::int64_t m, std::int64_t n, std::int64_t k, std::int32_t* c, std::int64_t c_stride);

/// Terms of a sum of int8 products that fit an int32.
inline constexpr std::int64_t kMostInt8Terms = std::numeric_limits<std::int32_t>::max() / (127 * 127);

/// c [M, N] = factor_i · Σ a·b in row i, added to c where `accumulate`; a and b are i8 (after `transposed`), sums
/// exact. Throws: ShapeError where shapes or types do not fit, or for more terms than kMostInt8Terms. Split over
/// threads. Only where multiplies_int8().
void multiply_int8_rows(const Operand& a, const Operand& b, std::span<const float> factors, bool accumulate,
                        MutableMatrix c);

/// Bytes of scratch that multiply_int8_rows holds, over all threads, where a is transposed or is not and b is not.
std::uint64_t multiply_int8_rows_scratch(std::int64_t m, std::int64_t n, std::int64_t k, bool a_transposed);

/// True where the processor has int8 products that do not saturate on the way (AVX-512 VNNI or AMX).
bool multiplies_int8();

/// True where the processor multiplies bf16 numbers itself (AVX-512 BF16 or AMX). Elsewhere bf16 products are slower
/// than float ones, and without AVX-512 there are none.
bool multiplies_bf16();

}  // namespace rpt::tensor
