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

/// z[r]_j = q_r·k_j of the `count` keys from `begin` on, not yet scaled; four keys share the loads of the queries and
/// the queries those of the keys. Writes z in fours, the places of absent keys repeat the last one.
template <typename V, int kQueries>
void dot_keys(const AttentionHead& a, const AttentionQuery* queries, std::int64_t begin, std::int64_t count,
              float (*z)[kKeyBlock]) {
  const std::uint16_t* first = a.key + begin * a.stride;
  for (std::int64_t j = 0; j < count; j += 4) {
    const std::uint16_t* k[4];
    typename V::Float dot[kQueries][4];
    RPT_UNROLL
    for (int c = 0; c < 4; ++c) {
      k[c] = first + (j + c < count ? j + c : count - 1) * a.stride;
      RPT_UNROLL
      for (int r = 0; r < kQueries; ++r) dot[r][c] = V::zero();
    }
    for_each_16(a.head_size, [&](std::int64_t i, auto part) {
      typename V::Float key[4];
      RPT_UNROLL
      for (int c = 0; c < 4; ++c) key[c] = V::load_f16(k[c] + i, part);
      RPT_UNROLL
      for (int r = 0; r < kQueries; ++r) {
        const auto q = V::load(queries[r].query + i, part);
        RPT_UNROLL
        for (int c = 0; c < 4; ++c) dot[r][c] = V::fma(q, key[c], dot[r][c], part);
      }
    });
    RPT_UNROLL
    for (int r = 0; r < kQueries; ++r) {
      _mm_storeu_ps(z[r] + j, V::sum_of_four(dot[r][0], dot[r][1], dot[r][2], dot[r][3]));
    }
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

/// out_i = out_i · alpha of each query, then out_i = fma(p_j, v_ji, out_i) for j ascending from `begin` to below
/// `end`, for the kGroups · 16 elements (or part of 16) from `at` on. alpha is 1 where a block goes on.
template <typename V, int kQueries, int kGroups, typename Part>
void add_values(const AttentionHead& a, const AttentionQuery* queries, const float* alpha, const float (*p)[kKeyBlock],
                const std::uint16_t* values, std::int64_t begin, std::int64_t end, std::int64_t at, Part part) {
  typename V::Float sum[kQueries][kGroups];
  RPT_UNROLL
  for (int r = 0; r < kQueries; ++r) {
    RPT_UNROLL
    for (int g = 0; g < kGroups; ++g) {
      sum[r][g] = V::mul(V::load(queries[r].out + at + 16 * g, part), V::broadcast(alpha[r]));
    }
  }
  for (std::int64_t j = begin; j < end; ++j) {
    const std::uint16_t* v = values + j * a.stride + at;
    typename V::Float value[kGroups];
    RPT_UNROLL
    for (int g = 0; g < kGroups; ++g) value[g] = V::load_f16(v + 16 * g, part);
    RPT_UNROLL
    for (int r = 0; r < kQueries; ++r) {
      const auto weight = V::broadcast(p[r][j]);
      RPT_UNROLL
      for (int g = 0; g < kGroups; ++g) sum[r][g] = V::fma(weight, value[g], sum[r][g]);
    }
  }
  RPT_UNROLL
  for (int r = 0; r < kQueries; ++r) {
    RPT_UNROLL
    for (int g = 0; g < kGroups; ++g) V::store(queries[r].out + at + 16 * g, sum[r][g], part);
  }
}

/// add_values over the whole head.
template <typename V, int kQueries>
void add_block(const AttentionHead& a, const AttentionQuery* queries, const float* alpha, const float (*p)[kKeyBlock],
               const std::uint16_t* values, std::int64_t begin, std::int64_t end) {
  constexpr int kGroups = V::kValueGroups / (kQueries > 1 ? 2 : 1);
  std::int64_t i = 0;
  for (; i + 16 * kGroups <= a.head_size; i += 16 * kGroups) {
    add_values<V, kQueries, kGroups>(a, queries, alpha, p, values, begin, end, i, All{});
  }
  for_each_16(a.head_size - i, [&](std::int64_t rest, auto part) {
    add_values<V, kQueries, 1>(a, queries, alpha, p, values, begin, end, i + rest, part);
  });
}

/// Attention of kQueries queries side by side.
template <typename V, int kQueries>
void attend(const AttentionHead& a, const AttentionQuery* queries) {
  float m[kQueries];
  float l[kQueries];
  std::int64_t most_keys = 0;
  std::int64_t common_keys = queries[0].keys;
  for (int r = 0; r < kQueries; ++r) {
    m[r] = kMinusInfinity;
    l[r] = 0.0F;
    most_keys = queries[r].keys > most_keys ? queries[r].keys : most_keys;
    common_keys = queries[r].keys < common_keys ? queries[r].keys : common_keys;
    for_each_16(a.head_size, [&](std::int64_t i, auto part) { V::store(queries[r].out + i, V::zero(), part); });
  }
  for (std::int64_t begin = 0; begin < most_keys; begin += kKeyBlock) {
    const auto within = [&](std::int64_t keys) {
      const std::int64_t left = keys - begin;
      return left < 0 ? std::int64_t{0} : left < kKeyBlock ? left : kKeyBlock;
    };
    alignas(64) float p[kQueries][kKeyBlock];
    float alpha[kQueries];
    dot_keys<V, kQueries>(a, queries, begin, within(most_keys), p);
    for (int r = 0; r < kQueries; ++r) {
      alpha[r] = 1.0F;  // of a query that sees nothing of this block
      const std::int64_t count = within(queries[r].keys);
      if (count == 0) continue;
      const float largest = scale_scores<V>(p[r], count, a.scale, m[r]);
      alpha[r] = V::first_lane(exp<V>(V::broadcast(m[r] - largest)));
      l[r] = V::fma_scalar(l[r], alpha[r], exp_scores<V>(p[r], count, largest));
      m[r] = largest;
    }
    const std::uint16_t* values = a.value + begin * a.stride;
    const std::int64_t common = within(common_keys);
    add_block<V, kQueries>(a, queries, alpha, p, values, 0, common);
    if constexpr (kQueries > 1) {
      constexpr float kOne = 1.0F;
      for (int r = 0; r < kQueries; ++r) {
        const std::int64_t count = within(queries[r].keys);
        if (count > common) add_block<V, 1>(a, queries + r, &kOne, p + r, values, common, count);
      }
    }
  }
  for (int r = 0; r < kQueries; ++r) {
    const auto divisor = V::broadcast(l[r]);
    float* out = queries[r].out;
    for_each_16(a.head_size,
                [&](std::int64_t i, auto part) { V::store(out + i, V::div(V::load(out + i, part), divisor), part); });
  }
}

template <typename V>
void attention_head(const AttentionHead& a) noexcept {
  constexpr int kQueries = V::kAttentionQueries;
  std::int64_t i = 0;
  for (; i + kQueries <= a.count; i += kQueries) attend<V, kQueries>(a, a.queries + i);
  for (; i < a.count; ++i) attend<V, 1>(a, a.queries + i);
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
