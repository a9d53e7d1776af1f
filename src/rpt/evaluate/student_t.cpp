// SPDX-License-Identifier: MIT
#include "rpt/evaluate/student_t.h"

#include <cmath>
#include <numbers>

#include "rpt/core/error.h"
#include "rpt/core/exact_math.h"

namespace rpt::evaluate {
namespace {

/// Γ(x + ½) / Γ(x), x > 0: its asymptotic series, behind the recurrence that leads to where five terms are enough.
double gamma_ratio(double x) {
  double factor = 1.0;
  for (; x < 64.0; x += 1.0) factor *= x / (x + 0.5);
  const double u = 1.0 / x;
  const double series =
      1.0 + u * (-1.0 / 8 + u * (1.0 / 128 + u * (5.0 / 1024 + u * (-21.0 / 32768 + u * (-399.0 / 262144)))));
  return factor * std::sqrt(x) * series;
}

/// Σ over n ≥ 0 of (a)_n / (b)_n · x^n, (a)_n = a (a + 1) … (a + n − 1); a, b > 0 and 0 ≤ x < 1.
double hypergeometric(double a, double b, double x) {
  double sum = 1.0;
  double term = 1.0;
  for (int n = 0; n < 100'000; ++n) {
    const double ratio = (a + n) / (b + n) * x;
    term *= ratio;
    sum += term;
    // Once the terms fall, what is left is below a geometric series.
    if (ratio < 1.0 && term < sum * 0x1p-55 * (1.0 - ratio)) break;
  }
  return sum;
}

/// P(T ≤ t) for t ≤ 0; `ratio` is gamma_ratio(ν / 2).
double lower_tail(double t, double degrees, double ratio) {
  if (t < -1e150) return 0.0;
  const double odds = t * t / degrees;  // x / (1 − x)
  const double x = odds / (1.0 + odds);
  const double z = 1.0 / (1.0 + odds);
  const double b = 0.5 * degrees;
  const double factor = std::sqrt(x) * core::exact_pow(z, b) * ratio * std::numbers::inv_sqrtpi;
  if (x > 0.5) return factor / degrees * hypergeometric(b + 0.5, b + 1.0, z);
  if (t * t > 700.0) return 0.0;  // ν ≥ 700, and the tail is below 1e-100
  return std::fmax(0.0, 0.5 - factor * hypergeometric(b + 0.5, 1.5, x));
}

void check_degrees(double degrees) {
  RPT_CHECK(degrees >= 1.0 && degrees <= 1e9, "{} degrees of freedom", degrees);
}

}  // namespace

double student_t_cdf(double t, double degrees) {
  check_degrees(degrees);
  RPT_CHECK(!std::isnan(t));
  const double ratio = gamma_ratio(0.5 * degrees);
  return t <= 0 ? lower_tail(t, degrees, ratio) : 1.0 - lower_tail(-t, degrees, ratio);
}

double student_t_quantile(double p, double degrees) {
  check_degrees(degrees);
  RPT_CHECK(p >= 1e-9 && p <= 1.0 - 1e-9, "{}", p);
  if (p > 0.5) return -student_t_quantile(1.0 - p, degrees);
  const double ratio = gamma_ratio(0.5 * degrees);
  double low = -1.0;
  while (lower_tail(low, degrees, ratio) > p) low *= 2.0;
  double high = low < -1.0 ? 0.5 * low : 0.0;
  for (int halving = 0; halving < 54; ++halving) {
    const double middle = 0.5 * (low + high);
    (lower_tail(middle, degrees, ratio) < p ? low : high) = middle;
  }
  return high;
}

}  // namespace rpt::evaluate
