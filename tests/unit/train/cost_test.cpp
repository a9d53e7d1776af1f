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

TEST(Cost, TimeFollowsOperationsAndRate) {
  const model::Config config = test::TinyModel::make(kShape)->config;
  const TrainConfig run;
  const double operations = operations_per_token(config, run.context);
  EXPECT_DOUBLE_EQ(guess_seconds_per_token(config, run, 1e9), operations / 0.6e9);
}

TEST(Cost, MemoryGrowsWithWhatNeedsIt) {
  const model::Config config = test::TinyModel::make(kShape)->config;
  core::set_threads(2);
  const RunMemory base = run_memory(config, {}, {});
  EXPECT_EQ(base.scoring + base.texts, 0U);
  TrainConfig twice;
  twice.batch *= 2;
  // The second half runs behind the first: only its ids and targets stand beside.
  EXPECT_EQ(run_memory(config, twice, {}).activations, base.activations + 8 * 8 * 128);
  EXPECT_EQ(run_memory(config, twice, {}).weights, base.weights);
  TrainConfig longer;  // one sequence of as many tokens as eight had takes what they took, a longer one more
  longer.context = 1024;
  EXPECT_EQ(run_memory(config, longer, {}).activations, base.activations + 8 * 7 * 1024);
  longer.context = 2048;
  EXPECT_GT(static_cast<double>(run_memory(config, longer, {}).activations),
            1.9 * static_cast<double>(base.activations));
  TrainConfig again;
  again.step.checkpoint_activations = true;
  EXPECT_LT(run_memory(config, again, {}).activations, base.activations);
  TrainConfig wide;
  wide.step.backward = model::BackwardType::f32;
  EXPECT_GT(run_memory(config, wide, {}).scratch, base.scratch);
  EXPECT_EQ(run_memory(config, {}, {.stream_tokens = 1000}).texts, 5000U);
  const RunMemory scored =
      run_memory(config, {}, {.watched_bytes = 100, .largest_bytes = 60, .part_bytes = 10, .scoring_tokens = 2048});
  EXPECT_GT(scored.scoring, 0U);
  EXPECT_GT(scored.texts, 100U);
  EXPECT_EQ(scored.total() - base.total(), scored.scoring + scored.texts);
  // Scored whole after the last step, a large text needs more than any step.
  const RunMemory large =
      run_memory(config, {}, {.watched_bytes = 100'000'000, .largest_bytes = 100'000'000, .scoring_tokens = 2048});
  EXPECT_EQ(large.total(), large.at_end);
  EXPECT_GT(large.total(), 12 * 100'000'000U);
  // The model that was best so far is saved between steps: 2 bytes a weight, and codes.
  TrainConfig stopping;
  stopping.stop_on_overfitting = true;
  const std::uint64_t saved = run_memory(config, stopping, {}).scoring;
  EXPECT_GT(saved, 2 * static_cast<std::uint64_t>(parameter_count(config)));
  EXPECT_LT(saved, 5 * static_cast<std::uint64_t>(parameter_count(config)) / 2);
  core::set_threads(4);
  EXPECT_GT(run_memory(config, {}, {}).total(), base.total());
  core::set_threads(0);
}

TEST(Cost, MasksAreAByteAWeight) {
  const std::unique_ptr<Parameters> parameters = Parameters::of_model(test::TinyModel::make(kShape));
  const model::Config config = parameters->model().config;
  const RunMemory base = run_memory(config, {}, {});
  for (const ReviveScope scope : {ReviveScope::groups, ReviveScope::row, ReviveScope::tensor}) {
    TrainConfig run;
    run.revive = ReviveOptions{.scope = scope};
    const auto hook = std::make_shared<ReviveHook>(*run.revive);
    parameters->set_hook(hook);
    const RunMemory memory = run_memory(config, run, {});
    EXPECT_EQ(memory.weights - base.weights, hook->held_bytes()) << name(scope);
    // Among all weights of a tensor, the magnitudes of all of them are sorted.
    const std::uint64_t sorted = scope == ReviveScope::tensor ? 4 * 192 * 320 : 0;
    EXPECT_EQ(memory.scratch - base.scratch, sorted) << name(scope);
  }
  const MaskHook held({{{"blk.0.ffn_up", 2, 3, std::vector<std::uint8_t>(6, 1)},
                        {"blk.1.ffn_up", 2, 3, std::vector<std::uint8_t>(6, 1)}}});
  EXPECT_EQ(held.held_bytes(), 12U);
  EXPECT_EQ(run_memory(config, {}, {.mask_bytes = 12}).total(), base.total() + 12);
}

}  // namespace
}  // namespace rpt::train
