// SPDX-License-Identifier: MIT
#include "rpt/text/pattern.h"

#include <gtest/gtest.h>

#include "rpt/core/error.h"
#include "rpt/text/utf8.h"

namespace rpt::text {
namespace {

bool matches(const std::string& expression, const std::string& text) {
  MatchScratch scratch;
  const auto match = Pattern(expression, "test").find(text, 0, scratch);
  return match && match->begin == 0 && match->end == text.size();
}

TEST(Pattern, WhiteSpaceIsUnicodes) {
  MatchScratch scratch;
  const Pattern space(R"(\s)", "test"), other(R"(\S)", "test"), in_class(R"([\s])", "test"),
      negated(R"([^\S])", "test");
  int count = 0;
  for (char32_t c = 0; c <= 0x10FFFF; c = c == 0xD7FF ? 0xE000 : c + 1) {
    std::string text;
    append_utf8(text, c);
    const bool is_space = space.find(text, 0, scratch).has_value();
    count += is_space ? 1 : 0;
    ASSERT_NE(is_space, other.find(text, 0, scratch).has_value()) << static_cast<std::uint32_t>(c);
    ASSERT_EQ(is_space, in_class.find(text, 0, scratch).has_value()) << static_cast<std::uint32_t>(c);
    ASSERT_EQ(is_space, negated.find(text, 0, scratch).has_value()) << static_cast<std::uint32_t>(c);
  }
  EXPECT_EQ(count, 25);  // Unicode's White_Space
  EXPECT_FALSE(matches(R"(\s)", "\u180e"));
}

TEST(Pattern, UnderstandsWhatOnigurumaDoes) {
  EXPECT_TRUE(matches(R"((?i:'S|'RE))", "'\u017f"));
  EXPECT_TRUE(matches(R"(\w+)", "a_\u0301\u2160\u24d0"));
  EXPECT_TRUE(matches("\\u0041\\x42[\\x{43}]", "ABC"));
  EXPECT_TRUE(matches(R"(\p{Han}+)", "\u6f22"));
  EXPECT_FALSE(matches(R"(\p{Han}+)", "\u3001"));  // Script_Extensions would take the comma
  EXPECT_TRUE(matches(R"(\p{^L}\P{N}a{1,2}b{x)", "1xaab{x"));
  EXPECT_FALSE(matches(".", "\n"));
  EXPECT_TRUE(matches("(?:^b$|\\n)+", "\nb\n"));
}

TEST(Pattern, RefusesByNameWhatDiffers) {
  for (const char* expression :
       {"(*UTF)a",       "a(*FAIL)", "(?m:a)", "(?#x)",       "(?<n>a)", "a(?i)b",   R"(\h)",   R"(\R)",
        R"(\X)",         R"(\K)",    R"(\1)",  R"(\Z)",       R"(\b)",   R"(\Qa\E)", R"(\pL)",  R"(\p{L)",
        R"(\p{Letter})", "[a&&b]",   "[[a]b]", "[[:alpha:]]", "[]a]",    "[a",       "a{,2}",   "a{1,2}+",
        "a{2}?",         "(a",       "a)",     "*",           R"(\u12)", "\\",       R"([\W])", "(?<=a+)b"}) {
    EXPECT_THROW(Pattern(expression, "test"), ConfigError) << expression;
  }
  EXPECT_THROW(Pattern(std::string(1 << 17, 'a'), "test"), ConfigError);
}

TEST(Pattern, RunawayMatchingIsAnError) {
  MatchScratch scratch;
  const Pattern runaway("(?:a+a+)+[bc]", "test");
  EXPECT_THROW(runaway.find(std::string(60, 'a'), 0, scratch), ConfigError);
  // The scratch serves on.
  EXPECT_TRUE(runaway.find("aab", 0, scratch).has_value());
}

TEST(Pattern, DeepMatchingWorksOrIsAnError) {
  MatchScratch scratch;
  const Pattern deep("(?:a|b)*", "test");
  const std::string text(std::size_t{1} << 20, 'a');
  const auto match = deep.find(text, 0, scratch);
  ASSERT_TRUE(match.has_value());
  EXPECT_EQ(match->end, text.size());
  EXPECT_THROW(deep.find(std::string(std::size_t{1} << 24, 'a'), 0, scratch), ConfigError);
}

TEST(Pattern, KnowsItsUnicodeVersion) {
  EXPECT_GE(std::stoi(Pattern::unicode_version()), 12);
}

}  // namespace
}  // namespace rpt::text
