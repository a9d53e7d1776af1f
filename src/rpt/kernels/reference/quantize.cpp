// SPDX-License-Identifier: MIT
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "rpt/core/float16.h"
#include "rpt/kernels/reference/lanes.h"
#include "rpt/kernels/reference/reference.h"

namespace rpt::kernels::reference {
namespace {

/// Largest |x|. Compares bit patterns, whose order is that of the magnitudes with NaN above infinity: where an x is not
/// finite, neither is the result.
float max_abs(const float* x, std::int64_t n) {
  std::uint32_t most = 0;
  for (std::int64_t i = 0; i < n; ++i) most = std::max(most, std::bit_cast<std::uint32_t>(x[i]) & 0x7fffffffU);
  return std::bit_cast<float>(most);
}

float quantize_int8(const float* x, std::int64_t n, std::int8_t* q, std::int32_t* q_sum) noexcept {
  float a = max_abs(x, n);
  *q_sum = 0;
  if (!(a <= std::numeric_limits<float>::max())) return a;
  if (a < 1e-5F) a = 1e-5F;
  const float factor = 127.0F / a;
  for (std::int64_t i = 0; i < n; ++i) {
    const float rounded = std::nearbyint(x[i] * factor);
    q[i] = static_cast<std::int8_t>(std::clamp(rounded, -128.0F, 127.0F));
    *q_sum += q[i];
  }
  return a;
}

// The stored types of weights.

struct F32 {
  using Stored = float;
  static float widen(float w) { return w; }
};

struct Bf16 {
  using Stored = std::uint16_t;
  static float widen(std::uint16_t w) { return core::bf16_to_float(w); }
};

template <typename Weight>
double sum_abs(const typename Weight::Stored* w, std::int64_t n) noexcept {
  Lanes<double> sum;
  for (std::int64_t i = 0; i < n; ++i) sum.of(i) = sum.of(i) + std::abs(static_cast<double>(Weight::widen(w[i])));
  return sum.sum();
}

template <typename Weight>
void ternary_codes(const typename Weight::Stored* w, std::int64_t n, float inv, std::int8_t* codes) noexcept {
  for (std::int64_t i = 0; i < n; ++i) {
    const float rounded = std::nearbyint(Weight::widen(w[i]) * inv);
    codes[i] = static_cast<std::int8_t>((rounded >= 1.0F ? 1 : 0) - (rounded <= -1.0F ? 1 : 0));
  }
}

}  // namespace

void fill_quantize(KernelTable& table) noexcept {
  table.quantize_int8 = quantize_int8;
  table.sum_abs_f32 = sum_abs<F32>;
  table.sum_abs_bf16 = sum_abs<Bf16>;
  table.ternary_codes_f32 = ternary_codes<F32>;
  table.ternary_codes_bf16 = ternary_codes<Bf16>;
}

}  // namespace rpt::kernels::reference
