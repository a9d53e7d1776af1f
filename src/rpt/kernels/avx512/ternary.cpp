// SPDX-License-Identifier: MIT
#include <immintrin.h>

#include <cstdint>

#include "rpt/kernels/avx512/avx512.h"
#include "rpt/kernels/avx512/vector.h"
#include "rpt/kernels/lanes/ternary_tiles.h"
#include "rpt/kernels/lanes/ternary_tq1.h"

namespace rpt::kernels::avx512 {
namespace {

// vpdpbusd multiplies unsigned bytes by signed ones and adds the products of four neighbours to an int32, without
// saturation. The unsigned factor is code + 1, or (code + 1) · 4^i where it is used as it stands in its byte: such sums
// are divided by 4^i at the end, exactly. An instruction adds at most 4 · (3 · 64) · 128 to a lane, once per 64 weights
// or less often: that fits an int32 for K up to 2^20.

/// A sum in a register, as 16 int32. Not __m512i (8 int64): GCC 12 keeps a sum that changes its type in every step of a
/// loop in two registers, runs out of them and spills.
using Sum [[gnu::vector_size(64)]] = std::int32_t;

Sum add_products(Sum sum, __m512i codes, __m512i x) {
  return reinterpret_cast<Sum>(_mm512_dpbusd_epi32(reinterpret_cast<__m512i>(sum), codes, x));
}

__m512i load(const void* p) {
  return _mm512_loadu_si512(p);
}
__m256i load_256(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}

/// Two groups of 32 bytes as one register.
__m512i join(const void* low, const void* high) {
  return _mm512_inserti64x4(_mm512_castsi256_si512(load_256(low)), load_256(high), 1);
}

/// The bits 2i and 2i + 1 of every byte.
__m512i mask_of_pair(int i) {
  return _mm512_set1_epi8(static_cast<char>(3 << (2 * i)));
}

/// The sums over the lanes of four registers.
__m128i sum_of_four(const Sum (&s)[4]) {
  return Vector::sum_of_four(reinterpret_cast<__m512i>(s[0]), reinterpret_cast<__m512i>(s[1]),
                             reinterpret_cast<__m512i>(s[2]), reinterpret_cast<__m512i>(s[3]));
}

/// Σ over pairs i of acc[i] / 4^i.
Sum weigh_pairs(const Sum (&acc)[4]) {
  return acc[0] + (acc[1] >> 2) + (acc[2] >> 4) + (acc[3] >> 6);
}

// ---- the layouts of 2-bit codes in groups of 128 weights -----------------------------------------------------------
// 64 bytes hold 256 weights as two groups of 32 bytes; weight j of a group stands in byte j % 32 at the bit pair
// pair(j / 32), which are the bits 2 · pair and 2 · pair + 1.

struct I2S {
  static constexpr std::int64_t kBytes256 = 64;  ///< bytes from one 256 weights to the next
  static constexpr bool kHalfBlock = true;       ///< a row may end in a single group of 128
  static constexpr int pair(int quarter) { return 3 - quarter; }
  static std::int64_t row_bytes(std::int64_t columns) { return (columns + 127) / 128 * 32; }
};

struct Tq2 {
  static constexpr std::int64_t kBytes256 = 66;
  static constexpr bool kHalfBlock = false;
  static constexpr int pair(int quarter) { return quarter; }
  static std::int64_t row_bytes(std::int64_t columns) { return columns / 256 * 66; }
};

/// Unpacking for the tiles: a group of 32 bytes is doubled, and each half shifted to its own quarter.
template <typename Layout>
struct Unpack2Bit {
  static void unpack(const TernaryGemm& a, std::int64_t n, std::int64_t k, std::int64_t count, std::uint8_t* codes) {
    constexpr std::int64_t s0 = 2 * Layout::pair(0);
    constexpr std::int64_t s1 = 2 * Layout::pair(1);
    constexpr std::int64_t s2 = 2 * Layout::pair(2);
    constexpr std::int64_t s3 = 2 * Layout::pair(3);
    const __m512i shift01 = _mm512_setr_epi64(s0, s0, s0, s0, s1, s1, s1, s1);
    const __m512i shift23 = _mm512_setr_epi64(s2, s2, s2, s2, s3, s3, s3, s3);
    const __m512i three = _mm512_set1_epi8(3);
    const std::uint8_t* row = a.weights + n * Layout::row_bytes(a.columns) + k / 256 * Layout::kBytes256;
    for (std::int64_t i = 0; i < count; i += 128) {
      const __m512i group = _mm512_broadcast_i64x4(load_256(row + i / 256 * Layout::kBytes256 + i % 256 / 4));
      _mm512_storeu_si512(codes + i, _mm512_and_si512(_mm512_srlv_epi64(group, shift01), three));
      _mm512_storeu_si512(codes + i + 64, _mm512_and_si512(_mm512_srlv_epi64(group, shift23), three));
    }
  }
};

/// Columns that the fused kernels take at a time: 24 KiB of activations for three tokens.
constexpr std::int64_t kFusedColumns = 8192;

/// Activations in the order in which codes meet them: for every 256 weights the first quarter of both groups, the
/// second quarter, …. Joining the halves in the loop over the weights instead costs a quarter of the speed.
template <int kTokens>
struct OrderedActivations {
  alignas(64) std::int8_t values[kTokens][kFusedColumns];

