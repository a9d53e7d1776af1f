// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "rpt/core/exact_math.h"
#include "rpt/core/float16.h"
#include "rpt/kernels/reference/lanes.h"
#include "rpt/kernels/reference/reference.h"

namespace rpt::kernels::reference {
namespace {

constexpr std::int64_t kKeyBlock = 64;

float score(const AttentionHead& a, const AttentionQuery& q, std::int64_t j) {
  Lanes<float> dot;
  for (std::int64_t i = 0; i < a.head_size; ++i) {
    dot.of(i) = std::fma(q.query[i], core::f16_to_float(a.key[j * a.stride + i]), dot.of(i));
  }
  return dot.sum() * a.scale;
}

void attend(const AttentionHead& a, const AttentionQuery& q) {
  float m = -std::numeric_limits<float>::infinity();
  float l = 0.0F;
  for (std::int64_t i = 0; i < a.head_size; ++i) q.out[i] = 0.0F;  // acc of the definition

  for (std::int64_t begin = 0; begin < q.keys; begin += kKeyBlock) {
    const std::int64_t count = std::min(kKeyBlock, q.keys - begin);
    float p[kKeyBlock];
    float largest = m;
    for (std::int64_t j = 0; j < count; ++j) {
      p[j] = score(a, q, begin + j);
      largest = std::max(largest, p[j]);
    }
    const float alpha = core::exact_exp(m - largest);
    Lanes<float> sum;
    for (std::int64_t j = 0; j < count; ++j) {
      p[j] = core::exact_exp(p[j] - largest);
      sum.of(j) = sum.of(j) + p[j];
    }
    m = largest;
    l = std::fma(l, alpha, sum.sum());
    for (std::int64_t i = 0; i < a.head_size; ++i) {
      q.out[i] = q.out[i] * alpha;
      for (std::int64_t j = 0; j < count; ++j) {
        q.out[i] = std::fma(p[j], core::f16_to_float(a.value[(begin + j) * a.stride + i]), q.out[i]);
      }
    }
  }
  for (std::int64_t i = 0; i < a.head_size; ++i) q.out[i] = q.out[i] / l;
}

void attention_head(const AttentionHead& a) noexcept {
  for (std::int64_t i = 0; i < a.count; ++i) attend(a, a.queries[i]);
}

BlockSum sum_exp(const float* x, std::int64_t n) noexcept {
  float largest = x[0];
  for (std::int64_t i = 1; i < n; ++i) largest = std::max(largest, x[i]);
  largest = largest + 0.0F;  // −0 becomes +0
  Lanes<float> sum;
  for (std::int64_t i = 0; i < n; ++i) sum.of(i) = sum.of(i) + core::exact_exp(x[i] - largest);
  return {largest, sum.sum()};
}

}  // namespace

void fill_attention(KernelTable& table) noexcept {
  table.attention_head = attention_head;
  table.sum_exp = sum_exp;
}

}  // namespace rpt::kernels::reference
