// SPDX-License-Identifier: MIT
#pragma once
#include <immintrin.h>

#include <cstdint>

#include "rpt/kernels/lanes/part.h"
#include "rpt/kernels/lanes/x86.h"

namespace rpt::kernels::avx512 {
namespace {

using lanes::All;
using lanes::First;

/// 16 lanes as one 512-bit register.
struct Vector : lanes::X86 {
  static constexpr int kElements = 1;  ///< numbers that a lane of a small product takes at a time
  static constexpr int kGemmRows = 4;  ///< rows × tokens of the float products: 24 sums, 4 weights, 1 activation
  static constexpr int kGemmTokens = 6;
  static constexpr int kValueGroups = 8;  ///< groups of 16 values that attention sums at once, half with more queries
  static constexpr int kAttentionQueries = 4;  ///< queries that attention takes at once: 16 sums, 4 keys, 1 query
  static constexpr int kProductRows =
      4;  ///< rows × groups of 16 columns of small products: 16 sums, 4 values, 1 factor
  static constexpr int kProductGroups = 4;

  using Float = __m512;
  using Int = __m512i;
  using Mask = __mmask16;
  struct Double {
    __m512d low, high;  ///< lanes 0 … 7 and 8 … 15
  };

  static Mask mask(First part) { return static_cast<Mask>((1U << part.count) - 1U); }

  static Float zero() { return _mm512_setzero_ps(); }
  static Int zero_int() { return _mm512_setzero_si512(); }
  static Double zero_double() { return {_mm512_setzero_pd(), _mm512_setzero_pd()}; }
  static Float broadcast(float x) { return _mm512_set1_ps(x); }
  static float first_lane(Float v) { return _mm512_cvtss_f32(v); }

