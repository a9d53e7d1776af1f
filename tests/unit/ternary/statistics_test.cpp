// SPDX-License-Identifier: MIT
#include "rpt/ternary/statistics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "rpt/core/error.h"
#include "rpt/ternary/layouts.h"
#include "rpt/ternary/scale_rules.h"
#include "tests/unit/ternary/samples.h"

namespace rpt::ternary {
namespace {

using tensor::DType;

TEST(CodeStatistics, AgreeWithPlainCounting) {
  core::Random random(1);
  for (int i = 0; i < 40; ++i) {
    const DType type = kLayouts[i % 4];
    const bool tq = type == DType::tq1_0 || type == DType::tq2_0;
    const auto rows = static_cast<std::int64_t>(4 * (random.below(30) + 1));
    const auto columns = static_cast<std::int64_t>(tq ? 256 * (random.below(3) + 1) : random.below(700) + 1);
    auto codes = random_codes(rows * columns, random.next(), i % 3 == 0 ? 0.99 : random.uniform());
    const auto dead_row = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(rows)));
    const auto dead_column = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(columns)));
    std::fill_n(codes.begin() + dead_row * columns, columns, std::int8_t{0});
    for (std::int64_t n = 0; n < rows; ++n) codes[static_cast<std::size_t>(n * columns + dead_column)] = 0;

    std::int64_t dead_rows = 0;
    std::int64_t dead_columns = 0;
    for (std::int64_t n = 0; n < rows; ++n) {
      const auto* row = codes.data() + n * columns;
      dead_rows += std::all_of(row, row + columns, [](int code) { return code == 0; });
    }
    for (std::int64_t k = 0; k < columns; ++k) {
      bool dead = true;
      for (std::int64_t n = 0; n < rows; ++n) dead = dead && codes[static_cast<std::size_t>(n * columns + k)] == 0;
      dead_columns += dead;
    }
    const CodeStatistics s = code_statistics(pack(type, rows, columns, 1.0F, codes).view());
    EXPECT_EQ(s.negative, static_cast<std::uint64_t>(std::count(codes.begin(), codes.end(), -1)));
    EXPECT_EQ(s.zero, static_cast<std::uint64_t>(std::count(codes.begin(), codes.end(), 0)));
    EXPECT_EQ(s.positive, static_cast<std::uint64_t>(std::count(codes.begin(), codes.end(), 1)));
    EXPECT_EQ(s.total(), codes.size());
    EXPECT_EQ(s.dead_rows, dead_rows);
    EXPECT_EQ(s.dead_columns, dead_columns);
    EXPECT_GE(s.dead_rows, 1);
    EXPECT_GE(s.dead_columns, 1);
  }
}

TEST(CodeStatistics, CountLongRowsWithoutOverflow) {
  constexpr std::int64_t kColumns = 64 * 255 * 2 + 100;  // beyond what one byte lane can count
  std::vector<std::int8_t> codes(kColumns, -1);
  CodeStatistics s = code_statistics(pack(DType::i2_s, 1, kColumns, 1.0F, codes).view());
  EXPECT_EQ(s.negative, static_cast<std::uint64_t>(kColumns));
  codes.assign(codes.size(), 1);
  s = code_statistics(pack(DType::i2_s, 1, kColumns, 1.0F, codes).view());
  EXPECT_EQ(s.positive, static_cast<std::uint64_t>(kColumns));
  EXPECT_EQ(s.negative + s.zero, 0U);
}

TEST(CodeStatistics, KnowTheEntropy) {
  EXPECT_EQ(CodeStatistics{}.entropy_bits(), 0);
  EXPECT_EQ(CodeStatistics{}.zero_share(), 0);
  CodeStatistics s;
  s.negative = s.zero = s.positive = 5;
  EXPECT_NEAR(s.entropy_bits(), std::log2(3.0), 1e-15);
  s.zero = 10;
  EXPECT_EQ(s.entropy_bits(), 1.5);
  EXPECT_EQ(s.zero_share(), 0.5);
  s.negative = s.positive = 0;
  EXPECT_EQ(s.entropy_bits(), 0);
}

TEST(CodeStatistics, RefuseTooFewBytes) {
  const auto packed = pack(DType::i2_s, 4, 256, 1.0F, random_codes(4 * 256, 2));
  auto view = packed.view();
  --view.bytes;
  EXPECT_THROW(code_statistics(view), ShapeError);
  view.columns = std::int64_t{1} << 50;
  EXPECT_THROW(code_statistics(view), ShapeError) << "before memory is asked for";
}

