// SPDX-License-Identifier: MIT
#include <immintrin.h>

#include <cstdint>

#include "rpt/kernels/avx512/avx512.h"

namespace rpt::kernels::avx512 {
namespace {

// vpdpbusd multiplies unsigned bytes (of the panel: code + 1, or a number + 128) by signed ones and adds the products
// of four neighbours to an int32, without saturation. What was added to the panel's numbers comes off at the end as
// offset · q_sum; sums may overflow on the way, where what is left fits.

/// A sum in a register, as 16 numbers of 32 bits (why not __m512i: see Sum in ternary.cpp); unsigned, so that it may
/// overflow.
using Sum [[gnu::vector_size(64)]] = std::uint32_t;

constexpr int kVectors = kPanelColumns / 16;

Sum add_products(Sum sum, __m512i panel, __m512i left) {
  return reinterpret_cast<Sum>(_mm512_dpbusd_epi32(reinterpret_cast<__m512i>(sum), panel, left));
}

__m512i four_terms(const std::int8_t* p) {
  std::int32_t dword;
  __builtin_memcpy(&dword, p, 4);
  return _mm512_set1_epi32(dword);
}

/// The same of fewer than four terms, zeros behind them.
__m512i last_terms(const std::int8_t* p, std::int64_t count) {
  std::uint32_t dword = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    dword |= static_cast<std::uint32_t>(static_cast<std::uint8_t>(p[i])) << (8 * i);
  }
  return _mm512_set1_epi32(static_cast<std::int32_t>(dword));
}

/// The first `count` of 16 lanes.
__mmask16 lanes_below(std::int64_t count) {
  return static_cast<__mmask16>(count >= 16 ? 0xffff : count <= 0 ? 0 : (1 << count) - 1);
}

/// The float results of one row of a tile.
void finish(const PanelProduct& a, std::int64_t row, const Sum (&sums)[kVectors]) {
  const Sum correction = Sum{} + static_cast<std::uint32_t>(a.offset) * static_cast<std::uint32_t>(a.q_sum[row]);
  const __m512 factor = _mm512_set1_ps(a.factors[row]);
  float* y = a.y + row * a.y_stride;
  for (int v = 0; v < kVectors; ++v, y += 16) {
    const __m512i sum = reinterpret_cast<__m512i>(sums[v] - correction);
    const __mmask16 lanes = lanes_below(a.columns - 16 * v);
    __m512 value = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), factor);
    if (a.accumulate) value = _mm512_add_ps(_mm512_maskz_loadu_ps(lanes, y), value);
    _mm512_mask_storeu_ps(y, lanes, value);
  }
}

/// kRows rows from `row` on: of 32 registers 4 · kRows are sums, 4 hold the panel, 1 the left operand.
template <int kRows>
void tile(const PanelProduct& a, std::int64_t row) {
  Sum acc[kRows][kVectors] = {};
  const std::int8_t* left = a.q + row * a.q_stride;
  const std::uint8_t* panel = a.panel;
  const std::int64_t stride = a.q_stride;
  const std::int64_t step = a.q_step;
  for (std::int64_t k = a.terms / 4; k > 0; --k, panel += 4 * kPanelColumns, left += step) {
    __m512i w[kVectors];
    for (int v = 0; v < kVectors; ++v) w[v] = _mm512_load_si512(panel + 64 * v);
    for (int r = 0; r < kRows; ++r) {
      const __m512i x = four_terms(left + r * stride);
      for (int v = 0; v < kVectors; ++v) acc[r][v] = add_products(acc[r][v], w[v], x);
    }
  }
  if (a.terms % 4 != 0) {
    for (int r = 0; r < kRows; ++r) {
      const __m512i x = last_terms(left + r * stride, a.terms % 4);
      for (int v = 0; v < kVectors; ++v) acc[r][v] = add_products(acc[r][v], _mm512_load_si512(panel + 64 * v), x);
    }
  }
  for (int r = 0; r < kRows; ++r) finish(a, row + r, acc[r]);
}

void multiply_panel(const PanelProduct& a) noexcept {
  std::int64_t row = 0;
  for (; row + 6 <= a.rows; row += 6) tile<6>(a, row);
  switch (a.rows - row) {
    case 5:
      return tile<5>(a, row);
    case 4:
      return tile<4>(a, row);
    case 3:
      return tile<3>(a, row);
    case 2:
      return tile<2>(a, row);
    case 1:
      return tile<1>(a, row);
    default:
      return;
  }
}

/// 16 bytes of each of 16 rows, as registers of one dword a row: out[i] holds dword i of rows 0 … 15.
void transpose_dwords(const std::uint8_t* const (&rows)[16], std::int64_t offset, __m512i (&out)[4]) {
  __m512i x[4];  // row i + 4l in lane l
  for (int i = 0; i < 4; ++i) {
    const auto lane = [&](int l) {
      return _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[i + 4 * l] + offset));
    };
    const __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(lane(0)), lane(1), 1);
    const __m256i high = _mm256_inserti128_si256(_mm256_castsi128_si256(lane(2)), lane(3), 1);
    x[i] = _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
  }
  const __m512i low01 = _mm512_unpacklo_epi32(x[0], x[1]);
  const __m512i high01 = _mm512_unpackhi_epi32(x[0], x[1]);
  const __m512i low23 = _mm512_unpacklo_epi32(x[2], x[3]);
  const __m512i high23 = _mm512_unpackhi_epi32(x[2], x[3]);
  out[0] = _mm512_unpacklo_epi64(low01, low23);
  out[1] = _mm512_unpackhi_epi64(low01, low23);
  out[2] = _mm512_unpacklo_epi64(high01, high23);
  out[3] = _mm512_unpackhi_epi64(high01, high23);
}

