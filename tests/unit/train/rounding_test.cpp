// SPDX-License-Identifier: MIT
#include "rpt/train/rounding.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "rpt/core/float16.h"
#include "rpt/core/random.h"
#include "rpt/train/moment.h"

namespace rpt::train {
namespace {

TEST(RoundingBits, DependOnKeyStepTensorAndPlaceOnly) {
  const RoundingBits bits(7, 3, 5);
  std::vector<std::uint16_t> whole(100), part(17);
  bits.draw(0, whole);
  bits.draw(48, part);
  EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + 48));
  const auto differs = [&](const RoundingBits& other) {
    std::vector<std::uint16_t> found(100);
    other.draw(0, found);
    return found != whole;
  };
  EXPECT_TRUE(differs({8, 3, 5}));
  EXPECT_TRUE(differs({7, 4, 5}));
  EXPECT_TRUE(differs({7, 3, 6}));
  EXPECT_FALSE(differs({7, 3, 5}));
  EXPECT_NE(RoundingBits::key_of(1), RoundingBits::key_of(2));
}

TEST(RoundToBf16, MeanOverAllRandomBitsIsTheValue) {
  core::Random random(1);
  std::vector<std::uint16_t> bits(65536), rounded(65536);
  std::iota(bits.begin(), bits.end(), std::uint16_t{0});
  std::vector<float> values{0.0F, -0.0F, 1.0F, 1.9999F, -1.9999F, 1e-40F, -3.0e38F};
  for (int i = 0; i < 20; ++i) values.push_back(static_cast<float>(random.normal()));
  for (const float x : values) {
    round_to_bf16(std::vector<float>(65536, x), bits, rounded.data());
    double sum = 0;
    for (const std::uint16_t y : rounded) sum += core::bf16_to_float(y);
    EXPECT_EQ(sum / 65536, static_cast<double>(x));  // all terms are multiples of one power of two: no rounding here
  }
  const std::vector<float> special{std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()};
  round_to_bf16(special, std::vector<std::uint16_t>(2, 0xffff), rounded.data());
  EXPECT_EQ(rounded[0], 0x7f80);
  EXPECT_TRUE(std::isnan(core::bf16_to_float(rounded[1])));
}

/// What a moment reads after it was given x.
std::vector<float> stored(Moment& moment, const std::vector<float>& x, std::int64_t step) {
  moment.write(0, x, RoundingBits(11, step, 0));
  std::vector<float> y(x.size());
  moment.read(0, y);
  return y;
}

class MomentOf8Bits : public ::testing::TestWithParam<Moment::Sign> {
 protected:
  bool both() const { return GetParam() == Moment::Sign::both; }
  /// Smallest value beside 0, as a share of its block's largest.
  double floor() const { return both() ? 1.25 * 0x1p-16 : 1.25 * 0x1p-32; }
  /// Values that lie as far apart as a block's codes allow; the last block is broken.
  std::vector<float> values() const {
    core::Random random(2);
    std::vector<float> x(1000);
    for (float& v : x) {
      v = static_cast<float>(std::exp((both() ? 10 : 20) * (random.uniform() - 1)));
      if (both() && random.uniform() < 0.5) v = -v;
    }
    return x;
  }
};

TEST_P(MomentOf8Bits, KeepsZerosLargestAndNeighbourhood) {
  Moment moment(StateType::int8, GetParam(), 1000);
  std::vector<float> x = values();
  x[3] = 0;
  x[300] = 1;
  const std::vector<float> y = stored(moment, x, 0);
  EXPECT_EQ(y[3], 0);
  EXPECT_EQ(y[300], 1);
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (x[i] == 0) continue;
    EXPECT_LE(y[i] / x[i], 1.125F * (1 + 1e-6F)) << x[i];
    EXPECT_GE(y[i] / x[i], 1 / 1.125F * (1 - 1e-6F)) << x[i];
  }
}

