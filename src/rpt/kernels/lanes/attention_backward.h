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

/// Neighbouring positions of one block, a lane each.
constexpr std::int64_t kLanes = kAttentionBackwardQueries;

/// out(m, n) = Σ_k left(m, k) · right(k, n), or added to what stands in out. With V::kElements = 2 an element of left
/// and right is a pair of bf16 that stand for neighbouring k.
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

/// A block of neighbouring positions, all query heads of the group: head h of position first + r is column 16h + r of
/// `columns`. Sums over head elements, columns or keys go through P, which takes P::kElements of them at a time.
struct QueryBlock {
  std::int64_t columns = 0;  ///< 16 · heads
  std::int64_t first = 0;    ///< position of the first query
  std::int64_t count = 0;    ///< positions that there are, at most 16
  std::int64_t keys = 0;     ///< keys that the last of them sees
  // Copies: where they stand, rows are a power of two apart, share a few sets of the first cache, and push each other
  // out of it.
  float* query_columns = nullptr;  ///< [D][columns]
  float* dout_columns = nullptr;   ///< [D / elements][columns]
  float* query_rows = nullptr;     ///< [columns / elements][D]
  float* dout_rows = nullptr;      ///< [columns / elements][D]
  const float* key = nullptr;      ///< [T / elements, rounded up][D]
  const float* value = nullptr;    ///< [T][D / elements]
  float* scores = nullptr;         ///< [keys][columns], then softmax weights
  float* slopes = nullptr;         ///< [keys][columns], then gradients of the scores
  float* p = nullptr;              ///< [keys][columns / elements] softmax weights
  float* ds = nullptr;             ///< [keys][columns / elements] gradients of the scores
  float* ds_by_key = nullptr;      ///< [keys / elements, rounded up][columns]
};

/// Lays the scratch space out, and brings keys and values into the form in which products read them.
template <typename P>
QueryBlock prepare(const AttentionBackward& a) {
  constexpr std::int64_t kElements = P::kElements;
  const std::int64_t d = a.head_size;
  QueryBlock b;
  b.columns = kLanes * a.heads;
  float* free = a.scratch;
  const auto take = [&](std::int64_t floats) {
    float* place = free;
    free += floats;
    return place;
  };
  b.query_columns = take(d * b.columns);
  b.dout_columns = take(d / kElements * b.columns);
  b.query_rows = take(b.columns / kElements * d);
  b.dout_rows = take(b.columns / kElements * d);
  b.scores = take(a.positions * b.columns);
  b.slopes = take(a.positions * b.columns);
  if constexpr (kElements == 1) {
    b.key = a.key;
    b.value = a.value;
    b.p = b.scores;
    b.ds = b.slopes;
    b.ds_by_key = b.slopes;
  } else {
    const std::int64_t pairs = (a.positions + 1) / 2;
    b.p = take(a.positions * b.columns / 2);
    b.ds = take(a.positions * b.columns / 2);
    b.ds_by_key = take(pairs * b.columns);
    float* value = take(a.positions * d / 2);
    for (std::int64_t i = 0; i < a.positions * d; i += kLanes) {
      P::store_pairs(value + i / 2, P::load(a.value + i, All{}));
    }
    float* key = take(pairs * d);
    for (std::int64_t j = 0; j < a.positions; j += 2) {
      for (std::int64_t i = 0; i < d; i += kLanes) {
        const float* row = a.key + j * d + i;
        const auto next = j + 1 < a.positions ? P::load(row + d, All{}) : P::zero();
        P::store_pairs(key + j / 2 * d + i, P::load(row, All{}), next);
      }
    }
    b.key = key;
    b.value = value;
  }
  return b;
}

/// The rows of a block, [columns / elements][D], and turned: kTurned of their elements at a time, [D /
/// kTurned][columns]. Absent positions are zeros.
template <typename P, int kTurned>
void gather(const AttentionBackward& a, const QueryBlock& b, const float* from, float* rows, float* turned) {
  constexpr std::int64_t kElements = P::kElements;
  const std::int64_t d = a.head_size;
  for (std::int64_t h = 0; h < a.heads; ++h) {
    const float* source = from + h * d + b.first * a.query_stride;
    const auto row = [&](std::int64_t r) { return r < b.count ? source + r * a.query_stride : nullptr; };
    const auto load = [&](const float* x, std::int64_t i, auto part) {
      return x != nullptr ? P::load(x + i, part) : P::zero();
    };
    for (std::int64_t r = 0; r < kLanes; r += kElements) {
      float* to = rows + (h * kLanes + r) / kElements * d;
      for_each_16(d, [&](std::int64_t i, auto part) {
        if constexpr (kElements == 1) {
          P::store(to + i, load(row(r), i, part), part);
        } else {
          P::store_pairs(to + i, load(row(r), i, part), load(row(r + 1), i, part));
        }
      });
    }
    for (std::int64_t r = 0; r < kLanes; ++r) {
      const float* x = row(r);
      float* column = turned + h * kLanes + r;
      if constexpr (kTurned == 1) {
        for (std::int64_t i = 0; i < d; ++i) column[i * b.columns] = x != nullptr ? x[i] : 0.0F;
      } else {
        alignas(64) float pairs[kLanes / 2];
        for (std::int64_t i = 0; i < d; i += kLanes) {
          P::store_pairs(pairs, load(x, i, All{}));
          for (std::int64_t e = 0; e < kLanes / 2; ++e) column[(i / 2 + e) * b.columns] = pairs[e];
        }
      }
    }
  }
}

