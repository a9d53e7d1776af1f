// SPDX-License-Identifier: MIT
#include "rpt/evaluate/compare.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "rpt/core/error.h"
#include "rpt/evaluate/perplexity.h"
#include "tests/unit/evaluate/evaluate_test_support.h"

namespace rpt::evaluate {
namespace {

std::vector<float> random_row(std::uint64_t seed, std::size_t size, double spread) {
  core::Random random(seed);
  std::vector<float> row(size);
  for (float& x : row) x = static_cast<float>(spread * random.normal());
  return row;
}

/// Through probabilities, in long double.
double plain_divergence(const std::vector<float>& a, const std::vector<float>& b) {
  const auto probabilities = [](const std::vector<float>& x) {
    std::vector<long double> p;
    long double sum = 0;
    for (const float v : x) sum += p.emplace_back(std::exp(static_cast<long double>(v)));
    for (long double& v : p) v /= sum;
    return p;
  };
  const auto p = probabilities(a);
  const auto q = probabilities(b);
  long double sum = 0;
  for (std::size_t i = 0; i < p.size(); ++i) sum += p[i] * std::log(p[i] / q[i]);
  return static_cast<double>(sum);
}

// log Σ exp adds up 16 float lanes, so that its error is at most about d = (V/16 + 4)·2^-24. An error of d in it takes
// the factor e^-d to the divergence and adds d to each of its logarithms.
TEST(KlDivergence, AgreesWithThePlainSum) {
  for (const std::size_t size : {1U, 2U, 17U, 300U, 5000U}) {
    const auto a = random_row(1, size, 2.0);
    const auto b = random_row(2, size, 2.0);
    const double expected = plain_divergence(a, b);
    const double d = (static_cast<double>(size) / 16 + 4) * 0x1p-24;
    EXPECT_NEAR(kl_divergence(a, b), expected, d * (expected + 2)) << size;
  }
}

TEST(KlDivergence, IsZeroForEqualRows) {
  const auto a = random_row(3, 1000, 5.0);
  EXPECT_EQ(kl_divergence(a, a), 0.0);
}

TEST(KlDivergence, IsFiniteForFarLogits) {
  const std::vector<float> a = {0.0F, 1000.0F};
  const std::vector<float> b = {1000.0F, 0.0F};
  EXPECT_NEAR(kl_divergence(a, b), 1000.0, 1e-9);
  EXPECT_THROW(kl_divergence(a, std::vector<float>{1.0F}), ShapeError);
}

TEST(Compare, OfAModelWithItselfFindsNoDifference) {
  const test::RandomModel model(1);
  const ScoringPlan plan = test::random_plan(std::vector<std::int64_t>(9, 30), model.config.vocabulary);
  DecoderScorer a(model.config, model.weights);
  DecoderScorer b(model.config, model.weights);
  const CompareResult result = compare(plan, a, b, 0);
  EXPECT_TRUE(result.bit_identical);
  EXPECT_EQ(result.nll_sha256_a, result.nll_sha256_b);
  EXPECT_EQ(result.mean_nll_difference, 0.0);
  EXPECT_EQ(result.difference_interval, (Interval{0.0, 0.0}));
  EXPECT_EQ(result.kl_divergence, 0.0);
  EXPECT_EQ(result.same_top_share, 1.0);
  EXPECT_EQ(result.scored_tokens, 180);
  EXPECT_EQ(result.documents, 9);
}

TEST(Compare, AgreesWithTwoRunsOfPerplexity) {
  const test::RandomModel one(1);
  const test::RandomModel other(2);
  std::vector<std::int64_t> sizes(40, 57);  // more than a batch
  sizes.push_back(3);
  const ScoringPlan plan = test::random_plan(sizes, one.config.vocabulary);
  DecoderScorer a(one.config, one.weights);
  DecoderScorer b(other.config, other.weights);
  const CompareResult result = compare(plan, a, b, 5);

  std::vector<std::vector<float>> rows_a;
  std::vector<std::vector<float>> rows_b;
  a.set_row_visitor([&](std::int32_t, std::span<const float> row) { rows_a.emplace_back(row.begin(), row.end()); });
  b.set_row_visitor([&](std::int32_t, std::span<const float> row) { rows_b.emplace_back(row.begin(), row.end()); });
  const PerplexityResult of_a = perplexity(plan, a, 5);
  const PerplexityResult of_b = perplexity(plan, b, 5);
  EXPECT_EQ(result.nlls_a, of_a.nlls);
  EXPECT_EQ(result.nlls_b, of_b.nlls);
  EXPECT_EQ(result.nll_sha256_a, of_a.nll_sha256);
  EXPECT_EQ(result.nll_sha256_b, of_b.nll_sha256);
  EXPECT_EQ(result.mean_nll_a, of_a.mean_nll);
  EXPECT_EQ(result.mean_nll_b, of_b.mean_nll);
  EXPECT_FALSE(result.bit_identical);
  EXPECT_NEAR(result.mean_nll_difference, of_b.mean_nll - of_a.mean_nll, 1e-12);

  double divergence = 0;
  double same_top = 0;
  std::vector<double> differences;
  for (std::size_t i = 0; i < rows_a.size(); ++i) {
    divergence += kl_divergence(rows_a[i], rows_b[i]);
    const auto top = [](const std::vector<float>& r) { return std::max_element(r.begin(), r.end()) - r.begin(); };
    if (top(rows_a[i]) == top(rows_b[i])) same_top += 1;
    differences.push_back(of_b.nlls[i] - of_a.nlls[i]);
  }
  const auto count = static_cast<double>(rows_a.size());
  EXPECT_DOUBLE_EQ(result.kl_divergence, divergence / count);
  EXPECT_GT(result.kl_divergence, 0.0);
  EXPECT_DOUBLE_EQ(result.same_top_share, same_top / count);
  const DocumentSums sums = sum_documents(plan.scored, differences);
  EXPECT_EQ(result.difference_interval, bca_ratio_interval(sums.nll, sums.tokens, {.seed = 5}));
}

TEST(Compare, RefusesVocabulariesOfDifferentSize) {
  const test::RandomModel one(1);
  const test::RandomModel other(1, 80);
  const ScoringPlan plan = test::random_plan({4}, 80);
  DecoderScorer a(one.config, one.weights);
  DecoderScorer b(other.config, other.weights);
  EXPECT_THROW(compare(plan, a, b, 0), ConfigError);
}

}  // namespace
}  // namespace rpt::evaluate
