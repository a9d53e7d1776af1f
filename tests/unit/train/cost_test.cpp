// SPDX-License-Identifier: MIT
#include "rpt/train/cost.h"

#include <gtest/gtest.h>

#include "rpt/core/parallel.h"
#include "tests/tiny_model.h"

namespace rpt::train {
namespace {

// Rows of 192 take 256 codes in a file of 2 bits each.
const test::TinyShape kShape{.hidden = 192, .feed_forward = 320, .layers = 3};

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
