// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <optional>
#include <span>

/// Intervals over documents. n documents, B resamples.
namespace rpt::evaluate {

struct Interval {
  double low = 0;
  double high = 0;
  bool operator==(const Interval&) const = default;
};

/// Fewest units for which an interval is given.
inline constexpr std::size_t kMinUnits = 8;

struct BootstrapOptions {
  std::uint64_t seed = 0;
  std::int64_t resamples = 10'000;
  double confidence = 0.95;
};

/// The bias-corrected and accelerated bootstrap interval of Σ numerator / Σ denominator, when units (documents) are
/// drawn with replacement. For the mean NLL a token: NLL sums and token counts; for a paired difference of two models:
/// the differences of their sums, and the counts. Nothing under kMinUnits units. Sizes: numerators, denominators [n],
/// denominators > 0. Formula: z0 = Φ⁻¹((#{θ* < θ} + #{θ* ≤ θ}) / 2B), kept inside [1/2B, 1 − 1/2B]; a = Σd³ / (6
/// (Σd²)^1.5) with d_i = mean of the jackknife − θ without i, 0 where all are equal; the ends are the quantiles (linear
/// between order statistics) at Φ(z0 + (z0 + z) / (1 − a (z0 + z))). Source: Efron, "Better bootstrap confidence
/// intervals", JASA 82 (1987); the choices are scipy.stats.bootstrap's. Throws: LogicError for sizes or options that
/// make no sense. Cost: n · B random numbers.
std::optional<Interval> bca_ratio_interval(std::span<const double> numerators, std::span<const double> denominators,
                                           const BootstrapOptions& options = {});

/// Distribution function of the standard normal distribution. Absolute error below 1e-15; own arithmetic, so the same
/// everywhere.
double normal_cdf(double x);

/// Its inverse, for 1e-9 ≤ p ≤ 1 − 1e-9 (LogicError outside). Absolute error below 1e-15 / φ(x) at the result x: 2e-14
/// for p = 0.025, 2e-7 for 1e-9.
double normal_quantile(double p);

}  // namespace rpt::evaluate
