// SPDX-License-Identifier: MIT
#include <cstdint>

#include "rpt/kernels/reference/reference.h"

namespace rpt::kernels::reference {
namespace {

/// Where term k of column c stands in a panel.
std::int64_t place(std::int64_t k, std::int64_t c) {
  return (k / 4 * kTernaryPanelColumns + c) * 4 + k % 4;
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

void multiply_ternary_panel(const TernaryPanelProduct& a) noexcept {
  for (std::int64_t i = 0; i < a.rows; ++i) {
    for (std::int64_t c = 0; c < a.columns; ++c) {
      std::int32_t sum = 0;
      for (std::int64_t k = 0; k < a.terms; ++k) sum += a.q[i * a.q_stride + k] * (a.panel[place(k, c)] - 1);
      a.y[i * a.y_stride + c] = static_cast<float>(sum) * a.factors[i];
    }
  }
}

}  // namespace

void fill_panels(KernelTable& table) noexcept {
  table.pack_ternary2_panel = pack_ternary2_panel;
  table.multiply_ternary_panel = multiply_ternary_panel;
}

}  // namespace rpt::kernels::reference
