// SPDX-License-Identifier: MIT
#include "rpt/kernels/avx512/avx512.h"
#include "rpt/kernels/avx512/vector.h"
#include "rpt/kernels/lanes/attention_backward.h"

namespace rpt::kernels::avx512 {
namespace {

/// Lanes of pairs of bf16: vdpbf16ps adds two products to each float32.
struct Pairs : Vector {
  static constexpr int kElements = 2;

  static Float fma(Float a, Float b, Float c) { return _mm512_dpbf16_ps(c, pairs_in(a), pairs_in(b)); }

  /// Neighbouring lanes of v as 8 pairs.
  static void store_pairs(float* to, Float v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), rounded(v)); }
  /// The same lanes of two vectors as 16 pairs.
  static void store_pairs(float* to, Float low, Float high) {
    const __m512i first = _mm512_cvtepu16_epi32(rounded(low));
    const __m512i second = _mm512_cvtepu16_epi32(rounded(high));
    _mm512_storeu_si512(to, _mm512_or_si512(first, _mm512_slli_epi32(second, 16)));
  }

 private:
  static __m512bh pairs_in(Float v) { return reinterpret_cast<__m512bh>(v); }
  static __m256i rounded(Float v) { return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(v)); }
};

}  // namespace

void override_bf16(KernelTable& table) noexcept {
  table.attention_backward_bf16 = lanes::attention_backward<Vector, Pairs>;
  table.multiplies_bf16 = true;
}

}  // namespace rpt::kernels::avx512
