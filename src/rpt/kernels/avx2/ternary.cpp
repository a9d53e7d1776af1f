// SPDX-License-Identifier: MIT
#include <immintrin.h>

#include <cstdint>

#include "rpt/kernels/avx2/avx2.h"
#include "rpt/kernels/avx2/vector.h"
#include "rpt/kernels/lanes/ternary_tiles.h"
#include "rpt/kernels/lanes/ternary_tq1.h"

namespace rpt::kernels::avx2 {
namespace {

// vpmaddubsw multiplies unsigned bytes (code + 1, at most 3) by signed ones and adds two neighbours to an int16: at
// most 2 · 3 · 128 = 768 in magnitude. So an int16 holds 42 of them; sums are widened to int32 after 32.
constexpr int kStepsPerWidening = 32;

__m256i load(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}
void store(void* p, __m256i v) {
  _mm256_storeu_si256(static_cast<__m256i*>(p), v);
}

/// Bits 2·pair and 2·pair + 1 of every byte.
template <int kPair>
__m256i codes_of_pair(__m256i bytes) {
  return _mm256_and_si256(_mm256_srli_epi16(bytes, 2 * kPair), _mm256_set1_epi8(3));
}

/// Sums in a register, as 16 int16. Not __m256i (4 int64): GCC 12 keeps a sum that changes its type in every step of a
/// loop in two registers, runs out of them and spills.
using Sum16 [[gnu::vector_size(32)]] = std::int16_t;

Sum16 products(__m256i codes, __m256i x) {
  return reinterpret_cast<Sum16>(_mm256_maddubs_epi16(codes, x));
}

/// sum + acc, pairs of int16 added to an int32.
__m256i widen(__m256i sum, Sum16 acc) {
  return _mm256_add_epi32(sum, _mm256_madd_epi16(reinterpret_cast<__m256i>(acc), _mm256_set1_epi16(1)));
}

// ---- the layouts of 2-bit codes in groups of 128 weights -----------------------------------------------------------
// A group of 32 bytes holds 128 weights; weight j stands in byte j % 32 at bits 2 · pair(j / 32).

struct I2S {
  static constexpr int pair(int quarter) { return 3 - quarter; }
  static std::int64_t row_bytes(std::int64_t columns) { return (columns + 127) / 128 * 32; }
  static std::int64_t group_offset(std::int64_t group) { return 32 * group; }
};

struct Tq2 {
  static constexpr int pair(int quarter) { return quarter; }
  static std::int64_t row_bytes(std::int64_t columns) { return columns / 256 * 66; }
  static std::int64_t group_offset(std::int64_t group) { return group / 2 * 66 + group % 2 * 32; }
};

template <typename Layout>
struct Unpack2Bit {
  static void unpack(const TernaryGemm& a, std::int64_t n, std::int64_t k, std::int64_t count, std::uint8_t* codes) {
    const std::uint8_t* row = a.weights + n * Layout::row_bytes(a.columns);
    for (std::int64_t i = 0; i < count; i += 128) {
      const __m256i bytes = load(row + Layout::group_offset((k + i) / 128));
      store(codes + i, codes_of_pair<Layout::pair(0)>(bytes));
      store(codes + i + 32, codes_of_pair<Layout::pair(1)>(bytes));
      store(codes + i + 64, codes_of_pair<Layout::pair(2)>(bytes));
      store(codes + i + 96, codes_of_pair<Layout::pair(3)>(bytes));
    }
  }
};

/// The four products of a group of 128 weights: four steps of a sum.
template <typename Layout>
Sum16 group_products(__m256i bytes, const std::int8_t* q) {
  return (products(codes_of_pair<Layout::pair(0)>(bytes), load(q)) +
          products(codes_of_pair<Layout::pair(1)>(bytes), load(q + 32))) +
         (products(codes_of_pair<Layout::pair(2)>(bytes), load(q + 64)) +
          products(codes_of_pair<Layout::pair(3)>(bytes), load(q + 96)));
}

/// One row with kTokens tokens, straight from its bytes: total[t] are lanes whose sum is the product.
template <typename Layout, int kTokens>
void fused_row(const TernaryGemm& a, std::int64_t n, __m256i (&total)[kTokens]) {
  constexpr std::int64_t kGroupsPerWidening = kStepsPerWidening / 4;
  const std::uint8_t* w = a.weights + n * Layout::row_bytes(a.columns);
  const std::int64_t groups = (a.columns + 127) / 128;
  __m256i sum[kTokens] = {};
  for (std::int64_t begin = 0; begin < groups; begin += kGroupsPerWidening) {
    const std::int64_t end = begin + kGroupsPerWidening < groups ? begin + kGroupsPerWidening : groups;
    Sum16 acc[kTokens] = {};
    for (std::int64_t g = begin; g < end; ++g) {
      const __m256i bytes = load(w + Layout::group_offset(g));
      for (int t = 0; t < kTokens; ++t) acc[t] += group_products<Layout>(bytes, a.q + t * a.q_stride + 128 * g);
    }
    for (int t = 0; t < kTokens; ++t) sum[t] = widen(sum[t], acc[t]);
  }
  for (int t = 0; t < kTokens; ++t) total[t] = sum[t];
}

/// Few tokens: row after row, because memory is read fastest in one ascending stream.
template <typename Layout, int kTokens>
void fused(const TernaryGemm& a) noexcept {
  for (std::int64_t n = a.n_begin; n < a.n_end; n += 4) {
    __m256i total[4][kTokens] = {};
    for (std::int64_t r = 0; r < 4 && n + r < a.n_end; ++r) fused_row<Layout>(a, n + r, total[r]);
    for (int t = 0; t < kTokens; ++t) {
      lanes::put_four_rows(a, n, t, Vector::sum_of_four(total[0][t], total[1][t], total[2][t], total[3][t]), true);
    }
  }
}

// ---- the Hugging Face layout ---------------------------------------------------------------------------------------
// A byte holds the codes of four rows a quarter of the tensor apart, in the order of q.

/// The `count` (up to 32) bytes from p on, zeros behind them.
__m256i load_first(const std::uint8_t* p, std::int64_t count) {
  if (count >= 32) return load(p);
  std::uint8_t bytes[32] = {};
  for (std::int64_t i = 0; i < count; ++i) bytes[i] = p[i];
  return load(bytes);
}

struct UnpackHf2 {
  static void unpack(const TernaryGemm& a, std::int64_t n, std::int64_t k, std::int64_t count, std::uint8_t* codes) {
    const std::int64_t quarter = a.rows / 4;
    const std::uint8_t* row = a.weights + n % quarter * a.columns;
    const __m128i shift = _mm_cvtsi64_si128(2 * (n / quarter));
    for (std::int64_t i = k; i < k + count; i += 32, codes += 32) {
      const __m256i bytes = load_first(row + i, a.columns - i);
      store(codes, _mm256_and_si256(_mm256_srl_epi16(bytes, shift), _mm256_set1_epi8(3)));
    }
  }
};

/// The four rows of one row of bytes with one token; writes those in [n_begin, n_end).
void fused_hf2_bytes(const TernaryGemm& a, std::int64_t byte_row, std::int64_t t) {
  const std::uint8_t* w = a.weights + byte_row * a.columns;
  const std::int8_t* q = a.q + t * a.q_stride;
  __m256i sum[4] = {};
  for (std::int64_t begin = 0; begin < a.columns; begin += 32 * kStepsPerWidening) {
    const std::int64_t end = begin + 32 * kStepsPerWidening < a.columns ? begin + 32 * kStepsPerWidening : a.columns;
    Sum16 acc[4] = {};
    for (std::int64_t k = begin; k < end; k += 32) {
      const __m256i bytes = load_first(w + k, end - k);
      const __m256i x = load(q + k);
      acc[0] += products(codes_of_pair<0>(bytes), x);
      acc[1] += products(codes_of_pair<1>(bytes), x);
      acc[2] += products(codes_of_pair<2>(bytes), x);
      acc[3] += products(codes_of_pair<3>(bytes), x);
    }
    for (int i = 0; i < 4; ++i) sum[i] = widen(sum[i], acc[i]);
  }
  alignas(16) std::int32_t dots[4];
  _mm_store_si128(reinterpret_cast<__m128i*>(dots), Vector::sum_of_four(sum[0], sum[1], sum[2], sum[3]));
  for (int i = 0; i < 4; ++i) {
    const std::int64_t n = byte_row + i * (a.rows / 4);
    if (a.n_begin <= n && n < a.n_end) a.acc[t * a.acc_stride + n] = dots[i] - a.q_sum[t];
  }
}

void fused_hf2(const TernaryGemm& a) noexcept {
  const std::int64_t quarter = a.rows / 4;
  for (std::int64_t byte_row = 0; byte_row < quarter; ++byte_row) {
    bool wanted = false;
    for (std::int64_t n = byte_row; n < a.rows; n += quarter) wanted = wanted || (a.n_begin <= n && n < a.n_end);
    for (std::int64_t t = 0; wanted && t < a.tokens; ++t) fused_hf2_bytes(a, byte_row, t);
  }
}

// ---- many tokens ---------------------------------------------------------------------------------------------------

struct Tiles {
  static constexpr int kTokens = 2;  ///< 8 sums in int16, 2 activations, 1 code of 16 registers

