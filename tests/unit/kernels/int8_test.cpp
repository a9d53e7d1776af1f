// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "rpt/core/aligned_buffer.h"
#include "tests/unit/kernels/kernel_testing.h"

namespace rpt::kernels::test {
namespace {

class Int8 : public IsaTest {};
RPT_TEST_ON_EVERY_ISA(Int8);

constexpr std::int64_t kSizes[] = {1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 130};

std::vector<std::uint8_t> bytes(const core::AlignedBuffer<std::uint8_t>& buffer) {
  return {buffer.data(), buffer.data() + buffer.size()};
}

core::AlignedBuffer<std::uint8_t> panel_of(std::int64_t terms) {
  core::AlignedBuffer<std::uint8_t> panel(static_cast<std::size_t>((terms + 3) / 4 * 4 * kInt8PanelColumns + 64));
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

TEST_P(Int8, Sum) {
  Random random(1);
  for (const std::int64_t n : kLengths) {
    const auto x = codes(random, n);
    EXPECT_EQ(fast().sum_int8(x.data(), n), reference().sum_int8(x.data(), n)) << n;
  }
}

TEST_P(Int8, PanelOfBytes) {
  Random random(2);
  for (const std::int64_t terms : kSizes) {
    for (const std::int64_t columns : {1, 7, 15, 16, 17, 33, 63, 64}) {
      for (const std::int32_t bias : {0, 128}) {
        Int8PanelSource a;
        a.stride = columns + 5;
        const auto x = codes(random, (terms - 1) * a.stride + columns);
        a.x = x.data();
        a.terms = terms;
        a.columns = columns;
        a.bias = bias;
        auto expected = panel_of(terms);
        auto got = panel_of(terms);
        std::vector<std::int32_t> expected_sums(64), got_sums(64);
        a.out = expected.data();
        a.sums = bias == 0 ? expected_sums.data() : nullptr;
        reference().pack_int8_panel(a);
        a.out = got.data();
        a.sums = bias == 0 ? got_sums.data() : nullptr;
        fast().pack_int8_panel(a);
        ASSERT_EQ(bytes(got), bytes(expected)) << terms << ' ' << columns;
        ASSERT_EQ(got_sums, expected_sums);
      }
    }
  }
}

TEST_P(Int8, PanelOfTernaryCodes) {
  Random random(3);
  for (const std::int64_t columns : {1, 100, 128, 129, 384}) {
    for (const std::int64_t rows : {1, 7, 15, 16, 17, 33, 63, 64}) {
      const std::int64_t blocks = (columns + 127) / 128;
      const auto weights = random.integers<std::uint8_t>(rows * blocks * 32);
      auto expected = panel_of(blocks * 128);
      auto got = panel_of(blocks * 128);
      reference().pack_ternary2_panel(weights.data(), rows, columns, expected.data());
      fast().pack_ternary2_panel(weights.data(), rows, columns, got.data());
      for (std::int64_t i = blocks * 128 * kInt8PanelColumns; i < blocks * 128 * kInt8PanelColumns + 64; ++i) {
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

/// One product by both tables, over the same y.
void compare(const KernelTable& fast, const KernelTable& reference, Int8PanelProduct a, Random& random) {
  const auto y = random.row(a.rows * a.y_stride, -1, 1);
  auto expected = y;
  auto got = y;
  a.y = expected.data();
  reference.multiply_int8_panel(a);
  a.y = got.data();
  fast.multiply_int8_panel(a);
  ASSERT_EQ(first_difference(got, expected), -1)
      << a.rows << " rows, " << a.columns << " columns, " << a.terms << " terms";
}

TEST_P(Int8, Product) {
  Random random(4);
  const auto sizes = [](std::int64_t rows) { return rows <= 17 || rows >= 63; };
  for (const std::int64_t terms : kSizes) {
    for (const std::int64_t rows : kSizes) {
      if (!sizes(rows) && terms != 65) continue;
      for (const std::int64_t columns : {1, 15, 16, 17, 33, 63, 64}) {
        Int8PanelProduct a;
        a.row_stride = terms + 3;
        a.step_stride = 4;
        a.rows = rows;
        a.terms = terms;
        a.columns = columns;
        a.y_stride = columns + 3;
        a.bias = terms % 2 == 0 ? 128 : 1;
        const auto left = codes(random, (rows - 1) * a.row_stride + terms);
        std::vector<std::int32_t> sums;
        for (std::int64_t i = 0; i < rows; ++i) {
          sums.push_back(reference().sum_int8(left.data() + i * a.row_stride, terms));
        }
        auto panel = panel_of(terms);
        for (std::uint8_t& b : panel.span()) b = static_cast<std::uint8_t>(random.bits());
        const auto factors = random.row(rows, -2, 2);
        a.a = left.data();
        a.panel = panel.data();
        a.a_sum = sums.data();
        a.factors = factors.data();
        compare(fast(), reference(), a, random);
        a.accumulate = true;
        compare(fast(), reference(), a, random);
      }
    }
  }
}

/// The left operand as a panel of its own.
TEST_P(Int8, ProductOfTwoPanels) {
  Random random(5);
  for (const std::int64_t terms : {1, 4, 7, 33, 128, 130}) {
    const auto x = codes(random, terms * 64);
    auto left = panel_of(terms);
    std::vector<std::int32_t> sums(64);
    reference().pack_int8_panel({x.data(), 64, terms, 64, 0, left.data(), sums.data()});
    auto right = panel_of(terms);
    const auto z = codes(random, terms * 64);
    reference().pack_int8_panel({z.data(), 64, terms, 64, 128, right.data(), nullptr});
    const auto factors = random.row(64, -2, 2);
    Int8PanelProduct a;
    a.a = reinterpret_cast<const std::int8_t*>(left.data());
    a.row_stride = 4;
    a.step_stride = 4 * kInt8PanelColumns;
    a.rows = 64;
    a.terms = terms;
    a.panel = right.data();
    a.bias = 128;
    a.a_sum = sums.data();
    a.factors = factors.data();
    a.columns = 64;
    a.y_stride = 64;
    compare(fast(), reference(), a, random);
  }
}

/// Sums at the ends of int32, where those with the bias leave it: 131,071 · 128 · 128 = 2^31 − 2^14.
TEST_P(Int8, ProductNearTheEndsOfInt32) {
  constexpr std::int64_t kTerms = 131'071;
  for (const int sign : {-1, 1}) {
    const std::vector<std::int8_t> left(kTerms, -128);
    auto panel = panel_of(kTerms);
    for (std::uint8_t& b : panel.span()) b = sign > 0 ? 0 : 255;  // −128 or 127
    const std::int32_t sum = -128 * static_cast<std::int32_t>(kTerms);
    const float factor = 1;
    std::vector<float> y(64);
    fast().multiply_int8_panel({left.data(), kTerms, 4, 1, kTerms, panel.data(), 128, &sum, &factor, y.data(), 64, 64});
    const std::int64_t exact = -128 * kTerms * (sign > 0 ? -128 : 127);
    EXPECT_EQ(y, std::vector<float>(64, static_cast<float>(exact)));
  }
}

}  // namespace
}  // namespace rpt::kernels::test