  /// Columns k … k + 128 · groups − 1.
  void take(const TernaryGemm& a, std::int64_t k, std::int64_t groups) {
    for (int t = 0; t < kTokens; ++t) {
      const std::int8_t* q = a.q + t * a.q_stride + k;
      std::int8_t* place = values[t];
      for (std::int64_t g = 0; g < groups; g += 2, q += 256) {
        for (int quarter = 0; quarter < 4; ++quarter, place += 64) {
          const std::int8_t* x = q + 32 * quarter;
          _mm512_store_si512(place, g + 1 < groups ? join(x, x + 128) : _mm512_zextsi256_si512(load_256(x)));
        }
      }
    }
  }
};

/// `groups` groups of one row with kTokens tokens, straight from the packed bytes: total[t] are lanes whose sum is the
/// product.
template <typename Layout, int kTokens>
void fused_row(const std::uint8_t* w, std::int64_t groups, const OrderedActivations<kTokens>& x,
               Sum (&total)[kTokens]) {
  Sum acc[kTokens][4] = {};
  const auto step = [&](__m512i bytes, std::int64_t g) {
    for (int quarter = 0; quarter < 4; ++quarter) {
      const int pair = Layout::pair(quarter);
      const __m512i codes = _mm512_and_si512(bytes, mask_of_pair(pair));
      for (int t = 0; t < kTokens; ++t) {
        acc[t][pair] = add_products(acc[t][pair], codes, load(x.values[t] + 128 * g + 64 * quarter));
      }
    }
  };
  std::int64_t g = 0;
  // Four steps at a time: with a single load of weights in the loop the prefetcher of a Zen 4 does not follow them, and
  // they come from memory at a third of its bandwidth (7 instead of 20 GB/s).
#pragma GCC unroll 4
  for (; g + 2 <= groups; g += 2, w += Layout::kBytes256) step(load(w), g);
  if (Layout::kHalfBlock && g < groups) step(_mm512_zextsi256_si512(load_256(w)), g);
  for (int t = 0; t < kTokens; ++t) total[t] = weigh_pairs(acc[t]);
}

/// Few tokens: row after row, because memory is read fastest in one ascending stream.
template <typename Layout, int kTokens>
void fused(const TernaryGemm& a) noexcept {
  OrderedActivations<kTokens> x;
  const std::int64_t row_bytes = Layout::row_bytes(a.columns);
  for (std::int64_t k = 0; k < a.columns; k += kFusedColumns) {
    const std::int64_t left = (a.columns - k + 127) / 128;
    const std::int64_t groups = left < kFusedColumns / 128 ? left : kFusedColumns / 128;
    x.take(a, k, groups);
    const std::uint8_t* column = a.weights + k / 256 * Layout::kBytes256;
    for (std::int64_t n = a.n_begin; n < a.n_end; n += 4) {
      Sum total[4][kTokens] = {};
      for (std::int64_t r = 0; r < 4 && n + r < a.n_end; ++r) {
        fused_row<Layout>(column + (n + r) * row_bytes, groups, x, total[r]);
      }
      for (int t = 0; t < kTokens; ++t) {
        const Sum rows[4] = {total[0][t], total[1][t], total[2][t], total[3][t]};
        lanes::put_four_rows(a, n, t, sum_of_four(rows), k == 0);
      }
    }
  }
}

// ---- the Hugging Face layout ---------------------------------------------------------------------------------------
// A byte holds the codes of four rows a quarter of the tensor apart, in the order of q.

/// The `count` (up to 64) bytes from p on, zeros behind them.
__m512i load_first(const std::uint8_t* p, std::int64_t count) {
  return _mm512_maskz_loadu_epi8(count >= 64 ? ~__mmask64{0} : (__mmask64{1} << count) - 1, p);
}

struct UnpackHf2 {
  static void unpack(const TernaryGemm& a, std::int64_t n, std::int64_t k, std::int64_t count, std::uint8_t* codes) {
    const std::int64_t quarter = a.rows / 4;
    const std::uint8_t* row = a.weights + n % quarter * a.columns + k;
    const __m128i shift = _mm_cvtsi64_si128(2 * (n / quarter));
    for (std::int64_t i = 0; i < count; i += 64) {
      const __m512i bytes = load_first(row + i, a.columns - k - i);
      _mm512_storeu_si512(codes + i, _mm512_and_si512(_mm512_srl_epi64(bytes, shift), _mm512_set1_epi8(3)));
    }
  }
};

/// The four rows of one row of bytes with kTokens tokens; writes those in [n_begin, n_end).
template <int kTokens>
void fused_hf2_bytes(const TernaryGemm& a, std::int64_t byte_row) {
  const std::uint8_t* w = a.weights + byte_row * a.columns;
  Sum acc[kTokens][4] = {};
  const auto step = [&](__m512i bytes, std::int64_t k) {
    for (int t = 0; t < kTokens; ++t) {
      const __m512i x = load(a.q + t * a.q_stride + k);
      for (int i = 0; i < 4; ++i) {
        acc[t][i] = add_products(acc[t][i], _mm512_and_si512(bytes, mask_of_pair(i)), x);
      }
    }
  };
  std::int64_t k = 0;
  for (; k + 64 <= a.columns; k += 64) step(load(w + k), k);
  if (k < a.columns) step(load_first(w + k, a.columns - k), k);

  for (int t = 0; t < kTokens; ++t) {
    const Sum total[4] = {acc[t][0], acc[t][1] >> 2, acc[t][2] >> 4, acc[t][3] >> 6};
    alignas(16) std::int32_t sums[4];
    _mm_store_si128(reinterpret_cast<__m128i*>(sums), sum_of_four(total));
    for (int i = 0; i < 4; ++i) {
      const std::int64_t n = byte_row + i * (a.rows / 4);
      if (a.n_begin <= n && n < a.n_end) a.acc[t * a.acc_stride + n] = sums[i] - a.q_sum[t];
    }
  }
}

template <int kTokens>
void fused_hf2(const TernaryGemm& a) noexcept {
  const std::int64_t quarter = a.rows / 4;
  for (std::int64_t byte_row = 0; byte_row < quarter; ++byte_row) {
    bool wanted = false;
    for (std::int64_t n = byte_row; n < a.rows; n += quarter) wanted = wanted || (a.n_begin <= n && n < a.n_end);
    if (wanted) fused_hf2_bytes<kTokens>(a, byte_row);
  }
}

// ---- many tokens ---------------------------------------------------------------------------------------------------

struct Tiles {
  static constexpr int kTokens = 6;  ///< 24 sums, 4 codes, 1 activation of 32 registers

