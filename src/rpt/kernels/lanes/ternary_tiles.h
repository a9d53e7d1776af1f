// SPDX-License-Identifier: MIT
#pragma once
#include <immintrin.h>

#include <cstdint>

#include "rpt/kernels/kernel_table.h"

/// Ternary products of many tokens: the codes of four rows are unpacked once, to bytes 0 … 3 in the order of the
/// weights, and a register tile of four rows × some tokens runs over them. The unused code 3 counts as +2 as in the
/// reference.
namespace rpt::kernels::lanes {
namespace {

constexpr std::int64_t kTileRows = 4;
constexpr std::int64_t kTileColumns = 4096;              ///< 4 rows of codes take 16 KiB: half of a first-level cache
constexpr std::int64_t kTileStride = kTileColumns + 64;  ///< bytes from row to row: not all in the same cache sets
constexpr std::int64_t kTileStep = 64;                   ///< codes come in multiples of this; q is zero past K

/// Adds Σ (code + 1) · q of the rows n … n+3 and one token to acc, or begins with it less Σ q (code + 1 − 1 = code).
inline void put_four_rows(const TernaryGemm& a, std::int64_t n, std::int64_t t, __m128i sums, bool first) {
  const std::int64_t rows = a.n_end - n < kTileRows ? a.n_end - n : kTileRows;
  std::int32_t* acc = a.acc + t * a.acc_stride + n;
  if (first) sums = _mm_sub_epi32(sums, _mm_set1_epi32(a.q_sum[t]));
  if (rows == kTileRows) {
    auto* place = reinterpret_cast<__m128i*>(acc);
    _mm_storeu_si128(place, first ? sums : _mm_add_epi32(sums, _mm_loadu_si128(place)));
    return;
  }
  alignas(16) std::int32_t values[kTileRows];
  _mm_store_si128(reinterpret_cast<__m128i*>(values), sums);
  for (std::int64_t r = 0; r < rows; ++r) acc[r] = first ? values[r] : acc[r] + values[r];
}

/// kTokens tokens from t on over one chunk of codes, columns k … k + count − 1.
template <typename Set, int kTokens>
void ternary_tile(const TernaryGemm& a, const std::uint8_t* codes, std::int64_t n, std::int64_t t, std::int64_t k,
                  std::int64_t count) {
  __m128i sums[kTokens];
  Set::template tile<kTokens>(codes, a.q + t * a.q_stride + k, a.q_stride, count, sums);
  for (int c = 0; c < kTokens; ++c) put_four_rows(a, n, t + c, sums[c], k == 0);
}

/// Calls ternary_tile for the last `rest` < kTokens tokens.
template <typename Set, int kTokens>
void ternary_tile_rest(const TernaryGemm& a, const std::uint8_t* codes, std::int64_t n, std::int64_t t, std::int64_t k,
                       std::int64_t count, std::int64_t rest) {
  if constexpr (kTokens > 1) {
    if (rest == kTokens - 1) {
      ternary_tile<Set, kTokens - 1>(a, codes, n, t, k, count);
    } else {
      ternary_tile_rest<Set, kTokens - 1>(a, codes, n, t, k, count, rest);
    }
  }
}

/// Set: kTokens and tile<T>(codes, q, q_stride, count, sums), the products of four rows of codes, kTileStride apart,
/// with T tokens. Layout: unpack(a, n, k, count, codes) writes code + 1 of the weights (n, k …), `count` of them (a
/// multiple of kTileStep); what stands past K is of no matter.
template <typename Set, typename Layout>
void gemm_ternary_tiled(const TernaryGemm& a) noexcept {
  constexpr int kTokens = Set::kTokens;
  alignas(64) std::uint8_t codes[kTileRows * kTileStride];
  for (std::int64_t n = a.n_begin; n < a.n_end; n += kTileRows) {
    for (std::int64_t k = 0; k < a.columns; k += kTileColumns) {
      const std::int64_t left = (a.columns - k + kTileStep - 1) / kTileStep * kTileStep;
      const std::int64_t count = left < kTileColumns ? left : kTileColumns;
      for (std::int64_t r = 0; r < kTileRows; ++r) {
        const std::int64_t row = n + r < a.n_end ? n + r : a.n_end - 1;  // repeats the last one
        Layout::unpack(a, row, k, count, codes + r * kTileStride);
      }
      std::int64_t t = 0;
      for (; t + kTokens <= a.tokens; t += kTokens) ternary_tile<Set, kTokens>(a, codes, n, t, k, count);
      ternary_tile_rest<Set, kTokens>(a, codes, n, t, k, count, a.tokens - t);
    }
  }
}

}  // namespace
}  // namespace rpt::kernels::lanes
