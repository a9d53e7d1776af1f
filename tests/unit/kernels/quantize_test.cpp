// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "rpt/core/float16.h"
#include "tests/unit/kernels/kernel_testing.h"

namespace rpt::kernels::test {
namespace {

struct Quantized {
  float a = 0;
  std::int32_t sum = 0;
  std::vector<std::int8_t> q;
};

Quantized quantize(const KernelTable& table, const std::vector<float>& x) {
  Quantized result;
  result.q.resize(x.size());
  result.a = table.quantize_int8(x.data(), static_cast<std::int64_t>(x.size()), result.q.data(), &result.sum);
  return result;
}

TEST(QuantizeReference, ByHand) {
  const Quantized r = quantize(table_of("reference"), {127.0F, -127.0F, 0.5F, 1.5F, 2.5F, -2.5F, 0.0F});
  EXPECT_EQ(r.a, 127.0F);
  EXPECT_EQ(r.q, (std::vector<std::int8_t>{127, -127, 0, 2, 2, -2, 0}));
  EXPECT_EQ(r.sum, 2);
  const Quantized small = quantize(table_of("reference"), {1e-6F, -2e-6F});
  EXPECT_EQ(small.a, 1e-5F);
  EXPECT_EQ(small.q, (std::vector<std::int8_t>{13, -25}));
}

TEST(QuantizeReference, TernaryCodesByHand) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> w = {0.5F, 0.50001F, -0.5F, -0.50001F, 9.0F, -9.0F, 0.0F, nan, infinity, -infinity};
  std::vector<std::int8_t> codes(w.size());
  table_of("reference").ternary_codes_f32(w.data(), static_cast<std::int64_t>(w.size()), 1.0F, codes.data());
  EXPECT_EQ(codes, (std::vector<std::int8_t>{0, 1, 0, -1, 1, -1, 0, 0, 1, -1}));
}

TEST(QuantizeReference, SumOfMagnitudesIsNearTheExactOne) {
  Random random(3);
  const auto w = random.row(1000, -1.0F, 1.0F);
  long double expected = 0.0L;
  for (const float v : w) expected += std::abs(static_cast<long double>(v));
  EXPECT_NEAR(table_of("reference").sum_abs_f32(w.data(), 1000), static_cast<double>(expected), 70 * 0x1p-53 * 1000);
  const std::vector<std::uint16_t> bf16 = {0x3f80, 0xbf80, 0x4000};
  EXPECT_EQ(table_of("reference").sum_abs_bf16(bf16.data(), 3), 4.0);
}

class Quantize : public IsaTest {
 protected:
  void expect_reference(const std::vector<float>& x) {
    const Quantized got = quantize(fast(), x);
    const Quantized expected = quantize(reference(), x);
    EXPECT_TRUE(same_bits(got.a, expected.a)) << got.a << " " << expected.a;
    EXPECT_EQ(got.sum, expected.sum) << x.size();
    EXPECT_EQ(got.q, expected.q) << x.size();
  }
};

TEST_P(Quantize, Int8AtEveryLength) {
  for (const std::int64_t n : kLengths) {
    Random random(static_cast<std::uint64_t>(n));
    expect_reference(random.awkward_row(n));
    expect_reference(random.row(n, -4.0F, 4.0F));
    expect_reference(random.row(n, -3e-6F, 2e-6F));
    expect_reference(random.row(n, -3.4e38F, 3.4e38F));
    expect_reference(std::vector<float>(static_cast<std::size_t>(n), -0.0F));
    std::vector<float> ties(static_cast<std::size_t>(n));
    for (float& x : ties) x = static_cast<float>(random.below(509) - 254) * 0.5F;
    ties[0] = 127.0F;
    expect_reference(ties);
  }
}

TEST_P(Quantize, NonFiniteInputShows) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::quiet_NaN(),
                          std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()}) {
    for (const std::size_t n : {1U, 16U, 37U}) {
      for (const std::size_t place : {std::size_t{0}, n / 2, n - 1}) {
        std::vector<float> x(n, 1.0F);
        x[place] = bad;
        EXPECT_FALSE(std::isfinite(quantize(fast(), x).a)) << n << " " << place;
        EXPECT_FALSE(std::isfinite(quantize(reference(), x).a)) << n << " " << place;
      }
    }
  }
}

TEST_P(Quantize, SumsOfMagnitudesAtEveryLength) {
  for (const std::int64_t n : kLengths) {
    Random random(static_cast<std::uint64_t>(n));
    const auto f32 = random.awkward_row(n);
    const auto bf16 = random.bf16_row(n);
    EXPECT_TRUE(same_bits(fast().sum_abs_f32(f32.data(), n), reference().sum_abs_f32(f32.data(), n))) << n;
    EXPECT_TRUE(same_bits(fast().sum_abs_bf16(bf16.data(), n), reference().sum_abs_bf16(bf16.data(), n))) << n;
  }
}

TEST_P(Quantize, TernaryCodesAtEveryLength) {
  for (const std::int64_t n : kLengths) {
    Random random(static_cast<std::uint64_t>(n));
    auto f32 = random.awkward_row(n);
    f32[static_cast<std::size_t>(n) / 2] = std::numeric_limits<float>::quiet_NaN();
    f32[static_cast<std::size_t>(n) / 3] = -std::numeric_limits<float>::infinity();
    const auto bf16 = random.bf16_row(n);
    for (const float inv : {1.0F, 0.5F, 1e-3F, 1e38F}) {
      std::vector<std::int8_t> got(f32.size());
      std::vector<std::int8_t> expected(f32.size());
      fast().ternary_codes_f32(f32.data(), n, inv, got.data());
      reference().ternary_codes_f32(f32.data(), n, inv, expected.data());
      EXPECT_EQ(got, expected) << n;
      fast().ternary_codes_bf16(bf16.data(), n, inv, got.data());
      reference().ternary_codes_bf16(bf16.data(), n, inv, expected.data());
      EXPECT_EQ(got, expected) << n;
    }
  }
}

RPT_TEST_ON_EVERY_ISA(Quantize);

}  // namespace
}  // namespace rpt::kernels::test