  template <int kCount>
  static void tile(const std::uint8_t* codes, const std::int8_t* q, std::int64_t q_stride, std::int64_t count,
                   __m128i (&sums)[kCount]) {
    Sum acc[kCount][4] = {};
    for (std::int64_t k = 0; k < count; k += 64) {
      __m512i w[4];
      for (int r = 0; r < 4; ++r) w[r] = load(codes + r * lanes::kTileStride + k);
      for (int t = 0; t < kCount; ++t) {
        const __m512i x = load(q + t * q_stride + k);
        for (int r = 0; r < 4; ++r) acc[t][r] = add_products(acc[t][r], w[r], x);
      }
    }
    for (int t = 0; t < kCount; ++t) sums[t] = sum_of_four(acc[t]);
  }
};

// ---- entries -------------------------------------------------------------------------------------------------------

template <typename Layout>
void gemm_2bit(const TernaryGemm& a) noexcept {
  switch (a.tokens) {
    case 1:
      return fused<Layout, 1>(a);
    case 2:
      return fused<Layout, 2>(a);
    case 3:
      return fused<Layout, 3>(a);
    default:
      return lanes::gemm_ternary_tiled<Tiles, Unpack2Bit<Layout>>(a);
  }
}

void gemm_hf2(const TernaryGemm& a) noexcept {
  switch (a.tokens) {
    case 1:
      return fused_hf2<1>(a);
    case 2:
      return fused_hf2<2>(a);
    case 3:
      return fused_hf2<3>(a);
    default:
      return lanes::gemm_ternary_tiled<Tiles, UnpackHf2>(a);
  }
}

}  // namespace

void override_ternary(KernelTable& table) noexcept {
  table.gemm_ternary2_int8 = gemm_2bit<I2S>;
  table.gemm_tq2_int8 = gemm_2bit<Tq2>;
  table.gemm_tq1_int8 = lanes::gemm_ternary_tiled<Tiles, lanes::Tq1>;
  table.gemm_hf2_int8 = gemm_hf2;
}

}  // namespace rpt::kernels::avx512
