// SPDX-License-Identifier: MIT
#pragma once
#include <immintrin.h>

#include <cstdint>

#include "rpt/kernels/kernel_table.h"
#include "rpt/kernels/lanes/exp.h"
#include "rpt/kernels/lanes/part.h"
#include "rpt/kernels/lanes/unroll.h"

namespace rpt::kernels::lanes {
namespace {

constexpr std::int64_t kKeyBlock = 64;
constexpr float kMinusInfinity = -__builtin_inff();

/// z_j = q·k_j of the `count` keys from `begin` on, not yet scaled; four keys share the loads of q. Writes z in fours,
/// the places of absent keys repeat the last one.
template <typename V>
void dot_keys(const AttentionHead& a, std::int64_t begin, std::int64_t count, float* z) {
  const std::uint16_t* first = a.key + begin * a.stride;
  for (std::int64_t j = 0; j < count; j += 4) {
    const std::uint16_t* k[4];
    typename V::Float dot[4];
    RPT_UNROLL
    for (int r = 0; r < 4; ++r) {
      k[r] = first + (j + r < count ? j + r : count - 1) * a.stride;
      dot[r] = V::zero();
    }
    for_each_16(a.head_size, [&](std::int64_t i, auto part) {
      const auto q = V::load(a.query + i, part);
      RPT_UNROLL
      for (int r = 0; r < 4; ++r) dot[r] = V::fma(q, V::load_f16(k[r] + i, part), dot[r], part);
    });
    _mm_storeu_ps(z + j, V::sum_of_four(dot[0], dot[1], dot[2], dot[3]));
  }
}

/// Scales the dots in z and returns the largest, or `largest` where that is larger. Places past count become −infinity.
template <typename V>
float scale_scores(float* z, std::int64_t count, float scale, float largest) {
  auto most = V::broadcast(largest);
  const auto factor = V::broadcast(scale);
  for_each_16(count, [&](std::int64_t i, auto part) {
    const auto scaled = V::keep(V::mul(V::load(z + i, part), factor), V::broadcast(kMinusInfinity), part);
    V::store(z + i, scaled, All{});
    most = V::max(most, scaled);
  });
  return V::largest(most);
}

/// p_j = exp(z_j − largest) in place; returns Σ p.
template <typename V>
float exp_scores(float* z, std::int64_t count, float largest) {
  auto sum = V::zero();
  const auto m = V::broadcast(largest);
  for (std::int64_t i = 0; i < count; i += 16) {  // past count exp(−infinity) = +0
    const auto p = exp<V>(V::sub(V::load(z + i, All{}), m));
    V::store(z + i, p, All{});
    sum = V::add(sum, p);
  }
  return V::sum(sum);
}

/// acc_i = acc_i · alpha, then acc_i = fma(p_j, v_ji, acc_i) for j ascending, of kGroups · 16 elements (or part of 16).
template <typename V, int kGroups, typename Part>
void add_values(float* acc, float alpha, const float* p, const std::uint16_t* v, std::int64_t stride,
                std::int64_t count, Part part) {
  typename V::Float sum[kGroups];
  RPT_UNROLL
  for (int g = 0; g < kGroups; ++g) sum[g] = V::mul(V::load(acc + 16 * g, part), V::broadcast(alpha));
  for (std::int64_t j = 0; j < count; ++j) {
    const auto weight = V::broadcast(p[j]);
    RPT_UNROLL
    for (int g = 0; g < kGroups; ++g) sum[g] = V::fma(weight, V::load_f16(v + j * stride + 16 * g, part), sum[g]);
  }
  RPT_UNROLL
  for (int g = 0; g < kGroups; ++g) V::store(acc + 16 * g, sum[g], part);
}

template <typename V>
void attention_head(const AttentionHead& a) noexcept {
  constexpr int kGroups = V::kValueGroups;
  float m = kMinusInfinity;
  float l = 0.0F;
  for_each_16(a.head_size, [&](std::int64_t i, auto part) { V::store(a.out + i, V::zero(), part); });

  for (std::int64_t begin = 0; begin < a.keys; begin += kKeyBlock) {
    const std::int64_t count = a.keys - begin < kKeyBlock ? a.keys - begin : kKeyBlock;
    alignas(64) float p[kKeyBlock];
    dot_keys<V>(a, begin, count, p);
    const float largest = scale_scores<V>(p, count, a.scale, m);
    const float alpha = V::first_lane(exp<V>(V::broadcast(m - largest)));
    l = V::fma_scalar(l, alpha, exp_scores<V>(p, count, largest));
    m = largest;

    const std::uint16_t* v = a.value + begin * a.stride;
    std::int64_t i = 0;
    for (; i + 16 * kGroups <= a.head_size; i += 16 * kGroups) {
      add_values<V, kGroups>(a.out + i, alpha, p, v + i, a.stride, count, All{});
    }
    for_each_16(a.head_size - i, [&](std::int64_t rest, auto part) {
      add_values<V, 1>(a.out + i + rest, alpha, p, v + i + rest, a.stride, count, part);
    });
  }
  const auto divisor = V::broadcast(l);
  for_each_16(a.head_size,
              [&](std::int64_t i, auto part) { V::store(a.out + i, V::div(V::load(a.out + i, part), divisor), part); });
}

template <typename V>
BlockSum sum_exp(const float* x, std::int64_t n) noexcept {
  const auto none = V::broadcast(kMinusInfinity);
  auto most = none;
  for_each_16(n, [&](std::int64_t i, auto part) { most = V::max(most, V::keep(V::load(x + i, part), none, part)); });
  const float largest = V::largest(most) + 0.0F;  // −0 becomes +0
  auto sum = V::zero();
  const auto m = V::broadcast(largest);
  for_each_16(n, [&](std::int64_t i, auto part) {
    sum = V::add(sum, V::keep(exp<V>(V::sub(V::load(x + i, part), m)), V::zero(), part));
  });
  return {largest, V::sum(sum)};
}

/// Replaces the entries of this file.
template <typename V>
void override_attention(KernelTable& table) noexcept {
  table.attention_head = attention_head<V>;
  table.sum_exp = sum_exp<V>;
}

}  // namespace
}  // namespace rpt::kernels::lanes
