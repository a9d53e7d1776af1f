// SPDX-License-Identifier: MIT
#include "rpt/ternary/validate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "rpt/core/error.h"
#include "rpt/ternary/layouts.h"
#include "tests/unit/ternary/samples.h"

namespace rpt::ternary {
namespace {

using tensor::DType;
using tensor::PackedTernaryView;

bool is_scale_byte(DType type, std::uint64_t offset) {
  return type == DType::tq2_0 && offset % 66 >= 64;
}

TEST(CheckCodes, FindsNothingInValidCodes) {
  for (const DType type : kLayouts) {
    for (const std::int64_t rows : {4, 20, 1000}) {
      const auto packed = pack(type, rows, 256, 1.9990234375F, random_codes(rows * 256, 1));  // f16 0x3fff
      EXPECT_FALSE(check_codes(packed.view()).has_value()) << tensor::name(type);
    }
  }
  EXPECT_FALSE(check_codes(pack(DType::i2_s, 3, 77, 1.0F, random_codes(3 * 77, 1)).view()).has_value());
}

TEST(CheckCodes, FindsAThreeInEachPlace) {
  for (const DType type : {DType::i2_s, DType::tq2_0, DType::hf_packed}) {
    constexpr std::int64_t kRows = 4;
    constexpr std::int64_t kColumns = 512;
    PackedTernary packed = pack(type, kRows, kColumns, 1.0F, random_codes(kRows * kColumns, 2));
    for (std::uint64_t offset = 0; offset < packed.view().bytes; ++offset) {
      for (int shift = 0; shift < 8; shift += 2) {
        const std::uint8_t before = packed.data()[offset];
        packed.data()[offset] = static_cast<std::uint8_t>(before | 3 << shift);
        const auto bad = check_codes(packed.view());
        if (is_scale_byte(type, offset)) {
          EXPECT_FALSE(bad.has_value());
        } else {
          ASSERT_TRUE(bad.has_value()) << tensor::name(type) << " byte " << offset << " shift " << shift;
          EXPECT_EQ(bad->offset, offset);
          const auto codes = unpack(packed.view());
          ASSERT_EQ(codes.at(static_cast<std::size_t>(bad->row * kColumns + bad->column)), 2)
              << tensor::name(type) << " byte " << offset << " shift " << shift;
        }
        packed.data()[offset] = before;
      }
    }
  }
}

TEST(CheckCodes, FindsTheFirstOfMany) {
  for (const DType type : {DType::i2_s, DType::tq2_0, DType::hf_packed}) {
    PackedTernary packed = pack(type, 4000, 256, 1.0F, random_codes(4000 * 256, 3));
    const std::uint64_t block = type == DType::tq2_0 ? 66 : 64;
    for (const std::uint64_t i : {1000U, 700U, 500U, 501U}) packed.data()[i * block + 5] = 0xff;
    EXPECT_EQ(check_codes(packed.view())->offset, 500 * block + 5) << tensor::name(type);
  }
}

TEST(CheckCodes, LooksAtTheLastBytesToo) {
  // 3 · 77 bytes of codes are no multiple of 8.
  PackedTernary packed = pack(DType::hf_packed, 12, 77, 1.0F, random_codes(12 * 77, 4));
  packed.data()[packed.view().bytes - 1] = 0xc0;
  const auto bad = check_codes(packed.view());
  ASSERT_TRUE(bad.has_value());
  EXPECT_EQ(bad->offset, 3U * 77 - 1);
  EXPECT_EQ(bad->row, 11);
  EXPECT_EQ(bad->column, 76);
}

TEST(CheckCodes, RefusesTooFewBytes) {
  for (const DType type : kLayouts) {
    const auto packed = pack(type, 4, 256, 1.0F, random_codes(4 * 256, 5));
    PackedTernaryView cut = packed.view();
    --cut.bytes;
    EXPECT_THROW(check_codes(cut), ShapeError);
  }
}

class TqCommonScale : public testing::TestWithParam<DType> {
 protected:
  std::uint64_t block_bytes() const { return GetParam() == DType::tq1_0 ? 54 : 66; }
  void set_scale(PackedTernary& packed, std::uint64_t block, float scale) const {
    const std::uint16_t d = core::float_to_f16(scale);
    packed.data()[(block + 1) * block_bytes() - 2] = static_cast<std::uint8_t>(d & 0xff);
    packed.data()[(block + 1) * block_bytes() - 1] = static_cast<std::uint8_t>(d >> 8);
  }
};

TEST_P(TqCommonScale, IsTheScaleThatWasPacked) {
  const auto packed = pack(GetParam(), 7, 512, 0.3125F, random_codes(7 * 512, 6));
  PackedTernaryView view = packed.view();
  view.scale = 99;
  const TqScale scale = tq_common_scale(view);
  EXPECT_EQ(scale.scale, 0.3125F);
  EXPECT_FALSE(scale.fault.has_value());
}

TEST_P(TqCommonScale, DisagreementIsFoundInEveryBlock) {
  for (std::uint64_t block = 0; block < 14; ++block) {
    PackedTernary packed = pack(GetParam(), 7, 512, 0.5F, random_codes(7 * 512, 7));
    set_scale(packed, block, 0.25F);
    const TqScale scale = tq_common_scale(packed.view());
    ASSERT_TRUE(scale.fault.has_value());
    // Where the first block is the odd one, it is the second that differs from it.
    EXPECT_EQ(scale.fault->offset, (std::max<std::uint64_t>(block, block == 0 ? 1 : 0) + 1) * block_bytes() - 2);
    EXPECT_EQ(scale.scale, block == 0 ? 0.25F : 0.5F);
    EXPECT_EQ(scale.fault->found, block == 0 ? 0.5F : 0.25F);
  }
}

TEST_P(TqCommonScale, BlocksOfZerosDoNotCount) {
  auto codes = random_codes(4 * 512, 8);
  std::fill_n(codes.begin(), 256, std::int8_t{0});        // block 0
  std::fill_n(codes.begin() + 768, 512, std::int8_t{0});  // blocks 3 and 4
  PackedTernary packed = pack(GetParam(), 4, 512, 0.5F, codes);
  set_scale(packed, 0, 0.0F);
  set_scale(packed, 3, 7.0F);
  set_scale(packed, 4, std::nanf(""));
  const TqScale scale = tq_common_scale(packed.view());
  EXPECT_EQ(scale.scale, 0.5F);
  EXPECT_FALSE(scale.fault.has_value());
  codes.assign(codes.size(), 0);
  EXPECT_EQ(tq_common_scale(pack(GetParam(), 4, 512, 0.5F, codes).view()).scale, 0.0F);
}

TEST_P(TqCommonScale, DoesNotJudgeAScale) {
  PackedTernary packed = pack(GetParam(), 1, 256, 0.5F, random_codes(256, 9));
  set_scale(packed, 0, std::nanf(""));
  EXPECT_TRUE(std::isnan(tq_common_scale(packed.view()).scale));
}

TEST_P(TqCommonScale, RefusesWhatDoesNotFit) {
  const auto packed = pack(GetParam(), 2, 256, 0.5F, random_codes(512, 9));
  PackedTernaryView view = packed.view();
  --view.bytes;
  EXPECT_THROW(tq_common_scale(view), ShapeError);
  EXPECT_THROW(tq_common_scale(repack(packed.view(), DType::i2_s).view()), ShapeError);
}

INSTANTIATE_TEST_SUITE_P(Layouts, TqCommonScale, testing::Values(DType::tq1_0, DType::tq2_0),
                         [](const auto& test) { return std::string(tensor::name(test.param)); });

}  // namespace
}  // namespace rpt::ternary
