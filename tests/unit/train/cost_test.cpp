// SPDX-License-Identifier: MIT
#include "rpt/train/cost.h"

#include <gtest/gtest.h>

#include "rpt/core/parallel.h"
#include "rpt/train/parameters.h"
#include "tests/tiny_model.h"

namespace rpt::train {
namespace {

// Rows of 192 take 256 codes in a file of 2 bits each.
const test::TinyShape kShape{.hidden = 192, .feed_forward = 320, .layers = 3};

TEST(Cost, WeightsAreThoseOfTheModelInTraining) {
  const auto parameters = Parameters::of_model(test::TinyModel::make(kShape));
  const model::Config& config = parameters->model().config;
  EXPECT_EQ(parameter_count(config), parameters->count());
  EXPECT_EQ(checkpoint_bytes(config), static_cast<std::uint64_t>(12 * parameters->count()));
  std::uint64_t expected = 0;
  for (const Parameter& p : parameters->all()) {
    // Two moments are the optimiser's; both have the master's size.
    expected += 3 * sizeof(float) * p.master.size() + sizeof(float) * p.gradient.size() + 2 * p.rounded.size();
  }
  model::visit_weights(parameters->model().weights, [&](const std::string&, const auto& weight) {
    if constexpr (std::is_same_v<decltype(weight), const model::LinearWeight&>) {
      expected += weight.weight.codes().bytes;
    }
  });
  EXPECT_EQ(run_memory(config, {}, {}).weights, expected);
}

TEST(Cost, MemoryGrowsWithWhatNeedsIt) {
  const model::Config config = test::TinyModel::make(kShape)->config;
  core::set_threads(2);
  const RunMemory base = run_memory(config, {}, {});
  EXPECT_EQ(base.scoring + base.texts, 0U);
  TrainConfig twice;
  twice.batch *= 2;
  EXPECT_EQ(run_memory(config, twice, {}).activations, 2 * base.activations);
  EXPECT_EQ(run_memory(config, twice, {}).weights, base.weights);
  TrainConfig again;
  again.step.checkpoint_activations = true;
  EXPECT_LT(run_memory(config, again, {}).activations, base.activations);
  TrainConfig wide;
  wide.step.backward = model::BackwardType::f32;
  EXPECT_GT(run_memory(config, wide, {}).scratch, base.scratch);
  EXPECT_EQ(run_memory(config, {}, {.stream_tokens = 1000}).texts, 5000U);
  const RunMemory scored = run_memory(config, {}, {.watched_bytes = 10, .scoring_tokens = 2048});
  EXPECT_GT(scored.scoring, 0U);
  EXPECT_EQ(scored.total() - base.total(), scored.scoring + scored.texts);
  core::set_threads(4);
  EXPECT_GT(run_memory(config, {}, {}).total(), base.total());
  core::set_threads(0);
}

}  // namespace
}  // namespace rpt::train
