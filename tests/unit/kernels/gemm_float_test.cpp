// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "rpt/core/float16.h"
#include "tests/unit/kernels/kernel_testing.h"

namespace rpt::kernels::test {
namespace {

using Entry = void (*KernelTable::*)(const FloatGemm& a) noexcept;

template <typename Stored>
std::vector<float> run(const KernelTable& table, Entry entry, const std::vector<Stored>& weights,
                       std::int64_t row_stride, std::int64_t columns, std::int64_t n_begin, std::int64_t n_end,
                       const std::vector<float>& x, std::int64_t tokens, std::int64_t y_stride) {
  std::vector<float> y(static_cast<std::size_t>(tokens * y_stride), -77.0F);
  FloatGemm a;
  a.weights = weights.data();
  a.row_stride = row_stride;
  a.columns = columns;
  a.n_begin = n_begin;
  a.n_end = n_end;
  a.x = x.data();
  a.x_stride = static_cast<std::int64_t>(x.size()) / tokens;
  a.tokens = tokens;
  a.y = y.data();
  a.y_stride = y_stride;
  (table.*entry)(a);
  return y;
}

/// |y − Σ w x| ≤ (number of roundings on a path) · ε/2 · Σ|w x|: a lane takes at most n/16 + 1 fmas, the tree 4 adds.
template <typename Stored, typename Widen>
void expect_near_double(Entry entry, const std::vector<Stored>& weights, const Widen& widen, std::int64_t n,
                        std::int64_t columns, const std::vector<float>& x) {
  const auto y = run(table_of("reference"), entry, weights, columns, columns, 0, n, x, 1, n);
  for (std::int64_t r = 0; r < n; ++r) {
    double expected = 0.0;
    double magnitude = 0.0;
    for (std::int64_t k = 0; k < columns; ++k) {
      const double product =
          double{widen(weights[static_cast<std::size_t>(r * columns + k)])} * x[static_cast<std::size_t>(k)];
      expected += product;
      magnitude += std::abs(product);
    }
    const double roundings = static_cast<double>(columns / 16 + 1 + 4);
    EXPECT_NEAR(y[static_cast<std::size_t>(r)], expected, roundings * 0x1p-24 * 1.01 * magnitude) << columns;
  }
}

TEST(GemmFloatReference, IsNearTheDoubleProduct) {
  Random random(1);
  for (const std::int64_t columns : {1, 15, 17, 1000}) {
    const auto x = random.row(columns, -3.0F, 3.0F);
    expect_near_double(
        &KernelTable::gemm_f32_f32, random.row(3 * columns, -1.0F, 1.0F), [](float w) { return w; }, 3, columns, x);
    expect_near_double(&KernelTable::gemm_f16_f32, random.f16_row(3 * columns), core::f16_to_float, 3, columns, x);
    const auto through_f16 = [](std::uint16_t w) {
      return core::f16_to_float(core::float_to_f16(core::bf16_to_float(w)));
    };
    expect_near_double(&KernelTable::gemm_bf16_f32, random.bf16_weights(3 * columns), through_f16, 3, columns, x);
  }
}

TEST(GemmFloatReference, SumsInSixteenLanesAndATree) {
  // 2^24 + 1 rounds to 2^24, so the place of the ones shows who is added to whom first.
  std::vector<float> x(17, 0.0F);
  const std::vector<float> weights(17, 1.0F);
  x[0] = 0x1p24F;
  x[16] = 1.0F;  // lane 0 again: lost
  EXPECT_EQ(run(table_of("reference"), &KernelTable::gemm_f32_f32, weights, 17, 17, 0, 1, x, 1, 1)[0], 0x1p24F);
  x[16] = 0.0F;
  x[1] = x[2] = 1.0F;  // lanes 1 and 2: 0 + 2 is lost as well, 1 + 3 = 1 is lost
  EXPECT_EQ(run(table_of("reference"), &KernelTable::gemm_f32_f32, weights, 17, 17, 0, 1, x, 1, 1)[0], 0x1p24F);
  x[2] = 0.0F;
  x[3] = 1.0F;  // lanes 1 and 3 meet first and count 2
  EXPECT_EQ(run(table_of("reference"), &KernelTable::gemm_f32_f32, weights, 17, 17, 0, 1, x, 1, 1)[0], 0x1p24F + 2.0F);
}

class GemmFloat : public IsaTest {
 protected:
  void expect_reference(std::int64_t n_begin, std::int64_t n_end, std::int64_t columns, std::int64_t tokens,
                        std::int64_t padding) {
    Random random(static_cast<std::uint64_t>(columns * 1009 + tokens * 31 + n_end));
    const std::int64_t stride = columns + padding;
    const std::int64_t elements = (n_end - 1) * stride + columns;  // the last row ends the buffer
    const auto x = random.awkward_row(tokens * stride);
    const auto check = [&](Entry entry, const auto& weights, const char* name) {
      const auto got = run(fast(), entry, weights, stride, columns, n_begin, n_end, x, tokens, n_end + padding);
      const auto expected =
          run(reference(), entry, weights, stride, columns, n_begin, n_end, x, tokens, n_end + padding);
      EXPECT_EQ(first_difference(got, expected), -1)
          << name << " rows " << n_begin << " to " << n_end << " K " << columns << " T " << tokens;
    };
    check(&KernelTable::gemm_f32_f32, random.awkward_row(elements), "f32");
    check(&KernelTable::gemm_f16_f32, random.f16_row(elements), "f16");
    check(&KernelTable::gemm_bf16_f32, random.bf16_weights(elements), "bf16");
  }
};

TEST_P(GemmFloat, EveryLength) {
  for (const std::int64_t columns : kLengths) {
    for (const std::int64_t tokens : {1, 7}) expect_reference(0, 5, columns, tokens, 0);
  }
}

TEST_P(GemmFloat, EveryNumberOfTokensAndRows) {
  for (const std::int64_t tokens : {1, 2, 3, 4, 5, 6, 7, 8, 9, 33}) {
    for (const std::int64_t n_end : {1, 2, 3, 4, 5, 9}) expect_reference(0, n_end, 40, tokens, 3);
    expect_reference(3, 8, 40, tokens, 3);
  }
}

RPT_TEST_ON_EVERY_ISA(GemmFloat);

}  // namespace
}  // namespace rpt::kernels::test