/// to(j, c) = row j · column c for every key j, where rows have `depth` elements.
template <typename P>
void dots(const QueryBlock& b, const float* rows, const float* columns, std::int64_t depth, float* to) {
  multiply<P>({.left = rows,
               .left_row = depth,
               .left_column = 1,
               .right = columns,
               .right_stride = b.columns,
               .out = to,
               .out_stride = b.columns,
               .rows = b.keys,
               .columns = b.columns,
               .depth = depth});
}

/// Softmax weights and gradients of the scores of the columns from c on, 16 positions of a head; a key that a position
/// does not see, and an absent position, has zeros there.
template <typename V, typename P>
void weights_and_slopes(const AttentionBackward& a, const QueryBlock& b, std::int64_t c) {
  const auto at = [&](float* matrix, std::int64_t j) { return matrix + j * b.columns + c; };
  const auto none = V::broadcast(-__builtin_inff());
  const auto scale = V::broadcast(a.scale);
  auto largest = none;
  for (std::int64_t j = 0; j < b.keys; ++j) {
    auto z = V::mul(V::load(at(b.scores, j), All{}), scale);
    if (j > b.first) z = V::keep(none, z, First{static_cast<int>(j - b.first)});  // earlier queries do not see key j
    largest = V::max(largest, z);
    V::store(at(b.scores, j), z, All{});
  }
  auto total = V::zero();
  auto delta = V::zero();
  for (std::int64_t j = 0; j < b.keys; ++j) {
    const auto e = exp<V>(V::sub(V::load(at(b.scores, j), All{}), largest));
    V::store(at(b.scores, j), e, All{});
    total = V::add(total, e);
    delta = V::fma(e, V::load(at(b.slopes, j), All{}), delta);
  }
  auto inverse = V::div(V::broadcast(1.0F), total);
  if (b.count < kLanes) inverse = V::keep(inverse, V::zero(), First{static_cast<int>(b.count)});
  delta = V::mul(delta, inverse);
  const auto finish = [&](std::int64_t j) {
    const auto weight = V::mul(V::load(at(b.scores, j), All{}), inverse);
    const auto slope = V::mul(V::sub(V::load(at(b.slopes, j), All{}), delta), scale);
    const auto ds = V::mul(weight, slope);
    if constexpr (P::kElements == 1) {
      V::store(at(b.p, j), weight, All{});
      V::store(at(b.ds, j), ds, All{});
    } else {
      P::store_pairs(b.p + (j * b.columns + c) / 2, weight);
      P::store_pairs(b.ds + (j * b.columns + c) / 2, ds);
    }
    return ds;
  };
  for (std::int64_t j = 0; j < b.keys; j += P::kElements) {
    const auto ds = finish(j);
    if constexpr (P::kElements == 2) {
      P::store_pairs(at(b.ds_by_key, j / 2), ds, j + 1 < b.keys ? finish(j + 1) : V::zero());
    }
  }
}

/// grads(j) += Σ over columns of weights(j, column) · rows(column).
template <typename P>
void add_to_keys(const AttentionBackward& a, const QueryBlock& b, const float* weights, const float* rows,
                 float* grads) {
  multiply<P>({.left = weights,
               .left_row = b.columns / P::kElements,
               .left_column = 1,
               .right = rows,
               .right_stride = a.head_size,
               .out = grads,
               .out_stride = a.key_grad_stride,
               .rows = b.keys,
               .columns = a.head_size,
               .depth = b.columns / P::kElements,
               .add = true});
}

/// With P = V everything in float32. Else P takes pairs of bf16, head sizes are multiples of 32, and only the scores
/// are sums of float32 products.
template <typename V, typename P>
void attention_backward(const AttentionBackward& a) noexcept {
  constexpr std::int64_t kElements = P::kElements;
  const std::int64_t d = a.head_size;
  QueryBlock b = prepare<P>(a);
  for (b.first = 0; b.first < a.positions; b.first += kLanes) {
    const std::int64_t left = a.positions - b.first;
    b.count = left < kLanes ? left : kLanes;
    b.keys = b.first + b.count;
    gather<P, 1>(a, b, a.query, b.query_rows, b.query_columns);
    gather<P, kElements>(a, b, a.dout, b.dout_rows, b.dout_columns);
    dots<V>(b, a.key, b.query_columns, d, b.scores);
    dots<P>(b, b.value, b.dout_columns, d / kElements, b.slopes);
    for (std::int64_t c = 0; c < b.columns; c += kLanes) weights_and_slopes<V, P>(a, b, c);
    add_to_keys<P>(a, b, b.ds, b.query_rows, a.dkey);
    add_to_keys<P>(a, b, b.p, b.dout_rows, a.dvalue);
    for (std::int64_t h = 0; h < a.heads; ++h) {
      multiply<P>({.left = b.ds_by_key + h * kLanes,
                   .left_row = 1,
                   .left_column = b.columns,
                   .right = b.key,
                   .right_stride = d,
                   .out = a.dquery + h * d + b.first * a.query_stride,
                   .out_stride = a.query_stride,
                   .rows = b.count,
                   .columns = d,
                   .depth = (b.keys + kElements - 1) / kElements});
    }
  }
}

}  // namespace
}  // namespace rpt::kernels::lanes
