// SPDX-License-Identifier: MIT
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "rpt/tensor/dtype.h"

/// Blocked dense types of GGUF, a row at a time. Reading them is a kernel (kernels/kernel_table.h: one product and at
/// most one add in float); here is what writes them.
namespace rpt::tensor {

/// Bytes of a row of n values: n/32 blocks of {f16 d, 32 int8}. n is a multiple of 32.
constexpr std::int64_t q8_0_row_bytes(std::int64_t n) {
  return n / 32 * 34;
}

/// Bytes of a row of n values: n/32 blocks of {f16 d, 32 nibbles}. n is a multiple of 32.
constexpr std::int64_t q4_0_row_bytes(std::int64_t n) {
  return n / 32 * 18;
}

/// Bytes of a row of n values: n/32 blocks of {f16 d, f16 m, 32 nibbles}. n is a multiple of 32.
constexpr std::int64_t q4_1_row_bytes(std::int64_t n) {
  return n / 32 * 20;
}

/// Bytes of a row of n values: n/256 blocks of {128 low nibbles, 64 high pairs, 16 int8 scales, f16 d}. n is a multiple
/// of 256.
constexpr std::int64_t q6_k_row_bytes(std::int64_t n) {
  return n / 256 * 210;
}

/// Bytes of the row that quantise_row writes. Throws: ShapeError where n is no multiple of the type's block, or for a
/// type that it does not write.
std::int64_t quantised_row_bytes(DType type, std::int64_t n);

/// Rounds a row to f16, q8_0, q4_0 or q6_k. q8_0: d = f16(max|x| / 127), codes to nearest, so that an error is at most
/// about max|x| / 254 of its block. q4_0: d = f16(x of largest size / −8). q6_k: each 16 values have the factor, of a
/// few tries refitted by least squares, with the least squared error; the 16 factors of a block are multiples of its d.
/// x is finite; where d is beyond f16, the values of its block are read back as
/// NaN. Throws: as quantised_row_bytes.
void quantise_row(DType type, std::span<const float> x, std::byte* row);

}  // namespace rpt::tensor
