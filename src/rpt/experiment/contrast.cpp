// SPDX-License-Identifier: MIT
#include "rpt/experiment/contrast.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "rpt/core/error.h"
#include "rpt/evaluate/student_t.h"
#include "rpt/experiment/two_way.h"

namespace rpt::experiment {
namespace {

constexpr double kUpper = 0.975;  // of a 95 % interval

/// Base after base, [B, N]: numerators and denominators of the effects.
struct Ratios {
  std::vector<std::string> bases;
  std::vector<double> numerators;
  std::vector<double> denominators;
};

/// The bases of an arm in the order of its models, which are checked to be scored on `documents` documents.
std::vector<std::string> bases_of(const Arm& arm, std::size_t documents) {
  std::vector<std::string> bases;
  std::set<std::pair<std::string, std::uint64_t>> seen;
  for (const ModelScores& model : arm.models) {
    if (model.nll.size() != documents) {
      throw ShapeError(fmt::format("arm '{}', base '{}', seed {}: {} documents, expected {}", arm.name, model.base,
                                   model.seed, model.nll.size(), documents));
    }
    if (!std::all_of(model.nll.begin(), model.nll.end(), [](double nll) { return std::isfinite(nll); })) {
      throw ConfigError(
          fmt::format("arm '{}', base '{}', seed {}: an NLL is not finite", arm.name, model.base, model.seed));
    }
    if (!seen.emplace(model.base, model.seed).second) {
      throw ConfigError(fmt::format("arm '{}' has base '{}', seed {} twice", arm.name, model.base, model.seed));
    }
    if (std::find(bases.begin(), bases.end(), model.base) == bases.end()) bases.push_back(model.base);
  }
  if (bases.empty()) throw ConfigError(fmt::format("arm '{}' has no models", arm.name));
  return bases;
}

/// Throws where `other` has a base that `arm` has not.
void check_has_bases(const Arm& arm, const std::vector<std::string>& bases, const Arm& other,
                     const std::vector<std::string>& wanted) {
  for (const std::string& base : wanted) {
    if (std::find(bases.begin(), bases.end(), base) == bases.end()) {
      throw ConfigError(fmt::format("arm '{}' has base '{}', arm '{}' has not", other.name, base, arm.name));
    }
  }
}

/// NLL of each document, averaged over the seeds of a base. [N].
std::vector<double> mean_nll(const Arm& arm, const std::string& base, std::size_t documents) {
  std::vector<double> mean(documents);
  double count = 0;
  for (const ModelScores& model : arm.models) {
    if (model.base != base) continue;
    for (std::size_t d = 0; d < documents; ++d) mean[d] += model.nll[d];
    count += 1;
  }
  for (double& nll : mean) nll /= count;
  return mean;
}

Ratios ratios(const Arm& arm, const Arm& baseline, std::span<const double> tokens, Measure measure) {
  if (tokens.empty() || !std::all_of(tokens.begin(), tokens.end(), [](double n) { return n > 0; })) {
    throw ShapeError("a contrast needs documents, and scored tokens in each");
  }
  Ratios out{bases_of(baseline, tokens.size()), {}, {}};
  const auto others = bases_of(arm, tokens.size());
  check_has_bases(arm, others, baseline, out.bases);
  check_has_bases(baseline, out.bases, arm, others);
  for (const std::string& base : out.bases) {
    const auto treated = mean_nll(arm, base, tokens.size());
    const auto untreated = mean_nll(baseline, base, tokens.size());
    for (std::size_t d = 0; d < tokens.size(); ++d) {
      const double weight = measure == Measure::percent ? untreated[d] / 100.0 : tokens[d];
      if (weight <= 0) {
        throw ConfigError(
            fmt::format("arm '{}', base '{}': document {} has no NLL to take per cent of", baseline.name, base, d));
      }
      out.numerators.push_back(treated[d] - untreated[d]);
      out.denominators.push_back(weight);
    }
  }
  return out;
}

evaluate::Interval around(double estimate, double variance, double degrees) {
  const double reach = evaluate::student_t_quantile(kUpper, degrees) * std::sqrt(variance);
  return {estimate - reach, estimate + reach};
}

/// Two-sided, of an estimate whose true value is 0.
double p_of_zero(double estimate, double standard_error, double degrees) {
  if (standard_error > 0) return 2.0 * evaluate::student_t_cdf(-std::abs(estimate) / standard_error, degrees);
  return estimate == 0 ? 1.0 : 0.0;
}

bool enough(const Effects& effects) {
  return effects.bases() >= kMinBases && effects.documents() >= evaluate::kMinUnits;
}

Inference infer(const Effects& effects) {
  const Components parts = components(effects, effects);
  const Spread whole = spread(parts, effects.bases(), effects.document_degrees);
  const double estimate = effects.mean();
  Inference inference;
  inference.standard_error = std::sqrt(whole.variance);
  inference.degrees = whole.degrees;
  inference.interval = around(estimate, whole.variance, whole.degrees);
  inference.same_text = around(estimate, parts.bases, static_cast<double>(effects.bases() - 1));
  inference.p_value = p_of_zero(estimate, inference.standard_error, whole.degrees);
  return inference;
}

Contrast make_contrast(const Arm& arm, const Arm& baseline, Measure measure, std::vector<std::string> bases,
                       const Effects& effects) {
  Contrast result{.arm = arm.name, .baseline = baseline.name, .measure = measure, .bases = std::move(bases)};
  result.by_base = effects.by_base;
  result.estimate = effects.mean();
  result.documents = static_cast<std::int64_t>(effects.documents());
  if (enough(effects)) result.inference = infer(effects);
  return result;
}

/// The ρ for which part − ρ · whole may be 0.
std::optional<evaluate::Interval> fieller(const Effects& part, const Effects& whole) {
  const double a = part.mean();
  const double b = whole.mean();
  const Components aa = components(part, part);
  const Components ab = components(part, whole);
  const Components bb = components(whole, whole);
  const Spread at_estimate = spread(combined(aa, ab, bb, a / b), whole.bases(), whole.document_degrees);
  const auto variance = [&](const Components& c) {
    return at_estimate.two_way ? c.bases + c.documents - c.both : c.bases;
  };
  const double t = evaluate::student_t_quantile(kUpper, at_estimate.degrees);
  // (a − ρ b)² ≤ t² (V_aa − 2 ρ V_ab + ρ² V_bb), a quadratic inequality in ρ: ρ² q − 2 ρ h + c ≤ 0.
  const double q = b * b - t * t * variance(bb);
  const double h = a * b - t * t * variance(ab);
  const double c = a * a - t * t * variance(aa);
  if (q <= 0) return std::nullopt;
  const double root = std::sqrt(std::fmax(0.0, h * h - q * c));
  return evaluate::Interval{(h - root) / q, (h + root) / q};
}

Effects effects_of(const Ratios& of) {
  return ratio_effects(of.numerators, of.denominators, of.bases.size());
}

}  // namespace

Contrast contrast(const Arm& arm, const Arm& baseline, std::span<const double> tokens, Measure measure) {
  const Ratios of = ratios(arm, baseline, tokens, measure);
  return make_contrast(arm, baseline, measure, of.bases, effects_of(of));
}

Share share_explained(const Arm& part, const Arm& whole, const Arm& baseline, std::span<const double> tokens) {
  const Ratios of_whole = ratios(whole, baseline, tokens, Measure::percent);
  const Ratios of_part = ratios(part, baseline, tokens, Measure::percent);
  const Effects part_effects = effects_of(of_part);
  const Effects whole_effects = effects_of(of_whole);
  Share result;
  result.part = make_contrast(part, baseline, Measure::percent, of_part.bases, part_effects);
  result.whole = make_contrast(whole, baseline, Measure::percent, of_whole.bases, whole_effects);
  if (result.whole.estimate == 0) return result;
  result.share = result.part.estimate / result.whole.estimate;
  if (enough(whole_effects)) result.interval = fieller(part_effects, whole_effects);
  return result;
}

std::vector<BaseEffect> effects_by_base(const Arm& arm, const Arm& baseline, std::span<const double> tokens,
                                        Measure measure, const evaluate::BootstrapOptions& options) {
  const Ratios of = ratios(arm, baseline, tokens, measure);
  const Effects effects = effects_of(of);
  std::vector<BaseEffect> out;
  for (std::size_t b = 0; b < of.bases.size(); ++b) {
    const auto row = [&](const std::vector<double>& values) {
      return std::span(values).subspan(b * tokens.size(), tokens.size());
    };
    out.push_back({of.bases[b], effects.by_base[b],
                   evaluate::bca_ratio_interval(row(of.numerators), row(of.denominators), options)});
  }
  return out;
}

}  // namespace rpt::experiment