/// A dword of packed bytes holds four neighbours of each quarter of a block. So bytes are transposed first, and taken
/// apart afterwards.
void pack_ternary2_panel(const std::uint8_t* weights, std::int64_t rows, std::int64_t columns,
                         std::uint8_t* out) noexcept {
  const std::int64_t blocks = (columns + 127) / 128;
  const __m512i three = _mm512_set1_epi8(3);
  for (int v = 0; v < kVectors && 16 * v < rows; ++v) {
    const std::uint8_t* row[16];
    for (int i = 0; i < 16; ++i) {
      const std::int64_t r = 16 * v + i;
      row[i] = weights + (r < rows ? r : rows - 1) * blocks * 32;
    }
    for (std::int64_t block = 0; block < blocks; ++block) {
      std::uint8_t* first = out + block * 32 * 4 * kPanelColumns + 64 * v;
      for (int half = 0; half < 2; ++half) {
        __m512i dwords[4];
        transpose_dwords(row, 32 * block + 16 * half, dwords);
        for (int i = 0; i < 4; ++i) {
          std::uint8_t* p = first + (4 * half + i) * 4 * kPanelColumns;  // and every 8 steps on, by quarter
          constexpr std::int64_t kQuarter = 8 * 4 * kPanelColumns;
          _mm512_store_si512(p, _mm512_and_si512(_mm512_srli_epi32(dwords[i], 6), three));
          _mm512_store_si512(p + kQuarter, _mm512_and_si512(_mm512_srli_epi32(dwords[i], 4), three));
          _mm512_store_si512(p + 2 * kQuarter, _mm512_and_si512(_mm512_srli_epi32(dwords[i], 2), three));
          _mm512_store_si512(p + 3 * kQuarter, _mm512_and_si512(dwords[i], three));
        }
      }
    }
  }
}

/// 64 columns of four rows, interleaved: dwords of four terms, 16 columns a register.
void interleave(const __m512i (&rows)[4], __m512i (&out)[kVectors]) {
  const __m512i low01 = _mm512_unpacklo_epi8(rows[0], rows[1]);
  const __m512i high01 = _mm512_unpackhi_epi8(rows[0], rows[1]);
  const __m512i low23 = _mm512_unpacklo_epi8(rows[2], rows[3]);
  const __m512i high23 = _mm512_unpackhi_epi8(rows[2], rows[3]);
  // Lane l of x[i] holds columns 16l + 4i to 16l + 4i + 3.
  const __m512i x[4] = {_mm512_unpacklo_epi16(low01, low23), _mm512_unpackhi_epi16(low01, low23),
                        _mm512_unpacklo_epi16(high01, high23), _mm512_unpackhi_epi16(high01, high23)};
  const __m512i a = _mm512_shuffle_i32x4(x[0], x[1], 0x44);  // lanes 0, 1 of both
  const __m512i b = _mm512_shuffle_i32x4(x[2], x[3], 0x44);
  const __m512i c = _mm512_shuffle_i32x4(x[0], x[1], 0xee);  // lanes 2, 3
  const __m512i d = _mm512_shuffle_i32x4(x[2], x[3], 0xee);
  out[0] = _mm512_shuffle_i32x4(a, b, 0x88);
  out[1] = _mm512_shuffle_i32x4(a, b, 0xdd);
  out[2] = _mm512_shuffle_i32x4(c, d, 0x88);
  out[3] = _mm512_shuffle_i32x4(c, d, 0xdd);
}

void pack_int8_panel(const Int8Panel& a) noexcept {
  const auto columns = a.columns >= 64 ? ~__mmask64{0} : (__mmask64{1} << a.columns) - 1;
  const __m512i flip = _mm512_set1_epi8(static_cast<char>(a.plus_128 ? 0x80 : 0));
  const __m512i ones = _mm512_set1_epi8(1);
  Sum sums[kVectors] = {};
  std::uint8_t* out = a.out;
  for (std::int64_t k = 0; k < a.terms; k += 4, out += 4 * kPanelColumns) {
    __m512i rows[4];
    for (int i = 0; i < 4; ++i) {
      const bool there = k + i < a.terms;
      rows[i] = there ? _mm512_maskz_loadu_epi8(columns, a.from + (k + i) * a.stride) : _mm512_setzero_si512();
    }
    __m512i quads[kVectors];
    interleave(rows, quads);
    for (int v = 0; v < kVectors; ++v) {
      sums[v] = add_products(sums[v], ones, quads[v]);
      _mm512_store_si512(out + 64 * v, _mm512_xor_si512(quads[v], flip));
    }
  }
  for (int v = 0; v < kVectors; ++v) _mm512_storeu_si512(a.sums + 16 * v, reinterpret_cast<__m512i>(sums[v]));
}

std::int32_t sum_int8(const std::int8_t* q, std::int64_t n) noexcept {
  const __m512i ones = _mm512_set1_epi8(1);
  Sum sum = {};
  std::int64_t i = 0;
  for (; i + 64 <= n; i += 64) sum = add_products(sum, ones, _mm512_loadu_si512(q + i));
  if (i < n) sum = add_products(sum, ones, _mm512_maskz_loadu_epi8((__mmask64{1} << (n - i)) - 1, q + i));
  return _mm512_reduce_add_epi32(reinterpret_cast<__m512i>(sum));
}

}  // namespace

void override_panels(KernelTable& table) noexcept {
  table.panels = true;
  table.pack_ternary2_panel = pack_ternary2_panel;
  table.pack_int8_panel = pack_int8_panel;
  table.sum_int8 = sum_int8;
  table.multiply_panel = multiply_panel;
}

}  // namespace rpt::kernels::avx512
