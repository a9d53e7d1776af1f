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

/// Queries of one block, a lane each: what belongs to a key and all of them is one vector, at [key][16].
constexpr std::int64_t kLanes = kAttentionBackwardQueries;

/// out(m, n) = Σ_k left(m, k) · right(k, n), or added to what stands in out.
struct SmallProduct {
  const float* left = nullptr;
  std::int64_t left_row = 0;     ///< elements from m to m + 1
  std::int64_t left_column = 0;  ///< elements from k to k + 1
  const float* right = nullptr;  ///< row k at k * right_stride
  std::int64_t right_stride = 0;
  float* out = nullptr;  ///< row m at m * out_stride
  std::int64_t out_stride = 0;
  std::int64_t rows = 0;     ///< m
  std::int64_t columns = 0;  ///< n
  std::int64_t depth = 0;    ///< k
  bool add = false;
};

/// kRows rows of out from m on, kGroups · 16 columns (or part of 16) from n on.
template <typename V, int kRows, int kGroups, typename Part>
void multiply_tile(const SmallProduct& a, std::int64_t m, std::int64_t n, Part part) {
  float* out = a.out + m * a.out_stride + n;
  typename V::Float sum[kRows][kGroups];
  RPT_UNROLL
  for (int r = 0; r < kRows; ++r) {
    RPT_UNROLL
    for (int g = 0; g < kGroups; ++g) {
      sum[r][g] = a.add ? V::load(out + r * a.out_stride + 16 * g, part) : V::zero();
    }
  }
  const float* left = a.left + m * a.left_row;
  const float* right = a.right + n;
  for (std::int64_t k = 0; k < a.depth; ++k, left += a.left_column, right += a.right_stride) {
    typename V::Float row[kGroups];
    RPT_UNROLL
    for (int g = 0; g < kGroups; ++g) row[g] = V::load(right + 16 * g, part);
    RPT_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const auto factor = V::broadcast(left[r * a.left_row]);
      RPT_UNROLL
      for (int g = 0; g < kGroups; ++g) sum[r][g] = V::fma(factor, row[g], sum[r][g]);
    }
  }
  RPT_UNROLL
  for (int r = 0; r < kRows; ++r) {
    RPT_UNROLL
    for (int g = 0; g < kGroups; ++g) V::store(out + r * a.out_stride + 16 * g, sum[r][g], part);
  }
}

template <typename V, int kRows, int kGroups, typename Part>
void multiply_columns(const SmallProduct& a, std::int64_t n, Part part) {
  std::int64_t m = 0;
  for (; m + kRows <= a.rows; m += kRows) multiply_tile<V, kRows, kGroups>(a, m, n, part);
  for (; m < a.rows; ++m) multiply_tile<V, 1, kGroups>(a, m, n, part);
}

template <typename V>
void multiply(const SmallProduct& a) {
  constexpr int kGroups = V::kProductGroups;
  std::int64_t n = 0;
  for (; n + 16 * kGroups <= a.columns; n += 16 * kGroups) {
    multiply_columns<V, V::kProductRows, kGroups>(a, n, All{});
  }
  // One group takes fewer registers: more rows hide the time that an addition takes.
  for_each_16(a.columns - n,
              [&](std::int64_t rest, auto part) { multiply_columns<V, V::kProductRows * 2, 1>(a, n + rest, part); });
}

/// A block of queries and the places for what is computed of them.
struct QueryBlock {
  std::int64_t first = 0;    ///< position of the first query
  std::int64_t count = 0;    ///< queries that there are, at most 16
  std::int64_t keys = 0;     ///< keys that the last of them sees
  float* p = nullptr;        ///< [keys][16] softmax weights
  float* ds = nullptr;       ///< [keys][16] gradients of the scores
  float* columns = nullptr;  ///< [D][16]
  // Copies: where they stand, rows are a power of two apart, share a few sets of the first cache, and push each other
  // out of it.
  float* query = nullptr;  ///< [count][D]
  float* dout = nullptr;   ///< [count][D]
};

/// Copies the rows of a block to `to`, and asks for those of the next one.
template <typename V>
void gather(const AttentionBackward& a, const QueryBlock& b, const float* rows, float* to) {
  const float* row = rows + b.first * a.query_stride;
  for (std::int64_t r = 0; r < b.count; ++r, row += a.query_stride, to += a.head_size) {
    for_each_16(a.head_size, [&](std::int64_t i, auto part) { V::store(to + i, V::load(row + i, part), part); });
  }
  for (std::int64_t t = b.keys; t < b.keys + kLanes && t < a.positions; ++t, row += a.query_stride) {
    for (std::int64_t i = 0; i < a.head_size; i += 16) __builtin_prefetch(row + i);
  }
}

