// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include <cstdint>
#include <numeric>
#include <vector>

#include "rpt/core/aligned_buffer.h"
#include "tests/unit/kernels/kernel_testing.h"

namespace rpt::kernels::test {
namespace {

class Panels : public IsaTest {};
RPT_TEST_ON_EVERY_ISA(Panels);

constexpr std::int64_t kSizes[] = {1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 130};

core::AlignedBuffer<std::uint8_t> panel_of(std::int64_t terms) {
  core::AlignedBuffer<std::uint8_t> panel(static_cast<std::size_t>((terms + 3) / 4 * 4 * kPanelColumns + 64));
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

TEST_P(Panels, PanelOfCodes) {
  Random random(3);
  for (const std::int64_t columns : {1, 100, 128, 129, 384}) {
    for (const std::int64_t rows : {1, 7, 15, 16, 17, 33, 63, 64}) {
      const std::int64_t blocks = (columns + 127) / 128;
      const auto weights = random.integers<std::uint8_t>(rows * blocks * 32);
      auto expected = panel_of(blocks * 128);
      auto got = panel_of(blocks * 128);
      reference().pack_ternary2_panel(weights.data(), rows, columns, expected.data());
      fast().pack_ternary2_panel(weights.data(), rows, columns, got.data());
      for (std::int64_t i = blocks * 128 * kPanelColumns; i < blocks * 128 * kPanelColumns + 64; ++i) {
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

TEST_P(Panels, Product) {
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
        PanelProduct a;
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
        reference().multiply_panel(a);
        a.y = got.data();
        fast().multiply_panel(a);
        ASSERT_EQ(first_difference(got, expected), -1) << rows << " rows, " << columns << " columns, " << terms;
      }
    }
  }
}

TEST_P(Panels, PanelOfInt8) {
  Random random(5);
  for (const std::int64_t terms : {1, 2, 3, 4, 5, 64, 67}) {
    for (const std::int64_t columns : {1, 15, 16, 33, 63, 64}) {
      const std::int64_t stride = columns + 5;
      const auto from = codes(random, (terms - 1) * stride + columns);
      for (const bool plus_128 : {false, true}) {
        auto expected = panel_of(terms);
        auto got = panel_of(terms);
        std::int32_t expected_sums[kPanelColumns] = {};
        std::int32_t got_sums[kPanelColumns] = {};
        Int8Panel a{from.data(), stride, terms, columns, plus_128, expected.data(), expected_sums};
        reference().pack_int8_panel(a);
        a.out = got.data();
        a.sums = got_sums;
        fast().pack_int8_panel(a);
        const std::int64_t end = (terms + 3) / 4 * 4;
        for (std::int64_t i = end * kPanelColumns; i < end * kPanelColumns + 64; ++i) {
          ASSERT_EQ(got[static_cast<std::size_t>(i)], 0xa5) << "past the end";
        }
        for (std::int64_t c = 0; c < columns; ++c) {
          std::int32_t sum = 0;
          for (std::int64_t k = 0; k < end; ++k) {
            const std::int32_t value = k < terms ? from[static_cast<std::size_t>(k * stride + c)] : 0;
            sum += value;
            const auto i = static_cast<std::size_t>(k / 4 * 256 + c * 4 + k % 4);
            ASSERT_EQ(got[i], static_cast<std::uint8_t>(value + (plus_128 ? 128 : 0))) << terms << ' ' << k << ' ' << c;
            ASSERT_EQ(expected[i], got[i]) << terms << ' ' << k << ' ' << c;
          }
          ASSERT_EQ(got_sums[c], sum);
          ASSERT_EQ(expected_sums[c], sum);
        }
      }
    }
  }
}

TEST_P(Panels, SumOfInt8) {
  Random random(6);
  for (const std::int64_t n : kSizes) {
    const auto q = codes(random, n);
    EXPECT_EQ(fast().sum_int8(q.data(), n), std::accumulate(q.begin(), q.end(), 0));
    EXPECT_EQ(reference().sum_int8(q.data(), n), std::accumulate(q.begin(), q.end(), 0));
  }
}

// Sums so large that they overflow where 128 is added to one side.
TEST_P(Panels, ProductOfTwoPanelsIsAdded) {
  Random random(7);
  for (const std::int64_t terms : {1, 5, 64, 131, 90000}) {
    const std::int64_t rows = terms > 1000 ? 7 : 64;
    const std::int64_t columns = terms > 1000 ? 3 : 50;
    const auto left = codes(random, terms * rows);
    const auto right = terms > 1000 ? std::vector<std::int8_t>(static_cast<std::size_t>(terms * columns), 127)
                                    : codes(random, terms * columns);
    auto left_panel = panel_of(terms);
    auto right_panel = panel_of(terms);
    std::int32_t sums[kPanelColumns] = {};
    std::int32_t unused[kPanelColumns] = {};
    fast().pack_int8_panel({left.data(), rows, terms, rows, false, left_panel.data(), sums});
    fast().pack_int8_panel({right.data(), columns, terms, columns, true, right_panel.data(), unused});
    const auto factors = random.row(rows, -2, 2);
    const auto before = random.row(rows * columns, -1, 1);
    auto got = before;
    PanelProduct a;
    a.q = reinterpret_cast<const std::int8_t*>(left_panel.data());
    a.q_stride = 4;
    a.q_step = 4 * kPanelColumns;
    a.rows = rows;
    a.terms = terms;
    a.panel = right_panel.data();
    a.offset = 128;
    a.accumulate = true;
    a.q_sum = sums;
    a.factors = factors.data();
    a.y = got.data();
    a.y_stride = columns;
    a.columns = columns;
    fast().multiply_panel(a);
    for (std::int64_t i = 0; i < rows; ++i) {
      for (std::int64_t c = 0; c < columns; ++c) {
        std::int64_t sum = 0;
        for (std::int64_t k = 0; k < terms; ++k) {
          sum += left[static_cast<std::size_t>(k * rows + i)] * right[static_cast<std::size_t>(k * columns + c)];
        }
        const auto at = static_cast<std::size_t>(i * columns + c);
        ASSERT_EQ(got[at], before[at] + static_cast<float>(sum) * factors[static_cast<std::size_t>(i)]) << terms;
      }
    }
  }
}

}  // namespace
}  // namespace rpt::kernels::test
