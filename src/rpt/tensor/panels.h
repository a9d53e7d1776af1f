// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>

#include "rpt/tensor/product.h"
#include "rpt/tensor/rows.h"
#include "rpt/tensor/view.h"

/// Exact products of int8 with ternary codes or int8 for many rows by our own kernels, which turn sums to floats while
/// they are in registers. For this room's own files: matmul_ternary and multiply_int8_rows choose between them and the
/// library's product.
namespace rpt::tensor {

/// True where they run: the set in force has their kernels, and the library reports no tiles (AMX), with which it is
/// faster.
bool uses_panels();

/// matmul_ternary of I2_S weights; shapes fit.
void multiply_ternary_panels(const PackedTernaryView& weights, const QuantisedRows& x, MutableMatrix y);

/// Bytes of scratch that it holds, over all threads.
std::uint64_t ternary_panels_scratch(std::int64_t rows, std::int64_t columns, std::int64_t tokens);

/// multiply_int8_rows of a b that is not transposed; shapes fit.
void multiply_int8_panels(const Operand& a, const Operand& b, std::span<const float> factors, bool accumulate,
                          MutableMatrix c);

/// Bytes of scratch that it holds, over all threads, where a is transposed or is not.
std::uint64_t int8_panels_scratch(std::int64_t m, std::int64_t n, std::int64_t k, bool a_transposed);

}  // namespace rpt::tensor
