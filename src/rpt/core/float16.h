// SPDX-License-Identifier: MIT
#pragma once
#include <bit>
#include <cstdint>

namespace rpt::core {

/// Widens bfloat16 bits; exact.
constexpr float bf16_to_float(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

/// Rounds to bfloat16, half to even; a NaN stays a NaN.
constexpr std::uint16_t float_to_bf16(float value) {
  const auto u = std::bit_cast<std::uint32_t>(value);
  if ((u & 0x7fffffffU) > 0x7f800000U) return static_cast<std::uint16_t>((u >> 16) | 0x40U);
  return static_cast<std::uint16_t>((u + 0x7fffU + ((u >> 16) & 1U)) >> 16);
}

/// The bfloat16 nearest to a number, half to even.
constexpr float round_to_bf16(float value) {
  return bf16_to_float(float_to_bf16(value));
}

/// Widens IEEE binary16 bits, subnormals kept; exact.
constexpr float f16_to_float(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000U) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1fU;
  std::uint32_t mantissa = bits & 0x3ffU;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000U | (mantissa << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112U) << 23) | (mantissa << 13));
  if (mantissa == 0) return std::bit_cast<float>(sign);
  std::uint32_t e = 113;
  while ((mantissa & 0x400U) == 0) {
    mantissa <<= 1;
    --e;
  }
  return std::bit_cast<float>(sign | (e << 23) | ((mantissa & 0x3ffU) << 13));
}

/// Rounds to IEEE binary16, half to even, subnormals kept; beyond 65,504 becomes infinity; a NaN stays a NaN.
constexpr std::uint16_t float_to_f16(float value) {
  const auto u = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((u >> 16) & 0x8000U);
  const std::uint32_t a = u & 0x7fffffffU;
  if (a > 0x7f800000U) return static_cast<std::uint16_t>(sign | 0x7e00U | ((a >> 13) & 0x3ffU));
  if (a >= 0x477ff000U) return static_cast<std::uint16_t>(sign | 0x7c00U);  // rounds to 65,536 or more
  if (a >= 0x38800000U) {                                                   // normal in binary16
    const std::uint32_t r = a + 0xfffU + ((a >> 13) & 1U);
    return static_cast<std::uint16_t>(sign | ((r - 0x38000000U) >> 13));
  }
  if (a < 0x33000000U) return sign;  // below half of the smallest subnormal
  const std::uint32_t shift = 126U - (a >> 23);
  const std::uint32_t m = (a & 0x7fffffU) | 0x800000U;
  const std::uint32_t q = m >> shift;
  const std::uint32_t rest = m & ((1U << shift) - 1U);
  const std::uint32_t half = 1U << (shift - 1U);
  const std::uint32_t up = (rest > half || (rest == half && (q & 1U) != 0)) ? 1U : 0U;
  return static_cast<std::uint16_t>(sign | (q + up));
}

}  // namespace rpt::core
