// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>

#include "rpt/kernels/kernel_table.h"
#include "rpt/kernels/lanes/part.h"

namespace rpt::kernels::lanes {
namespace {

template <typename V>
float quantize_int8(const float* x, std::int64_t n, std::int8_t* q, std::int32_t* q_sum) noexcept {
  // Magnitudes are compared as bit patterns: NaN stands above infinity and comes out.
  auto most = V::zero_int();
  for_each_16(n, [&](std::int64_t i, auto part) { most = V::max(most, V::magnitude_bits(V::load(x + i, part))); });
  float a = V::largest_as_float(most);
  *q_sum = 0;
  if (!(a <= 0x1.fffffep127F)) return a;
  if (a < 1e-5F) a = 1e-5F;

  const auto factor = V::broadcast(127.0F / a);
  auto sum = V::zero_int();
  for_each_16(n, [&](std::int64_t i, auto part) {
    // |x| · (127 / a) is at most 127 and a few roundings: it rounds to 127, and the clamp has nothing to do.
    const auto rounded = V::to_int(V::mul(V::load(x + i, part), factor));
    V::store_int8(q + i, rounded, part);
    sum = V::add(sum, rounded);
  });
  *q_sum = V::sum(sum);
  return a;
}

template <typename V>
double sum_abs_f32(const float* w, std::int64_t n) noexcept {
  auto sum = V::zero_double();
  for_each_16(n, [&](std::int64_t i, auto part) { sum = V::add_abs(sum, V::load(w + i, part)); });
  return V::sum(sum);
}

template <typename V>
double sum_abs_bf16(const std::uint16_t* w, std::int64_t n) noexcept {
  auto sum = V::zero_double();
  for_each_16(n, [&](std::int64_t i, auto part) { sum = V::add_abs(sum, V::load_bf16(w + i, part)); });
  return V::sum(sum);
}

/// clamp(rhe(v), −1, +1): rounding half to even, ±1/2 goes to 0, so that strict comparisons decide.
template <typename V>
typename V::Int ternary_code(typename V::Float v) {
  return V::plus_minus_one(V::less(V::broadcast(0.5F), v), V::less(v, V::broadcast(-0.5F)));
}

template <typename V>
void ternary_codes_f32(const float* w, std::int64_t n, float inv, std::int8_t* codes) noexcept {
  const auto factor = V::broadcast(inv);
  for_each_16(n, [&](std::int64_t i, auto part) {
    V::store_int8(codes + i, ternary_code<V>(V::mul(V::load(w + i, part), factor)), part);
  });
}

template <typename V>
void ternary_codes_bf16(const std::uint16_t* w, std::int64_t n, float inv, std::int8_t* codes) noexcept {
  const auto factor = V::broadcast(inv);
  for_each_16(n, [&](std::int64_t i, auto part) {
    V::store_int8(codes + i, ternary_code<V>(V::mul(V::load_bf16(w + i, part), factor)), part);
  });
}

/// Replaces the entries of this file.
template <typename V>
void override_quantize(KernelTable& table) noexcept {
  table.quantize_int8 = quantize_int8<V>;
  table.sum_abs_f32 = sum_abs_f32<V>;
  table.sum_abs_bf16 = sum_abs_bf16<V>;
  table.ternary_codes_f32 = ternary_codes_f32<V>;
  table.ternary_codes_bf16 = ternary_codes_bf16<V>;
}

}  // namespace
}  // namespace rpt::kernels::lanes
