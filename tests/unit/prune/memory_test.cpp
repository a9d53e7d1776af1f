// SPDX-License-Identifier: MIT
#include "rpt/prune/memory.h"

#include <gtest/gtest.h>

#include "prune_test_support.h"

namespace rpt::prune {
namespace {

TEST(PruneMemory, CountsWhatIsHeldAtOnce) {
  const auto model = test::TinyModel::make(kSmall);  // two blocks of 64², 2·32·64, 64², 3·96·64
  constexpr std::uint64_t kBlock = 2 * 64 * 64 + 2 * 32 * 64 + 3 * 96 * 64;
  Recipe recipe;
  recipe.selection.sparsity = 0.1;
  const PruneMemory plain = prune_memory(*model, recipe);
  EXPECT_EQ(plain.masks, 2 * kBlock);
  EXPECT_EQ(plain.latents, 4 * kBlock);
  EXPECT_EQ(plain.scores, 0U);
  EXPECT_EQ(plain.calibration, 0U);
  EXPECT_EQ(plain.codes, 2U * (3 * 64 + 2 * 32 + 2 * 96) * 32);  // rows of 128 codes in 32 bytes
  EXPECT_EQ(plain.total(), plain.codes * 3 + plain.masks + plain.latents);

  recipe.score = Score::code;
  recipe.calibration = CalibrationText{"t", std::string(64, 'a'), 11, 100};
  const PruneMemory global = prune_memory(*model, recipe);
  EXPECT_EQ(global.scores, 8 * 2 * kBlock + 96 * 64 + 8 * 96 * 96);
  // Begin-of-text tokens included; keys and values of 11 positions.
  EXPECT_EQ(global.calibration, 2U * 111 * (3 * 64 + 96 + 4 * 8) + 11 * 2 * 32 * 2 * 2);
  EXPECT_EQ(global.total(), global.codes + global.masks + global.calibration + global.scores);
  recipe.selection.scope = Scope::tensor;
  EXPECT_EQ(prune_memory(*model, recipe).scores, 8U * 96 * 64 + 96 * 64 + 8 * 96 * 96);
  recipe.selection = {.pattern = {2, 4}, .targets = ".*attn_k"};
  const PruneMemory keys = prune_memory(*model, recipe);
  EXPECT_EQ(keys.scores, 8U * 32 * 64 + 32 * 64 + 8 * 64 * 64);
  EXPECT_EQ(keys.latents, 2U * 2 * 32 * 64);
}

}  // namespace
}  // namespace rpt::prune
