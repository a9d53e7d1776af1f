// SPDX-License-Identifier: MIT
#include "rpt/kernels/avx512/avx512.h"
#include "rpt/kernels/avx512/vector.h"
#include "rpt/kernels/lanes/training.h"
#include "rpt/kernels/reference/training_rows.h"

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

/// Stores 32 numbers at once: half as many stores.
void store_rounded(std::uint16_t* to, __m512 low, __m512 high) {
  _mm512_storeu_si512(to, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low)));
}

void gradient_to_bf16(const float* x, std::int64_t n, float factor, std::uint16_t* plain,
                      std::uint16_t* scaled) noexcept {
  const auto f = Vector::broadcast(factor);
  std::int64_t i = 0;
  for (; i + 32 <= n; i += 32) {
    const auto low = Vector::load(x + i, lanes::All{});
    const auto high = Vector::load(x + i + 16, lanes::All{});
    store_rounded(plain + i, low, high);
    store_rounded(scaled + i, Vector::mul(low, f), Vector::mul(high, f));
  }
  if (i < n) training::gradient_to_bf16(x + i, n - i, factor, plain + i, scaled + i);
}

/// Leaves the row of logits as it is, which is more than the first cache holds.
void softmax_to_bf16(float* x, std::int64_t n, float log_sum, float weight, std::uint16_t* y) noexcept {
  const auto shift = Vector::broadcast(log_sum);
  const auto factor = Vector::broadcast(weight);
  const auto value = [&](const float* p) {
    return Vector::mul(factor, lanes::exp<Vector>(Vector::sub(Vector::load(p, lanes::All{}), shift)));
  };
  std::int64_t i = 0;
  for (; i + 32 <= n; i += 32) store_rounded(y + i, value(x + i), value(x + i + 16));
  if (i < n) lanes::softmax_to_bf16<Vector>(x + i, n - i, log_sum, weight, y + i);
}

}  // namespace

void override_bf16(KernelTable& table) noexcept {
  table.attention_backward_bf16 = lanes::attention_backward<Vector, Pairs>;
  table.multiplies_bf16 = true;
  table.gradient_to_bf16 = gradient_to_bf16;
  table.softmax_to_bf16 = softmax_to_bf16;
}

}  // namespace rpt::kernels::avx512
