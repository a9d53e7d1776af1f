// SPDX-License-Identifier: MIT
#include <cmath>
#include <cstdint>

#include "rpt/core/exact_math.h"
#include "rpt/core/float16.h"
#include "rpt/kernels/reference/lanes.h"
#include "rpt/kernels/reference/reference.h"

namespace rpt::kernels::reference {
namespace {

float rms_norm(const float* x, const float* gain, std::int64_t n, float eps, float* y) noexcept {
  Lanes<float> squares;
  for (std::int64_t i = 0; i < n; ++i) squares.of(i) = std::fma(x[i], x[i], squares.of(i));
  const float r = 1.0F / std::sqrt(squares.sum() / static_cast<float>(n) + eps);
  for (std::int64_t i = 0; i < n; ++i) y[i] = (x[i] * r) * gain[i];
  return r;
}

void scale_int32(const std::int32_t* acc, std::int64_t n, float factor, float* y) noexcept {
  for (std::int64_t i = 0; i < n; ++i) y[i] = static_cast<float>(acc[i]) * factor;
}

void relu2_mul(const float* gate, const float* up, std::int64_t n, float* y) noexcept {
  for (std::int64_t i = 0; i < n; ++i) {
    const float r = gate[i] > 0.0F ? gate[i] : 0.0F;
    y[i] = (r * r) * up[i];
  }
}

void silu_mul(const float* gate, const float* up, std::int64_t n, float* y) noexcept {
  for (std::int64_t i = 0; i < n; ++i) y[i] = (gate[i] / (1.0F + core::exact_exp(-gate[i]))) * up[i];
}

void add(float* x, const float* y, std::int64_t n) noexcept {
  for (std::int64_t i = 0; i < n; ++i) x[i] = x[i] + y[i];
}

void rope_halves(float* x, const float* cos, const float* sin, std::int64_t head_size) noexcept {
  const std::int64_t h = head_size / 2;
  for (std::int64_t i = 0; i < h; ++i) {
    const float first = x[i];
    const float second = x[i + h];
    x[i] = first * cos[i] - second * sin[i];
    x[i + h] = second * cos[i] + first * sin[i];
  }
}

void f32_to_f16(const float* x, std::int64_t n, std::uint16_t* y) noexcept {
  for (std::int64_t i = 0; i < n; ++i) y[i] = core::float_to_f16(x[i]);
}

void f16_to_f32(const std::uint16_t* x, std::int64_t n, float* y) noexcept {
  for (std::int64_t i = 0; i < n; ++i) y[i] = core::f16_to_float(x[i]);
}

void bf16_to_f32(const std::uint16_t* x, std::int64_t n, float* y) noexcept {
  for (std::int64_t i = 0; i < n; ++i) y[i] = core::bf16_to_float(x[i]);
}

}  // namespace

void fill_rows(KernelTable& table) noexcept {
  table.rms_norm = rms_norm;
  table.scale_int32 = scale_int32;
  table.relu2_mul = relu2_mul;
  table.silu_mul = silu_mul;
  table.add = add;
  table.rope_halves = rope_halves;
  table.f32_to_f16 = f32_to_f16;
  table.f16_to_f32 = f16_to_f32;
  table.bf16_to_f32 = bf16_to_f32;
}

}  // namespace rpt::kernels::reference
