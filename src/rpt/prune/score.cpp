// SPDX-License-Identifier: MIT
#include "rpt/prune/score.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "rpt/core/error.h"
#include "rpt/core/parallel.h"
#include "rpt/core/random.h"
#include "rpt/prune/names.h"
#include "rpt/ternary/latent_rows.h"
#include "rpt/ternary/layouts.h"

namespace rpt::prune {
namespace {

constexpr Names<Score, 4> kScores{
    {{Score::magnitude, "magnitude"}, {Score::wanda, "wanda"}, {Score::random, "random"}, {Score::code, "code"}}};

/// Checks that a calibration fits the layers, with inputs where they are needed.
void require_calibration(std::span<const Linear> linears, const Calibration& calibration, bool inputs) {
  for (const Linear& linear : linears) {
    const bool has_input =
        linear.block < calibration.blocks.size() && linear.input < calibration.blocks[linear.block].size();
    if (!has_input || std::cmp_not_equal(calibration.input_of(linear).squares.size(), linear.columns())) {
      throw ConfigError(fmt::format("the calibration is of a model of another shape than {}", linear.name));
    }
    if (inputs && calibration.input_of(linear).inputs.empty()) {
      throw ConfigError("the score code needs a calibration with inputs");
    }
  }
}

/// |w|, times a factor for each column where there are any.
class LatentSaliency final : public Saliency {
 public:
  explicit LatentSaliency(const model::Model& model) : linears_(linear_layers(model)) {}
  LatentSaliency(const model::Model& model, const Calibration& calibration) : LatentSaliency(model) {
    require_calibration(linears_, calibration, false);
    for (const Linear& linear : linears_) {
      std::vector<double>& norms = norms_.emplace_back(calibration.input_of(linear).squares);
      for (double& x : norms) x = std::sqrt(x);
    }
  }

  void row(std::size_t linear, std::int64_t n, std::span<double> scores) const override {
    const float* w = ternary::LatentRows(linears_[linear].latents).widened(n);
    for (std::size_t k = 0; k < scores.size(); ++k) {
      scores[k] = static_cast<double>(std::fabs(w[k])) * (norms_.empty() ? 1.0 : norms_[linear][k]);
    }
  }

 private:
  std::vector<Linear> linears_;
  std::vector<std::vector<double>> norms_;  ///< [linear][K], or empty
};

class RandomSaliency final : public Saliency {
 public:
  RandomSaliency(const model::Model& model, std::uint64_t seed) : seed_(seed) { linear_layers(model); }

  void row(std::size_t linear, std::int64_t n, std::span<double> scores) const override {
    core::Random random(seed_, linear);
    random.seek(static_cast<std::uint64_t>(n) * scores.size());
    for (double& score : scores) score = random.uniform();
  }

 private:
  std::uint64_t seed_;
};

class CodeSaliency final : public Saliency {
 public:
  CodeSaliency(const model::Model& model, const Calibration& calibration)
      : linears_(linear_layers(model)), calibration_(calibration), costs_(linears_.size()) {
    require_calibration(linears_, calibration, true);
  }

  void prepare(std::span<const std::size_t> linears) const override {
    for (std::size_t i = 0; i < costs_.size(); ++i) {
      if (std::find(linears.begin(), linears.end(), i) == linears.end()) release(costs_[i]);
    }
    for (const std::size_t i : linears) {
      if (!costs_[i].empty()) continue;
      const Linear& linear = linears_[i];
      const InputMoments& input = calibration_.input_of(linear);
      if (input_ != &input) {  // layers that share an input often follow each other
        release(products_);
        products_ = input_products(input);
        input_ = &input;
      }
      costs_[i] = code_costs(ternary::unpack(linear.weight->codes()), linear.rows(), linear.columns(), products_);
    }
  }

  void row(std::size_t linear, std::int64_t n, std::span<double> scores) const override {
    RPT_CHECK(!costs_[linear].empty(), "{} is not prepared", linears_[linear].name);
    const double* costs = costs_[linear].data() + static_cast<std::size_t>(n) * scores.size();
    std::copy_n(costs, scores.size(), scores.begin());
  }

 private:
  /// Gives the memory back, which assigning {} would keep.
  static void release(std::vector<double>& values) { std::vector<double>().swap(values); }