/// to(j, r) = rows(r) · other(j) for every key j and query r, where rows are queries or the gradients of their outputs.
template <typename V>
void dots(const AttentionBackward& a, const QueryBlock& b, const float* rows, const float* other, float* to) {
  const std::int64_t d = a.head_size;
  if (b.count < kLanes) {
    for (std::int64_t i = 0; i < d; ++i) V::store(b.columns + i * kLanes, V::zero(), All{});
  }
  for (std::int64_t r = 0; r < b.count; ++r) {
    for (std::int64_t i = 0; i < d; ++i) b.columns[i * kLanes + r] = rows[r * d + i];
  }
  multiply<V>({.left = other,
               .left_row = d,
               .left_column = 1,
               .right = b.columns,
               .right_stride = kLanes,
               .out = to,
               .out_stride = kLanes,
               .rows = b.keys,
               .columns = kLanes,
               .depth = d});
}

/// Fills p and ds; a key that a query does not see, and an absent query, has zeros there.
template <typename V>
void weights_and_slopes(const AttentionBackward& a, const QueryBlock& b) {
  dots<V>(a, b, b.query, a.key, b.p);
  dots<V>(a, b, b.dout, a.value, b.ds);
  const auto none = V::broadcast(-__builtin_inff());
  const auto scale = V::broadcast(a.scale);
  auto largest = none;
  for (std::int64_t j = 0; j < b.keys; ++j) {
    auto z = V::mul(V::load(b.p + kLanes * j, All{}), scale);
    if (j > b.first) z = V::keep(none, z, First{static_cast<int>(j - b.first)});  // earlier queries do not see key j
    largest = V::max(largest, z);
    V::store(b.p + kLanes * j, z, All{});
  }
  auto total = V::zero();
  auto delta = V::zero();
  for (std::int64_t j = 0; j < b.keys; ++j) {
    const auto e = exp<V>(V::sub(V::load(b.p + kLanes * j, All{}), largest));
    V::store(b.p + kLanes * j, e, All{});
    total = V::add(total, e);
    delta = V::fma(e, V::load(b.ds + kLanes * j, All{}), delta);
  }
  auto inverse = V::div(V::broadcast(1.0F), total);
  if (b.count < kLanes) inverse = V::keep(inverse, V::zero(), First{static_cast<int>(b.count)});
  delta = V::mul(delta, inverse);
  for (std::int64_t j = 0; j < b.keys; ++j) {
    const auto weight = V::mul(V::load(b.p + kLanes * j, All{}), inverse);
    const auto slope = V::mul(V::sub(V::load(b.ds + kLanes * j, All{}), delta), scale);
    V::store(b.p + kLanes * j, weight, All{});
    V::store(b.ds + kLanes * j, V::mul(weight, slope), All{});
  }
}

/// grads(j) += Σ_r weights(j, r) · rows(r).
template <typename V>
void add_to_keys(const AttentionBackward& a, const QueryBlock& b, const float* weights, const float* rows,
                 float* grads) {
  multiply<V>({.left = weights,
               .left_row = kLanes,
               .left_column = 1,
               .right = rows,
               .right_stride = a.head_size,
               .out = grads,
               .out_stride = a.key_grad_stride,
               .rows = b.keys,
               .columns = a.head_size,
               .depth = b.count,
               .add = true});
}

template <typename V>
void attention_backward(const AttentionBackward& a) noexcept {
  QueryBlock b;
  b.p = a.scratch;
  b.ds = b.p + kLanes * a.positions;
  b.columns = b.ds + kLanes * a.positions;
  b.query = b.columns + kLanes * a.head_size;
  b.dout = b.query + kLanes * a.head_size;
  for (b.first = 0; b.first < a.positions; b.first += kLanes) {
    const std::int64_t left = a.positions - b.first;
    b.count = left < kLanes ? left : kLanes;
    b.keys = b.first + b.count;
    gather<V>(a, b, a.query, b.query);
    gather<V>(a, b, a.dout, b.dout);
    weights_and_slopes<V>(a, b);
    add_to_keys<V>(a, b, b.ds, b.query, a.dkey);
    add_to_keys<V>(a, b, b.p, b.dout, a.dvalue);
    multiply<V>({.left = b.ds,
                 .left_row = 1,
                 .left_column = kLanes,
                 .right = a.key,
                 .right_stride = a.head_size,
                 .out = a.dquery + b.first * a.query_stride,
                 .out_stride = a.query_stride,
                 .rows = b.count,
                 .columns = a.head_size,
                 .depth = b.keys});
  }
}

}  // namespace
}  // namespace rpt::kernels::lanes
