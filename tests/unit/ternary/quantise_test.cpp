// SPDX-License-Identifier: MIT
#include "rpt/ternary/quantise.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "rpt/core/error.h"
#include "rpt/core/parallel.h"
#include "rpt/ternary/scale_rules.h"
#include "tests/unit/ternary/samples.h"

namespace rpt::ternary {
namespace {

using tensor::DType;

TEST(QuantiseAbsmean, GivesCodesAndScaleOfTheDefinition) {
  for (const DType type : kLatentTypes) {
    for (const auto& [rows, columns] : {std::pair{1, 1}, {4, 128}, {5, 100}, {9, 300}, {200, 640}}) {
      const Latents latents(type, rows, columns, random_values(rows * columns, 4, 0.1F));
      const AbsmeanScale s = absmean_scale(latents.view(), type);
      const PackedTernary packed = quantise_absmean(latents.view());
      EXPECT_EQ(packed.view().type, DType::i2_s);
      EXPECT_EQ(packed.view().rows, rows);
      EXPECT_EQ(packed.view().columns, columns);
      EXPECT_EQ(packed.view().scale, s.scale);
      const auto codes = unpack(packed.view());
      for (std::size_t i = 0; i < codes.size(); ++i) {
        const float expected = std::clamp(std::nearbyint(latents.value(i) * s.inv), -1.0F, 1.0F);
        ASSERT_EQ(codes[i], static_cast<int>(expected)) << tensor::name(type) << " weight " << i;
      }
    }
  }
}

TEST(QuantiseAbsmean, RoundsHalvesToEven) {
  // The mean of the magnitudes is 1, so inv = 1: ±0.5 goes to 0, ±1.5 to 2 and then to 1.
  const Latents latents(DType::f32, 1, 8, {0.5F, -0.5F, 0.50001F, -0.50001F, 1.5F, -1.5F, 1.49999F, -1.49999F});
  EXPECT_EQ(absmean_scale(latents.view(), DType::f32).inv, 1.0F);
  EXPECT_EQ(unpack(quantise_absmean(latents.view()).view()), (std::vector<std::int8_t>{0, 0, 1, -1, 1, -1, 1, -1}));
}

TEST(QuantiseAbsmean, DoesNotDependOnTheNumberOfThreads) {
  const Latents latents(DType::bf16, 400, 500, random_values(400 * 500, 5));
  core::set_threads(1);
  const PackedTernary one = quantise_absmean(latents.view());
  core::set_threads(3);
  const PackedTernary three = quantise_absmean(latents.view());
  core::set_threads(0);
  EXPECT_EQ(one.view().scale, three.view().scale);
  EXPECT_TRUE(std::equal(one.view().data, one.view().data + one.view().bytes, three.view().data));
}

TEST(QuantiseAbsmean, SnapsASnappedTensorToTheSameCodes) {
  // A tensor of 0 and ±s keeps its codes, but not its scale: the mean counts the zeros.
  std::vector<float> values(256);
  const auto codes = random_codes(256, 6);
  std::transform(codes.begin(), codes.end(), values.begin(), [](int code) { return 0.75F * static_cast<float>(code); });
  const PackedTernary packed = quantise_absmean(Latents(DType::f32, 2, 128, values).view());
  EXPECT_EQ(unpack(packed.view()), codes);
  EXPECT_LT(packed.view().scale, 0.75F);
}

TEST(QuantiseAbsmean, RefusesAScaleThatIsNotFinite) {
  EXPECT_THROW(quantise_absmean(Latents(DType::f32, 1, 2, {1.0F, std::nanf("")}).view()), ConfigError);
}

}  // namespace
}  // namespace rpt::ternary
