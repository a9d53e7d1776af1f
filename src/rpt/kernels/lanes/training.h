// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>

#include "rpt/kernels/kernel_table.h"
#include "rpt/kernels/lanes/attention_backward.h"
#include "rpt/kernels/lanes/exp.h"
#include "rpt/kernels/lanes/part.h"
#include "rpt/kernels/reference/training_rows.h"

namespace rpt::kernels::lanes {
namespace {

template <typename V>
void rms_norm_backward(const float* x, const float* gain, const float* dy, std::int64_t n, float eps, float* dx,
                       float* dgain) noexcept {
  auto squares = V::zero();
  auto projection = V::zero();
  for_each_16(n, [&](std::int64_t i, auto part) {
    const auto v = V::load(x + i, part);
    squares = V::fma(v, v, squares);
    projection = V::fma(V::mul(V::load(gain + i, part), V::load(dy + i, part)), v, projection);
  });
  const auto count = static_cast<float>(n);
  const float r = 1.0F / V::square_root(V::sum(squares) / count + eps);
  const auto factor = V::broadcast(r);
  const auto along = V::broadcast(-(r * r * r / count * V::sum(projection)));
  for_each_16(n, [&](std::int64_t i, auto part) {
    const auto v = V::load(x + i, part);
    const auto d = V::load(dy + i, part);
    V::store(dgain + i, V::fma(d, V::mul(v, factor), V::load(dgain + i, part)), part);
    const auto across = V::fma(factor, V::mul(V::load(gain + i, part), d), V::load(dx + i, part));
    V::store(dx + i, V::fma(v, along, across), part);
  });
}

template <typename V>
void relu2_norm_backward(const float* gate, const float* up, const float* gain, const float* dy, std::int64_t n,
                         float eps, float* dgate, float* dup, float* dgain) noexcept {
  auto squares = V::zero();
  auto projection = V::zero();
  for_each_16(n, [&](std::int64_t i, auto part) {
    const auto r = V::max(V::load(gate + i, part), V::zero());
    const auto v = V::mul(V::mul(r, r), V::load(up + i, part));
    squares = V::fma(v, v, squares);
    projection = V::fma(V::mul(V::load(gain + i, part), V::load(dy + i, part)), v, projection);
  });
  const auto count = static_cast<float>(n);
  const float inverse = 1.0F / V::square_root(V::sum(squares) / count + eps);
  const auto factor = V::broadcast(inverse);
  const auto along = V::broadcast(-(inverse * inverse * inverse / count * V::sum(projection)));
  const auto two = V::broadcast(2.0F);
  for_each_16(n, [&](std::int64_t i, auto part) {
    const auto r = V::max(V::load(gate + i, part), V::zero());
    const auto u = V::load(up + i, part);
    const auto square = V::mul(r, r);
    const auto v = V::mul(square, u);
    const auto d = V::load(dy + i, part);
    V::store(dgain + i, V::fma(d, V::mul(v, factor), V::load(dgain + i, part)), part);
    const auto dv = V::fma(v, along, V::mul(factor, V::mul(V::load(gain + i, part), d)));
    V::store(dgate + i, V::mul(V::mul(two, r), V::mul(u, dv)), part);
    V::store(dup + i, V::mul(square, dv), part);
  });
}

template <typename V>
void silu_mul_backward(const float* gate, const float* up, const float* dy, std::int64_t n, float* dgate,
                       float* dup) noexcept {
  const auto one = V::broadcast(1.0F);
  for_each_16(n, [&](std::int64_t i, auto part) {
    const auto g = V::load(gate + i, part);
    const auto d = V::load(dy + i, part);
    const auto sigma = V::div(one, V::add(one, exp<V>(V::negate(g))));
    const auto slope = V::mul(sigma, V::fma(g, V::sub(one, sigma), one));
    const auto u = V::load(up + i, part);
    V::store(dup + i, V::mul(V::mul(g, sigma), d), part);
    V::store(dgate + i, V::mul(slope, V::mul(u, d)), part);
  });
}

template <typename V>
void softmax_scaled(float* x, std::int64_t n, float log_sum, float weight) noexcept {
  const auto shift = V::broadcast(log_sum);
  const auto factor = V::broadcast(weight);
  for_each_16(n, [&](std::int64_t i, auto part) {
    V::store(x + i, V::mul(factor, exp<V>(V::sub(V::load(x + i, part), shift))), part);
  });
}

template <typename V>
void softmax_to_bf16(float* x, std::int64_t n, float log_sum, float weight, std::uint16_t* y) noexcept {
  softmax_scaled<V>(x, n, log_sum, weight);
  training::scale_to_bf16(x, n, 1.0F, y);
}

template <typename V>
double sum_squares(const float* x, std::int64_t n) noexcept {
  auto sum = V::zero_double();
  for_each_16(n, [&](std::int64_t i, auto part) { sum = V::add_square(sum, V::load(x + i, part)); });
  return V::sum(sum);
}

template <typename V>
void adamw(const AdamwStep& a) noexcept {
  const auto clip = V::broadcast(a.clip);
  const auto beta1 = V::broadcast(a.beta1);
  const auto beta2 = V::broadcast(a.beta2);
  const auto rest1 = V::broadcast(1.0F - a.beta1);
  const auto rest2 = V::broadcast(1.0F - a.beta2);
  const auto keep = V::broadcast(a.keep);
  const auto rate = V::broadcast(a.rate);
  const auto root = V::broadcast(a.root);
  const auto eps = V::broadcast(a.eps);
  for_each_16(a.n, [&](std::int64_t i, auto part) {
    const auto g = V::mul(V::load(a.gradient + i, part), clip);
    const auto m = V::add(V::mul(beta1, V::load(a.m + i, part)), V::mul(rest1, g));
    const auto v = V::add(V::mul(beta2, V::load(a.v + i, part)), V::mul(rest2, V::mul(g, g)));
    V::store(a.m + i, m, part);
    V::store(a.v + i, v, part);
    const auto divisor = V::add(V::mul(V::square_roots(v), root), eps);
    const auto move = V::div(V::mul(rate, m), divisor);
    V::store(a.weight + i, V::sub(V::mul(V::load(a.weight + i, part), keep), move), part);
  });
}

/// training::round_by for 16 numbers below 2^31, of which store_int8 bounds what is above 127. Of max the second
/// argument counts where the first is a NaN.
template <typename V>
typename V::Int round_by(typename V::Float v, typename V::Float inverse, typename V::Float u) {
  return V::round_down(V::max(V::fma(v, inverse, u), V::broadcast(-127.0F)));
}

/// training::gradient_codes, which compilers turn into several times the instructions.
template <typename V>
void gradient_codes(const GradientCodes& a) noexcept {
  constexpr std::uint32_t kStep = 0x9e3779b9U;
  auto counter = V::add(V::broadcast_int(a.key), V::mul(V::lane_numbers(), V::broadcast_int(kStep)));
  const auto next = V::broadcast_int(16 * kStep);
  const auto row_inverse = V::broadcast(a.row_inverse);
  const auto factor = V::broadcast(a.factor);
  const auto round = [&](std::int64_t from, typename V::Int bits, auto part) {
    const auto u = V::mul(V::to_float(bits), V::broadcast(0x1p-16F));
    const auto x = V::load(a.x + from, part);
    V::store_int8(a.by_row + from, round_by<V>(x, row_inverse, u), part);
    const auto inverse = V::load(a.column_inverse + from, part);
    V::store_int8(a.by_column + from, round_by<V>(V::mul(x, factor), inverse, u), part);
  };
  const auto low = [](typename V::Int bits) { return V::bit_and(bits, V::broadcast_int(0xffffU)); };
  const auto high = [](typename V::Int bits) { return V::template shift_right<16>(bits); };
  const auto draw = [&] {
    auto h = V::exclusive_or(counter, V::template shift_right<16>(counter));
    h = V::mul(h, V::broadcast_int(0x85ebca6bU));
    h = V::exclusive_or(h, V::template shift_right<13>(h));
    h = V::mul(h, V::broadcast_int(0xc2b2ae35U));
    counter = V::add(counter, next);
    return V::exclusive_or(h, V::template shift_right<16>(h));
  };
  std::int64_t i = 0;
  for (; i + 32 <= a.n; i += 32) {
    const auto bits = draw();
    round(i, low(bits), All{});
    round(i + 16, high(bits), All{});
  }
  if (i == a.n) return;
  const auto bits = draw();
  const std::int64_t left = a.n - i;
  if (left < 16) return round(i, low(bits), First{static_cast<int>(left)});
  round(i, low(bits), All{});
  if (left > 16) round(i + 16, high(bits), First{static_cast<int>(left - 16)});
}

/// Replaces the entries of training.
template <typename V>
void override_training(KernelTable& table) noexcept {
  table.rms_norm_backward = rms_norm_backward<V>;
  table.silu_mul_backward = silu_mul_backward<V>;
  table.relu2_norm_backward = relu2_norm_backward<V>;
  table.rope_halves_backward = training::rope_halves_backward<float>;
  table.attention_backward = attention_backward<V, V>;
  table.softmax_scaled = softmax_scaled<V>;
  table.softmax_to_bf16 = softmax_to_bf16<V>;
  table.scale_to_bf16 = training::scale_to_bf16;
  table.gradient_to_bf16 = training::gradient_to_bf16;
  table.int8_to_bf16 = training::int8_to_bf16;
  table.ternary2_to_int8 = training::ternary2_to_int8;
  table.ternary2_to_bf16 = training::ternary2_to_bf16;
  table.gradient_maxima = training::gradient_maxima;
  table.gradient_codes = gradient_codes<V>;
  table.add_scaled_int32 = training::add_scaled_int32;
  table.sum_squares = sum_squares<V>;
  table.adamw = adamw<V>;
}

}  // namespace
}  // namespace rpt::kernels::lanes