TEST_P(MomentOf8Bits, MeanIsTheValue) {
  Moment moment(StateType::int8, GetParam(), 1000);
  const std::vector<float> x = values();
  constexpr int kTimes = 4000;
  std::vector<double> sum(x.size());
  for (int t = 0; t < kTimes; ++t) {
    const std::vector<float> y = stored(moment, x, t);
    for (std::size_t i = 0; i < x.size(); ++i) sum[i] += y[i];
  }
  double all = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    // One rounding has a standard deviation of at most half the spacing, 1/16 of the value: 5 of the mean's are
    // allowed.
    const double off = sum[i] / kTimes / static_cast<double>(x[i]) - 1;
    EXPECT_LE(std::abs(off), 5.0 / 16 / std::sqrt(kTimes));
    all += off;
  }
  EXPECT_LE(std::abs(all / 1000), 4.0 / 16 / std::sqrt(kTimes * 1000.0));
}

TEST_P(MomentOf8Bits, BelowTheSmallestCode) {
  Moment moment(StateType::int8, GetParam(), 256);
  std::vector<float> x(256, static_cast<float>(floor() / 4));
  x[0] = 1;
  double sum = 0;
  for (int t = 0; t < 400; ++t) {
    const std::vector<float> y = stored(moment, x, t);
    for (std::size_t i = 1; i < 256; ++i) {
      sum += y[i];
      // The second moment never becomes 0: a step would be divided by it.
      if (!both()) {
        ASSERT_EQ(y[i], static_cast<float>(floor()));
      }
    }
  }
  if (both()) {
    EXPECT_NEAR(sum / (400 * 255) / (floor() / 4), 1, 0.03);
  }
}

TEST_P(MomentOf8Bits, DecaysWithoutNoise) {
  Moment moment(StateType::int8, GetParam(), 1000);
  std::vector<float> x = stored(moment, values(), 0);
  const std::vector<float> first = x;
  for (int t = 1; t <= 1000; ++t) {
    for (float& v : x) v *= 0.999F;
    x = stored(moment, x, t);
  }
  std::size_t moved = 0;
  for (std::size_t i = 0; i < x.size(); ++i) moved += std::abs(x[i] / first[i] / std::pow(0.999F, 1000) - 1) > 1e-3F;
  EXPECT_LE(moved, 5U);  // the shares of a block's largest stay, but for a float's rounding
}

TEST_P(MomentOf8Bits, ExtremesStayFinite) {
  Moment moment(StateType::int8, GetParam(), 257);
  std::vector<float> x(257, 1.0F);
  x[0] = std::numeric_limits<float>::infinity();
  x[256] = 1e-45F;
  const std::vector<float> y = stored(moment, x, 0);
  for (const float v : y) EXPECT_TRUE(std::isfinite(v));
  EXPECT_EQ(y[256], 1e-45F);
  moment.clear();
  std::vector<float> zeros(257);
  moment.read(0, zeros);
  EXPECT_EQ(zeros, std::vector<float>(257));
  EXPECT_EQ(stored(moment, zeros, 0), zeros);
}

INSTANTIATE_TEST_SUITE_P(Signs, MomentOf8Bits, ::testing::Values(Moment::Sign::both, Moment::Sign::positive),
                         [](const auto& p) { return p.param == Moment::Sign::both ? "first" : "second"; });

TEST(Moment, BytesAreThoseThatAreStored) {
  for (const StateType type : {StateType::f32, StateType::bf16, StateType::int8}) {
    Moment moment(type, Moment::Sign::both, 1000);
    std::uint64_t bytes = 0;
    for (const StoredBuffer& b : moment.stored("m")) bytes += b.bytes();
    EXPECT_EQ(bytes, Moment::bytes(type, 1000));
    EXPECT_EQ(parse_state(name(type)), type);
  }
  EXPECT_EQ(Moment::bytes(StateType::f32, 1000), 4000U);
  EXPECT_EQ(Moment::bytes(StateType::bf16, 1000), 2000U);
  EXPECT_EQ(Moment::bytes(StateType::int8, 1000), 1016U);
}

}  // namespace
}  // namespace rpt::train
