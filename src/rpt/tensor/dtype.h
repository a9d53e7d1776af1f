// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <string_view>

namespace rpt::tensor {

/// How the values of a stored tensor are written. Ternary kinds are named after the layout of their codes.
enum class DType : std::uint8_t {
  f32,
  f16,
  bf16,
  u8,  ///< bytes without further meaning (packed Hugging Face weights before they are understood)
  i8,
  i32,
  i64,
  f64,
  q8_0,       ///< blocks of 32: f16 d, 32 int8
  q4_0,       ///< blocks of 32: f16 d, 32 nibbles
  q4_1,       ///< blocks of 32: f16 d, f16 m, 32 nibbles
  q6_k,       ///< blocks of 256: 210 bytes
  i2_s,       ///< 2-bit codes in blocks of 128, one f32 scale behind the tensor
  tq1_0,      ///< base-3 codes in blocks of 256 with an f16 scale
  tq2_0,      ///< 2-bit codes in blocks of 256 with an f16 scale
  hf_packed,  ///< uint8 [N/4, K] of 2-bit codes, scale in a tensor of its own
};

/// The field's name of a dtype: "f32", "i2_s", …
std::string_view name(DType type);

/// True for the kinds that hold ternary codes.
bool is_ternary(DType type);

/// True for f32, f16 and bf16.
bool is_float(DType type);

/// True for the kinds that dense products read: is_float() and the blocked types q8_0, q4_0, q4_1, q6_k.
bool is_dense(DType type);

/// Values of a block of a blocked dense type: 32, of q6_k 256; 1 for every other type.
std::int64_t block_values(DType type);

/// Bytes of one element of a plain type (f32, f16, bf16, u8, i8, i32, i64, f64); 0 for blocked and ternary kinds.
std::int64_t element_size(DType type);

}  // namespace rpt::tensor