  template <int kCount>
  static void tile(const std::uint8_t* codes, const std::int8_t* q, std::int64_t q_stride, std::int64_t count,
                   __m128i (&sums)[kCount]) {
    __m256i sum[kCount][4] = {};
    for (std::int64_t begin = 0; begin < count; begin += 32 * kStepsPerWidening) {
      const std::int64_t end = begin + 32 * kStepsPerWidening < count ? begin + 32 * kStepsPerWidening : count;
      Sum16 acc[kCount][4] = {};
      for (std::int64_t k = begin; k < end; k += 32) {
        __m256i x[kCount];
        for (int t = 0; t < kCount; ++t) x[t] = load(q + t * q_stride + k);
        for (int r = 0; r < 4; ++r) {
          const __m256i w = load(codes + r * lanes::kTileStride + k);
          for (int t = 0; t < kCount; ++t) acc[t][r] += products(w, x[t]);
        }
      }
      for (int t = 0; t < kCount; ++t) {
        for (int r = 0; r < 4; ++r) sum[t][r] = widen(sum[t][r], acc[t][r]);
      }
    }
    for (int t = 0; t < kCount; ++t) sums[t] = Vector::sum_of_four(sum[t][0], sum[t][1], sum[t][2], sum[t][3]);
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
  if (a.tokens < 4) return fused_hf2(a);
  lanes::gemm_ternary_tiled<Tiles, UnpackHf2>(a);
}

}  // namespace

void override_ternary(KernelTable& table) noexcept {
  table.gemm_ternary2_int8 = gemm_2bit<I2S>;
  table.gemm_tq2_int8 = gemm_2bit<Tq2>;
  table.gemm_tq1_int8 = lanes::gemm_ternary_tiled<Tiles, lanes::Tq1>;
  table.gemm_hf2_int8 = gemm_hf2;
}

}  // namespace rpt::kernels::avx2
