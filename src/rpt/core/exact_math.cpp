// SPDX-License-Identifier: MIT
#include "rpt/core/exact_math.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "rpt/core/exact_exp_constants.h"
#include "rpt/core/exact_log_table.h"

// std::fma, std::nearbyint and std::abs are exact or correctly rounded wherever IEEE 754 is honoured; nothing else of
// libm is used here. All polynomials interpolate at Chebyshev points of the interval named beside them.

namespace rpt::core {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

/// A number as the unevaluated sum of two, |low| at most half an ulp of high.
struct Double2 {
  double high;
  double low;
};

/// a + b exactly, for any two magnitudes. Source: Knuth, TAOCP 2, 4.2.2 theorem B.
Double2 two_sum(double a, double b) {
  const double s = a + b;
  const double b_part = s - a;
  return {s, (a - (s - b_part)) + (b - b_part)};
}

/// a · b exactly.
Double2 two_product(double a, double b) {
  const double p = a * b;
  return {p, std::fma(a, b, -p)};
}

/// Σ c[i] · x^i by Horner's rule, each step one fma.
template <int kCount>
double polynomial(const double (&c)[kCount], double x) {
  double sum = c[kCount - 1];
  for (int i = kCount - 2; i >= 0; --i) sum = std::fma(sum, x, c[i]);
  return sum;
}

/// 2^n for −1022 ≤ n ≤ 1023.
double power_of_two(int n) {
  return std::bit_cast<double>(static_cast<std::uint64_t>(n + 1023) << 52);
}
float power_of_two_f32(int n) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(n + 127) << 23);
}

constexpr double kLn2High = 0x1.62e42fefa3800p-1;  // a multiple of 2^−42: k · kLn2High is exact for |k| < 2^11
constexpr double kLn2Low = 0x1.ef35793c76730p-45;

/// e^(x.high + x.low).
double exp_of_sum(Double2 x) {
  // (e^r − 1 − r) / r² on |r| ≤ ln 2 / 2, error below 2^−61.
  constexpr double kQ[] = {0x1.0000000000000p-1,  0x1.5555555555557p-3,  0x1.5555555555556p-5,  0x1.11111111100dcp-7,
                           0x1.6c16c16c162d4p-10, 0x1.a01a01abe7fe1p-13, 0x1.a01a01a6d889cp-16, 0x1.71de0231960ebp-19,
                           0x1.27e4db646b17ep-22, 0x1.af4de97ca4194p-26, 0x1.1f730349868cep-29};
  constexpr double kLog2E = 0x1.71547652b82fep+0;
  if (x.high > 710.0) return kInfinity;
  if (x.high < -746.0) return 0.0;
  const double n = std::nearbyint(x.high * kLog2E);
  const double r_high = std::fma(n, -kLn2High, x.high);  // exact
  const Double2 r = two_sum(r_high, std::fma(n, -kLn2Low, x.low));
  const Double2 head = two_sum(1.0, r.high);
  const double p = head.high + (head.low + std::fma(r.high * r.high, polynomial(kQ, r.high), r.low));
  // 2^n in two steps, because n runs from −1076 to 1025; only the second can round.
  const int exponent = static_cast<int>(n);
  const int half = exponent / 2;
  return p * power_of_two(half) * power_of_two(exponent - half);
}

/// ln(x) to about 2^−67 of its value, for 0 < x < infinity.
Double2 log_double2(double x) {
  // (ln(1 + r) − r + r²/2) / r³ on |r| ≤ 0.0114, error below 2^−82 · r.
  constexpr double kP[] = {0x1.5555555555555p-2,  -0x1.0000000000000p-2, 0x1.999999999999ap-3,
                           -0x1.5555555556167p-3, 0x1.2492492492fb7p-3,  -0x1.ffffff5cbf9d3p-4,
                           0x1.c71c71306ac36p-4,  -0x1.99b327cb49af5p-4, 0x1.7474ae3b7a371p-4};
  int k = 0;
  if (x < std::numeric_limits<double>::min()) {
    x *= 0x1p54;
    k = -54;
  }
  // x = 2^k · m with m in [0.703125, 1.40625): 90/128 has the high word 0x3fe6800000000000.
  const auto bits = std::bit_cast<std::uint64_t>(x);
  const auto shifted = static_cast<std::int64_t>(bits - 0x3fe6800000000000U) >> 52;
  k += static_cast<int>(shifted);
  const double m = std::bit_cast<double>(bits - (static_cast<std::uint64_t>(shifted) << 52));

  // m = (1 + r) / c with c = 64 / j: |r| ≤ 1 / (2 j) and r = 0 where m = 1, so that ln keeps its relative error there.
  const double j = std::nearbyint(m * 64.0);
  const double c = 64.0 / j;
  const log_table::Entry& entry = log_table::kTable[static_cast<int>(j) - log_table::kFirst];
  const Double2 product = two_product(m, c);
  const Double2 r = two_sum(product.high - 1.0, product.low);  // the difference is exact

  const Double2 square = two_product(r.high, -0.5 * r.high);
  const Double2 base = two_sum(k * kLn2High + entry.high, r.high);  // the first sum is exact
  const Double2 sum = two_sum(base.high, square.high);
  const double cube = r.high * r.high * r.high * polynomial(kP, r.high);
  const double rest = ((k * kLn2Low + entry.low) + (r.low - r.high * r.low)) + square.low + base.low + sum.low;
  return two_sum(sum.high, rest + cube);
}

/// x = n · π/2 + r with |r| ≤ π/4; `quadrant` = n mod 4.
struct Reduced {
  Double2 r;
  int quadrant;
};

