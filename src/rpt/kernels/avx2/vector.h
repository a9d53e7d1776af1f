// SPDX-License-Identifier: MIT
#pragma once
#include <immintrin.h>

#include <cstdint>

#include "rpt/kernels/lanes/part.h"
#include "rpt/kernels/lanes/x86.h"

namespace rpt::kernels::avx2 {
namespace {

using lanes::All;
using lanes::First;

/// 16 lanes as two 256-bit registers: lanes 0 … 7 and 8 … 15.
struct Vector : lanes::X86 {
  static constexpr int kElements = 1;  ///< numbers that a lane of a small product takes at a time
  static constexpr int kGemmRows = 2;  ///< rows × tokens of the float products: 12 registers of sums
  static constexpr int kGemmTokens = 3;
  static constexpr int kValueGroups = 4;       ///< groups of 16 values that attention sums at once
  static constexpr int kAttentionQueries = 1;  ///< queries that attention takes at once: 4 sums are 8 registers
  static constexpr int kProductRows = 2;       ///< rows × groups of 16 columns of small products: 8 registers of sums
  static constexpr int kProductGroups = 2;

  struct Float {
    __m256 low, high;
  };
  struct Int {
    __m256i low, high;
  };
  using Mask = Float;  ///< all bits of a lane set or none
  struct Double {
    __m256d quarter[4];  ///< lanes 0 … 3, 4 … 7, 8 … 11, 12 … 15
  };

