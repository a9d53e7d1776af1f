// SPDX-License-Identifier: MIT
#pragma once
#include <cstddef>
#include <span>
#include <vector>

/// How far the mean of an effect over bases is to be trusted, when all bases are scored on the same documents.
/// B bases, N documents.
namespace rpt::experiment {

/// An effect θ_b of every base, a ratio of sums over documents, and what each document did to it.
struct Effects {
  std::vector<double> by_base;  ///< θ_b = Σ_d numerator / Σ_d denominator, [B]
  std::vector<double>
      influence;  ///< u_bd = (numerator − θ_b · denominator) / Σ_d denominator, [B, N]; rows add up to 0
  /// What a variance over these documents is worth, of unequal weight p_d as they are: (Σp²)² / Σp⁴ − 1, at least 1;
  /// N − 1 for equal ones.
  double document_degrees = 0;

  std::size_t bases() const { return by_base.size(); }
  std::size_t documents() const { return influence.size() / by_base.size(); }
  /// The mean of θ_b.
  double mean() const;
};

/// Sizes: numerators, denominators [B, N], base after base. Throws: LogicError for sizes that do not fit, and where a
/// denominator is not positive.
Effects ratio_effects(std::span<const double> numerators, std::span<const double> denominators, std::size_t bases);

/// Variance of the mean effect by source (for two effects: the covariance). Formula: ū_d = mean over b of u_bd,
///   bases     = Σ_b (θ_b − θ̄)² / (B (B − 1)): bases and fine-tune seeds, and `both`, which moves bases too;
///   documents = N/(N−1) Σ_d ū_d²: what documents do to all bases alike, and `both`;
///   both      = N/(N−1) Σ_bd (u_bd − ū_d)² / (B (B − 1)): what a document does to one base.
struct Components {
  double bases = 0;
  double documents = 0;
  double both = 0;
};

/// Both of the same B ≥ 2 bases and N ≥ 2 documents (LogicError). components(a, a) is the variance of a's mean.
Components components(const Effects& a, const Effects& b);

/// Of a − factor · b, from their own components and those of the pair.
Components combined(const Components& aa, const Components& ab, const Components& bb, double factor);

/// A variance and the degrees of freedom of the t distribution that belongs to it.
struct Spread {
  double variance = 0;
  double degrees = 0;
  bool two_way = false;  ///< whether documents took part: bases + documents − both, else bases alone
};

/// The variance of a mean over bases and documents that are both a sample.
/// Formula: V = max(bases, bases + documents − both); degrees = max(B − 1, V² / (bases² / (B − 1) + documents² / D +
/// both² / ((B − 1) D))), D = document_degrees.
/// Source: V: Cameron, Gelbach, Miller, "Robust inference with multiway clustering", J. Business & Economic Statistics
/// 29 (2011), with the ratio linearised as in Cochran, "Sampling Techniques", 6.3. Degrees: Satterthwaite, "An
/// approximate distribution of estimates of variance components", Biometrics Bulletin 2 (1946). Never trusting V with
/// less than what bases alone show, in size and degrees, is ours; the coverage test is what holds it.
Spread spread(const Components& parts, std::size_t bases, double document_degrees);

}  // namespace rpt::experiment
