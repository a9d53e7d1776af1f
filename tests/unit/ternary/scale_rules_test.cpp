// SPDX-License-Identifier: MIT
#include "rpt/ternary/scale_rules.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "rpt/core/error.h"
#include "rpt/core/parallel.h"
#include "tests/unit/ternary/samples.h"

namespace rpt::ternary {
namespace {

using tensor::DType;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// Σ|w| of one row by the definition: 16 lanes, then the tree 8-4-2-1.
double row_sum(const Latents& latents, std::int64_t row, std::int64_t columns) {
  double lanes[16] = {};
  for (std::int64_t k = 0; k < columns; ++k) {
    lanes[k % 16] += std::fabs(static_cast<double>(latents.value(static_cast<std::size_t>(row * columns + k))));
  }
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return lanes[0];
}

TEST(ScaleRules, AreNamedAndFoundByName) {
  for (const ScaleRule rule : {ScaleRule::online_absmean, ScaleRule::stored})
    EXPECT_EQ(parse_scale_rule(name(rule)), rule);
  EXPECT_EQ(name(ScaleRule::stored), "stored");
  try {
    parse_scale_rule("absmax");
    ADD_FAILURE() << "nothing thrown";
  } catch (const ConfigError& e) {
    EXPECT_STREQ(e.what(), "unknown scale rule 'absmax'; there are online_absmean, stored");
  }
}

TEST(MeanAbs, AddsRowsInOrderWhateverTheThreads) {
  for (const DType type : kLatentTypes) {
    for (const auto& [rows, columns] : {std::pair{1, 1}, {3, 17}, {7, 100}, {300, 999}}) {
      const Latents latents(type, rows, columns, random_values(rows * columns, 1));
      double total = 0;
      for (std::int64_t n = 0; n < rows; ++n) total += row_sum(latents, n, columns);
      for (const int threads : {1, 2, 3}) {
        core::set_threads(threads);
        EXPECT_EQ(mean_abs(latents.view()), total / (rows * columns))
            << tensor::name(type) << " " << rows << "×" << columns;
      }
    }
  }
  core::set_threads(0);
}

TEST(AbsmeanScale, IsRoundedToTheAskedType) {
  // mean = 0.3 in double: inv = 1/float(0.3), and 1/inv need not be float(0.3) again.
  const Latents latents(DType::f32, 1, 2, {0.5F, -0.1F});
  const double mean = (0.5 + static_cast<double>(0.1F)) / 2;
  const float inv = 1.0F / static_cast<float>(mean);
  for (const DType type : kLatentTypes) {
    const AbsmeanScale s = absmean_scale(latents.view(), type);
    EXPECT_EQ(s.mean, mean);
    EXPECT_EQ(s.inv, inv);
    EXPECT_EQ(s.scale, Latents(type, 1, 1, {1.0F / inv}).value(0)) << tensor::name(type);
  }
  EXPECT_NE(absmean_scale(latents.view(), DType::bf16).scale, absmean_scale(latents.view(), DType::f32).scale);
  EXPECT_THROW(absmean_scale(latents.view(), DType::i8), ConfigError);
}

TEST(AbsmeanScale, IsClampedFromBelow) {
  for (const float size : {0.0F, 1e-30F, 9e-6F}) {
    const Latents latents(DType::f32, 2, 3, std::vector<float>(6, size));
    const AbsmeanScale s = absmean_scale(latents.view(), DType::f32);
    EXPECT_EQ(s.mean, 1e-5);
    EXPECT_EQ(s.inv, 1.0F / 1e-5F);
  }
}

TEST(AbsmeanScale, IsNotFiniteWhereAWeightIsNot) {
  for (const DType type : kLatentTypes) {
    for (const float bad : {kInfinity, -kInfinity, std::nanf("")}) {
      std::vector<float> values = random_values(40, 2);
      values[33] = bad;
      EXPECT_FALSE(std::isfinite(absmean_scale(Latents(type, 2, 20, values).view(), type).scale)) << tensor::name(type);
    }
  }
  const Latents large(DType::f32, 1, 1, {1e6F});
  EXPECT_EQ(absmean_scale(large.view(), DType::f16).scale, kInfinity);
}

TEST(MeanAbs, RefusesWhatDoesNotFit) {
  const Latents latents(DType::bf16, 2, 3, random_values(6, 3));
  auto view = latents.view();
  view.rows = 3;
  EXPECT_THROW(mean_abs(view), ShapeError);
  view = latents.view();
  view.rows = 0;
  view.bytes = 0;
  EXPECT_THROW(mean_abs(view), ShapeError);
  view = latents.view();
  view.rows = std::int64_t{1} << 62;
  view.columns = 8;
  view.bytes = 0;
  EXPECT_THROW(mean_abs(view), ShapeError) << "the product wraps to 0";
  view = latents.view();
  view.type = DType::u8;
  EXPECT_THROW(mean_abs(view), ShapeError);
}

}  // namespace
}  // namespace rpt::ternary
