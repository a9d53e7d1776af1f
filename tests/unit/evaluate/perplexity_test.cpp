// SPDX-License-Identifier: MIT
#include "rpt/evaluate/perplexity.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "rpt/core/error.h"
#include "rpt/core/sha256.h"
#include "tests/unit/evaluate/evaluate_test_support.h"

namespace rpt::evaluate {
namespace {

TEST(SumDocuments, LeavesOutDocumentsWithoutScoredTokens) {
  const std::vector<ScoredToken> scored = {{1, 0, 1}, {2, 0, 1}, {3, 2, 1}};
  const std::vector<double> values = {0.5, 1.5, 4.0};
  const DocumentSums sums = sum_documents(scored, values);
  EXPECT_EQ(sums.nll, (std::vector<double>{2.0, 4.0}));
  EXPECT_EQ(sums.tokens, (std::vector<double>{2.0, 1.0}));
  EXPECT_EQ(sums.document, (std::vector<std::int32_t>{0, 2}));
}

TEST(Perplexity, FollowsFromTheScoresOfItsTokens) {
  const text::Corpus corpus{{"ab cd", "", "e"}, false};
  const ScoringPlan plan = plan_scoring(corpus, test::byte_model(16, true), {});
  test::FakeScorer scorer;
  const PerplexityResult result = perplexity(plan, scorer, 0);

  std::vector<double> expected;
  const std::string first = "ab cd";
  for (std::size_t i = 0; i < first.size(); ++i) expected.push_back(test::FakeScorer::value(first[i], i + 1));
  expected.push_back(test::FakeScorer::value('e', 1));
  double total = 0;
  for (const double nll : expected) total += nll;

  EXPECT_EQ(result.nlls, expected);
  EXPECT_EQ(result.scored_tokens, 6);
  EXPECT_EQ(result.tokens_read, 6);
  EXPECT_EQ(result.documents, 3);
  EXPECT_DOUBLE_EQ(result.mean_nll, total / 6);
  EXPECT_DOUBLE_EQ(result.perplexity, std::exp(total / 6));
  EXPECT_DOUBLE_EQ(result.bits_per_byte.value(), total / 6 / std::log(2.0));
  EXPECT_DOUBLE_EQ(result.byte_perplexity.value(), std::exp(total / 6));
  EXPECT_DOUBLE_EQ(result.word_perplexity.value(), std::exp(total / 3));
  EXPECT_FALSE(result.interval);
  EXPECT_EQ(result.by_document.tokens, (std::vector<double>{5, 1}));

  std::string bytes(expected.size() * sizeof(double), '\0');
  std::memcpy(bytes.data(), expected.data(), bytes.size());
  EXPECT_EQ(result.nll_sha256, core::sha256_hex(bytes));
}

TEST(Perplexity, GivesAnIntervalOverEightDocuments) {
  text::Corpus corpus;
  for (char c = 'a'; c < 'a' + 8; ++c) corpus.documents.push_back(std::string(5, c) + "!");
  const ScoringPlan plan = plan_scoring(corpus, test::byte_model(16, true), {});
  test::FakeScorer scorer;
  const PerplexityResult one = perplexity(plan, scorer, 3);
  ASSERT_TRUE(one.interval);
  EXPECT_LT(one.interval->low, one.perplexity);
  EXPECT_GT(one.interval->high, one.perplexity);
  const auto of_mean = bca_ratio_interval(one.by_document.nll, one.by_document.tokens, {.seed = 3});
  ASSERT_TRUE(of_mean);
  EXPECT_DOUBLE_EQ(one.interval->low, std::exp(of_mean->low));
  EXPECT_EQ(perplexity(plan, scorer, 3).interval, one.interval);
  EXPECT_NE(perplexity(plan, scorer, 4).interval, one.interval);
}

TEST(Perplexity, HasNoByteFiguresWithoutBytes) {
  ScoringPlan plan;
  plan.windows = {{{1}, {2}}};
  plan.scored = {{2, 0, 0}};
  plan.documents = 1;
  const PerplexityResult result = summarise(plan, {1.0}, 0);
  EXPECT_FALSE(result.bits_per_byte);
  EXPECT_FALSE(result.byte_perplexity);
  EXPECT_FALSE(result.word_perplexity);
  EXPECT_THROW(summarise(plan, {}, 0), LogicError);
}

}  // namespace
}  // namespace rpt::evaluate
