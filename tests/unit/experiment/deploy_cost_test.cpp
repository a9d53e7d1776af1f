// SPDX-License-Identifier: MIT
#include "rpt/experiment/deploy_cost.h"

#include <gtest/gtest.h>

#include "rpt/core/error.h"
#include "rpt/train/cost.h"

namespace rpt::experiment {
namespace {

const model::Config kShape{
    .hidden = 256, .feed_forward = 768, .layers = 4, .heads = 4, .kv_heads = 2, .head_size = 64, .vocabulary = 8192};

DeployConfig config_of(prune::Protocol protocol, double sparsity = 0.1) {
  DeployConfig c;
  c.recipe.protocol = protocol;
  c.sparsity = sparsity;
  c.tune.batch = 8;
  c.tune.context = 128;
  c.tune.steps = 300;
  return c;
}

Texts texts_of(std::size_t train_bytes) {
  Texts texts;
  train::Document d;
  d.text = std::string(train_bytes, 'a');
  texts.train = {d};
  texts.test.documents = {std::string(1000, 'b')};
  return texts;
}

TEST(DeployCost, CountsMasksTextsAndModels) {
  const DeployConfig pruned = config_of(prune::Protocol::sound);
  const DeployConfig whole = config_of(prune::Protocol::sound, 0);
  const double memory = deploy_memory(pruned, kShape, texts_of(4000));
  EXPECT_EQ(memory - deploy_memory(whole, kShape, texts_of(4000)), 2.0 * 4 * 786'432);
  EXPECT_EQ(deploy_memory(config_of(prune::Protocol::legacy, 0), kShape, texts_of(4000)), memory)
      << "its scales stand in a hook with masks";
  // A byte of text, and five bytes for each of its tokens.
  EXPECT_EQ(deploy_memory(pruned, kShape, texts_of(4'004'000)) - memory, 4e6 + 5 * 1e6);
  const double tuning = static_cast<double>(train::run_memory(kShape, pruned.tune, {}).total());
  EXPECT_GT(memory - tuning, 2 * 2 * static_cast<double>(train::parameter_count(kShape))) << "two models beside";
}

TEST(DeployCost, FitsAMemoryLimitInSteps) {
  const Texts texts = texts_of(4000);
  DeployConfig c = config_of(prune::Protocol::sound);
  const auto need = [&](const DeployConfig& config) { return deploy_memory(config, kShape, texts); };
  EXPECT_FALSE(fit_memory(c, kShape, texts, need(c)));
  EXPECT_FALSE(c.tune.step.checkpoint_activations);
  EXPECT_TRUE(fit_memory(c, kShape, texts, need(c) - 1));
  EXPECT_TRUE(c.tune.step.checkpoint_activations);
  EXPECT_EQ(c.tune.optimiser.state, train::StateType::f32);
  EXPECT_TRUE(fit_memory(c, kShape, texts, need(c) - 1));
  EXPECT_EQ(c.tune.optimiser.state, train::StateType::int8);
  EXPECT_EQ(c.tune.masters, train::MasterType::f32);
  DeployConfig legacy = c;
  legacy.recipe.protocol = prune::Protocol::legacy;
  EXPECT_THROW(fit_memory(legacy, kShape, texts, need(legacy) - 1), ConfigError) << "its latents stay float32";
  EXPECT_TRUE(fit_memory(c, kShape, texts, need(c) - 1));
  EXPECT_EQ(c.tune.masters, train::MasterType::bf16_stochastic);
  EXPECT_THROW(fit_memory(c, kShape, texts, need(c) - 1), ConfigError);
}

TEST(DeployCost, GrowsWithWhatIsDone) {
  const Texts texts = texts_of(4000);
  DeployConfig c = config_of(prune::Protocol::sound);
  const DeployCost two_levels = guess_cost(c, kShape, texts);
  EXPECT_GT(two_levels.seconds, 0);
  EXPECT_EQ(two_levels.memory_bytes, deploy_memory(c, kShape, texts));
  c.sparsity = 0.05;
  const DeployCost one_level = guess_cost(c, kShape, texts);
  const double values = static_cast<double>(train::parameter_count(kShape));
  EXPECT_EQ(two_levels.disk_bytes - 5 * values, 2 * (one_level.disk_bytes - 5 * values));
  c.tune.steps *= 100;
  EXPECT_GT(guess_cost(c, kShape, texts).seconds, 10 * one_level.seconds);
}

}  // namespace
}  // namespace rpt::experiment
