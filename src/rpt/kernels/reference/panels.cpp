// SPDX-License-Identifier: MIT
#include <cstdint>

#include "rpt/kernels/reference/reference.h"

namespace rpt::kernels::reference {
namespace {

/// Where term k of column c stands in a panel.
std::int64_t place(std::int64_t k, std::int64_t c) {
  return (k / 4 * kPanelColumns + c) * 4 + k % 4;
}

void pack_ternary2_panel(const std::uint8_t* weights, std::int64_t rows, std::int64_t columns,
                         std::uint8_t* out) noexcept {
  const std::int64_t blocks = (columns + 127) / 128;
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t k = 0; k < 128 * blocks; ++k) {
      const std::uint8_t byte = weights[(r * blocks + k / 128) * 32 + k % 32];
      out[place(k, r)] = static_cast<std::uint8_t>((byte >> (6 - k % 128 / 32 * 2)) & 3);
    }
  }
}

void pack_int8_panel(const Int8Panel& a) noexcept {
  for (std::int64_t c = 0; c < a.columns; ++c) {
    a.sums[c] = 0;
    for (std::int64_t k = 0; k < (a.terms + 3) / 4 * 4; ++k) {
      const std::int32_t value = k < a.terms ? a.from[k * a.stride + c] : 0;
      a.sums[c] += value;
      a.out[place(k, c)] = static_cast<std::uint8_t>(value + (a.plus_128 ? 128 : 0));
    }
  }
}

std::int32_t sum_int8(const std::int8_t* q, std::int64_t n) noexcept {
  std::int32_t sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += q[i];
  return sum;
}

void multiply_panel(const PanelProduct& a) noexcept {
  for (std::int64_t i = 0; i < a.rows; ++i) {
    for (std::int64_t c = 0; c < a.columns; ++c) {
      std::int32_t sum = 0;
      for (std::int64_t k = 0; k < a.terms; ++k) {
        sum += a.q[i * a.q_stride + k / 4 * a.q_step + k % 4] * (a.panel[place(k, c)] - a.offset);
      }
      const float value = static_cast<float>(sum) * a.factors[i];
      float& y = a.y[i * a.y_stride + c];
      y = a.accumulate ? y + value : value;
    }
  }
}

}  // namespace

void fill_panels(KernelTable& table) noexcept {
  table.pack_ternary2_panel = pack_ternary2_panel;
  table.pack_int8_panel = pack_int8_panel;
  table.sum_int8 = sum_int8;
  table.multiply_panel = multiply_panel;
}

}  // namespace rpt::kernels::reference
