// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>

#include "rpt/kernels/kernel_table.h"

/// The kernels of training that treat every element by itself, or whose sums are short: templates on the type of the
/// numbers, so that tests take them in double. The other sets compile these very loops with their own flags, hence the
/// anonymous namespace (kernels/lanes/part.h says why).
namespace rpt::kernels::training {
namespace {

template <typename R>
void rope_halves_backward(R* dx, const R* cos, const R* sin, std::int64_t head_size) noexcept {
  const std::int64_t h = head_size / 2;
  for (std::int64_t i = 0; i < h; ++i) {
    const R first = dx[i];
    const R second = dx[i + h];
    dx[i] = first * cos[i] + second * sin[i];
    dx[i + h] = second * cos[i] - first * sin[i];
  }
}

inline std::uint32_t bits_of(float x) noexcept {
  return __builtin_bit_cast(std::uint32_t, x);
}

/// core::float_to_bf16, in a form that compilers turn into vectors.
inline void scale_to_bf16(const float* x, std::int64_t n, float factor, std::uint16_t* y) noexcept {
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint32_t u = bits_of(x[i] * factor);
    const std::uint32_t rounded = u + 0x7fffU + ((u >> 16) & 1U);
    const std::uint32_t kept = (u & 0x7fffffffU) > 0x7f800000U ? (u | 0x400000U) : rounded;
    y[i] = static_cast<std::uint16_t>(kept >> 16);
  }
}

inline void gradient_to_bf16(const float* x, std::int64_t n, float factor, std::uint16_t* plain,
                             std::uint16_t* scaled) noexcept {
  scale_to_bf16(x, n, 1.0F, plain);
  scale_to_bf16(x, n, factor, scaled);
}

inline void int8_to_bf16(const std::int8_t* q, std::int64_t n, std::uint16_t* y) noexcept {
  for (std::int64_t i = 0; i < n; ++i) {
    y[i] = static_cast<std::uint16_t>(bits_of(static_cast<float>(static_cast<std::int32_t>(q[i]))) >> 16);
  }
}

/// Bits of |x|: as integers they are in the order of the numbers, with infinity and then NaN above all.
inline std::int32_t magnitude(float x) noexcept {
  return static_cast<std::int32_t>(bits_of(x) & 0x7fffffffU);
}

inline float gradient_maxima(const float* x, std::int64_t n, float factor, float* column) noexcept {
  std::int32_t most = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int32_t here = magnitude(x[i]);
    most = here > most ? here : most;
    const std::int32_t scaled = magnitude(x[i] * factor);
    const std::int32_t so_far = magnitude(column[i]);
    column[i] = __builtin_bit_cast(float, scaled > so_far ? scaled : so_far);
  }
  return __builtin_bit_cast(float, most);
}

/// A number in [0, 1), a multiple of 2^-16, for element i of a row: of 32 elements number e and e + 16 share the 32
/// bits of one hash, whose mixing steps are those of MurmurHash3's finaliser (A. Appleby).
inline float uniform_of(std::uint32_t key, std::int64_t i) noexcept {
  std::uint32_t h = key + static_cast<std::uint32_t>(i / 32 * 16 + i % 16) * 0x9e3779b9U;
  h ^= h >> 16;
  h *= 0x85ebca6bU;
  h ^= h >> 13;
  h *= 0xc2b2ae35U;
  h ^= h >> 16;
  const std::uint32_t half = i % 32 < 16 ? h & 0xffffU : h >> 16;
  return static_cast<float>(static_cast<std::int32_t>(half)) * 0x1p-16F;
}

/// ⌊v · inverse + u⌋ within ±127, −127 for NaN.
inline std::int8_t round_by(float v, float inverse, float u) noexcept {
  const float moved = __builtin_fmaf(v, inverse, u);
  const float low = moved > -127.0F ? moved : -127.0F;
  const float kept = low < 127.0F ? low : 127.0F;
  const auto towards_zero = static_cast<std::int32_t>(kept);
  return static_cast<std::int8_t>(towards_zero - (static_cast<float>(towards_zero) > kept ? 1 : 0));
}

inline void gradient_codes(const GradientCodes& a) noexcept {
  // Copies that nothing else points to, or compilers would expect the codes to overwrite them.
  const float* __restrict x = a.x;
  const float* __restrict column_inverse = a.column_inverse;
  std::int8_t* __restrict by_row = a.by_row;
  std::int8_t* __restrict by_column = a.by_column;
  const float row_inverse = a.row_inverse;
  const float factor = a.factor;
  const std::uint32_t key = a.key;
  const std::int64_t n = a.n;
  for (std::int64_t i = 0; i < n; ++i) {
    const float u = uniform_of(key, i);
    by_row[i] = round_by(x[i], row_inverse, u);
    by_column[i] = round_by(x[i] * factor, column_inverse[i], u);
  }
}

inline void add_scaled_int32(const std::int32_t* acc, std::int64_t n, float factor, float* y) noexcept {
  for (std::int64_t i = 0; i < n; ++i) y[i] += static_cast<float>(acc[i]) * factor;
}

/// −1, 0, +1 as bfloat16 of code + 1 = 0, 1, 2.
inline std::uint16_t bf16_of_code(std::uint32_t field) noexcept {
  const std::uint32_t sign = field == 0 ? 0x8000U : 0U;
  const std::uint32_t one = field == 1 ? 0U : 0x3f80U;
  return static_cast<std::uint16_t>(sign | one);
}

/// Calls put(k, code + 1) for the codes of one row in the I2_S layout.
template <typename Put>
void for_each_code(const std::uint8_t* row, std::int64_t n, const Put& put) noexcept {
  std::int64_t k = 0;
  for (; k + 128 <= n; k += 128, row += 32) {
    for (int quarter = 0; quarter < 4; ++quarter) {
      for (int j = 0; j < 32; ++j) {
        const std::uint32_t byte = row[j];
        put(k + 32 * quarter + j, (byte >> (6 - 2 * quarter)) & 3U);
      }
    }
  }
  for (std::int64_t j = 0; k + j < n; ++j) {
    const std::uint32_t byte = row[j % 32];
    put(k + j, (byte >> (6 - 2 * (j / 32))) & 3U);
  }
}

inline void ternary2_to_bf16(const std::uint8_t* row, std::int64_t n, std::uint16_t* y) noexcept {
  for_each_code(row, n, [y](std::int64_t k, std::uint32_t field) { y[k] = bf16_of_code(field); });
}

/// Eight codes at a time where there are 128, since compilers widen bytes that are shifted one by one.
inline void ternary2_to_int8(const std::uint8_t* row, std::int64_t n, std::int8_t* y) noexcept {
  constexpr std::uint64_t kOnes = 0x0101010101010101U;
  constexpr std::uint64_t kSigns = 0x80 * kOnes;
  for (; n >= 128; n -= 128, row += 32) {
    for (int quarter = 0; quarter < 4; ++quarter) {
      for (int j = 0; j < 32; j += 8, y += 8) {
        std::uint64_t word;
        __builtin_memcpy(&word, row + j, 8);
        const std::uint64_t fields = (word >> (6 - 2 * quarter)) & (3 * kOnes);
        word = ((fields | kSigns) - kOnes) ^ kSigns;  // byte by byte field − 1: no byte borrows from the next
        __builtin_memcpy(y, &word, 8);
      }
    }
  }
  for_each_code(row, n, [y](std::int64_t k, std::uint32_t field) {
    y[k] = static_cast<std::int8_t>(static_cast<std::int32_t>(field) - 1);
  });
}

}  // namespace
}  // namespace rpt::kernels::training
