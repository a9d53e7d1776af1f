// SPDX-License-Identifier: MIT
#include "rpt/experiment/two_way.h"

#include <algorithm>
#include <cmath>

#include "rpt/core/error.h"

namespace rpt::experiment {
namespace {

double sum(std::span<const double> values) {
  double total = 0;
  for (const double value : values) total += value;
  return total;
}

/// ū_d, [N].
std::vector<double> document_means(const Effects& effects) {
  const std::size_t n = effects.documents();
  std::vector<double> means(n);
  for (std::size_t i = 0; i < effects.influence.size(); ++i) means[i % n] += effects.influence[i];
  for (double& mean : means) mean /= static_cast<double>(effects.bases());
  return means;
}

}  // namespace

double Effects::mean() const {
  return sum(by_base) / static_cast<double>(bases());
}

Effects ratio_effects(std::span<const double> numerators, std::span<const double> denominators, std::size_t bases) {
  RPT_CHECK(
      bases > 0 && !numerators.empty() && numerators.size() % bases == 0 && numerators.size() == denominators.size(),
      "{} and {} values, {} bases", numerators.size(), denominators.size(), bases);
  RPT_CHECK(std::all_of(denominators.begin(), denominators.end(), [](double d) { return d > 0; }), "denominators");
  const std::size_t n = numerators.size() / bases;
  Effects effects;
  std::vector<double> weights(n);
  for (std::size_t b = 0; b < bases; ++b) {
    const auto above = numerators.subspan(b * n, n);
    const auto below = denominators.subspan(b * n, n);
    const double total = sum(below);
    const double theta = sum(above) / total;
    effects.by_base.push_back(theta);
    for (std::size_t d = 0; d < n; ++d) {
      effects.influence.push_back((above[d] - theta * below[d]) / total);
      weights[d] += below[d] / total;
    }
  }
  double squares = 0;
  double fourths = 0;
  for (const double weight : weights) {
    squares += weight * weight;
    fourths += weight * weight * weight * weight;
  }
  effects.document_degrees = std::max(1.0, squares * squares / fourths - 1.0);
  return effects;
}

Components components(const Effects& a, const Effects& b) {
  const std::size_t bases = a.bases();
  const std::size_t n = a.documents();
  RPT_CHECK(bases >= 2 && n >= 2 && b.bases() == bases && b.documents() == n, "{} x {} and {} x {}", bases, n,
            b.bases(), b.documents());
  const double pairs = static_cast<double>(bases) * static_cast<double>(bases - 1);
  const double correction = static_cast<double>(n) / static_cast<double>(n - 1);
  const double mean_a = a.mean();
  const double mean_b = b.mean();
  const std::vector<double> documents_a = document_means(a);
  const std::vector<double> documents_b = document_means(b);

  Components parts;
  for (std::size_t i = 0; i < bases; ++i) parts.bases += (a.by_base[i] - mean_a) * (b.by_base[i] - mean_b);
  for (std::size_t d = 0; d < n; ++d) parts.documents += documents_a[d] * documents_b[d];
  for (std::size_t i = 0; i < a.influence.size(); ++i) {
    parts.both += (a.influence[i] - documents_a[i % n]) * (b.influence[i] - documents_b[i % n]);
  }
  parts.bases /= pairs;
  parts.documents *= correction;
  parts.both *= correction / pairs;
  return parts;
}

Components combined(const Components& aa, const Components& ab, const Components& bb, double factor) {
  const auto part = [&](double Components::*source) {
    // A variance; rounding must not make it negative.
    return std::fmax(0.0, aa.*source - 2.0 * factor * ab.*source + factor * factor * bb.*source);
  };
  return {part(&Components::bases), part(&Components::documents), part(&Components::both)};
}

Spread spread(const Components& parts, std::size_t bases, double document_degrees) {
  const double base_degrees = static_cast<double>(bases - 1);
  Spread result;
  result.two_way = parts.documents > parts.both;
  result.variance = result.two_way ? parts.bases + parts.documents - parts.both : parts.bases;
  const double uncertainty = parts.bases * parts.bases / base_degrees +
                             parts.documents * parts.documents / document_degrees +
                             parts.both * parts.both / (base_degrees * document_degrees);
  result.degrees = base_degrees;
  if (uncertainty > 0) result.degrees = std::max(base_degrees, result.variance * result.variance / uncertainty);
  return result;
}

}  // namespace rpt::experiment
