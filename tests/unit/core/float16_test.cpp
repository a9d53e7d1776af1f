// SPDX-License-Identifier: MIT
#include "rpt/core/float16.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "rpt/core/random.h"

namespace rpt::core {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// A binary format of fewer bits, told by its numbers.
struct Format {
  int fraction_bits;
  int lowest_exponent;  ///< of normal numbers; subnormals share its spacing
  double largest;       ///< largest finite value
};
constexpr Format kF16{10, -14, 65504.0};
constexpr Format kBf16{7, -126, 0x1.FEp127};

/// The value of `format` nearest to x, half to even, by the definition: a whole number of spacings.
double round_to(const Format& format, double x) {
  if (x == 0 || std::isinf(x)) return x;
  const int exponent = std::max(std::ilogb(x), format.lowest_exponent);
  const double rounded =
      std::ldexp(std::nearbyint(std::ldexp(x, format.fraction_bits - exponent)), exponent - format.fraction_bits);
  return std::fabs(rounded) > format.largest ? std::copysign(static_cast<double>(kInfinity), x) : rounded;
}

/// The value of a bit pattern, by the definition of the format.
double value_of(const Format& format, std::uint32_t bits) {
  const std::uint32_t fraction = bits & ((1U << format.fraction_bits) - 1);
  const int field = static_cast<int>((bits & 0x7fffU) >> format.fraction_bits);
  const int top_field = (0x7fff >> format.fraction_bits);
  const double sign = (bits & 0x8000U) != 0 ? -1 : 1;
  if (field == top_field) return fraction == 0 ? sign * kInfinity : std::nan("");
  const double significand = fraction + (field > 0 ? 1U << format.fraction_bits : 0U);
  return sign * std::ldexp(significand, format.lowest_exponent + std::max(field, 1) - 1 - format.fraction_bits);
}

void expect_same(double expected, float actual, float source) {
  ASSERT_EQ(std::bit_cast<std::uint32_t>(static_cast<float>(expected)), std::bit_cast<std::uint32_t>(actual))
      << std::hexfloat << source << " gave " << actual << ", expected " << expected;
}

float through_f16(float x) {
  return f16_to_float(float_to_f16(x));
}
float through_bf16(float x) {
  return round_to_bf16(x);
}

TEST(Float16, WidensEveryValueAndRoundsItBack) {
  for (std::uint32_t bits = 0; bits < 65'536; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const double f16 = value_of(kF16, bits);
    const double bf16 = value_of(kBf16, bits);
    if (std::isnan(f16)) {
      ASSERT_TRUE(std::isnan(f16_to_float(half))) << bits;
      ASSERT_EQ(float_to_f16(f16_to_float(half)), bits | 0x200U) << "sign and payload, quiet";
    } else {
      expect_same(f16, f16_to_float(half), 0);
      ASSERT_EQ(float_to_f16(f16_to_float(half)), bits);
    }
    if (std::isnan(bf16)) {
      ASSERT_TRUE(std::isnan(bf16_to_float(half))) << bits;
      ASSERT_EQ(float_to_bf16(bf16_to_float(half)), bits | 0x40U) << "sign and payload, quiet";
    } else {
      expect_same(bf16, bf16_to_float(half), 0);
      ASSERT_EQ(float_to_bf16(bf16_to_float(half)), bits);
    }
  }
}

/// Checks the middle between every two neighbours of a format, and the floats on both sides of it.
template <typename Through>
void check_middles(const Format& format, Through through, std::uint32_t infinity_bits) {
  for (std::uint32_t bits = 0; bits < infinity_bits; ++bits) {
    const double low = value_of(format, bits);
    const double high =
        bits + 1 == infinity_bits ? 2 * format.largest - value_of(format, bits - 1) : value_of(format, bits + 1);
    const auto middle = static_cast<float>((low + high) / 2);
    for (const float x : {middle, std::nextafter(middle, 0.0F), std::nextafter(middle, kInfinity)}) {
      expect_same(round_to(format, x), through(x), x);
      expect_same(round_to(format, -static_cast<double>(x)), through(-x), -x);
    }
  }
}

TEST(Float16, RoundsHalvesToEven) {
  check_middles(kF16, through_f16, 0x7c00);
  check_middles(kBf16, through_bf16, 0x7f80);
  EXPECT_EQ(float_to_f16(65519.99F), 0x7bff);
  EXPECT_EQ(float_to_f16(65520.0F), 0x7c00) << "the middle beyond the largest goes to infinity";
  EXPECT_EQ(float_to_f16(0x1p-25F), 0) << "half of the smallest subnormal goes to even zero";
  EXPECT_EQ(float_to_f16(0x1.000002p-25F), 1);
  EXPECT_EQ(float_to_f16(0x3p-25F), 2);
}

TEST(Float16, RoundsRandomFloatsLikeTheDefinition) {
  Random random(1);
  for (int i = 0; i < 500'000; ++i) {
    auto bits = static_cast<std::uint32_t>(random.next());
    if (i % 2 == 0)
      bits = (bits & 0x807fffffU) | (90U + static_cast<std::uint32_t>(random.below(60))) << 23;  // f16's range
    const auto x = std::bit_cast<float>(bits);
    if (std::isnan(x)) {
      ASSERT_TRUE(std::isnan(through_f16(x)) && std::isnan(through_bf16(x)));
      continue;
    }
    expect_same(round_to(kF16, x), through_f16(x), x);
    expect_same(round_to(kBf16, x), through_bf16(x), x);
  }
}

}  // namespace
}  // namespace rpt::core
