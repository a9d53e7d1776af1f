// SPDX-License-Identifier: MIT
#include "rpt/ternary/detect.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "rpt/core/error.h"
#include "tests/unit/ternary/samples.h"

namespace rpt::ternary {
namespace {

using tensor::DType;

constexpr std::int64_t kRows = 140;
constexpr std::int64_t kColumns = 500;

std::vector<float> snapped(const std::vector<std::int8_t>& codes, float scale) {
  std::vector<float> values(codes.size());
  std::transform(codes.begin(), codes.end(), values.begin(),
                 [&](int code) { return scale * static_cast<float>(code); });
  return values;
}

TEST(FindStoredScale, FindsTheScaleOfASnappedTensor) {
  const auto codes = random_codes(kRows * kColumns, 1);
  for (const DType type : kLatentTypes) {
    for (const float scale : {0.75F, 1.0F, 0x1p-20F}) {
      const Latents latents(type, kRows, kColumns, snapped(codes, scale));
      ASSERT_EQ(find_stored_scale(latents.view()), scale) << tensor::name(type);
      const PackedTernary packed = pack_stored(latents.view(), scale);
      EXPECT_EQ(packed.view().type, DType::i2_s);
      EXPECT_EQ(packed.view().scale, scale);
      EXPECT_EQ(unpack(packed.view()), codes);
    }
  }
}

TEST(FindStoredScale, OneOtherValueAnywhereIsEnough) {
  const auto codes = random_codes(kRows * kColumns, 2);
  for (const DType type : kLatentTypes) {
    for (const std::size_t at : {std::size_t{0}, std::size_t{777}, std::size_t{4096}, codes.size() - 1}) {
      for (const float other : {0.5F, 0.7578125F, 0x1p-24F, std::numeric_limits<float>::infinity(), std::nanf("")}) {
        std::vector<float> values = snapped(codes, 0.75F);
        values[at] = other;
        EXPECT_EQ(find_stored_scale(Latents(type, kRows, kColumns, values).view()), std::nullopt)
            << tensor::name(type) << " " << other << " at " << at;
      }
    }
  }
}

TEST(FindStoredScale, LatentsHaveNone) {
  for (const DType type : kLatentTypes) {
    const Latents latents(type, kRows, kColumns, random_values(kRows * kColumns, 3));
    EXPECT_EQ(find_stored_scale(latents.view()), std::nullopt);
  }
}

TEST(FindStoredScale, BothZerosAreZero) {
  for (const DType type : kLatentTypes) {
    EXPECT_EQ(find_stored_scale(Latents(type, 2, 2, {0.0F, -0.0F, 0.0F, 0.0F}).view()), 0.0F);
    const Latents latents(type, 2, 2, {-0.0F, -0.5F, 0.5F, 0.0F});
    EXPECT_EQ(find_stored_scale(latents.view()), 0.5F);
    EXPECT_EQ(unpack(pack_stored(latents.view(), 0.5F).view()), (std::vector<std::int8_t>{0, -1, 1, 0}));
  }
}

TEST(FindStoredScale, InfinityIsNoScale) {
  for (const DType type : kLatentTypes) {
    for (const float bad : {std::numeric_limits<float>::infinity(), std::nanf("")}) {
      EXPECT_EQ(find_stored_scale(Latents(type, 1, 3, {0.0F, bad, -bad}).view()), std::nullopt);
    }
  }
}

TEST(FindStoredScale, RefusesWhatDoesNotFit) {
  const Latents latents(DType::f32, 2, 2, {0, 1, 2, 3});
  auto view = latents.view();
  view.columns = 3;
  EXPECT_THROW(find_stored_scale(view), ShapeError);
  EXPECT_THROW(pack_stored(view, 1.0F), ShapeError);
  view.type = DType::i32;
  EXPECT_THROW(find_stored_scale(view), ShapeError);
}

}  // namespace
}  // namespace rpt::ternary
