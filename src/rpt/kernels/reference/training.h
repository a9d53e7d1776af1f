// SPDX-License-Identifier: MIT
#pragma once
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "rpt/core/exact_math.h"
#include "rpt/core/float16.h"
#include "rpt/kernels/kernel_table.h"

/// The definition of the training kernels with sums or transcendental functions, as templates on the type of the
/// numbers: tests compare them in double with finite differences.
namespace rpt::kernels::reference {

template <typename R>
void rms_norm_backward(const R* x, const R* gain, const R* dy, std::int64_t n, R eps, R* dx, R* dgain) noexcept {
  R squares = 0;
  R projection = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    squares += x[i] * x[i];
    projection += (gain[i] * dy[i]) * x[i];
  }
  const R r = R{1} / std::sqrt(squares / static_cast<R>(n) + eps);
  const R along = r * r * r / static_cast<R>(n) * projection;
  for (std::int64_t i = 0; i < n; ++i) {
    dgain[i] += dy[i] * (x[i] * r);
    dx[i] += r * (gain[i] * dy[i]) - x[i] * along;
  }
}

template <typename R>
void relu2_norm_backward(const R* gate, const R* up, const R* gain, const R* dy, std::int64_t n, R eps, R* dgate,
                         R* dup, R* dgain) noexcept {
  const auto value = [&](std::int64_t i) { return gate[i] > 0 ? gate[i] * gate[i] * up[i] : R{0}; };
  R squares = 0;
  R projection = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    squares += value(i) * value(i);
    projection += (gain[i] * dy[i]) * value(i);
  }
  const R inverse = R{1} / std::sqrt(squares / static_cast<R>(n) + eps);
  const R along = inverse * inverse * inverse / static_cast<R>(n) * projection;
  for (std::int64_t i = 0; i < n; ++i) {
    const R r = gate[i] > 0 ? gate[i] : R{0};
    const R d = inverse * (gain[i] * dy[i]) - value(i) * along;
    dgain[i] += dy[i] * (value(i) * inverse);
    dgate[i] = (R{2} * r) * (up[i] * d);
    dup[i] = (r * r) * d;
  }
}

template <typename R>
void silu_mul_backward(const R* gate, const R* up, const R* dy, std::int64_t n, R* dgate, R* dup) noexcept {
  for (std::int64_t i = 0; i < n; ++i) {
    const R g = gate[i];
    const R d = dy[i];
    const R sigma = R{1} / (R{1} + core::exact_exp(-g));
    dgate[i] = sigma * (R{1} + g * (R{1} - sigma)) * (up[i] * d);
    dup[i] = g * sigma * d;
  }
}

/// AttentionBackward with any type of numbers.
template <typename R>
struct AttentionBackwardOf {
  const R *query, *dout;
  R* dquery;
  std::int64_t query_stride;
  const R *key, *value;
  R *dkey, *dvalue;
  std::int64_t key_grad_stride;
  std::int64_t heads, positions, head_size;
  R scale;
  R* scratch;
};

template <typename R>
R dot(const R* a, const R* b, std::int64_t n) noexcept {
  R sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

/// One query head; round(x) is what the products of gradients read of a factor x.
template <typename R, typename Round>
void attention_backward_of_head(const AttentionBackwardOf<R>& a, std::int64_t head, const Round& round) noexcept {
  const std::int64_t d = a.head_size;
  R* p = a.scratch;
  R* slope = p + a.positions;
  for (std::int64_t t = 0; t < a.positions; ++t) {
    const std::int64_t place = t * a.query_stride + head * d;
    const R* q = a.query + place;
    const R* dout = a.dout + place;
    R* dq = a.dquery + place;
    R largest = 0;
    for (std::int64_t j = 0; j <= t; ++j) {
      p[j] = dot(q, a.key + j * d, d) * a.scale;
      if (j == 0 || p[j] > largest) largest = p[j];
    }
    R sum = 0;
    for (std::int64_t j = 0; j <= t; ++j) {
      p[j] = core::exact_exp(p[j] - largest);
      sum += p[j];
    }
    R delta = 0;
    for (std::int64_t j = 0; j <= t; ++j) {
      p[j] /= sum;
      slope[j] = 0;
      for (std::int64_t i = 0; i < d; ++i) slope[j] += round(dout[i]) * round(a.value[j * d + i]);
      delta += p[j] * slope[j];
    }
    for (std::int64_t i = 0; i < d; ++i) dq[i] = 0;
    for (std::int64_t j = 0; j <= t; ++j) {
      const R ds = round(p[j] * (slope[j] - delta) * a.scale);
      const R weight = round(p[j]);
      for (std::int64_t i = 0; i < d; ++i) {
        dq[i] += ds * round(a.key[j * d + i]);
        a.dkey[j * a.key_grad_stride + i] += ds * round(q[i]);
        a.dvalue[j * a.key_grad_stride + i] += weight * round(dout[i]);
      }
    }
  }
}

template <typename R>
void attention_backward(const AttentionBackwardOf<R>& a) noexcept {
  for (std::int64_t h = 0; h < a.heads; ++h) attention_backward_of_head(a, h, [](R x) { return x; });
}

template <typename R>
void attention_backward_bf16(const AttentionBackwardOf<R>& a) noexcept {
  const auto round = [](R x) { return static_cast<R>(core::round_to_bf16(static_cast<float>(x))); };
  for (std::int64_t h = 0; h < a.heads; ++h) attention_backward_of_head(a, h, round);
}

}  // namespace rpt::kernels::reference
