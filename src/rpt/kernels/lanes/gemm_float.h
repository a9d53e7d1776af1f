// SPDX-License-Identifier: MIT
#pragma once
#include <immintrin.h>

#include <cstdint>
#include <type_traits>

#include "rpt/kernels/kernel_table.h"
#include "rpt/kernels/lanes/part.h"
#include "rpt/kernels/lanes/unroll.h"

namespace rpt::kernels::lanes {
namespace {

// The weight types: what is stored, and 16 floats that take part.

template <typename V>
struct WeightF32 {
  using Stored = float;
  template <typename Part>
  static typename V::Float load(const float* w, Part part) {
    return V::load(w, part);
  }
};

template <typename V>
struct WeightF16 {
  using Stored = std::uint16_t;
  template <typename Part>
  static typename V::Float load(const std::uint16_t* w, Part part) {
    return V::load_f16(w, part);
  }
};

template <typename V>
struct WeightBf16 {
  using Stored = std::uint16_t;
  template <typename Part>
  static typename V::Float load(const std::uint16_t* w, Part part) {
    return V::round_to_f16(V::load_bf16(w, part));
  }
};

/// kRows outputs of kTokens tokens. Every pair has 16 lanes of its own, so that the tiling does not change a bit.
template <typename V, template <typename> typename Weight, int kRows, int kTokens>
void float_tile(const FloatGemm& a, std::int64_t n, std::int64_t t) {
  const auto* w = static_cast<const typename Weight<V>::Stored*>(a.weights) + n * a.row_stride;
  const float* x = a.x + t * a.x_stride;
  typename V::Float dot[kRows][kTokens] = {};
  for_each_16(a.columns, [&](std::int64_t k, auto part) {
    typename V::Float weight[kRows];
    RPT_UNROLL
    for (int r = 0; r < kRows; ++r) weight[r] = Weight<V>::load(w + r * a.row_stride + k, part);
    RPT_UNROLL
    for (int c = 0; c < kTokens; ++c) {
      const auto activation = V::load(x + c * a.x_stride + k, part);
      RPT_UNROLL
      for (int r = 0; r < kRows; ++r) dot[r][c] = V::fma(weight[r], activation, dot[r][c], part);
    }
  });
  RPT_UNROLL
  for (int c = 0; c < kTokens; ++c) {
    float* y = a.y + (t + c) * a.y_stride + n;
    if constexpr (kRows == 4) {
      _mm_storeu_ps(y, V::sum_of_four(dot[0][c], dot[1][c], dot[2][c], dot[3][c]));
    } else {
      RPT_UNROLL
      for (int r = 0; r < kRows; ++r) y[r] = V::sum(dot[r][c]);
    }
  }
}

/// Calls float_tile for the last `rest` < kTokens tokens.
template <typename V, template <typename> typename Weight, int kRows, int kTokens>
void float_tile_rest(const FloatGemm& a, std::int64_t n, std::int64_t t, std::int64_t rest) {
  if constexpr (kTokens > 1) {
    if (rest == kTokens - 1) {
      float_tile<V, Weight, kRows, kTokens - 1>(a, n, t);
    } else {
      float_tile_rest<V, Weight, kRows, kTokens - 1>(a, n, t, rest);
    }
  }
}

/// Rows up to this length are widened once for all tokens: kGemmRows of them take 32 or 64 KiB of the stack.
constexpr std::int64_t kMostWidened = 4096;

/// All tokens of kRows outputs; the rows stay in the first-level cache meanwhile.
template <typename V, template <typename> typename Weight, int kRows>
void float_rows(const FloatGemm& a, std::int64_t n) {
  constexpr int kTokens = V::kGemmTokens;
  using Stored = typename Weight<V>::Stored;
  if constexpr (kRows > 1 && !std::is_same_v<Stored, float>) {
    if (a.tokens >= 2 * kTokens && a.columns <= kMostWidened) {
      alignas(64) float wide[kRows * kMostWidened];
      FloatGemm b = a;
      b.weights = wide;
      b.row_stride = (a.columns + 15) / 16 * 16;
      b.y += n;
      const Stored* w = static_cast<const Stored*>(a.weights) + n * a.row_stride;
      for (int r = 0; r < kRows; ++r) {
        for_each_16(a.columns, [&](std::int64_t k, auto part) {
          V::store(wide + r * b.row_stride + k, Weight<V>::load(w + r * a.row_stride + k, part), part);
        });
      }
      return float_rows<V, WeightF32, kRows>(b, 0);
    }
  }
  std::int64_t t = 0;
  for (; t + kTokens <= a.tokens; t += kTokens) float_tile<V, Weight, kRows, kTokens>(a, n, t);
  float_tile_rest<V, Weight, kRows, kTokens>(a, n, t, a.tokens - t);
}

/// One token needs every weight once: rows are read one after another, in the ascending stream that memory serves
/// fastest. More tokens: several rows share the loads of activations.
template <typename V, template <typename> typename Weight>
void gemm_float(const FloatGemm& a) noexcept {
  std::int64_t n = a.n_begin;
  if (a.tokens > 1) {
    for (; n + V::kGemmRows <= a.n_end; n += V::kGemmRows) float_rows<V, Weight, V::kGemmRows>(a, n);
  }
  for (; n < a.n_end; ++n) float_rows<V, Weight, 1>(a, n);
}

/// Replaces the entries of this file.
template <typename V>
void override_gemm_float(KernelTable& table) noexcept {
  table.gemm_f32_f32 = gemm_float<V, WeightF32>;
  table.gemm_f16_f32 = gemm_float<V, WeightF16>;
  table.gemm_bf16_f32 = gemm_float<V, WeightBf16>;
}

}  // namespace
}  // namespace rpt::kernels::lanes
