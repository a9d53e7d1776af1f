// SPDX-License-Identifier: MIT
#include "rpt/experiment/verdict.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>

#include "rpt/core/error.h"
#include "rpt/core/exact_math.h"
#include "rpt/evaluate/student_t.h"

namespace rpt::experiment {
namespace {

double p_of_equivalence(const Contrast& contrast, double margin) {
  const double room = margin - std::abs(contrast.estimate);
  const Inference& inference = *contrast.inference;
  if (inference.standard_error <= 0) return room > 0 ? 0.0 : 1.0;
  return std::min(1.0, 2.0 * evaluate::student_t_cdf(-room / inference.standard_error, inference.degrees));
}

Verdict verdict_of(double estimate, double p_difference, double p_equivalence) {
  if (p_equivalence <= kLevel) return Verdict::equivalent;
  if (p_difference <= kLevel) return estimate < 0 ? Verdict::improves : Verdict::worsens;
  return Verdict::undecided;
}

/// Mean of f(s) for s = √(χ²/ν), how much an estimated standard error differs from the true one.
/// Formula: the density of s is proportional to s^(ν−1) exp(−ν s²/2), highest near 1 with standard deviation near
/// 1/√(2ν); the trapezoidal rule over twelve of them to each side, its own sum as the constant.
template <typename Function>
double mean_over_errors(double degrees, Function f) {
  constexpr int kSteps = 2000;
  const double reach = 12.0 / std::sqrt(2.0 * degrees);
  const double low = std::max(0.0, 1.0 - reach);
  const double high = 1.0 + reach;
  double total = 0;
  double weights = 0;
  for (int i = 1; i < kSteps; ++i) {
    const double s = low + (high - low) * i / kSteps;
    const double weight = core::exact_exp((degrees - 1.0) * core::exact_log(s) - 0.5 * degrees * (s * s - 1.0));
    total += weight * f(s);
    weights += weight;
  }
  return total / weights;
}

double critical_value(double standard_error, double degrees) {
  RPT_CHECK(standard_error > 0 && degrees >= 2, "{}, {} degrees", standard_error, degrees);
  return evaluate::student_t_quantile(1.0 - 0.5 * kLevel, degrees);
}

}  // namespace

std::string_view name(Verdict verdict) {
  switch (verdict) {
    case Verdict::improves:
      return "improves";
    case Verdict::worsens:
      return "worsens";
    case Verdict::equivalent:
      return "equivalent";
    case Verdict::undecided:
      break;
  }
  return "undecided";
}

std::vector<double> holm_adjusted(std::span<const double> p_values) {
  std::vector<std::size_t> order(p_values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return p_values[a] < p_values[b]; });
  std::vector<double> adjusted(p_values.size());
  double largest = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    largest = std::max(largest, std::min(1.0, static_cast<double>(order.size() - i) * p_values[order[i]]));
    adjusted[order[i]] = largest;
  }
  return adjusted;
}

std::vector<Judgement> judge(std::span<const Contrast> family, double margin) {
  RPT_CHECK(margin > 0, "{}", margin);
  std::vector<double> differences;
  std::vector<double> equivalences;
  for (const Contrast& contrast : family) {
    if (!contrast.inference) continue;
    differences.push_back(contrast.inference->p_value);
    equivalences.push_back(p_of_equivalence(contrast, margin));
  }
  differences = holm_adjusted(differences);
  equivalences = holm_adjusted(equivalences);

  std::vector<Judgement> judgements;
  std::size_t next = 0;
  for (const Contrast& contrast : family) {
    Judgement& judgement = judgements.emplace_back();
    if (!contrast.inference) continue;
    judgement.p_difference = differences[next];
    judgement.p_equivalence = equivalences[next];
    judgement.verdict = verdict_of(contrast.estimate, differences[next], equivalences[next]);
    ++next;
  }
  return judgements;
}

double power_of_difference(double effect, double standard_error, double degrees) {
  const double critical = critical_value(standard_error, degrees);
  const double shift = std::abs(effect) / standard_error;
  return mean_over_errors(degrees, [&](double s) {
    return evaluate::normal_cdf(shift - critical * s) + evaluate::normal_cdf(-shift - critical * s);
  });
}

double power_of_equivalence(double margin, double standard_error, double degrees) {
  const double critical = critical_value(standard_error, degrees);
  return mean_over_errors(degrees, [&](double s) {
    return std::max(0.0, 2.0 * evaluate::normal_cdf(margin / standard_error - critical * s) - 1.0);
  });
}

double detectable_difference(double power, double standard_error, double degrees) {
  RPT_CHECK(power > kLevel && power < 1, "{}", power);
  double low = 0;
  double high = standard_error;
  while (power_of_difference(high, standard_error, degrees) < power) high *= 2.0;
  for (int halving = 0; halving < 40; ++halving) {
    const double middle = 0.5 * (low + high);
    (power_of_difference(middle, standard_error, degrees) < power ? low : high) = middle;
  }
  return high;
}

}  // namespace rpt::experiment
