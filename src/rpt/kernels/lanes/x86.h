// SPDX-License-Identifier: MIT
#pragma once
#include <immintrin.h>

#include <cstdint>

/// The 128-bit endings of reductions and single-number operations that all x86 sets share.
namespace rpt::kernels::lanes {
namespace {

struct X86 {
  static float square_root(float x) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }
  static float fma_scalar(float a, float b, float c) {
    return _mm_cvtss_f32(_mm_fmadd_ss(_mm_set_ss(a), _mm_set_ss(b), _mm_set_ss(c)));
  }

  /// Lanes i + i+2, then 0 + 1: the end of the tree.
  static float sum_of_4_lanes(__m128 v) {
    const __m128 pairs = _mm_add_ps(v, _mm_movehl_ps(v, v));
    return _mm_cvtss_f32(_mm_add_ss(pairs, _mm_movehdup_ps(pairs)));
  }
  static double sum_of_4_lanes(__m256d v) {
    const __m128d pairs = _mm_add_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
    return _mm_cvtsd_f64(_mm_add_sd(pairs, _mm_unpackhi_pd(pairs, pairs)));
  }
  static std::int32_t sum_of_4_lanes(__m128i v) {
    const __m128i pairs = _mm_add_epi32(v, _mm_unpackhi_epi64(v, v));
    return _mm_cvtsi128_si32(_mm_add_epi32(pairs, _mm_shuffle_epi32(pairs, 1)));
  }

  /// The same end of the tree for four reductions at once: {Σa, Σb, Σc, Σd}.
  static __m128 sums_of_4_lanes(__m128 a, __m128 b, __m128 c, __m128 d) {
    const __m128 ab = _mm_add_ps(_mm_movelh_ps(a, b), _mm_movehl_ps(b, a));  // a0+a2 a1+a3 b0+b2 b1+b3
    const __m128 cd = _mm_add_ps(_mm_movelh_ps(c, d), _mm_movehl_ps(d, c));
    return _mm_add_ps(_mm_shuffle_ps(ab, cd, _MM_SHUFFLE(2, 0, 2, 0)), _mm_shuffle_ps(ab, cd, _MM_SHUFFLE(3, 1, 3, 1)));
  }
  static __m128i sums_of_4_lanes(__m128i a, __m128i b, __m128i c, __m128i d) {
    return _mm_hadd_epi32(_mm_hadd_epi32(a, b), _mm_hadd_epi32(c, d));
  }

  static float largest_of_4_lanes(__m128 v) {
    const __m128 pairs = _mm_max_ps(v, _mm_movehl_ps(v, v));
    return _mm_cvtss_f32(_mm_max_ss(pairs, _mm_movehdup_ps(pairs)));
  }
  static std::int32_t largest_of_4_lanes(__m128i v) {
    const __m128i pairs = _mm_max_epi32(v, _mm_unpackhi_epi64(v, v));
    return _mm_cvtsi128_si32(_mm_max_epi32(pairs, _mm_shuffle_epi32(pairs, 1)));
  }

  static float float_of_bits(std::int32_t bits) { return _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(bits))); }
};

}  // namespace
}  // namespace rpt::kernels::lanes