/// Cody-Waite in three parts of 53 bits, |x| ≤ 2^30: n < 2^30, so what is left out is below 2^30 · 2^−163.
Reduced reduce_angle(double x) {
  constexpr double kTwoOverPi = 0x1.45f306dc9c883p-1;
  constexpr double kHigh = 0x1.921fb54442d18p+0;
  constexpr double kMiddle = 0x1.1a62633145c07p-54;
  constexpr double kLow = -0x1.f1976b7ed8fbcp-110;
  const double n = std::nearbyint(x * kTwoOverPi);
  // Exact: a multiple of 2^−53 (both x and kHigh are, where n is not 0) below 1.
  const double first = std::fma(n, -kHigh, x);
  const Double2 product = two_product(n, kMiddle);
  const Double2 difference = two_sum(first, -product.high);
  const Double2 r = two_sum(difference.high, std::fma(n, -kLow, difference.low - product.low));
  return {r, static_cast<int>(static_cast<std::int64_t>(n) & 3)};
}

/// sin(r.high + r.low), |r| ≤ π/4.
double sin_reduced(Double2 r) {
  // (sin r − r) / r³ in r² on |r| ≤ π/4.
  constexpr double kS[] = {-0x1.5555555555555p-3, 0x1.1111111110bb1p-7,   -0x1.a01a019e8357dp-13,
                           0x1.71de37961e4c6p-19, -0x1.ae600a926c89ap-26, 0x1.5e0af186af739p-33};
  const double z = r.high * r.high;
  // The slope of sin at r is 1 − r²/2 …: what r.low adds.
  const double low = std::fma(-0.5 * z, r.low, r.low);
  return r.high + std::fma(r.high * z, polynomial(kS, z), low);
}

/// cos(r.high + r.low), |r| ≤ π/4.
double cos_reduced(Double2 r) {
  // (cos r − 1 + r²/2) / r⁴ in r² on |r| ≤ π/4.
  constexpr double kC[] = {0x1.5555555555555p-5,   -0x1.6c16c16c16966p-10, 0x1.a01a019f4e867p-16,
                           -0x1.27e4fa17a41b4p-22, 0x1.1eeb68b109173p-29,  -0x1.907d7aebd5e3dp-37};
  const Double2 half_square = two_product(r.high, 0.5 * r.high);
  const Double2 head = two_sum(1.0, -half_square.high);
  const double z = r.high * r.high;
  const double rest = std::fma(z * z, polynomial(kC, z), -r.high * r.low);
  return head.high + (rest + (head.low - half_square.low));
}

constexpr double kLargestAngle = 0x1p30;
constexpr double kTinyAngle = 0x1p-27;  // below it sin x rounds to x and cos x to 1

}  // namespace

float exact_exp(float x) {
  namespace c = exp_f32;
  if (!(x >= c::kLowest)) return x < c::kLowest ? 0.0F : x + x;  // x + x: a NaN, made quiet
  if (x > c::kHighest) return std::numeric_limits<float>::infinity();
  const float n = std::nearbyint(x * c::kLog2E);
  float r = std::fma(n, -c::kLn2High, x);
  r = std::fma(n, -c::kLn2Low, r);
  float q = std::fma(c::kQ4, r, c::kQ3);
  q = std::fma(q, r, c::kQ2);
  q = std::fma(q, r, c::kQ1);
  q = std::fma(q, r, c::kQ0);
  const float p = std::fma(r * r, q, r) + 1.0F;
  // 2^n in two steps, because n runs from −126 to 128; both are exact unless the result overflows.
  const int exponent = static_cast<int>(n);
  const int half = exponent / 2;
  return p * power_of_two_f32(half) * power_of_two_f32(exponent - half);
}

double exact_exp(double x) {
  if (x != x) return x + x;
  return exp_of_sum({x, 0.0});
}

double exact_log(double x) {
  if (x == 0.0) return -kInfinity;
  if (!(x > 0.0)) return kNan;
  if (x == kInfinity) return x;
  return log_double2(x).high;
}

float exact_log(float x) {
  return static_cast<float>(exact_log(static_cast<double>(x)));
}

double exact_pow(double x, double y) {
  if (!(x > 0.0 && x < kInfinity && std::abs(y) < kInfinity)) return kNan;
  const Double2 log = log_double2(x);
  // Beyond the range of exp the parts of a product may be infinite, and infinity − infinity a NaN: decide by a plain
  // one.
  const double plain = y * log.high;
  if (std::abs(plain) > 1000.0) return plain > 0.0 ? kInfinity : 0.0;
  const Double2 product = two_product(y, log.high);
  return exp_of_sum({product.high, std::fma(y, log.low, product.low)});
}

double exact_sin(double x) {
  if (!(std::abs(x) <= kLargestAngle)) return kNan;
  if (std::abs(x) < kTinyAngle) return x;
  const Reduced angle = reduce_angle(x);
  const double value = (angle.quadrant & 1) == 0 ? sin_reduced(angle.r) : cos_reduced(angle.r);
  return (angle.quadrant & 2) == 0 ? value : -value;
}

double exact_cos(double x) {
  if (!(std::abs(x) <= kLargestAngle)) return kNan;
  if (std::abs(x) < kTinyAngle) return 1.0;
  const Reduced angle = reduce_angle(x);
  const double value = (angle.quadrant & 1) == 0 ? cos_reduced(angle.r) : sin_reduced(angle.r);
  return angle.quadrant == 0 || angle.quadrant == 3 ? value : -value;
}

float exact_sin(float x) {
  return static_cast<float>(exact_sin(static_cast<double>(x)));
}
float exact_cos(float x) {
  return static_cast<float>(exact_cos(static_cast<double>(x)));
}

}  // namespace rpt::core
