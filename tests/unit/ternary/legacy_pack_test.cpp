// SPDX-License-Identifier: MIT
#include "rpt/ternary/legacy_pack.h"

#include <gtest/gtest.h>

#include "rpt/core/error.h"

namespace rpt::ternary {
namespace {

TEST(LegacyPack, HasTheBytesOfTheReference) {
  EXPECT_EQ(pack_legacy(std::vector<std::int8_t>{1, -1, 0, 1, -1, -1}), (std::vector<std::uint8_t>{77, 15}));
}

TEST(LegacyPack, ReadsWhatItWrote) {
  std::vector<std::int8_t> codes;
  for (int i = 0; i < 82; ++i) {
    const auto packed = pack_legacy(codes);
    EXPECT_EQ(unpack_legacy(packed, codes.size()), codes);
    codes.push_back(static_cast<std::int8_t>(i * i * 7 / 3 % 3 - 1));
  }
}

TEST(LegacyPack, RefusesOtherCodesAndBytes) {
  EXPECT_THROW(pack_legacy(std::vector<std::int8_t>{0, 2}), ShapeError);
  EXPECT_THROW(pack_legacy(std::vector<std::int8_t>{-2}), ShapeError);
  EXPECT_THROW(unpack_legacy(std::vector<std::uint8_t>{0, 0}, 4), ShapeError);
  EXPECT_THROW(unpack_legacy(std::vector<std::uint8_t>{0x20}, 4), FormatError);
  EXPECT_THROW(unpack_legacy(std::vector<std::uint8_t>{0x40}, 3), FormatError);
  EXPECT_NO_THROW(unpack_legacy(std::vector<std::uint8_t>{0x10}, 3));
}

}  // namespace
}  // namespace rpt::ternary
