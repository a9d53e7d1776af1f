// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>

#include "rpt/tensor/rows.h"
#include "rpt/tensor/view.h"

/// Exact products of ternary codes and int8 for many tokens by our own kernels, which turn sums to floats while they
/// are in registers. For this room's own files: matmul_ternary chooses between them and the library's product.
namespace rpt::tensor {

/// True where they run: the set in force has their kernels, and the library reports no tiles (AMX), with which it is
/// faster.
bool uses_ternary_panels();

/// matmul_ternary of I2_S weights; shapes fit.
void multiply_ternary_panels(const PackedTernaryView& weights, const QuantisedRows& x, MutableMatrix y);

/// Bytes of scratch that it holds, over all threads.
std::uint64_t ternary_panels_scratch(std::int64_t rows, std::int64_t columns, std::int64_t tokens);

}  // namespace rpt::tensor
