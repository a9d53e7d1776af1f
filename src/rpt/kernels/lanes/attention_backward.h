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

/// Queries that share the loads of keys and values. Scores of a key stand together: [T][4].
constexpr int kQueries = 4;

/// Four queries of a sequence with everything that belongs to them; places of absent queries repeat the last one.
struct QueryBlock {
  const float* q[kQueries];
  const float* out[kQueries];
  const float* dout[kQueries];
  std::int64_t first = 0;  ///< position of the first query
  int count = 0;           ///< queries that there are
  std::int64_t keys = 0;   ///< keys that the last query sees
};

inline QueryBlock query_block(const AttentionBackward& a, std::int64_t first) {
  QueryBlock b;
  b.first = first;
  b.count = a.positions - first < kQueries ? static_cast<int>(a.positions - first) : kQueries;
  b.keys = first + b.count;
  for (int r = 0; r < kQueries; ++r) {
    const std::int64_t at = (first + (r < b.count ? r : b.count - 1)) * a.query_stride;
    b.q[r] = a.query + at;
    b.out[r] = a.out + at;
    b.dout[r] = a.dout + at;
  }
  return b;
}

/// {Σ_i x[r]_i · y_i} for the four rows x.
template <typename V>
__m128 four_dots(const float* const (&x)[kQueries], const float* y, std::int64_t n) {
  typename V::Float sum[kQueries] = {V::zero(), V::zero(), V::zero(), V::zero()};
  for_each_16(n, [&](std::int64_t i, auto part) {
    const auto v = V::load(y + i, part);
    RPT_UNROLL
    for (int r = 0; r < kQueries; ++r) sum[r] = V::fma(V::load(x[r] + i, part), v, sum[r]);
  });
  return V::sum_of_four(sum[0], sum[1], sum[2], sum[3]);
}

/// Fills p [keys][4] with the softmax weights and ds [keys][4] with the gradients of the scaled scores; a key that a
/// query does not see, and an absent query, has zeros there.
template <typename V>
void weights_and_scores(const AttentionBackward& a, const QueryBlock& b, float* p, float* ds) {
  const std::int64_t d = a.head_size;
  const __m128 scale = _mm_set1_ps(a.scale);
  const __m128 none = _mm_set1_ps(-__builtin_inff());
  const __m128i offsets = _mm_setr_epi32(0, 1, 2, 3);
  __m128 largest = none;
  for (std::int64_t j = 0; j < b.keys; ++j) {
    __m128 z = _mm_mul_ps(four_dots<V>(b.q, a.key + j * d, d), scale);
    // Query first + r sees key j where j ≤ first + r.
    const auto behind = static_cast<std::int32_t>(j - b.first);
    const __m128 hidden = _mm_castsi128_ps(_mm_cmpgt_epi32(_mm_set1_epi32(behind), offsets));
    z = _mm_blendv_ps(z, none, hidden);
    largest = _mm_max_ps(largest, z);
    _mm_storeu_ps(p + 4 * j, z);
    _mm_storeu_ps(ds + 4 * j, four_dots<V>(b.dout, a.value + j * d, d));
  }
  alignas(64) float most[16];
  for (int i = 0; i < 16; i += 4) _mm_store_ps(most + i, largest);
  const auto m = V::load(most, All{});
  auto sums = V::zero();
  for_each_16(4 * b.keys, [&](std::int64_t i, auto part) {
    const auto e = V::keep(exp<V>(V::sub(V::load(p + i, part), m)), V::zero(), part);
    V::store(p + i, e, part);
    sums = V::add(sums, e);
  });
  alignas(64) float lanes[16];
  V::store(lanes, sums, All{});
  __m128 total = _mm_add_ps(_mm_add_ps(_mm_load_ps(lanes), _mm_load_ps(lanes + 4)),
                            _mm_add_ps(_mm_load_ps(lanes + 8), _mm_load_ps(lanes + 12)));
  const __m128 absent = _mm_castsi128_ps(_mm_cmpgt_epi32(offsets, _mm_set1_epi32(b.count - 1)));
  const __m128 inverse = _mm_andnot_ps(absent, _mm_div_ps(_mm_set1_ps(1.0F), total));
  __m128 delta = _mm_setzero_ps();
  {
    alignas(16) float each[kQueries];
    for (int r = 0; r < kQueries; ++r) {
      auto sum = V::zero();
      for_each_16(d, [&](std::int64_t i, auto part) {
        sum = V::fma(V::load(b.dout[r] + i, part), V::load(b.out[r] + i, part), sum);
      });
      each[r] = V::sum(sum);
    }
    delta = _mm_load_ps(each);
  }
  for (std::int64_t j = 0; j < b.keys; ++j) {
    const __m128 weight = _mm_mul_ps(_mm_loadu_ps(p + 4 * j), inverse);
    const __m128 slope = _mm_mul_ps(_mm_sub_ps(_mm_loadu_ps(ds + 4 * j), delta), scale);
    _mm_storeu_ps(p + 4 * j, weight);
    _mm_storeu_ps(ds + 4 * j, _mm_mul_ps(weight, slope));
  }
}

/// Adds what the four queries give to dkey and dvalue, and writes their dquery, 16 elements of the head at a time.
template <typename V>
void spread(const AttentionBackward& a, const QueryBlock& b, const float* p, const float* ds) {
  const std::int64_t d = a.head_size;
  for_each_16(d, [&](std::int64_t i, auto part) {
    typename V::Float q[kQueries];
    typename V::Float dout[kQueries];
    typename V::Float dq[kQueries];
    RPT_UNROLL
    for (int r = 0; r < kQueries; ++r) {
      q[r] = V::load(b.q[r] + i, part);
      dout[r] = V::load(b.dout[r] + i, part);
      dq[r] = V::zero();
    }
    for (std::int64_t j = 0; j < b.keys; ++j) {
      const auto key = V::load(a.key + j * d + i, part);
      auto dkey = V::load(a.dkey + j * a.key_grad_stride + i, part);
      auto dvalue = V::load(a.dvalue + j * a.key_grad_stride + i, part);
      RPT_UNROLL
      for (int r = 0; r < kQueries; ++r) {
        const auto slope = V::broadcast(ds[4 * j + r]);
        dq[r] = V::fma(slope, key, dq[r]);
        dkey = V::fma(slope, q[r], dkey);
        dvalue = V::fma(V::broadcast(p[4 * j + r]), dout[r], dvalue);
      }
      V::store(a.dkey + j * a.key_grad_stride + i, dkey, part);
      V::store(a.dvalue + j * a.key_grad_stride + i, dvalue, part);
    }
    for (int r = 0; r < b.count; ++r) V::store(a.dquery + (b.first + r) * a.query_stride + i, dq[r], part);
  });
}

template <typename V>
void attention_backward(const AttentionBackward& a) noexcept {
  float* p = a.scratch;
  float* ds = a.scratch + attention_backward_scratch(a.positions) / 2;
  for (std::int64_t first = 0; first < a.positions; first += kQueries) {
    const QueryBlock b = query_block(a, first);
    weights_and_scores<V>(a, b, p, ds);
    spread<V>(a, b, p, ds);
  }
}

}  // namespace
}  // namespace rpt::kernels::lanes
