// SPDX-License-Identifier: MIT
#include "rpt/evaluate/score.h"

#include <gtest/gtest.h>

#include "rpt/core/error.h"
#include "rpt/core/parallel.h"
#include "rpt/tensor/ops.h"
#include "tests/unit/evaluate/evaluate_test_support.h"

namespace rpt::evaluate {
namespace {

/// Remembers what was reported.
class Recorder final : public core::ProgressSink {
 public:
  void begin(std::uint64_t total, std::string_view, std::string_view) override { total_ = total; }
  void advance(std::uint64_t n) override { done_ += n; }
  void finish() override { finished_ = true; }
  std::uint64_t total_ = 0;
  std::uint64_t done_ = 0;
  bool finished_ = false;
};

/// Each window by itself through Decoder::score.
std::vector<double> score_one_by_one(const test::RandomModel& model, const ScoringPlan& plan) {
  model::Decoder decoder(model.config, model.weights);
  std::vector<double> nlls;
  for (const Window& window : plan.windows) {
    model::KvCache cache(model.config, std::ssize(window.tokens));
    tensor::Tensor hidden;
    decoder.forward(window.tokens, cache, hidden);
    std::vector<double> all(window.targets.size());
    decoder.score(hidden.view(), window.targets, all);
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (window.targets[i] >= 0) nlls.push_back(all[i]);
    }
  }
  return nlls;
}

TEST(BatchSize, FillsABatchAndTakesAtLeastOneWindow) {
  const auto window = [](std::int64_t tokens) {
    return Window{std::vector<std::int32_t>(static_cast<std::size_t>(tokens)),
                  std::vector<std::int32_t>(static_cast<std::size_t>(tokens))};
  };
  EXPECT_EQ(batch_size(std::vector<Window>{window(kBatchTokens + 1), window(1)}), 1U);
  EXPECT_EQ(batch_size(std::vector<Window>{window(kBatchTokens - 1), window(1), window(1)}), 2U);
  EXPECT_EQ(batch_size(std::vector<Window>{window(1), window(kBatchTokens)}), 1U);
  EXPECT_EQ(batch_size({}), 0U);
}

TEST(ScoredRows, CountRowsOverAllWindows) {
  const std::vector<Window> batch = {{{1, 2}, {-1, 5}}, {{3, 4, 5}, {6, -1, 7}}};
  const ScoredRows rows = scored_rows(batch);
  EXPECT_EQ(rows.row, (std::vector<std::int64_t>{1, 2, 4}));
  EXPECT_EQ(rows.target, (std::vector<std::int32_t>{5, 6, 7}));
}

TEST(DecoderScorer, GivesTheBitsOfEachWindowAlone) {
  const test::RandomModel model(1);
  std::vector<std::int64_t> sizes(70, 60);  // several batches
  sizes.insert(sizes.end(), {1, 64, 2, 33, 17, 64, 5});
  const ScoringPlan plan = test::random_plan(sizes, model.config.vocabulary);
  const std::vector<double> expected = score_one_by_one(model, plan);
  ASSERT_EQ(expected.size(), plan.scored.size());
  for (const int threads : {1, 3}) {
    core::set_threads(threads);
    DecoderScorer scorer(model.config, model.weights);
    std::vector<double> nlls(plan.scored.size());
    Recorder recorder;
    scorer.score(plan.windows, nlls, recorder);
    EXPECT_EQ(nlls, expected);
    EXPECT_EQ(recorder.total_, static_cast<std::uint64_t>(plan.tokens_read()));
    EXPECT_EQ(recorder.done_, recorder.total_);
    EXPECT_TRUE(recorder.finished_);
  }
  core::set_threads(0);
}

TEST(DecoderScorer, ShowsTheLogitsOfScoredTokensInTextOrder) {
  const test::RandomModel model(1);
  const ScoringPlan plan = test::random_plan({40, 3, 40}, model.config.vocabulary);
  DecoderScorer scorer(model.config, model.weights);
  std::vector<double> from_rows;
  scorer.set_row_visitor([&](std::int32_t target, std::span<const float> logits) {
    ASSERT_EQ(std::ssize(logits), model.config.vocabulary);
    ASSERT_EQ(target, plan.scored[from_rows.size()].id);
    from_rows.push_back(tensor::token_nll(logits, target));
  });
  std::vector<double> nlls(plan.scored.size());
  scorer.score(plan.windows, nlls);
  EXPECT_EQ(from_rows, nlls);
  EXPECT_EQ(nlls, score_one_by_one(model, plan));
}

TEST(DecoderScorer, RefusesResultsOfAnotherSize) {
  const test::RandomModel model(1);
  const ScoringPlan plan = test::random_plan({4}, model.config.vocabulary);
  DecoderScorer scorer(model.config, model.weights);
  std::vector<double> few(plan.scored.size() - 1);
  EXPECT_THROW(scorer.score(plan.windows, few), ShapeError);
  std::vector<double> many(plan.scored.size() + 1);
  EXPECT_THROW(scorer.score(plan.windows, many), ShapeError);
}

}  // namespace
}  // namespace rpt::evaluate