TEST(LatentStatistics, AgreeWithPlainCounting) {
  for (const DType type : kLatentTypes) {
    std::vector<float> values = random_values(200 * 400, 3);
    values[0] = values[79'999] = 0;
    values[1] = -0.0F;
    values[2] = 1e-6F;
    values[500] = 3.5F;
    values[79'998] = -4.5F;
    const Latents latents(type, 200, 400, values);
    const LatentStatistics s = latent_statistics(latents.view());
    EXPECT_EQ(s.total, values.size());
    EXPECT_EQ(s.mean_abs, mean_abs(latents.view()));
    std::uint64_t near_zero = 0;
    std::uint64_t zero = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      zero += latents.value(i) == 0 ? 1 : 0;
      near_zero += std::fabs(static_cast<double>(latents.value(i))) < 0.01 * s.mean_abs ? 1 : 0;
    }
    EXPECT_GE(s.zero, 3U);
    EXPECT_EQ(s.zero, zero);
    EXPECT_EQ(s.near_zero, near_zero);
    EXPECT_EQ(s.minimum, -4.5F);
    EXPECT_EQ(s.maximum, 3.5F);
    EXPECT_EQ(s.not_finite, 0U);
  }
}

TEST(LatentStatistics, OfZerosAreNearZero) {
  const LatentStatistics s = latent_statistics(Latents(DType::bf16, 2, 3, std::vector<float>(6)).view());
  EXPECT_EQ(s.zero, 6U);
  EXPECT_EQ(s.near_zero, 6U);
  EXPECT_EQ(s.mean_abs, 0);
}

TEST(LatentStatistics, CountWhatIsNotFinite) {
  const float infinity = std::numeric_limits<float>::infinity();
  const LatentStatistics s =
      latent_statistics(Latents(DType::f32, 2, 3, {1.0F, infinity, -2.0F, std::nanf(""), -infinity, 0.0F}).view());
  EXPECT_EQ(s.not_finite, 3U);
  EXPECT_EQ(s.zero, 1U);
  EXPECT_EQ(s.near_zero, 0U);
  EXPECT_EQ(s.minimum, -2.0F);
  EXPECT_EQ(s.maximum, 1.0F);
  EXPECT_FALSE(std::isfinite(s.mean_abs));
  const LatentStatistics none = latent_statistics(Latents(DType::f32, 1, 1, {infinity}).view());
  EXPECT_EQ(none.minimum, 0);
  EXPECT_EQ(none.maximum, 0);
}

TEST(MagnitudeHistogram, CountsBf16ValueByValue) {
  const std::vector<std::uint16_t> bits{0x0000, 0x8000, 0x3f80, 0xbf80, 0x3f81, 0x0001, 0x7f7f, 0x3f80};
  const tensor::StoredView view{reinterpret_cast<const std::byte*>(bits.data()), 16, DType::bf16, 4, 2};
  const std::vector<std::uint64_t> h = magnitude_histogram(view);
  ASSERT_EQ(h.size(), kMagnitudeBins);
  EXPECT_EQ(h[0], 2U);
  EXPECT_EQ(h[1], 1U);
  EXPECT_EQ(h[0x3f80], 3U);
  EXPECT_EQ(h[0x3f81], 1U);
  EXPECT_EQ(h[0x7f7f], 1U);
  EXPECT_EQ(std::accumulate(h.begin(), h.end(), std::uint64_t{0}), bits.size());
}

TEST(MagnitudeHistogram, BinsRiseWithTheMagnitude) {
  core::Random random(1);
  std::vector<float> values(1000 * 7);
  for (float& v : values) v = static_cast<float>(random.normal() * std::exp(10 * random.normal()));
  const tensor::StoredView view{reinterpret_cast<const std::byte*>(values.data()), 4 * values.size(), DType::f32, 1000,
                                7};
  const std::vector<std::uint64_t> h = magnitude_histogram(view);
  std::sort(values.begin(), values.end(), [](float a, float b) { return std::fabs(a) < std::fabs(b); });
  std::size_t i = 0;
  for (std::size_t bin = 0; bin < h.size(); ++bin) {
    for (std::uint64_t n = 0; n < h[bin]; ++n, ++i) {
      ASSERT_EQ(std::bit_cast<std::uint32_t>(std::fabs(values[i])) >> 16, bin);
    }
  }
  EXPECT_EQ(i, values.size());
}

}  // namespace
}  // namespace rpt::ternary
