// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "rpt/experiment/contrast.h"

/// What may be said of contrasts, and what could have been found.
namespace rpt::experiment {

enum class Verdict : std::uint8_t { improves, worsens, equivalent, undecided };

/// "improves", "worsens", "equivalent", "undecided".
std::string_view name(Verdict verdict);

/// Share of families in which a difference is found where there is none, and of those in which an equivalence is.
inline constexpr double kLevel = 0.05;

/// The equivalence margin of the pre-declared contrast, per cent of NLL.
inline constexpr double kMarginPercent = 0.5;

/// Holm's adjusted p-values, in the order given: the hypotheses with an adjusted p ≤ α may be rejected together, with
/// probability at most α that one of them is true. Formula: for ascending p_(1) … p_(m), the largest of
/// min(1, (m − j + 1) p_(j)) over j ≤ i. Source: Holm, "A simple sequentially rejective multiple test procedure",
/// Scandinavian J. of Statistics 6 (1979).
std::vector<double> holm_adjusted(std::span<const double> p_values);

/// The two p-values of a contrast, adjusted for its family, and what follows.
struct Judgement {
  Verdict verdict = Verdict::undecided;
  std::optional<double> p_difference;   ///< of no difference
  std::optional<double> p_equivalence;  ///< of a difference of `margin` or more
};

/// Judges a family of contrasts together; the one that was declared beforehand is a family by itself. A contrast is
/// `equivalent` where p_equivalence ≤ kLevel, else `improves` or `worsens` where p_difference ≤ kLevel, else, and
/// without an inference, `undecided`. In a family of one: equivalent where the 95 % interval lies within ±margin, even
/// if 0 is not in it, since the margin was declared to be what matters; else by the side of 0 on which it lies.
/// Formula: p_equivalence = 2 P(T ≥ (margin − |estimate|) / standard_error), at most 1: two one-sided tests, each at
/// half the level, so that one interval settles every verdict. Units: margin > 0 (LogicError) in the contrasts'
/// measure.
std::vector<Judgement> judge(std::span<const Contrast> family, double margin);

/// Of an experiment with that standard error (its true value) and those degrees of freedom, at kLevel: the probability
/// that the 95 % interval leaves out 0 when the true difference is `effect`. Formula: P(|Z + effect / standard_error| >
/// t · √(χ²/ν)), the noncentral t distribution, integrated over χ. Absolute error below 1e-6. Throws: LogicError for a
/// standard error that is not positive, or fewer than 2 degrees.
double power_of_difference(double effect, double standard_error, double degrees);

/// The same for the verdict `equivalent` when the true difference is 0.
double power_of_equivalence(double margin, double standard_error, double degrees);

/// The difference that is found with probability `power` (kLevel < power < 1, LogicError otherwise).
double detectable_difference(double power, double standard_error, double degrees);

}  // namespace rpt::experiment
