// SPDX-License-Identifier: MIT
#pragma once
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "rpt/core/exact_math.h"
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
  std::int64_t positions, head_size;
  R scale;
  R* scratch;
};

template <typename R>
R dot(const R* a, const R* b, std::int64_t n) noexcept {
  R sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

template <typename R>
void attention_backward(const AttentionBackwardOf<R>& a) noexcept {
  const std::int64_t d = a.head_size;
  R* p = a.scratch;
  R* slope = p + a.positions;
  for (std::int64_t t = 0; t < a.positions; ++t) {
    const R* q = a.query + t * a.query_stride;
    const R* dout = a.dout + t * a.query_stride;
    R* dq = a.dquery + t * a.query_stride;
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
      slope[j] = dot(dout, a.value + j * d, d);
      delta += p[j] * slope[j];
    }
    for (std::int64_t i = 0; i < d; ++i) dq[i] = 0;
    for (std::int64_t j = 0; j <= t; ++j) {
      const R ds = p[j] * (slope[j] - delta) * a.scale;
      for (std::int64_t i = 0; i < d; ++i) {
        dq[i] += ds * a.key[j * d + i];
        a.dkey[j * a.key_grad_stride + i] += ds * q[i];
        a.dvalue[j * a.key_grad_stride + i] += p[j] * dout[i];
      }
    }
  }
}

}  // namespace rpt::kernels::reference