  std::vector<Linear> linears_;
  const Calibration& calibration_;
  mutable std::vector<std::vector<double>> costs_;  ///< [linear][N, K] of those that are prepared
  mutable const InputMoments* input_ = nullptr;     ///< whose products are held
  mutable std::vector<double> products_;
};

/// b_nk = c_nk · (C·H)_nk of rows [begin, end), which share what is read of H.
void overlaps_of_rows(std::span<const std::int8_t> codes, std::size_t columns, std::span<const double> products,
                      std::size_t begin, std::size_t end, std::span<double> out) {
  for (std::size_t k = 0; k < columns; ++k) {
    const double* product = products.data() + k * columns;
    for (std::size_t n = begin; n < end; ++n) {
      const double sign = codes[n * columns + k];
      if (sign == 0) continue;
      double* row = out.data() + n * columns;
      for (std::size_t other = 0; other < columns; ++other) row[other] += sign * product[other];
    }
  }
  for (std::size_t i = begin * columns; i < end * columns; ++i) out[i] *= codes[i];
}

/// The cost of a code ±1 from E, h and b.
double cost_of(double energy, double square, double overlap) {
  if (energy <= 0) return 0;
  const double left = energy - 2 * overlap + square;  // ‖A'‖²
  if (left <= 0) return 1;
  const double lost = std::max(0.0, energy * square - overlap * overlap);  // rounding may fall short of Cauchy–Schwarz
  return std::min(1.0, lost / (energy * left));
}

}  // namespace

std::string_view name(Score score) {
  return name_of(kScores, score);
}
Score parse_score(std::string_view text) {
  return parse_name(kScores, text, "score");
}
bool needs_calibration(Score score) {
  return score == Score::wanda || score == Score::code;
}

std::unique_ptr<Saliency> magnitude_saliency(const model::Model& model) {
  return std::make_unique<LatentSaliency>(model);
}
std::unique_ptr<Saliency> random_saliency(const model::Model& model, std::uint64_t seed) {
  return std::make_unique<RandomSaliency>(model, seed);
}
std::unique_ptr<Saliency> wanda_saliency(const model::Model& model, const Calibration& calibration) {
  return std::make_unique<LatentSaliency>(model, calibration);
}
std::unique_ptr<Saliency> code_saliency(const model::Model& model, const Calibration& calibration) {
  return std::make_unique<CodeSaliency>(model, calibration);
}

std::unique_ptr<Saliency> make_saliency(Score score, const model::Model& model, std::uint64_t seed,
                                        const Calibration* calibration) {
  if (needs_calibration(score) && calibration == nullptr) {
    throw ConfigError(fmt::format("the score {} needs a calibration text", name(score)));
  }
  switch (score) {
    case Score::magnitude:
      return magnitude_saliency(model);
    case Score::wanda:
      return wanda_saliency(model, *calibration);
    case Score::random:
      return random_saliency(model, seed);
    case Score::code:
      return code_saliency(model, *calibration);
  }
  RPT_CHECK(false, "a score without name");
  return nullptr;
}

std::vector<double> code_costs(std::span<const std::int8_t> codes, std::int64_t rows, std::int64_t columns,
                               std::span<const double> products) {
  const auto width = static_cast<std::size_t>(columns);
  RPT_CHECK(std::cmp_equal(codes.size(), rows * columns) && products.size() == width * width,
            "{} codes and {} products for [{}, {}]", codes.size(), products.size(), rows, columns);
  std::vector<double> costs(codes.size());  // first b, then the costs in its place
  std::vector<double> energies(static_cast<std::size_t>(rows));
  constexpr std::int64_t kRowsTogether = 8;
  core::parallel_for(rows, kRowsTogether, [&](std::int64_t begin, std::int64_t end) {
    overlaps_of_rows(codes, width, products, static_cast<std::size_t>(begin), static_cast<std::size_t>(end), costs);
    for (auto n = static_cast<std::size_t>(begin); std::cmp_less(n, end); ++n) {
      const double* row = costs.data() + n * width;
      energies[n] = std::accumulate(row, row + width, 0.0);
    }
  });
  const double energy = std::accumulate(energies.begin(), energies.end(), 0.0);
  ternary::for_row_ranges(rows, columns, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = static_cast<std::size_t>(begin) * width; i < static_cast<std::size_t>(end) * width; ++i) {
      const double square = products[i % width * (width + 1)];
      costs[i] = codes[i] == 0 ? 0 : cost_of(energy, square, costs[i]);
    }
  });
  return costs;
}

}  // namespace rpt::prune
