// SPDX-License-Identifier: MIT
#include "rpt/prune/score.h"

#include <gtest/gtest.h>

#include <cmath>

#include "prune_test_support.h"
#include "rpt/prune/select.h"

namespace rpt::prune {
namespace {

using test::TinyModel;

TEST(Score, MagnitudeIsThatOfTheLatent) {
  for (const tensor::DType type : {tensor::DType::bf16, tensor::DType::f16, tensor::DType::f32}) {
    test::TinyShape shape = kSmall;
    shape.type = type;
    const auto model = TinyModel::make(shape);
    const auto scores = all_scores(*model, *magnitude_saliency(*model));
    const auto layers = plain_layers(*model);
    for (std::size_t i = 0; i < layers.size(); ++i) {
      for (std::size_t j = 0; j < layers[i].latents.size(); ++j) {
        ASSERT_EQ(scores[i][j], static_cast<double>(std::fabs(layers[i].latents[j])));
      }
    }
  }
}

TEST(Score, RandomIsACounter) {
  const auto model = TinyModel::make(kSmall);
  const auto scores = all_scores(*model, *random_saliency(*model, 11));
  for (std::size_t i = 0; i < scores.size(); ++i) {
    core::Random random(11, i);
    for (const double score : scores[i]) ASSERT_EQ(score, random.uniform());
  }
  EXPECT_NE(all_scores(*model, *random_saliency(*model, 12)), scores);
}

TEST(Score, WandaMultipliesByTheNormOfTheInput) {
  const auto model = TinyModel::make(kSmall);
  const Calibration calibration = calibrate(*model, some_tokens(*model), Moments::squares);
  const auto scores = all_scores(*model, *wanda_saliency(*model, calibration));
  const auto layers = plain_layers(*model);
  const std::vector<Linear> linears = linear_layers(*model);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const std::vector<double>& squares = calibration.input_of(linears[i]).squares;
    for (std::size_t j = 0; j < scores[i].size(); ++j) {
      ASSERT_EQ(scores[i][j],
                static_cast<double>(std::fabs(layers[i].latents[j])) * std::sqrt(squares[j % layers[i].columns]));
    }
  }
}

/// Inputs, codes and everything that follows from them, computed the long way.
struct Direct {
  std::size_t tokens = 9, rows = 5, columns = 7;
  std::vector<double> x;
  std::vector<std::int8_t> codes;

  explicit Direct(std::uint64_t seed) {
    core::Random random(seed);
    for (std::size_t i = 0; i < tokens * columns; ++i) x.push_back(std::round(random.normal() * 40));
    for (std::size_t i = 0; i < rows * columns; ++i) codes.push_back(static_cast<std::int8_t>(random.below(3)) - 1);
  }

  std::vector<double> products() const {
    std::vector<double> h(columns * columns);
    for (std::size_t t = 0; t < tokens; ++t) {
      for (std::size_t i = 0; i < h.size(); ++i) h[i] += x[t * columns + i / columns] * x[t * columns + i % columns];
    }
    return h;
  }
  std::vector<double> output(const std::vector<std::int8_t>& c) const {
    std::vector<double> y(tokens * rows);
    for (std::size_t t = 0; t < tokens; ++t) {
      for (std::size_t n = 0; n < rows; ++n) {
        for (std::size_t k = 0; k < columns; ++k) y[t * rows + n] += c[n * columns + k] * x[t * columns + k];
      }
    }
    return y;
  }
  static double dot(const std::vector<double>& a, const std::vector<double>& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
    return sum;
  }
  /// ‖Y − r·A'‖² / ‖Y‖².
  static double error(const std::vector<double>& y, const std::vector<double>& other, double r) {
    double sum = 0;
    for (std::size_t i = 0; i < y.size(); ++i) sum += (y[i] - r * other[i]) * (y[i] - r * other[i]);
    return sum / dot(y, y);
  }
};

TEST(Score, CodeCostIsTheErrorThatIsLeftWithTheBestScale) {
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    const Direct d(seed);
    const auto costs =
        code_costs(d.codes, static_cast<std::int64_t>(d.rows), static_cast<std::int64_t>(d.columns), d.products());
    const std::vector<double> y = d.output(d.codes);
    for (std::size_t i = 0; i < d.codes.size(); ++i) {
      if (d.codes[i] == 0) {
        EXPECT_EQ(costs[i], 0);
        continue;
      }
      std::vector<std::int8_t> changed = d.codes;
      changed[i] = 0;
      const std::vector<double> other = d.output(changed);
      const double r = Direct::dot(other, y) / Direct::dot(other, other);
      const double left = Direct::error(y, other, r);
      EXPECT_NEAR(costs[i], left, 1e-12);
      EXPECT_GT(costs[i], 0);
      EXPECT_GT(Direct::error(y, other, r * 1.001), left);
      EXPECT_GT(Direct::error(y, other, r * 0.999), left);
    }
  }
}

TEST(Score, CodeCostAtTheEdges) {
  EXPECT_EQ(code_costs(std::vector<std::int8_t>{1}, 1, 1, std::vector<double>{4}), std::vector<double>{1});
  EXPECT_EQ(code_costs(std::vector<std::int8_t>{-1, 1}, 2, 1, std::vector<double>{0}), (std::vector<double>{0, 0}));
  EXPECT_EQ(code_costs(std::vector<std::int8_t>{0, 0}, 1, 2, std::vector<double>{4, 0, 0, 4}),
            (std::vector<double>{0, 0}));
  // An input that is never there costs nothing; the other carries everything.
  EXPECT_EQ(code_costs(std::vector<std::int8_t>{1, 1}, 1, 2, std::vector<double>{4, 0, 0, 0}),
            (std::vector<double>{1, 0}));
  EXPECT_THROW(code_costs(std::vector<std::int8_t>{1, 1}, 1, 2, std::vector<double>{4}), LogicError);
}

