// SPDX-License-Identifier: MIT
#include "rpt/core/checked.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>

namespace rpt::core {
namespace {

constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();

TEST(Checked, MultipliesOrSaysNothing) {
  EXPECT_EQ(multiply(0, kMax), 0U);
  EXPECT_EQ(multiply(3, kMax / 3), kMax / 3 * 3);
  EXPECT_EQ(multiply(0xffffffff, 0x100000001), kMax);
  EXPECT_EQ(multiply(0x100000000, 0x100000000), std::nullopt);
  EXPECT_EQ(multiply(kMax, 2), std::nullopt);
}

TEST(Checked, AddsOrSaysNothing) {
  EXPECT_EQ(add(kMax - 1, 1), kMax);
  EXPECT_EQ(add(kMax, 1), std::nullopt);
}

TEST(Checked, RoundsUpWhateverFits) {
  EXPECT_EQ(round_up(0, 32), 0U);
  EXPECT_EQ(round_up(1, 32), 32U);
  EXPECT_EQ(round_up(32, 32), 32U);
  EXPECT_EQ(round_up(33, 32), 64U);
  EXPECT_EQ(round_up(7, 1), 7U);
  EXPECT_EQ(round_up(kMax, 1), kMax);
  EXPECT_EQ(round_up(kMax - 63, 64), kMax - 63);
  EXPECT_EQ(round_up(kMax - 62, 64), std::nullopt);
  EXPECT_EQ(round_up(kMax - 5, 10), kMax - 5) << "a multiple stays, though adding 9 would not fit";
  EXPECT_THROW(round_up(1, 0), LogicError);
}

TEST(Checked, NarrowsOrThrows) {
  EXPECT_EQ(narrow<std::uint8_t>(255), 255);
  EXPECT_EQ(narrow<std::int64_t>(std::uint64_t{1} << 62), std::int64_t{1} << 62);
  EXPECT_THROW(narrow<std::uint8_t>(256), LogicError);
  EXPECT_THROW(narrow<std::uint64_t>(-1), LogicError);
  EXPECT_THROW(narrow<std::int64_t>(kMax), LogicError);
}

TEST(Check, SaysWhereAndWhat) {
  try {
    RPT_CHECK(1 + 1 == 3, "[{}, {}]", 2, 5);
    ADD_FAILURE() << "nothing thrown";
  } catch (const LogicError& e) {
    const std::string message = e.what();
    EXPECT_NE(message.find("checked_test.cpp"), std::string::npos) << message;
    EXPECT_NE(message.find("1 + 1 == 3: [2, 5]"), std::string::npos) << message;
  }
  EXPECT_NO_THROW(RPT_CHECK(true));
}

TEST(FormatErrorTest, SaysFileOffsetExpectedFound) {
  const FormatError error("a.gguf", 24, "magic", "GGUF", "GGML");
  EXPECT_STREQ(error.what(), "a.gguf: at offset 24 (magic): expected GGUF, found GGML");
  EXPECT_EQ(error.offset(), 24U);
}

}  // namespace
}  // namespace rpt::core
