// SPDX-License-Identifier: MIT
#include <cstdint>

#include "rpt/kernels/reference/reference.h"

namespace rpt::kernels::reference {
namespace {

/// Where term k of column c stands in a panel.
std::int64_t place(std::int64_t k, std::int64_t c) {
  return (k / 4 * kInt8PanelColumns + c) * 4 + k % 4;
}

void pack_int8_panel(const Int8PanelSource& a) noexcept {
  for (std::int64_t c = 0; c < kInt8PanelColumns; ++c) {
    std::int32_t sum = 0;
    for (std::int64_t k = 0; k < (a.terms + 3) / 4 * 4; ++k) {
      const std::int32_t x = k < a.terms && c < a.columns ? a.x[k * a.stride + c] : 0;
      a.out[place(k, c)] = static_cast<std::uint8_t>(x + a.bias);
      sum += x;
    }
    if (a.sums != nullptr) a.sums[c] = sum;
  }
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

void multiply_int8_panel(const Int8PanelProduct& a) noexcept {
  for (std::int64_t i = 0; i < a.rows; ++i) {
    for (std::int64_t c = 0; c < a.columns; ++c) {
      std::int32_t sum = 0;
      for (std::int64_t k = 0; k < a.terms; ++k) {
        sum += a.a[i * a.row_stride + k / 4 * a.step_stride + k % 4] * (a.panel[place(k, c)] - a.bias);
      }
      float& y = a.y[i * a.y_stride + c];
      const float value = static_cast<float>(sum) * a.factors[i];
      y = a.accumulate ? y + value : value;
    }
  }
}

std::int32_t sum_int8(const std::int8_t* x, std::int64_t n) noexcept {
  std::int32_t sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += x[i];
  return sum;
}

}  // namespace

void fill_int8(KernelTable& table) noexcept {
  table.pack_int8_panel = pack_int8_panel;
  table.pack_ternary2_panel = pack_ternary2_panel;
  table.multiply_int8_panel = multiply_int8_panel;
  table.sum_int8 = sum_int8;
}

}  // namespace rpt::kernels::reference
