// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "rpt/core/float16.h"
#include "tests/unit/kernels/kernel_testing.h"

namespace rpt::kernels::test {
namespace {

const KernelTable& definition() {
  return table_of("reference");
}

TEST(RowsReference, RmsNormIsNearTheDoubleOne) {
  Random random(1);
  for (const std::int64_t n : {1, 17, 2560}) {
    const auto x = random.row(n, -3.0F, 3.0F);
    const auto gain = random.row(n, 0.5F, 2.0F);
    std::vector<float> y(x.size());
    definition().rms_norm(x.data(), gain.data(), n, 1e-5F, y.data());
    double squares = 0.0;
    for (const float v : x) squares += double{v} * v;
    const double r = 1.0 / std::sqrt(squares / static_cast<double>(n) + 1e-5);
    // Half of the relative error of the sum (n/16 + 5 roundings), then division, eps, root, reciprocal, two products.
    const double bound = (static_cast<double>(n) / 32.0 + 9.0) * 0x1p-24;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double expected = x[i] * r * gain[i];
      EXPECT_NEAR(y[i], expected, bound * std::abs(expected)) << n;
    }
  }
}

TEST(RowsReference, SmallFunctionsByHand) {
  const std::vector<float> gate = {-2.0F, 0.0F, 3.0F};
  const std::vector<float> up = {5.0F, 5.0F, 0.5F};
  std::vector<float> y(3);
  definition().relu2_mul(gate.data(), up.data(), 3, y.data());
  EXPECT_EQ(y, (std::vector<float>{0.0F, 0.0F, 4.5F}));
  definition().silu_mul(gate.data(), up.data(), 3, y.data());
  EXPECT_NEAR(y[0], -2.0 / (1.0 + std::exp(2.0)) * 5.0, 1e-6);
  EXPECT_EQ(y[1], 0.0F);
  EXPECT_NEAR(y[2], 3.0 / (1.0 + std::exp(-3.0)) * 0.5, 1e-6);
  const std::vector<std::int32_t> acc = {-3, 0, 16'777'217};
  definition().scale_int32(acc.data(), 3, 0.5F, y.data());
  EXPECT_EQ(y, (std::vector<float>{-1.5F, 0.0F, 8'388'608.0F}));
  definition().add(y.data(), up.data(), 3);
  EXPECT_EQ(y, (std::vector<float>{3.5F, 5.0F, 8'388'608.5F}));
}

TEST(RowsReference, RopeRotatesHalves) {
  std::vector<float> x = {1.0F, 2.0F, 3.0F, 4.0F};
  const std::vector<float> cos = {0.0F, 0.5F};
  const std::vector<float> sin = {1.0F, 0.25F};
  definition().rope_halves(x.data(), cos.data(), sin.data(), 4);
  EXPECT_EQ(x, (std::vector<float>{-3.0F, 0.0F, 1.0F, 2.5F}));
}

TEST(RowsReference, ConversionsAreThoseOfCore) {
  Random random(2);
  const auto x = random.awkward_row(1000);
  std::vector<std::uint16_t> half(x.size());
  std::vector<float> wide(x.size());
  definition().f32_to_f16(x.data(), 1000, half.data());
  definition().f16_to_f32(half.data(), 1000, wide.data());
  for (std::size_t i = 0; i < x.size(); ++i) {
    EXPECT_EQ(half[i], core::float_to_f16(x[i]));
    EXPECT_EQ(wide[i], core::f16_to_float(half[i]));
  }
  const std::vector<std::uint16_t> bf16 = {0x3f80, 0xc000, 0x0001};
  definition().bf16_to_f32(bf16.data(), 3, wide.data());
  EXPECT_EQ(wide[0], 1.0F);
  EXPECT_EQ(wide[1], -2.0F);
  EXPECT_EQ(wide[2], std::bit_cast<float>(0x00010000U));
}

class Rows : public IsaTest {
 protected:
  /// run(table, y) fills y [n]; both tables must give the same bits.
  template <typename T, typename Run>
  void expect_reference(const char* name, std::int64_t n, const std::vector<T>& initial, const Run& run) {
    std::vector<T> got = initial;
    std::vector<T> expected = initial;
    run(fast(), got.data());
    run(reference(), expected.data());
    EXPECT_EQ(first_difference(got, expected), -1) << name << " n " << n;
  }
};

TEST_P(Rows, EqualTheReferenceAtEveryLength) {
  for (const std::int64_t n : kLengths) {
    Random random(static_cast<std::uint64_t>(n));
    const auto x = random.awkward_row(n);
    const auto gain = random.awkward_row(n);
    const auto acc = random.integers<std::int32_t>(n);
    const std::vector<float> y(x.size());
    expect_reference("rms_norm", n, y,
                     [&](const KernelTable& k, float* out) { k.rms_norm(x.data(), gain.data(), n, 1e-5F, out); });
    expect_reference("rms_norm in place", n, x,
                     [&](const KernelTable& k, float* out) { k.rms_norm(out, gain.data(), n, 1e-5F, out); });
    expect_reference("scale_int32", n, y,
                     [&](const KernelTable& k, float* out) { k.scale_int32(acc.data(), n, 0.37F, out); });
    expect_reference("relu2_mul", n, y,
                     [&](const KernelTable& k, float* out) { k.relu2_mul(x.data(), gain.data(), n, out); });
    expect_reference("relu2_mul in place", n, x,
                     [&](const KernelTable& k, float* out) { k.relu2_mul(out, gain.data(), n, out); });
    expect_reference("silu_mul", n, y,
                     [&](const KernelTable& k, float* out) { k.silu_mul(x.data(), gain.data(), n, out); });
    expect_reference("silu_mul in place", n, x,
                     [&](const KernelTable& k, float* out) { k.silu_mul(gain.data(), out, n, out); });
    expect_reference("add", n, x, [&](const KernelTable& k, float* out) { k.add(out, gain.data(), n); });
  }
}

TEST_P(Rows, RopeAtEveryHeadSize) {
  for (const std::int64_t half : kLengths) {
    Random random(static_cast<std::uint64_t>(half));
    const auto cos = random.row(half, -1.0F, 1.0F);
    const auto sin = random.row(half, -1.0F, 1.0F);
    expect_reference("rope_halves", half, random.awkward_row(2 * half),
                     [&](const KernelTable& k, float* x) { k.rope_halves(x, cos.data(), sin.data(), 2 * half); });
  }
}

TEST_P(Rows, ConversionsAtEveryLength) {
  for (const std::int64_t n : kLengths) {
    Random random(static_cast<std::uint64_t>(n));
    const auto x = random.awkward_row(n);
    const auto f16 = random.f16_row(n);
    const auto bf16 = random.bf16_row(n);
    const auto size = static_cast<std::size_t>(n);
    expect_reference("f32_to_f16", n, std::vector<std::uint16_t>(size),
                     [&](const KernelTable& k, std::uint16_t* out) { k.f32_to_f16(x.data(), n, out); });
    expect_reference("f16_to_f32", n, std::vector<float>(size),
                     [&](const KernelTable& k, float* out) { k.f16_to_f32(f16.data(), n, out); });
    expect_reference("bf16_to_f32", n, std::vector<float>(size),
                     [&](const KernelTable& k, float* out) { k.bf16_to_f32(bf16.data(), n, out); });
  }
}

TEST_P(Rows, EveryBinary16ThereAndBack) {
  std::vector<std::uint16_t> all;
  for (std::uint32_t b = 0; b < 0x10000U; ++b) {
    const bool signalling = (b & 0x7c00U) == 0x7c00U && (b & 0x3ffU) != 0 && (b & 0x200U) == 0;
    if (!signalling) all.push_back(static_cast<std::uint16_t>(b));  // processors make those quiet
  }
  const auto n = static_cast<std::int64_t>(all.size());
  std::vector<float> wide(all.size());
  std::vector<std::uint16_t> back(all.size());
  fast().f16_to_f32(all.data(), n, wide.data());
  fast().f32_to_f16(wide.data(), n, back.data());
  EXPECT_EQ(first_difference(all, back), -1);
  for (std::size_t i = 0; i < all.size(); ++i) ASSERT_TRUE(same_bits(wide[i], core::f16_to_float(all[i]))) << all[i];
}

// The exponential in lanes: silu with up = 1 shows it over the whole range, infinities included.
TEST_P(Rows, SiluOverTheWholeRange) {
  Random random(7);
  std::vector<float> gate;
  for (int i = 0; i < 200'000; ++i) gate.push_back(random.uniform(-95.0F, 95.0F));
  for (const float special : {-87.0F, 87.0F, 88.72283F, -88.72283F, -88.72284F, -89.0F, -90.0F, -1e30F, 1e30F,
                              std::numeric_limits<float>::infinity(), 0.0F, -0.0F}) {
    gate.push_back(special);
    gate.push_back(std::nextafter(special, 0.0F));
  }
  const std::vector<float> up(gate.size(), 1.0F);
  const auto n = static_cast<std::int64_t>(gate.size());
  expect_reference("silu_mul", n, std::vector<float>(gate.size()),
                   [&](const KernelTable& k, float* out) { k.silu_mul(gate.data(), up.data(), n, out); });
}

RPT_TEST_ON_EVERY_ISA(Rows);

}  // namespace
}  // namespace rpt::kernels::test
