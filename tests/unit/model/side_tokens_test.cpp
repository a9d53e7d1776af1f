// SPDX-License-Identifier: MIT
#include "rpt/model/side_tokens.h"

#include <gtest/gtest.h>

#include "rpt/core/error.h"
#include "tests/message_of.h"

namespace rpt::model {
namespace {

using test::message_of;

SideTokens parse(const std::string& config, const std::string& roles = "", const std::string& added = "") {
  return parse_side_tokens({"d/tokenizer_config.json", config}, {"d/special_tokens_map.json", roles},
                           {"d/added_tokens.json", added});
}

TEST(ParseSideTokens, TakesTheRolesOfEveryFile) {
  EXPECT_TRUE(parse("").empty());
  const SideTokens tokens =
      parse(R"({"added_tokens_decoder": {"4": {"content": "<tool>", "special": false}}, "eos_token": "<end>"})",
            R"({"pad_token": {"content": "<pad>"}, "additional_special_tokens": ["<a>"], "unk_token": 7})",
            R"({"<end>": 5, "<pad>": 6, "<a>": 7, "<b>": 8})");
  ASSERT_EQ(tokens.size(), 5U);
  EXPECT_FALSE(tokens.at(4).special);
  EXPECT_EQ(tokens.at(4).file, "d/tokenizer_config.json");
  for (const std::int64_t id : {5, 6, 7}) EXPECT_TRUE(tokens.at(id).special) << id;
  EXPECT_FALSE(tokens.at(8).special);
  EXPECT_EQ(tokens.at(8).file, "d/added_tokens.json");
  const auto behind = tokens_behind(6, tokens);
  ASSERT_EQ(behind.size(), 3U);
  EXPECT_EQ(behind[0].text, "<pad>");
  EXPECT_TRUE(tokens_behind(9, tokens).empty());
}

TEST(ParseSideTokens, DamagedFilesAreNamed) {
  for (const std::string bad : {"{", "[]", "7", R"({"a": 1e999})"}) {
    EXPECT_THROW(parse(bad), FormatError) << bad;
    EXPECT_NE(message_of([&] { parse("", bad); }).find("d/special_tokens_map.json"), std::string::npos) << bad;
    EXPECT_NE(message_of([&] { parse("", "", bad); }).find("d/added_tokens.json"), std::string::npos) << bad;
  }
  for (const std::string bad : {R"({"a": -1})", R"({"a": "1"})", R"({"a": 1.5})", R"({"": 4})"}) {
    EXPECT_THROW(parse("", "", bad), ConfigError) << bad;
  }
  EXPECT_NE(message_of([] { tokens_behind(3, parse("", "", R"({"a": 3, "b": 5})")); }).find("none is known for 4"),
            std::string::npos);
}

}  // namespace
}  // namespace rpt::model
