// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "rpt/tensor/dtype.h"

namespace rpt::io {

inline constexpr std::uint32_t kGgufDefaultAlignment = 32;
inline constexpr std::uint32_t kGgufMinAlignment = 8;
inline constexpr std::uint32_t kGgufMaxAlignment = 65536;

/// Types of values, by their numbers in the file.
enum class GgufValueType : std::uint32_t {
  u8 = 0,
  i8 = 1,
  u16 = 2,
  i16 = 3,
  u32 = 4,
  i32 = 5,
  f32 = 6,
  boolean = 7,
  string = 8,
  array = 9,
  u64 = 10,
  i64 = 11,
  f64 = 12,
};

/// "u8", "bool", "array", …; "type 99" for a number that is none.
std::string name(GgufValueType type);

/// Bytes of one value; 0 for strings, arrays and unknown numbers.
std::uint64_t value_size(GgufValueType type);

/// What ggml calls a tensor type ("Q4_K"), with a hint whose it is where several programs use the number differently;
/// "unknown" for numbers not known here.
std::string_view ggml_type_name(std::uint32_t ggml_type);

/// The dtype of a ggml type number, or nothing where it is not supported.
std::optional<tensor::DType> dtype_of_ggml_type(std::uint32_t ggml_type);

/// The ggml type number of a dtype, or nothing where GGUF has none (u8, hf_packed).
std::optional<std::uint32_t> ggml_type_of_dtype(tensor::DType type);

/// The contiguous extent ne[0] must be a multiple of this: 1 for plain types, 32 for q8_0, q4_0 and q4_1, 128 for i2_s,
/// 256 for q6_k, tq1_0 and tq2_0.
std::int64_t gguf_block(tensor::DType type);

/// Bytes of a tensor in a GGUF file, padding behind it not counted; nothing where that overflows or the type is none of
/// GGUF's. Sizes: extents ne at least 1, ne[0] a multiple of gguf_block(type). Formula: i2_s takes n/4 + 32 (codes, f32
/// scale, 28 unused).
std::optional<std::uint64_t> gguf_tensor_bytes(tensor::DType type, std::span<const std::int64_t> ne);

}  // namespace rpt::io
