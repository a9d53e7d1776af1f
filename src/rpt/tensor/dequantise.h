// SPDX-License-Identifier: MIT
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

/// Blocked dense types of GGUF, read one row at a time into float: products in float, no fma (docs/forward.md, "a dense
/// linear"). The types with blocks of 32 are kernels (kernels/kernel_table.h).
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

/// value = (d · scale) · (q − 32), q of 6 bits: its low four from the nibbles, its high two from the pairs. Block of
/// 256 = two halves of 128; half h takes nibbles 64h…, pairs 32h…, scales 8h…; for l in 0 … 31 its values l, l+32,
/// l+64, l+96 are (nibble low of l, pair 0), (nibble low of l+32, pair 1), (nibble high of l, pair 2), (nibble high of
/// l+32, pair 3), with scales l/16, +2, +4, +6. Source: the GGUF type Q6_K (id 14).
void dequantise_q6_k(const std::byte* row, std::span<float> out);

/// bfloat16 bits rounded to binary16 and widened: what the forward reads of a bf16 embedding.
void bf16_row_as_f16(const std::uint16_t* row, std::span<float> out);

}  // namespace rpt::tensor
