// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include <cstdint>
#include <numeric>
#include <vector>

#include "rpt/core/aligned_buffer.h"
#include "tests/unit/kernels/kernel_testing.h"

namespace rpt::kernels::test {
namespace {

class TernaryPanels : public IsaTest {};
RPT_TEST_ON_EVERY_ISA(TernaryPanels);

constexpr std::int64_t kSizes[] = {1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 130};

core::AlignedBuffer<std::uint8_t> panel_of(std::int64_t terms) {
  core::AlignedBuffer<std::uint8_t> panel(static_cast<std::size_t>((terms + 3) / 4 * 4 * kTernaryPanelColumns + 64));
  for (std::uint8_t& b : panel.span()) b = 0xa5;
  return panel;
}

/// Random numbers of all kinds, every third one an end of the range.
std::vector<std::int8_t> codes(Random& random, std::int64_t n) {
  auto row = random.integers<std::int8_t>(n);
  for (std::int8_t& x : row) {
    const std::int64_t kind = random.below(6);
    if (kind == 0) x = -128;
    if (kind == 1) x = 127;
  }
  return row;
}

TEST_P(TernaryPanels, PanelOfCodes) {
  Random random(3);
  for (const std::int64_t columns : {1, 100, 128, 129, 384}) {
    for (const std::int64_t rows : {1, 7, 15, 16, 17, 33, 63, 64}) {
      const std::int64_t blocks = (columns + 127) / 128;
      const auto weights = random.integers<std::uint8_t>(rows * blocks * 32);
      auto expected = panel_of(blocks * 128);
      auto got = panel_of(blocks * 128);
      reference().pack_ternary2_panel(weights.data(), rows, columns, expected.data());
      fast().pack_ternary2_panel(weights.data(), rows, columns, got.data());
      for (std::int64_t i = blocks * 128 * kTernaryPanelColumns; i < blocks * 128 * kTernaryPanelColumns + 64; ++i) {
        ASSERT_EQ(got[static_cast<std::size_t>(i)], 0xa5) << "past the end";
      }
      for (std::int64_t k = 0; k < blocks * 128; ++k) {
        for (std::int64_t r = 0; r < rows; ++r) {
          const auto i = static_cast<std::size_t>(k / 4 * 256 + r * 4 + k % 4);
          ASSERT_EQ(got[i], expected[i]) << columns << ' ' << rows << ' ' << k << ' ' << r;
        }
      }
    }
  }
}

TEST_P(TernaryPanels, Product) {
  Random random(4);
  for (const std::int64_t terms : kSizes) {
    for (const std::int64_t rows : kSizes) {
      if (rows > 17 && rows < 63 && terms != 65) continue;
      for (const std::int64_t columns : {1, 15, 16, 17, 33, 63, 64}) {
        const std::int64_t stride = terms + 3;
        const auto q = codes(random, (rows - 1) * stride + terms);
        std::vector<std::int32_t> sums;
        for (std::int64_t i = 0; i < rows; ++i) {
          const auto row = q.begin() + i * stride;
          sums.push_back(std::accumulate(row, row + terms, 0));
        }
        auto panel = panel_of(terms);
        for (std::uint8_t& b : panel.span()) b = static_cast<std::uint8_t>(random.below(3));
        const auto factors = random.row(rows, -2, 2);
        const auto y = random.row(rows * (columns + 3), -1, 1);
        auto expected = y;
        auto got = y;
        TernaryPanelProduct a;
        a.q = q.data();
        a.q_stride = stride;
        a.rows = rows;
        a.terms = terms;
        a.panel = panel.data();
        a.q_sum = sums.data();
        a.factors = factors.data();
        a.y_stride = columns + 3;
        a.columns = columns;
        a.y = expected.data();
        reference().multiply_ternary_panel(a);
        a.y = got.data();
        fast().multiply_ternary_panel(a);
        ASSERT_EQ(first_difference(got, expected), -1) << rows << " rows, " << columns << " columns, " << terms;
      }
    }
  }
}

}  // namespace
}  // namespace rpt::kernels::test
