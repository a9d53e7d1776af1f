// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rpt/evaluate/statistics.h"

/// Differences between the arms of an experiment, from the scores of their models on one text: docs/experiments.md.
/// B bases, N documents.
namespace rpt::experiment {

/// One model on the text.
struct ModelScores {
  std::string base;         ///< name of the pre-trained model that it came from
  std::uint64_t seed = 0;   ///< of its fine-tune
  std::vector<double> nll;  ///< Σ NLL of each document's scored tokens, nats, [N]
};

/// Models that were treated alike: every base, with one or more seeds each.
struct Arm {
  std::string name;
  std::vector<ModelScores> models;
};

/// What a difference is counted in: per cent of the baseline's NLL, or nats a token.
enum class Measure : std::uint8_t { percent, nats_a_token };

/// Fewest bases for which anything is said of others than themselves.
inline constexpr std::size_t kMinBases = 5;

/// What the bases and documents at hand say of others like them. In the contrast's measure.
struct Inference {
  double standard_error = 0;
  double degrees = 0;           ///< of freedom of its t distribution
  evaluate::Interval interval;  ///< 95 %, for bases, seeds and documents as drawn from many
  /// 95 %, for these very documents: Student's t on the B means of the bases, B − 1 degrees of freedom.
  evaluate::Interval same_text;
  double p_value = 1;  ///< two-sided, of no difference: of the t test that belongs to `interval`
};

/// An arm minus its baseline: below 0 the arm is better.
struct Contrast {
  std::string arm;
  std::string baseline;
  Measure measure = Measure::percent;
  std::vector<std::string> bases;  ///< [B], in the order of the baseline's models
  std::vector<double> by_base;     ///< documents pooled, seeds averaged, [B]
  double estimate = 0;             ///< mean of by_base
  std::int64_t documents = 0;
  std::optional<Inference> inference;  ///< needs kMinBases bases and evaluate::kMinUnits documents
};

/// Formula: m_bd and k_bd are the NLL of document d, averaged over the models of base b, of the arm and of the
/// baseline. by_base is Σ_d (m − k) / Σ_d w, where w_bd = k_bd / 100 or the number of tokens. interval = estimate ±
/// t(0.975, degrees) · standard_error, with variance and degrees of two_way.h's spread().
/// Sizes: tokens [N], those that were scored, > 0, the same for all models. Throws: ShapeError for other sizes;
/// ConfigError where the arms have different bases, a model stands twice, there is none, or an NLL is not finite, or
/// not positive for a baseline whose per cent are asked for.
Contrast contrast(const Arm& arm, const Arm& baseline, std::span<const double> tokens,
                  Measure measure = Measure::percent);

/// How much of what one arm does another one does too.
struct Share {
  Contrast part;
  Contrast whole;
  std::optional<double> share;                 ///< part.estimate / whole.estimate; needs a whole other than 0
  std::optional<evaluate::Interval> interval;  ///< 95 %; needs an inference, and a whole that is clearly not 0
};

/// The share of `whole` minus baseline that `part` minus baseline explains: with the arms 0 % + fine-tune, 10 % +
/// fine-tune and the untouched bases, what of the effect is the fine-tune's alone.
/// Formula: Fieller's interval, the shares ρ with |part − ρ · whole| ≤ t · √V(part − ρ · whole); V as for a contrast,
/// t by the degrees of freedom at the estimated share. Where it has no two ends, there is none.
/// Source: Fieller, "Some problems in interval estimation", J. Royal Statistical Society B 16 (1954).
/// Throws: as contrast.
Share share_explained(const Arm& part, const Arm& whole, const Arm& baseline, std::span<const double> tokens);

/// A base by itself.
struct BaseEffect {
  std::string base;
  double estimate = 0;
  std::optional<evaluate::Interval> interval;  ///< 95 %, BCa over documents; needs evaluate::kMinUnits documents
};

/// The differences within each base, where documents are the sample. Throws: as contrast.
std::vector<BaseEffect> effects_by_base(const Arm& arm, const Arm& baseline, std::span<const double> tokens,
                                        Measure measure = Measure::percent,
                                        const evaluate::BootstrapOptions& options = {});

}  // namespace rpt::experiment
