// SPDX-License-Identifier: MIT
#include "rpt/text/utf8.h"

#include <gtest/gtest.h>

#include <random>

#include "rpt/core/error.h"

namespace rpt::text {
namespace {

using namespace std::string_literals;

TEST(Utf8, EveryScalarValueSurvives) {
  std::string all;
  for (char32_t c = 0; c <= 0x10FFFF; c = c == 0xD7FF ? 0xE000 : c + 1) {
    std::string one;
    append_utf8(one, c);
    const Utf8Char back = decode_utf8(one);
    ASSERT_TRUE(back.valid && back.code_point == c && back.size == one.size()) << static_cast<std::uint32_t>(c);
    all += one;
  }
  EXPECT_TRUE(is_valid_utf8(all));
  EXPECT_THROW(append_utf8(all, 0xD800), LogicError);
  EXPECT_THROW(append_utf8(all, 0x110000), LogicError);
}

TEST(Utf8, InvalidSequencesAreConsumedByMaximalSubparts) {
  // Unicode 15, table 3-8: 61 F1 80 80 E1 80 C2 62 80 63 80 BF 64.
  const std::string text = "\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64";
  EXPECT_EQ(replace_invalid_utf8(text), "a\uFFFD\uFFFD\uFFFDb\uFFFDc\uFFFD\uFFFDd");
  // Tables 3-9 to 3-11: overlong forms, surrogates and values above U+10FFFF go byte by byte.
  EXPECT_EQ(replace_invalid_utf8("\xC0\xAF"), "\uFFFD\uFFFD");
  EXPECT_EQ(replace_invalid_utf8("\xE0\x80\xAF"), "\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(replace_invalid_utf8("\xF0\x80\x80\xAF"), "\uFFFD\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(replace_invalid_utf8("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(replace_invalid_utf8("\xF4\x91\x92\x93\xFF\x41"), "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFDA");
  EXPECT_EQ(replace_invalid_utf8("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), "\uFFFD\uFFFD\uFFFD\uFFFDA");
}

TEST(Utf8, ValidPrefixFindsTheFirstFault) {
  EXPECT_EQ(valid_utf8_prefix(""), 0u);
  EXPECT_EQ(valid_utf8_prefix("0123456789abcdef\xFF"), 16u);
  EXPECT_EQ(valid_utf8_prefix("0123456\u00e9\u6f22\U0001F600x\xE2\x82"), 17u);
  EXPECT_FALSE(is_valid_utf8("\x80"));
}

TEST(Utf8, MessagesStayOnOneLine) {
  EXPECT_EQ(for_message("a\n\xFF\x7F"), "a\\x0A\uFFFD\\x7F");
  EXPECT_EQ(for_message(std::string(200, 'x')), std::string(100, 'x') + "…");
}

TEST(Utf8, StreamGivesOnlyWholeCharacters) {
  Utf8Stream stream;
  EXPECT_EQ(stream.push("a\xE6"), "a");
  EXPECT_EQ(stream.push("\xBC"), "");
  EXPECT_EQ(stream.push("\xA2"
                        "b"),
            "\u6f22"
            "b");
  EXPECT_EQ(stream.push("\xF0\x9F\x98"), "");
  EXPECT_EQ(stream.push("x"), "\uFFFDx");
  EXPECT_EQ(stream.push("\xC3"), "");
  EXPECT_EQ(stream.finish(), "\uFFFD");
  EXPECT_EQ(stream.finish(), "");
}

TEST(Utf8, StreamEqualsReplacingAtOnceHoweverItIsCut) {
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    while (text.size() < 30) {
      if (random() % 3 == 0) {
        text += static_cast<char>(random() % 256);
      } else {
        append_utf8(text,
                    static_cast<char32_t>(random() % 4 == 0 ? 0x1F600 + random() % 50 : 0x20 + random() % 0x3000));
      }
    }
    Utf8Stream stream;
    std::string out;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t size = 1 + random() % 4;
      const std::string part = stream.push(std::string_view(text).substr(at, size));
      ASSERT_TRUE(is_valid_utf8(part));
      out += part;
      at += size;
    }
    ASSERT_EQ(out + stream.finish(), replace_invalid_utf8(text));
  }
}

}  // namespace
}  // namespace rpt::text
