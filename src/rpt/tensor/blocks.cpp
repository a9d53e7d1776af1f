// SPDX-License-Identifier: MIT
#include "rpt/tensor/blocks.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "rpt/core/error.h"
#include "rpt/core/float16.h"

namespace rpt::tensor {
namespace {

void put_half(std::byte* p, float value) {
  const std::uint16_t bits = core::float_to_f16(value);
  std::memcpy(p, &bits, sizeof bits);
}

float as_half(float value) {
  return core::f16_to_float(core::float_to_f16(value));
}

/// x / step to the nearest integer from `low` to `high`; 0 where the step is 0 or infinite (which is then read as a
/// NaN).
int code(float x, float step, int low, int high) {
  if (step == 0 || !std::isfinite(step)) return 0;
  return static_cast<int>(std::clamp(std::nearbyintf(x / step), static_cast<float>(low), static_cast<float>(high)));
}

/// The value of largest size, with its sign.
float extreme(std::span<const float> x) {
  return *std::max_element(x.begin(), x.end(), [](float a, float b) { return std::abs(a) < std::abs(b); });
}

void quantise_q8_0(std::span<const float, 32> x, std::byte* block) {
  const float d = as_half(std::abs(extreme(x)) / 127);
  put_half(block, d);
  for (std::size_t i = 0; i < 32; ++i) block[2 + i] = static_cast<std::byte>(code(x[i], d, -127, 127));
}

void quantise_q4_0(std::span<const float, 32> x, std::byte* block) {
  const float d = as_half(extreme(x) / -8);
  put_half(block, d);
  const auto nibble = [&](std::size_t i) { return static_cast<unsigned>(code(x[i], d, -8, 7) + 8); };
  for (std::size_t i = 0; i < 16; ++i) block[2 + i] = static_cast<std::byte>(nibble(i) | nibble(16 + i) << 4);
}

constexpr int kQ6Low = -32;
constexpr int kQ6High = 31;

/// The factor f for which Σ (x − f·code)² is least among the tries. The value of largest size is near −32 in each.
float best_factor(std::span<const float, 16> x) {
  const float largest = extreme(x);
  float best = 0;
  float least = std::numeric_limits<float>::infinity();
  for (float steps = 30; steps <= 33; steps += 0.5F) {
    const float first = largest / -steps;
    float xq = 0, qq = 0;
    for (const float v : x) {
      const auto q = static_cast<float>(code(v, first, kQ6Low, kQ6High));
      xq += v * q;
      qq += q * q;
    }
    if (qq == 0) return 0;
    const float factor = xq / qq;
    float error = 0;
    for (const float v : x) {
      const float e = v - factor * static_cast<float>(code(v, first, kQ6Low, kQ6High));
      error += e * e;
    }
    if (best == 0 || error < least) {  // the errors of huge values are infinite
      least = error;
      best = factor;
    }
  }
  return best;
}

void quantise_q6_k(std::span<const float, 256> x, std::byte* block) {
  std::array<float, 16> factors{};
  for (std::size_t s = 0; s < 16; ++s) factors[s] = best_factor(x.subspan(16 * s).first<16>());
  const float d = as_half(extreme(factors) / -128);
  put_half(block + 208, d);
  std::fill_n(block, 192, std::byte{0});
  for (std::size_t s = 0; s < 16; ++s) {
    const int scale = code(factors[s], d, -128, 127);
    block[192 + s] = static_cast<std::byte>(scale);
    for (std::size_t i = 16 * s; i < 16 * s + 16; ++i) {
      const int q = code(x[i], d * static_cast<float>(scale), kQ6Low, kQ6High);
      const auto bits = static_cast<unsigned>(q - kQ6Low);
      const std::size_t half = i / 128, part = i % 128 / 32, l = i % 32;
      block[half * 64 + l + 32 * (part % 2)] |= static_cast<std::byte>((bits & 15U) << (part < 2 ? 0 : 4));
      block[128 + half * 32 + l] |= static_cast<std::byte>((bits >> 4) << (2 * part));
    }
  }
}

}  // namespace

std::int64_t quantised_row_bytes(DType type, std::int64_t n) {
  if (n % block_values(type) != 0)
    throw ShapeError(fmt::format("rows of {} values are no blocks of {}", n, name(type)));
  switch (type) {
    case DType::f16:
      return 2 * n;
    case DType::q8_0:
      return q8_0_row_bytes(n);
    case DType::q4_0:
      return q4_0_row_bytes(n);
    case DType::q6_k:
      return q6_k_row_bytes(n);
    default:
      throw ShapeError(fmt::format("rows are not quantised to {}", name(type)));
  }
}

void quantise_row(DType type, std::span<const float> x, std::byte* row) {
  quantised_row_bytes(type, static_cast<std::int64_t>(x.size()));  // checks both
  for (std::size_t i = 0; type == DType::f16 && i < x.size(); ++i) put_half(row + 2 * i, x[i]);
  for (std::size_t b = 0; type == DType::q8_0 && b < x.size() / 32; ++b) {
    quantise_q8_0(x.subspan(32 * b).first<32>(), row + 34 * b);
  }
  for (std::size_t b = 0; type == DType::q4_0 && b < x.size() / 32; ++b) {
    quantise_q4_0(x.subspan(32 * b).first<32>(), row + 18 * b);
  }
  for (std::size_t b = 0; type == DType::q6_k && b < x.size() / 256; ++b) {
    quantise_q6_k(x.subspan(256 * b).first<256>(), row + 210 * b);
  }
}

}  // namespace rpt::tensor