  static Float zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
  static Int zero_int() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
  static Double zero_double() {
    const __m256d z = _mm256_setzero_pd();
    return {{z, z, z, z}};
  }
  static Float broadcast(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
  static float first_lane(Float v) { return _mm256_cvtss_f32(v.low); }

  static Float load(const float* p, All) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  static Float load(const float* p, First part) {
    const Int m = int_mask(part);
    return {_mm256_maskload_ps(p, m.low), _mm256_maskload_ps(p + 8, m.high)};
  }
  static Float load_int32(const std::int32_t* p, All) {
    return {_mm256_cvtepi32_ps(load_256(p)), _mm256_cvtepi32_ps(load_256(p + 8))};
  }
  static Float load_int32(const std::int32_t* p, First part) {
    const Int m = int_mask(part);
    return {_mm256_cvtepi32_ps(_mm256_maskload_epi32(p, m.low)),
            _mm256_cvtepi32_ps(_mm256_maskload_epi32(p + 8, m.high))};
  }
  /// 16 int8 as floats.
  static Float from_int8(__m128i v) {
    return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(v)),
            _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(v, v)))};
  }
  static Float load_f16(const std::uint16_t* p, All) {
    return {_mm256_cvtph_ps(load_128(p)), _mm256_cvtph_ps(load_128(p + 8))};
  }
  static Float load_f16(const std::uint16_t* p, First part) { return load_f16(Copy(p, part).values, All{}); }
  static Float load_bf16(const std::uint16_t* p, All) { return {widen_bf16(load_128(p)), widen_bf16(load_128(p + 8))}; }
  static Float load_bf16(const std::uint16_t* p, First part) { return load_bf16(Copy(p, part).values, All{}); }
  static Float round_to_f16(Float v) {
    return {_mm256_cvtph_ps(_mm256_cvtps_ph(v.low, kNearest)), _mm256_cvtph_ps(_mm256_cvtps_ph(v.high, kNearest))};
  }

  static void store(float* p, Float v, All) {
    _mm256_storeu_ps(p, v.low);
    _mm256_storeu_ps(p + 8, v.high);
  }
  static void store(float* p, Float v, First part) {
    const Int m = int_mask(part);
    _mm256_maskstore_ps(p, m.low, v.low);
    _mm256_maskstore_ps(p + 8, m.high, v.high);
  }
  static void store_f16(std::uint16_t* p, Float v, All) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(v.low, kNearest));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 8), _mm256_cvtps_ph(v.high, kNearest));
  }
  static void store_f16(std::uint16_t* p, Float v, First part) {
    std::uint16_t all[16];
    store_f16(all, v, All{});
    for (int i = 0; i < part.count; ++i) p[i] = all[i];
  }
  /// Stores as int8, values beyond saturate.
  static void store_int8(std::int8_t* p, Int v, All) {
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(v.low, v.high), _MM_SHUFFLE(3, 1, 2, 0));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                     _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
  }
  static void store_int8(std::int8_t* p, Int v, First part) {
    std::int8_t all[16];
    store_int8(all, v, All{});
    for (int i = 0; i < part.count; ++i) p[i] = all[i];
  }

  static Float add(Float a, Float b) { return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)}; }
  static Float sub(Float a, Float b) { return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)}; }
  static Float mul(Float a, Float b) { return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)}; }
  static Float div(Float a, Float b) { return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)}; }
  static Float fma(Float a, Float b, Float c) {
    return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
  }
  /// Leaves c as it is in absent lanes (adding a zero product would turn −0 into +0).
  static Float fma(Float a, Float b, Float c, All) { return fma(a, b, c); }
  static Float fma(Float a, Float b, Float c, First part) { return keep(fma(a, b, c), c, part); }
  static Float negate(Float v) {
    const __m256 sign = _mm256_set1_ps(-0.0F);
    return {_mm256_xor_ps(v.low, sign), _mm256_xor_ps(v.high, sign)};
  }
  /// b where either is a NaN.
  static Float min(Float a, Float b) { return {_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)}; }
  static Float max(Float a, Float b) { return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)}; }
  static Mask less(Float a, Float b) {
    return {_mm256_cmp_ps(a.low, b.low, _CMP_LT_OQ), _mm256_cmp_ps(a.high, b.high, _CMP_LT_OQ)};
  }
  static Float select(Mask m, Float yes, Float no) {
    return {_mm256_blendv_ps(no.low, yes.low, m.low), _mm256_blendv_ps(no.high, yes.high, m.high)};
  }
  /// v in the lanes of the part, `other` in absent ones.
  static Float keep(Float v, Float, All) { return v; }
  static Float keep(Float v, Float other, First part) {
    const Int m = int_mask(part);
    return select({_mm256_castsi256_ps(m.low), _mm256_castsi256_ps(m.high)}, v, other);
  }
  static Float round(Float v) { return {_mm256_round_ps(v.low, kNearest), _mm256_round_ps(v.high, kNearest)}; }
  /// p · 2^n for whole n in [−252, 254].
  static Float scale_by_power_of_two(Float p, Float n) { return {scale(p.low, n.low), scale(p.high, n.high)}; }

  static Int broadcast_int(std::uint32_t x) {
    const __m256i v = _mm256_set1_epi32(static_cast<int>(x));
    return {v, v};
  }
  /// 0, 1, … 15.
  static Int lane_numbers() {
    return {_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15)};
  }
  static Int add(Int a, Int b) { return {_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)}; }
  static Int sub(Int a, Int b) { return {_mm256_sub_epi32(a.low, b.low), _mm256_sub_epi32(a.high, b.high)}; }
  /// Modulo 2^32.
  static Int mul(Int a, Int b) { return {_mm256_mullo_epi32(a.low, b.low), _mm256_mullo_epi32(a.high, b.high)}; }
  static Int exclusive_or(Int a, Int b) { return {_mm256_xor_si256(a.low, b.low), _mm256_xor_si256(a.high, b.high)}; }
  static Int bit_and(Int a, Int b) { return {_mm256_and_si256(a.low, b.low), _mm256_and_si256(a.high, b.high)}; }
  template <int kBits>
  static Int shift_right(Int v) {
    return {_mm256_srli_epi32(v.low, kBits), _mm256_srli_epi32(v.high, kBits)};
  }
  static Float to_float(Int v) { return {_mm256_cvtepi32_ps(v.low), _mm256_cvtepi32_ps(v.high)}; }
  static Int max(Int a, Int b) { return {_mm256_max_epi32(a.low, b.low), _mm256_max_epi32(a.high, b.high)}; }
  /// Rounds half to even.
  static Int to_int(Float v) { return {_mm256_cvtps_epi32(v.low), _mm256_cvtps_epi32(v.high)}; }
  static Int round_down(Float v) {
    return {_mm256_cvttps_epi32(_mm256_floor_ps(v.low)), _mm256_cvttps_epi32(_mm256_floor_ps(v.high))};
  }
  static Int magnitude_bits(Float v) {
    const __m256i bits = _mm256_set1_epi32(0x7fffffff);
    return {_mm256_and_si256(_mm256_castps_si256(v.low), bits), _mm256_and_si256(_mm256_castps_si256(v.high), bits)};
  }
  /// +1 where `plus`, −1 where `minus`, else 0.
  static Int plus_minus_one(Mask plus, Mask minus) {
    return {_mm256_sub_epi32(_mm256_castps_si256(minus.low), _mm256_castps_si256(plus.low)),
            _mm256_sub_epi32(_mm256_castps_si256(minus.high), _mm256_castps_si256(plus.high))};
  }
  static Double add_abs(Double sum, Float v) {
    const Int bits = magnitude_bits(v);
    const __m256 low = _mm256_castsi256_ps(bits.low);
    const __m256 high = _mm256_castsi256_ps(bits.high);
    return {{_mm256_add_pd(sum.quarter[0], _mm256_cvtps_pd(_mm256_castps256_ps128(low))),
             _mm256_add_pd(sum.quarter[1], _mm256_cvtps_pd(_mm256_extractf128_ps(low, 1))),
             _mm256_add_pd(sum.quarter[2], _mm256_cvtps_pd(_mm256_castps256_ps128(high))),
             _mm256_add_pd(sum.quarter[3], _mm256_cvtps_pd(_mm256_extractf128_ps(high, 1)))}};
  }

  static Double add_square(Double sum, Float v) {
    const __m256d wide[4] = {
        _mm256_cvtps_pd(_mm256_castps256_ps128(v.low)), _mm256_cvtps_pd(_mm256_extractf128_ps(v.low, 1)),
        _mm256_cvtps_pd(_mm256_castps256_ps128(v.high)), _mm256_cvtps_pd(_mm256_extractf128_ps(v.high, 1))};
    for (int i = 0; i < 4; ++i) sum.quarter[i] = _mm256_fmadd_pd(wide[i], wide[i], sum.quarter[i]);
    return sum;
  }
  static Float square_roots(Float v) { return {_mm256_sqrt_ps(v.low), _mm256_sqrt_ps(v.high)}; }

  // Reductions by the tree 8-4-2-1.

  static float sum(Float v) { return sum_of_4_lanes(fold(v)); }
  static std::int32_t sum(Int v) { return sum_of_4_lanes(fold(_mm256_add_epi32(v.low, v.high))); }
  static double sum(Double v) {
    return sum_of_4_lanes(
        _mm256_add_pd(_mm256_add_pd(v.quarter[0], v.quarter[2]), _mm256_add_pd(v.quarter[1], v.quarter[3])));
  }
  /// {Σa, Σb, Σc, Σd}.
  static __m128 sum_of_four(Float a, Float b, Float c, Float d) {
    return sums_of_4_lanes(fold(a), fold(b), fold(c), fold(d));
  }
  static __m128i sum_of_four(__m256i a, __m256i b, __m256i c, __m256i d) {
    return sums_of_4_lanes(fold(a), fold(b), fold(c), fold(d));
  }
  static float largest(Float v) {
    const __m256 eight = _mm256_max_ps(v.low, v.high);
    return largest_of_4_lanes(_mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1)));
  }
  static float largest_as_float(Int v) {
    const __m256i eight = _mm256_max_epi32(v.low, v.high);
    return float_of_bits(
        largest_of_4_lanes(_mm_max_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1))));
  }

 private:
  static constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

  /// 16-bit values of a part, zeros behind them: the set has no masked loads of 16 bits.
  struct Copy {
    std::uint16_t values[16] = {};
    Copy(const std::uint16_t* p, First part) {
      for (int i = 0; i < part.count; ++i) values[i] = p[i];
    }
  };

  static Int int_mask(First part) {
    const __m256i count = _mm256_set1_epi32(part.count);
    return {_mm256_cmpgt_epi32(count, _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)),
            _mm256_cmpgt_epi32(count, _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15))};
  }
  static __m256i load_256(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
  static __m128i load_128(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
  static __m256 widen_bf16(__m128i v) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(v), 16)); }

  /// In two steps, because 2^128 is no float; both are exact unless the result leaves the range.
  static __m256 scale(__m256 p, __m256 n) {
    const __m256i whole = _mm256_cvtps_epi32(n);
    const __m256i half = _mm256_srai_epi32(whole, 1);
    return _mm256_mul_ps(_mm256_mul_ps(p, power_of_two(half)), power_of_two(_mm256_sub_epi32(whole, half)));
  }
  static __m256 power_of_two(__m256i n) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
  }

  /// The first two levels of the tree: 16 lanes to 4.
  static __m128 fold(Float v) {
    const __m256 eight = _mm256_add_ps(v.low, v.high);
    return _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  }
  static __m128i fold(__m256i v) { return _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1)); }
};

}  // namespace
}  // namespace rpt::kernels::avx2