  static Float load(const float* p, All) { return _mm512_loadu_ps(p); }
  static Float load(const float* p, First part) { return _mm512_maskz_loadu_ps(mask(part), p); }
  static Float load_int32(const std::int32_t* p, All) { return _mm512_cvtepi32_ps(_mm512_loadu_si512(p)); }
  static Float load_int32(const std::int32_t* p, First part) {
    return _mm512_cvtepi32_ps(_mm512_maskz_loadu_epi32(mask(part), p));
  }
  /// 16 int8 as floats.
  static Float from_int8(__m128i v) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(v)); }
  template <typename Part>
  static Float load_f16(const std::uint16_t* p, Part part) {
    return _mm512_cvtph_ps(load_16_bits(p, part));
  }
  template <typename Part>
  static Float load_bf16(const std::uint16_t* p, Part part) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(load_16_bits(p, part)), 16));
  }
  static Float round_to_f16(Float v) { return _mm512_cvtph_ps(_mm512_cvtps_ph(v, kNearest)); }

  static void store(float* p, Float v, All) { _mm512_storeu_ps(p, v); }
  static void store(float* p, Float v, First part) { _mm512_mask_storeu_ps(p, mask(part), v); }
  static void store_f16(std::uint16_t* p, Float v, All) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(v, kNearest));
  }
  static void store_f16(std::uint16_t* p, Float v, First part) {
    _mm256_mask_storeu_epi16(p, mask(part), _mm512_cvtps_ph(v, kNearest));
  }
  /// Stores as int8, values beyond saturate.
  static void store_int8(std::int8_t* p, Int v, All) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtsepi32_epi8(v));
  }
  static void store_int8(std::int8_t* p, Int v, First part) {
    _mm_mask_storeu_epi8(p, mask(part), _mm512_cvtsepi32_epi8(v));
  }

  static Float add(Float a, Float b) { return _mm512_add_ps(a, b); }
  static Float sub(Float a, Float b) { return _mm512_sub_ps(a, b); }
  static Float mul(Float a, Float b) { return _mm512_mul_ps(a, b); }
  static Float div(Float a, Float b) { return _mm512_div_ps(a, b); }
  static Float fma(Float a, Float b, Float c) { return _mm512_fmadd_ps(a, b, c); }
  /// Leaves c as it is in absent lanes (adding a zero product would turn −0 into +0).
  static Float fma(Float a, Float b, Float c, All) { return _mm512_fmadd_ps(a, b, c); }
  static Float fma(Float a, Float b, Float c, First part) { return _mm512_mask3_fmadd_ps(a, b, c, mask(part)); }
  static Float negate(Float v) { return _mm512_xor_ps(v, _mm512_set1_ps(-0.0F)); }
  /// b where either is a NaN.
  static Float min(Float a, Float b) { return _mm512_min_ps(a, b); }
  static Float max(Float a, Float b) { return _mm512_max_ps(a, b); }
  static Mask less(Float a, Float b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
  static Float select(Mask m, Float yes, Float no) { return _mm512_mask_blend_ps(m, no, yes); }
  /// v in the lanes of the part, `other` in absent ones.
  static Float keep(Float v, Float, All) { return v; }
  static Float keep(Float v, Float other, First part) { return select(mask(part), v, other); }
  static Float round(Float v) { return _mm512_roundscale_ps(v, kNearest); }
  /// p · 2^n for whole n.
  static Float scale_by_power_of_two(Float p, Float n) { return _mm512_scalef_ps(p, n); }

  static Int broadcast_int(std::uint32_t x) { return _mm512_set1_epi32(static_cast<int>(x)); }
  /// 0, 1, … 15.
  static Int lane_numbers() { return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15); }
  static Int add(Int a, Int b) { return _mm512_add_epi32(a, b); }
  static Int sub(Int a, Int b) { return _mm512_sub_epi32(a, b); }
  /// Modulo 2^32.
  static Int mul(Int a, Int b) { return _mm512_mullo_epi32(a, b); }
  static Int exclusive_or(Int a, Int b) { return _mm512_xor_si512(a, b); }
  static Int bit_and(Int a, Int b) { return _mm512_and_si512(a, b); }
  template <int kBits>
  static Int shift_right(Int v) {
    return _mm512_srli_epi32(v, kBits);
  }
  static Float to_float(Int v) { return _mm512_cvtepi32_ps(v); }
  static Int max(Int a, Int b) { return _mm512_max_epi32(a, b); }
  /// Rounds half to even.
  static Int to_int(Float v) { return _mm512_cvtps_epi32(v); }
  static Int round_down(Float v) { return _mm512_cvt_roundps_epi32(v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
  static Int magnitude_bits(Float v) { return _mm512_and_si512(_mm512_castps_si512(v), _mm512_set1_epi32(0x7fffffff)); }
  /// +1 where `plus`, −1 where `minus`, else 0.
  static Int plus_minus_one(Mask plus, Mask minus) {
    return _mm512_mask_set1_epi32(_mm512_maskz_set1_epi32(plus, 1), minus, -1);
  }
  static Double add_abs(Double sum, Float v) {
    const __m512 a = _mm512_castsi512_ps(magnitude_bits(v));
    return {_mm512_add_pd(sum.low, _mm512_cvtps_pd(_mm512_castps512_ps256(a))),
            _mm512_add_pd(sum.high, _mm512_cvtps_pd(_mm512_extractf32x8_ps(a, 1)))};
  }

  static Double add_square(Double sum, Float v) {
    const __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(v));
    const __m512d high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1));
    return {_mm512_fmadd_pd(low, low, sum.low), _mm512_fmadd_pd(high, high, sum.high)};
  }
  static Float square_roots(Float v) { return _mm512_sqrt_ps(v); }

  // Reductions by the tree 8-4-2-1.

  static float sum(Float v) { return sum_of_4_lanes(fold(v)); }
  static std::int32_t sum(Int v) { return sum_of_4_lanes(fold(v)); }
  static double sum(Double v) {
    const __m512d eight = _mm512_add_pd(v.low, v.high);
    return sum_of_4_lanes(_mm256_add_pd(_mm512_castpd512_pd256(eight), _mm512_extractf64x4_pd(eight, 1)));
  }
  /// {Σa, Σb, Σc, Σd}.
  static __m128 sum_of_four(Float a, Float b, Float c, Float d) {
    return sums_of_4_lanes(fold(a), fold(b), fold(c), fold(d));
  }
  static __m128i sum_of_four(Int a, Int b, Int c, Int d) { return sums_of_4_lanes(fold(a), fold(b), fold(c), fold(d)); }
  static float largest(Float v) {
    const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    return largest_of_4_lanes(_mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1)));
  }
  static float largest_as_float(Int v) {
    const __m256i eight = _mm256_max_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
    return float_of_bits(
        largest_of_4_lanes(_mm_max_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1))));
  }

 private:
  static constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

  static __m256i load_16_bits(const std::uint16_t* p, All) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
  static __m256i load_16_bits(const std::uint16_t* p, First part) { return _mm256_maskz_loadu_epi16(mask(part), p); }

  /// The first two levels of the tree: 16 lanes to 4.
  static __m128 fold(Float v) {
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    return _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  }
  static __m128i fold(Int v) {
    const __m256i eight = _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  }
};

}  // namespace
}  // namespace rpt::kernels::avx512
