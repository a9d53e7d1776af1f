// SPDX-License-Identifier: MIT
#include "rpt/kernels/reference/training.h"

#include "rpt/kernels/reference/lanes.h"
#include "rpt/kernels/reference/reference.h"
#include "rpt/kernels/reference/training_rows.h"

namespace rpt::kernels::reference {
namespace {

AttentionBackwardOf<float> in_float(const AttentionBackward& a) noexcept {
  return {a.query,           a.dout,  a.dquery,    a.query_stride, a.key,   a.value,  a.dkey, a.dvalue,
          a.key_grad_stride, a.heads, a.positions, a.head_size,    a.scale, a.scratch};
}

void attention_backward_f32(const AttentionBackward& a) noexcept {
  attention_backward(in_float(a));
}

void attention_backward_bf16_f32(const AttentionBackward& a) noexcept {
  attention_backward_bf16(in_float(a));
}

void softmax_scaled(float* x, std::int64_t n, float log_sum, float weight) noexcept {
  for (std::int64_t i = 0; i < n; ++i) x[i] = weight * core::exact_exp(x[i] - log_sum);
}

void softmax_to_bf16(float* x, std::int64_t n, float log_sum, float weight, std::uint16_t* y) noexcept {
  softmax_scaled(x, n, log_sum, weight);
  training::scale_to_bf16(x, n, 1.0F, y);
}

double sum_squares(const float* x, std::int64_t n) noexcept {
  Lanes<double> sum;
  for (std::int64_t i = 0; i < n; ++i) sum.of(i) += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return sum.sum();
}

void adamw(const AdamwStep& a) noexcept {
  for (std::int64_t i = 0; i < a.n; ++i) {
    const float g = a.gradient[i] * a.clip;
    a.m[i] = a.beta1 * a.m[i] + (1.0F - a.beta1) * g;
    a.v[i] = a.beta2 * a.v[i] + (1.0F - a.beta2) * (g * g);
    a.weight[i] = a.weight[i] * a.keep - a.rate * a.m[i] / (std::sqrt(a.v[i]) * a.root + a.eps);
  }
}

}  // namespace

void fill_training(KernelTable& table) noexcept {
  table.rms_norm_backward = rms_norm_backward<float>;
  table.silu_mul_backward = silu_mul_backward<float>;
  table.relu2_norm_backward = relu2_norm_backward<float>;
  table.rope_halves_backward = training::rope_halves_backward<float>;
  table.attention_backward = attention_backward_f32;
  table.attention_backward_bf16 = attention_backward_bf16_f32;
  table.softmax_scaled = softmax_scaled;
  table.softmax_to_bf16 = softmax_to_bf16;
  table.scale_to_bf16 = training::scale_to_bf16;
  table.gradient_to_bf16 = training::gradient_to_bf16;
  table.int8_to_bf16 = training::int8_to_bf16;
  table.ternary2_to_int8 = training::ternary2_to_int8;
  table.ternary2_to_bf16 = training::ternary2_to_bf16;
  table.gradient_maxima = training::gradient_maxima;
  table.gradient_codes = training::gradient_codes;
  table.add_scaled_int32 = training::add_scaled_int32;
  table.sum_squares = sum_squares;
  table.adamw = adamw;
}

}  // namespace rpt::kernels::reference