/// The scores of a model against the direct way, from the inputs that an observer saw.
TEST(Score, CodeOfAModelIsThatOfItsLayers) {
  const auto model = TinyModel::make(kSmall);
  const Calibration calibration = calibrate(*model, some_tokens(*model), Moments::inputs);
  const auto scores = all_scores(*model, *code_saliency(*model, calibration));
  const auto layers = plain_layers(*model);
  const std::vector<Linear> linears = linear_layers(*model);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    EXPECT_EQ(scores[i], code_costs(layers[i].codes, linears[i].rows(), linears[i].columns(),
                                    input_products(calibration.input_of(linears[i]))));
    EXPECT_GT(*std::max_element(scores[i].begin(), scores[i].end()), 0);
  }
}

TEST(Score, CodeIsOfTheLayersThatArePrepared) {
  const auto model = TinyModel::make(kSmall);
  const Calibration calibration = calibrate(*model, some_tokens(*model), Moments::inputs);
  const auto code = code_saliency(*model, calibration);
  const auto alone = all_scores(*model, *code);
  const std::vector<std::size_t> some{12, 3, 4};
  code->prepare(some);
  for (const std::size_t i : some) {
    const Linear linear = linear_layers(*model)[i];
    std::vector<double> row(static_cast<std::size_t>(linear.columns()));
    code->row(i, 1, row);
    EXPECT_TRUE(std::equal(row.begin(), row.end(), alone[i].begin() + linear.columns()));
  }
  std::vector<double> row(64);
  EXPECT_THROW(code->row(0, 0, row), LogicError);
}

TEST(Score, CodeIsTheSameInEveryGauge) {
  const auto model = TinyModel::make(kSmall);
  const Sequences tokens = some_tokens(*model, 6);
  const Calibration calibration = calibrate(*model, tokens, Moments::inputs);
  const auto code = code_saliency(*model, calibration);
  const auto scores = all_scores(*model, *code);
  for (const int query_key : {0, 1, -1}) {
    const auto other = regauged(*model, tokens, query_key);
    const Calibration seen = calibrate(*other, tokens, Moments::inputs);
    const auto there = code_saliency(*other, seen);
    EXPECT_EQ(all_scores(*other, *there), scores) << "to the last bit";
    EXPECT_EQ(select(*other, *there, {.sparsity = 0.1}), select(*model, *code, {.sparsity = 0.1}));
    EXPECT_NE(select(*other, *magnitude_saliency(*other), {.sparsity = 0.1}),
              select(*model, *magnitude_saliency(*model), {.sparsity = 0.1}))
        << "magnitude measures the gauge";
    EXPECT_EQ(select(*other, *magnitude_saliency(*other), {.sparsity = 0.1, .scope = Scope::tensor}),
              select(*model, *magnitude_saliency(*model), {.sparsity = 0.1, .scope = Scope::tensor}));
    const bool same_wanda =
        all_scores(*other, *wanda_saliency(*other, seen)) == all_scores(*model, *wanda_saliency(*model, calibration));
    EXPECT_EQ(same_wanda, query_key == 0);
  }
}

/// Latents moved inside their codes' cells, the mean kept, change nothing either.
TEST(Score, CodeLooksAtCodesOnly) {
  const auto model = TinyModel::make(kSmall);
  const auto other = TinyModel::make(kSmall);
  const auto moved = bf16_latents(other->weights.blocks[0].ffn_down);
  // Two pairs of codes ±1 well inside their cells, one up and one down by the same power of two.
  std::vector<std::size_t> inside;
  for (std::size_t i = 0; i < moved.size() && inside.size() < 2; ++i) {
    const float w = core::bf16_to_float(moved[i]);
    if (w >= 0.07F && w < 0.09F) inside.push_back(i);
  }
  ASSERT_EQ(inside.size(), 2U);
  moved[inside[0]] = core::float_to_bf16(core::bf16_to_float(moved[inside[0]]) + 0x1p-7F);
  moved[inside[1]] = core::float_to_bf16(core::bf16_to_float(moved[inside[1]]) - 0x1p-7F);
  const Sequences tokens = some_tokens(*model);
  ASSERT_EQ(model::gate_nlls(*model), model::gate_nlls(*other));
  EXPECT_EQ(all_scores(*model, *code_saliency(*model, calibrate(*model, tokens, Moments::inputs))),
            all_scores(*other, *code_saliency(*other, calibrate(*other, tokens, Moments::inputs))));
}

TEST(Score, CalibrationsThatDoNotFitAreRefused) {
  const auto model = TinyModel::make(kSmall);
  const Calibration squares = calibrate(*model, some_tokens(*model), Moments::squares);
  const auto larger = TinyModel::make({.hidden = 64, .feed_forward = 128, .vocabulary = 100});
  const auto deeper = TinyModel::make({.hidden = 64, .feed_forward = 96, .layers = 3, .vocabulary = 100});
  expect_refusal([&] { wanda_saliency(*larger, squares); }, "another shape");
  expect_refusal([&] { wanda_saliency(*deeper, squares); }, "another shape");
  expect_refusal([&] { code_saliency(*model, squares); }, "inputs");
  expect_refusal([&] { make_saliency(Score::wanda, *model, 0, nullptr); }, "calibration");
  expect_refusal([&] { make_saliency(Score::code, *model, 0, nullptr); }, "calibration");
  for (const Score score : {Score::magnitude, Score::wanda, Score::random, Score::code}) {
    EXPECT_EQ(parse_score(name(score)), score);
  }
  EXPECT_THROW(parse_score("hessian"), ConfigError);
}

}  // namespace
}  // namespace rpt::prune
