// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>

#include "rpt/kernels/kernel_table.h"
#include "rpt/kernels/lanes/exp.h"
#include "rpt/kernels/lanes/part.h"

namespace rpt::kernels::lanes {
namespace {

template <typename V>
float rms_norm(const float* x, const float* gain, std::int64_t n, float eps, float* y) noexcept {
  auto squares = V::zero();
  for_each_16(n, [&](std::int64_t i, auto part) {
    const auto v = V::load(x + i, part);
    squares = V::fma(v, v, squares);  // absent lanes add +0 to a sum that is never −0
  });
  const float r = 1.0F / V::square_root(V::sum(squares) / static_cast<float>(n) + eps);
  const auto factor = V::broadcast(r);
  for_each_16(n, [&](std::int64_t i, auto part) {
    V::store(y + i, V::mul(V::mul(V::load(x + i, part), factor), V::load(gain + i, part)), part);
  });
  return r;
}

template <typename V>
void scale_int32(const std::int32_t* acc, std::int64_t n, float factor, float* y) noexcept {
  const auto f = V::broadcast(factor);
  for_each_16(n, [&](std::int64_t i, auto part) { V::store(y + i, V::mul(V::load_int32(acc + i, part), f), part); });
}

template <typename V>
void relu2_mul(const float* gate, const float* up, std::int64_t n, float* y) noexcept {
  for_each_16(n, [&](std::int64_t i, auto part) {
    const auto r = V::max(V::load(gate + i, part), V::zero());
    V::store(y + i, V::mul(V::mul(r, r), V::load(up + i, part)), part);
  });
}

template <typename V>
void silu_mul(const float* gate, const float* up, std::int64_t n, float* y) noexcept {
  for_each_16(n, [&](std::int64_t i, auto part) {
    const auto g = V::load(gate + i, part);
    const auto silu = V::div(g, V::add(V::broadcast(1.0F), exp<V>(V::negate(g))));
    V::store(y + i, V::mul(silu, V::load(up + i, part)), part);
  });
}

template <typename V>
void add(float* x, const float* y, std::int64_t n) noexcept {
  for_each_16(
      n, [&](std::int64_t i, auto part) { V::store(x + i, V::add(V::load(x + i, part), V::load(y + i, part)), part); });
}

template <typename V>
void rope_halves(float* x, const float* cos, const float* sin, std::int64_t head_size) noexcept {
  const std::int64_t h = head_size / 2;
  for_each_16(h, [&](std::int64_t i, auto part) {
    const auto first = V::load(x + i, part);
    const auto second = V::load(x + h + i, part);
    const auto c = V::load(cos + i, part);
    const auto s = V::load(sin + i, part);
    V::store(x + i, V::sub(V::mul(first, c), V::mul(second, s)), part);
    V::store(x + h + i, V::add(V::mul(second, c), V::mul(first, s)), part);
  });
}

template <typename V>
void f32_to_f16(const float* x, std::int64_t n, std::uint16_t* y) noexcept {
  for_each_16(n, [&](std::int64_t i, auto part) { V::store_f16(y + i, V::load(x + i, part), part); });
}

template <typename V>
void f16_to_f32(const std::uint16_t* x, std::int64_t n, float* y) noexcept {
  for_each_16(n, [&](std::int64_t i, auto part) { V::store(y + i, V::load_f16(x + i, part), part); });
}

template <typename V>
void bf16_to_f32(const std::uint16_t* x, std::int64_t n, float* y) noexcept {
  for_each_16(n, [&](std::int64_t i, auto part) { V::store(y + i, V::load_bf16(x + i, part), part); });
}

/// Replaces the entries of this file.
template <typename V>
void override_rows(KernelTable& table) noexcept {
  table.rms_norm = rms_norm<V>;
  table.scale_int32 = scale_int32<V>;
  table.relu2_mul = relu2_mul<V>;
  table.silu_mul = silu_mul<V>;
  table.add = add<V>;
  table.rope_halves = rope_halves<V>;
  table.f32_to_f16 = f32_to_f16<V>;
  table.f16_to_f32 = f16_to_f32<V>;
  table.bf16_to_f32 = bf16_to_f32<V>;
}

}  // namespace
}  // namespace rpt::kernels::lanes
