// SPDX-License-Identifier: MIT
#include "rpt/core/exact_math.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>

#include "rpt/core/exact_exp_constants.h"
#include "rpt/core/exact_log_table.h"

namespace rpt::core {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

/// Uniform numbers by exact arithmetic only, so that they are the same with every standard library.
class Arguments {
 public:
  explicit Arguments(std::uint64_t seed) : engine_(seed) {}
  double uniform(double low, double high) {
    return low + (high - low) * (static_cast<double>(engine_() >> 11) * 0x1p-53);
  }
  /// Any positive finite double, uniform in its bits.
  double positive() { return std::bit_cast<double>(engine_() % 0x7ff0000000000000U); }

 private:
  std::mt19937_64 engine_;
};

/// |got − expected| in units in the last place of a T at `expected`.
template <typename T>
double ulps(T got, long double expected) {
  if (expected == 0.0L) return got == T{0} ? 0.0 : 1e9;
  constexpr int kLowest = std::numeric_limits<T>::min_exponent - std::numeric_limits<T>::digits;
  int exponent = 0;
  std::frexp(expected, &exponent);
  exponent = std::max(exponent - std::numeric_limits<T>::digits, kLowest);
  return static_cast<double>(std::abs(std::ldexp(static_cast<long double>(got) - expected, -exponent)));
}

constexpr int kErrorTrials = 100'000;

/// The largest error of f against the long double function g over arguments from `next`.
template <typename T, typename F, typename G, typename Next>
double largest_error(const F& f, const G& g, const Next& next) {
  double worst = 0.0;
  for (int i = 0; i < kErrorTrials; ++i) {
    const T x = static_cast<T>(next());
    const double error = ulps<T>(f(x), g(static_cast<long double>(x)));
    worst = std::max(worst, error);
  }
  return worst;
}

const auto kLongExp = [](long double x) { return std::exp(x); };
const auto kLongLog = [](long double x) { return std::log(x); };
const auto kLongSin = [](long double x) { return std::sin(x); };
const auto kLongCos = [](long double x) { return std::cos(x); };
const auto kExp = [](auto x) { return exact_exp(x); };
const auto kLog = [](auto x) { return exact_log(x); };
const auto kSin = [](auto x) { return exact_sin(x); };
const auto kCos = [](auto x) { return exact_cos(x); };

TEST(ExactMath, ExpKeepsItsErrorBound) {
  Arguments a(1);
  EXPECT_LE(largest_error<float>(kExp, kLongExp, [&] { return a.uniform(-87.0, 88.7); }), 1.1);
  EXPECT_LE(largest_error<float>(kExp, kLongExp, [&] { return a.uniform(-1.0, 1.0); }), 1.1);
  EXPECT_LE(largest_error<double>(kExp, kLongExp, [&] { return a.uniform(-708.0, 709.7); }), 0.66);
  EXPECT_LE(largest_error<double>(kExp, kLongExp, [&] { return a.uniform(-1.0, 1.0); }), 0.66);
  EXPECT_LE(largest_error<double>(kExp, kLongExp, [&] { return a.uniform(-745.0, -708.0); }), 1.0);
}

TEST(ExactMath, LogKeepsItsErrorBound) {
  Arguments a(2);
  EXPECT_LE(largest_error<double>(kLog, kLongLog, [&] { return a.positive(); }), 0.51);
  EXPECT_LE(largest_error<double>(kLog, kLongLog, [&] { return a.uniform(0.7, 1.42); }), 0.51);
  EXPECT_LE(largest_error<double>(kLog, kLongLog, [&] { return 1.0 + a.uniform(-1e-6, 1e-6); }), 0.51);
  EXPECT_LE(largest_error<float>(kLog, kLongLog, [&] { return a.uniform(1e-3, 1e6); }), 0.51);
}

TEST(ExactMath, SinAndCosKeepTheirErrorBound) {
  Arguments a(3);
  for (const double range : {1.0, 10.0, 1e6, 0x1p30}) {
    const auto next = [&] { return a.uniform(-range, range); };
    EXPECT_LE(largest_error<double>(kSin, kLongSin, next), 0.85) << range;
    EXPECT_LE(largest_error<double>(kCos, kLongCos, next), 0.85) << range;
    EXPECT_LE(largest_error<float>(kSin, kLongSin, next), 0.51) << range;
    EXPECT_LE(largest_error<float>(kCos, kLongCos, next), 0.51) << range;
  }
  // Beside the zeros, where the reduction has to keep all its digits.
  const auto near_zero = [&] { return static_cast<double>(std::floor(a.uniform(1.0, 1e8)) * 1.57079632679489661923L); };
  EXPECT_LE(largest_error<double>(kSin, kLongSin, near_zero), 0.85);
  EXPECT_LE(largest_error<double>(kCos, kLongCos, near_zero), 0.85);
}

TEST(ExactMath, PowKeepsItsErrorBound) {
  Arguments a(4);
  double worst = 0.0;
  for (int i = 0; i < kErrorTrials; ++i) {
    const double x = i % 2 == 0 ? a.uniform(0.5, 1e6) : a.uniform(0.9, 1.1);
    const double y = i % 2 == 0 ? a.uniform(-50.0, 50.0) : a.uniform(-6000.0, 6000.0);
    const long double expected = std::pow(static_cast<long double>(x), static_cast<long double>(y));
    if (expected < 1e-300L || expected > 1e300L) continue;
    worst = std::max(worst, ulps<double>(exact_pow(x, y), expected));
  }
  EXPECT_LE(worst, 0.66);
}

TEST(ExactMath, ExpOfSpecialValues) {
  EXPECT_EQ(exact_exp(0.0F), 1.0F);
  EXPECT_EQ(exact_exp(-0.0F), 1.0F);
  EXPECT_GT(exact_exp(-87.0F), std::numeric_limits<float>::min());
  const float below = std::nextafter(-87.0F, -100.0F);
  EXPECT_EQ(std::bit_cast<std::uint32_t>(exact_exp(below)), 0U);
  EXPECT_EQ(std::bit_cast<std::uint32_t>(exact_exp(-std::numeric_limits<float>::infinity())), 0U);
  EXPECT_TRUE(std::isfinite(exact_exp(88.72283F)));
  EXPECT_EQ(exact_exp(88.72284F), std::numeric_limits<float>::infinity());
  EXPECT_EQ(exact_exp(89.5F), std::numeric_limits<float>::infinity());
  EXPECT_EQ(exact_exp(std::numeric_limits<float>::infinity()), std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(exact_exp(std::numeric_limits<float>::quiet_NaN())));

  EXPECT_EQ(exact_exp(0.0), 1.0);
  EXPECT_EQ(exact_exp(-745.2), 0.0);
  EXPECT_EQ(exact_exp(-745.0), std::numeric_limits<double>::denorm_min());
  EXPECT_TRUE(std::isfinite(exact_exp(709.78)));
  EXPECT_EQ(exact_exp(709.79), kInfinity);
  EXPECT_EQ(exact_exp(kInfinity), kInfinity);
  EXPECT_EQ(exact_exp(-kInfinity), 0.0);
  EXPECT_TRUE(std::isnan(exact_exp(kNan)));
}

TEST(ExactMath, LogAndPowOfSpecialValues) {
  EXPECT_EQ(exact_log(1.0), 0.0);
  EXPECT_EQ(exact_log(0.0), -kInfinity);
  EXPECT_EQ(exact_log(-0.0), -kInfinity);
  EXPECT_TRUE(std::isnan(exact_log(-1.0)));
  EXPECT_TRUE(std::isnan(exact_log(kNan)));
  EXPECT_EQ(exact_log(kInfinity), kInfinity);
  EXPECT_EQ(exact_log(2.0F), static_cast<float>(exact_log(2.0)));
  EXPECT_EQ(exact_log(0.0F), -std::numeric_limits<float>::infinity());

  EXPECT_EQ(exact_pow(2.0, 10.0), 1024.0);
  EXPECT_EQ(exact_pow(10'000.0, 0.0), 1.0);
  EXPECT_EQ(exact_pow(500'000.0, -0.5), 1.0 / std::sqrt(500'000.0));
  EXPECT_EQ(exact_pow(2.0, -1074.0), std::numeric_limits<double>::denorm_min());
  EXPECT_EQ(exact_pow(2.0, 1024.0), kInfinity);
  EXPECT_EQ(exact_pow(2.0, 1e308), kInfinity);
  EXPECT_EQ(exact_pow(2.0, -1e308), 0.0);
  EXPECT_EQ(exact_pow(1.0, 1e308), 1.0);
  for (const double x : {0.0, -1.0, kInfinity, kNan}) EXPECT_TRUE(std::isnan(exact_pow(x, 2.0))) << x;
  for (const double y : {kInfinity, -kInfinity, kNan}) EXPECT_TRUE(std::isnan(exact_pow(2.0, y))) << y;
}

TEST(ExactMath, SinAndCosOfSpecialValues) {
  EXPECT_EQ(exact_sin(0.0), 0.0);
  EXPECT_TRUE(std::signbit(exact_sin(-0.0)));
  EXPECT_EQ(exact_cos(0.0), 1.0);
  EXPECT_EQ(exact_sin(1e-300), 1e-300);
  EXPECT_EQ(exact_sin(-0.5), -exact_sin(0.5));
  EXPECT_EQ(exact_cos(-0.5), exact_cos(0.5));
  EXPECT_TRUE(std::isfinite(exact_sin(0x1p30)));
  EXPECT_TRUE(std::isnan(exact_sin(0x1.0000000000001p30)));
  EXPECT_TRUE(std::isnan(exact_cos(-0x1.0000000000001p30)));
  EXPECT_TRUE(std::isnan(exact_sin(kInfinity)));
  EXPECT_TRUE(std::isnan(exact_cos(kNan)));
  EXPECT_TRUE(std::isnan(exact_cos(std::numeric_limits<float>::infinity())));
}

TEST(ExactMath, LogTableHoldsTheLogarithmsOfItsCentres) {
  for (int j = log_table::kFirst; j <= log_table::kLast; ++j) {
    const log_table::Entry& entry = log_table::kTable[j - log_table::kFirst];
    const long double expected = -std::log(static_cast<long double>(64.0 / j));
    // long double has 64 bits here: it sees the first 20 or so bits of the low parts.
    EXPECT_NEAR(static_cast<double>(static_cast<long double>(entry.high) + entry.low - expected), 0.0, 0x1p-63) << j;
    EXPECT_EQ(std::nearbyint(entry.high * 0x1p42), entry.high * 0x1p42) << j;
  }
}

/// FNV-1a, 64 bits, over the bytes of values, lowest byte first.
class Hash {
 public:
  void add(double value) { add_bytes(std::bit_cast<std::uint64_t>(value), 8); }
  void add(float value) { add_bytes(std::bit_cast<std::uint32_t>(value), 4); }
  std::uint64_t value() const { return hash_; }

 private:
  void add_bytes(std::uint64_t bits, int count) {
    for (int i = 0; i < count; ++i) hash_ = (hash_ ^ ((bits >> (8 * i)) & 0xffU)) * 0x100000001b3U;
  }
  std::uint64_t hash_ = 0xcbf29ce484222325U;
};

constexpr int kHashArguments = 1'000'000;

template <typename Next>
std::uint64_t hash_of(const Next& next) {
  Hash hash;
  for (int i = 0; i < kHashArguments; ++i) hash.add(next());
  return hash.value();
}

// The values themselves are part of the forward contract: the same bits with every compiler and on every machine.
TEST(ExactMath, ValuesNeverChange) {
  Arguments a(5);
  EXPECT_EQ(hash_of([&] { return exact_exp(static_cast<float>(a.uniform(-90.0, 90.0))); }), 0x5b052c4fae08fa79U);
  EXPECT_EQ(hash_of([&] { return exact_exp(a.uniform(-750.0, 712.0)); }), 0x9c8bf6e0cc23c463U);
  EXPECT_EQ(hash_of([&] { return exact_log(a.positive()); }), 0xdf4330722213bcafU);
  EXPECT_EQ(hash_of([&] { return exact_log(static_cast<float>(a.uniform(0.0, 2.0))); }), 0x5cbc97518241d213U);
  EXPECT_EQ(hash_of([&] {
              const double x = a.uniform(0.0, 1e6);
              return exact_pow(x, a.uniform(-4.0, 4.0));
            }),
            0x6904cf0260d165a0U);
  EXPECT_EQ(hash_of([&] { return exact_sin(a.uniform(-0x1p20, 0x1p20)); }), 0x486733a20f1ac678U);
  EXPECT_EQ(hash_of([&] { return exact_cos(a.uniform(-0x1p20, 0x1p20)); }), 0x6b0f429d789cc46bU);
  EXPECT_EQ(hash_of([&] { return exact_sin(static_cast<float>(a.uniform(-1e4, 1e4))); }), 0x7186bfffa22425ceU);
  EXPECT_EQ(hash_of([&] { return exact_cos(static_cast<float>(a.uniform(-1e4, 1e4))); }), 0x60837cd6b9a3c8d6U);
}

}  // namespace
}  // namespace rpt::core
