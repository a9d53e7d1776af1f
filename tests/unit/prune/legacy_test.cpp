// SPDX-License-Identifier: MIT
#include "rpt/prune/legacy.h"

#include <gtest/gtest.h>

#include <set>

#include "prune_test_support.h"

namespace rpt::prune {
namespace {

using test::TinyModel;

/// The same rule written down plainly.
std::vector<float> plain_pool(const model::Model& model, std::uint64_t seed) {
  std::vector<float> pool;
  const std::vector<PlainLayer> layers = plain_layers(model);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    std::vector<float> magnitudes;
    for (const float w : layers[i].latents) {
      if (w != 0) magnitudes.push_back(std::fabs(w));
    }
    core::Random random(seed, i);
    std::set<std::size_t> chosen;
    const std::size_t count = std::min<std::size_t>(50000, magnitudes.size());
    for (std::size_t j = magnitudes.size() - count; count == 50000 && j < magnitudes.size(); ++j) {
      const std::size_t t = random.below(j + 1);
      chosen.insert(chosen.contains(t) ? j : t);
    }
    if (count < 50000) {
      pool.insert(pool.end(), magnitudes.begin(), magnitudes.end());
    } else {
      EXPECT_EQ(chosen.size(), 50000U);
      for (const std::size_t j : chosen) pool.push_back(magnitudes[j]);
    }
  }
  std::sort(pool.begin(), pool.end());
  return pool;
}

TEST(Legacy, SmallTensorsGiveAllTheyHave) {
  const auto model = TinyModel::make(kSmall);
  for (std::uint16_t& w : bf16_latents(model->weights.blocks[0].attn_v).first(100)) w = 0x8000;  // −0
  const std::vector<float> pool = legacy_pool(*model, 0);
  EXPECT_EQ(pool, plain_pool(*model, 0));
  EXPECT_EQ(pool, legacy_pool(*model, 1)) << "nothing is drawn";
  EXPECT_LE(pool.size() + 100, ternary_weights(linear_layers(*model)));
  EXPECT_GT(pool.front(), 0);
}

TEST(Legacy, LargeTensorsGiveASample) {
  const auto model = TinyModel::make({.layers = 1});  // attn_q, attn_output, ffn_* hold more than 50,000
  const std::vector<float> pool = legacy_pool(*model, 7);
  EXPECT_EQ(pool, plain_pool(*model, 7));
  EXPECT_EQ(pool, legacy_pool(*model, 7));
  EXPECT_NE(pool, legacy_pool(*model, 8));
  // Every latent of the two key and value projections, 50,000 of each of the five others.
  std::size_t small = 0;
  for (const PlainLayer& layer : plain_layers(*model)) {
    if (layer.codes.size() > 50000) continue;
    small += static_cast<std::size_t>(
        std::count_if(layer.latents.begin(), layer.latents.end(), [](float w) { return w != 0; }));
  }
  EXPECT_EQ(pool.size(), small + 5 * 50000);
}

/// No latent twice, and as many from the front of a tensor as from its end.
TEST(Legacy, TheSampleIsUniformAndWithoutReplacement) {
  const auto model = TinyModel::make({.layers = 1, .type = tensor::DType::f32});
  float next = 1;
  model::visit_weights(model->weights, [&](const std::string&, auto& weight) {
    if constexpr (std::is_same_v<std::decay_t<decltype(weight)>, model::LinearWeight>) {
      const tensor::StoredView v = weight.weight.stored_latents();
      auto* values = reinterpret_cast<float*>(const_cast<std::byte*>(v.data));
      for (std::uint64_t i = 0; i < v.bytes / 4; ++i) values[i] = next++;
    }
  });
  const std::vector<float> pool = legacy_pool(*model, 3);
  EXPECT_EQ(std::adjacent_find(pool.begin(), pool.end()), pool.end());
  float first = 1;
  for (const Linear& linear : linear_layers(*model)) {
    const auto size = static_cast<float>(linear.size());
    const auto count = [&](float from, float to) {
      return static_cast<double>(std::lower_bound(pool.begin(), pool.end(), to) -
                                 std::lower_bound(pool.begin(), pool.end(), from));
    };
    if (linear.size() > kLegacySample) {
      EXPECT_EQ(count(first, first + size), 50000);
      // A hypergeometric count has a deviation under √(50,000 / 8); five of them.
      for (const float eighth : {0.0F, 3.0F, 7.0F}) {
        EXPECT_NEAR(count(first + size / 8 * eighth, first + size / 8 * (eighth + 1)), 50000.0 / 8, 5 * 79.0);
      }
    }
    first += size;
  }
}

TEST(Legacy, ThresholdIsTheEntryOfThatRank) {
  const std::vector<float> pool{1, 2, 3, 4, 5, 6, 7};
  EXPECT_EQ(legacy_threshold(pool, 0), 1);
  EXPECT_EQ(legacy_threshold(pool, 14.2), 1);  // 0.994
  EXPECT_EQ(legacy_threshold(pool, 14.3), 2);  // 1.001
  EXPECT_EQ(legacy_threshold(pool, 50), 4);    // 3.5
  EXPECT_EQ(legacy_threshold(pool, 100), 7);   // n − 1
  EXPECT_EQ(legacy_threshold({}, 30), 0);
  EXPECT_THROW(legacy_threshold(pool, -1), ConfigError);
  EXPECT_THROW(legacy_threshold(pool, 101), ConfigError);
  EXPECT_THROW(legacy_threshold(pool, std::nan("")), ConfigError);
}

TEST(Legacy, MaskIsStrictAndTakesTiesAndZeros) {
  const auto model = TinyModel::make(kSmall);
  const auto latents = bf16_latents(model->weights.blocks[1].ffn_gate);
  latents[0] = 0;
  latents[1] = core::float_to_bf16(0.0625F);
  latents[2] = core::float_to_bf16(-0.0625F);
  latents[3] = core::float_to_bf16(-0.0630F);
  const Masks masks = select_above(*model, 0.0625F);
  const std::vector<PlainLayer> layers = plain_layers(*model);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    for (std::size_t j = 0; j < layers[i].latents.size(); ++j) {
      ASSERT_EQ(masks.linears[i].keep[j], std::fabs(layers[i].latents[j]) > 0.0625F ? 1 : 0);
    }
    if (layers[i].name == "blk.1.ffn_gate") {
      EXPECT_EQ(std::vector<int>(masks.linears[i].keep.begin(), masks.linears[i].keep.begin() + 4),
                (std::vector<int>{0, 0, 0, 1}));
    }
  }
  // The share that goes is at least the nominal one, since all ties go.
  const float threshold = legacy_threshold(legacy_pool(*model, 0), 30);
  const Masks nominal = select_above(*model, threshold);
  const auto n = static_cast<double>(ternary_weights(linear_layers(*model)));
  EXPECT_GE(static_cast<double>(nominal.pruned()), 0.3 * n);
  EXPECT_LE(static_cast<double>(nominal.pruned()), 0.32 * n);
}

}  // namespace
}  // namespace rpt::prune
