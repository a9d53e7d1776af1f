// SPDX-License-Identifier: MIT
#include "rpt/evaluate/statistics.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "rpt/core/error.h"
#include "rpt/core/exact_math.h"
#include "rpt/core/random.h"

namespace rpt::evaluate {
namespace {

double density(double x) {
  return core::exact_exp(-0.5 * x * x) * (std::numbers::inv_sqrtpi / std::numbers::sqrt2);
}

/// The statistic of `resamples` samples of n units each, ascending.
std::vector<double> bootstrap(std::span<const double> numerators, std::span<const double> denominators,
                              const BootstrapOptions& options) {
  core::Random random(options.seed);
  const std::size_t n = numerators.size();
  std::vector<double> statistics(static_cast<std::size_t>(options.resamples));
  for (double& statistic : statistics) {
    double numerator = 0;
    double denominator = 0;
    for (std::size_t i = 0; i < n; ++i) {
      const auto unit = static_cast<std::size_t>(random.below(n));
      numerator += numerators[unit];
      denominator += denominators[unit];
    }
    statistic = numerator / denominator;
  }
  std::sort(statistics.begin(), statistics.end());
  return statistics;
}

/// From the statistic with each unit left out in turn.
double acceleration(std::span<const double> numerators, std::span<const double> denominators, double numerator,
                    double denominator) {
  const std::size_t n = numerators.size();
  std::vector<double> without(n);
  double mean = 0;
  for (std::size_t i = 0; i < n; ++i) {
    without[i] = (numerator - numerators[i]) / (denominator - denominators[i]);
    mean += without[i];
  }
  mean /= static_cast<double>(n);
  double squares = 0;
  double cubes = 0;
  for (const double value : without) {
    const double d = mean - value;
    squares += d * d;
    cubes += d * d * d;
  }
  return squares > 0 ? cubes / (6.0 * squares * std::sqrt(squares)) : 0.0;
}

/// Quantile of ascending values, linear between order statistics.
double quantile(const std::vector<double>& ascending, double p) {
  const double place = p * static_cast<double>(ascending.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const auto above = std::min(below + 1, ascending.size() - 1);
  return ascending[below] + (place - static_cast<double>(below)) * (ascending[above] - ascending[below]);
}

/// Where the bias-corrected and accelerated interval has its end that a plain one has at the normal quantile z.
double corrected_level(double z0, double a, double z) {
  const double shifted = z0 + z;
  const double shrink = 1.0 - a * shifted;
  if (shrink <= 0) return shifted > 0 ? 1.0 : 0.0;  // beyond the pole: its limit
  return normal_cdf(z0 + shifted / shrink);
}

}  // namespace

double normal_cdf(double x) {
  if (x < -9.0) return 0.0;  // 1.1e-19 there
  if (x > 9.0) return 1.0;
  // Φ(x) = 1/2 + φ(x) · (x + x³/3 + x⁵/(3·5) + …): all terms of one sign, so that no digits cancel.
  double term = x;
  double sum = x;
  for (int k = 3; std::abs(term) > std::abs(sum) * 0x1p-54; k += 2) {
    term *= x * x / k;
    sum += term;
  }
  return std::clamp(0.5 + density(x) * sum, 0.0, 1.0);
}

double normal_quantile(double p) {
  RPT_CHECK(p >= 1e-9 && p <= 1.0 - 1e-9, "{}", p);
  double low = -7.0;
  double high = 7.0;
  for (int halving = 0; halving < 60; ++halving) {
    const double middle = 0.5 * (low + high);
    (normal_cdf(middle) < p ? low : high) = middle;
  }
  return high;
}

std::optional<Interval> bca_ratio_interval(std::span<const double> numerators, std::span<const double> denominators,
                                           const BootstrapOptions& options) {
  RPT_CHECK(numerators.size() == denominators.size(), "{} and {}", numerators.size(), denominators.size());
  RPT_CHECK(options.resamples > 0 && options.confidence > 0 && options.confidence < 1, "{} resamples, confidence {}",
            options.resamples, options.confidence);
  RPT_CHECK(std::all_of(denominators.begin(), denominators.end(), [](double d) { return d > 0; }), "denominators");
  if (numerators.size() < kMinUnits) return std::nullopt;

  double numerator = 0;
  double denominator = 0;
  for (std::size_t i = 0; i < numerators.size(); ++i) {
    numerator += numerators[i];
    denominator += denominators[i];
  }
  const double estimate = numerator / denominator;
  const std::vector<double> statistics = bootstrap(numerators, denominators, options);

  const auto less = std::lower_bound(statistics.begin(), statistics.end(), estimate) - statistics.begin();
  const auto not_more = std::upper_bound(statistics.begin(), statistics.end(), estimate) - statistics.begin();
  const double twice = 2.0 * static_cast<double>(statistics.size());
  const double share = std::clamp(static_cast<double>(less + not_more) / twice, 1.0 / twice, 1.0 - 1.0 / twice);
  const double z0 = normal_quantile(share);
  const double a = acceleration(numerators, denominators, numerator, denominator);
  const double z = normal_quantile(0.5 * (1.0 + options.confidence));
  return Interval{quantile(statistics, corrected_level(z0, a, -z)), quantile(statistics, corrected_level(z0, a, z))};
}

}  // namespace rpt::evaluate
