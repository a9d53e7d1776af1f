// SPDX-License-Identifier: MIT
#include "rpt/evaluate/wikitext.h"

#include <gtest/gtest.h>

#include "rpt/core/atomic_file.h"
#include "rpt/core/sha256.h"
#include "rpt/text/corpus.h"
#include "tests/shared_data.h"

namespace rpt::evaluate {
namespace {

TEST(Strip, TakesPythonsWhiteSpaceFromBothEnds) {
  EXPECT_EQ(strip("  a b \n"), "a b");
  EXPECT_EQ(strip("\u00a0\u3000\x1c"
                  "a\u2028"),
            "a");
  EXPECT_EQ(strip("\u200b"), "\u200b");  // zero width space is none
  EXPECT_EQ(strip(" \t"), "");
  EXPECT_EQ(strip(""), "");
}

TEST(CountCharacters, CountsCodePoints) {
  EXPECT_EQ(legacy_lines("short\n\n  twenty characters ok \nnineteen characters\n\ta line of many characters"),
            (std::vector<std::string_view>{"twenty characters ok", "a line of many characters"}));
  EXPECT_TRUE(legacy_lines("").empty());
  EXPECT_EQ(count_characters("a\u00e9\u20ac\U0001f600"), 4);
  EXPECT_EQ(count_characters("\xff"
                             "a"),
            2);
}

TEST(WordStarts, FindsRunsThatAreNoWhiteSpace) {
  EXPECT_EQ(word_starts(" ab\u00a0c\n\nd "), (std::vector<std::uint64_t>{1, 5, 8}));
  EXPECT_TRUE(word_starts(" \n").empty());
}

// The expected texts are what wikitext_detokenizer of lm-evaluation-harness (4e7e0d4) gives, the numbers
// len(re.split(r"\s+", page)).
struct Case {
  const char* page;
  const char* expected;
  std::uint64_t split;
};

TEST(LmEvalDetokenise, GivesWhatTheHarnessGives) {
  const Case cases[] = {
      {"the dogs ' tails /' 5/ /' 55/ /' 7//' 8/ x", "the dogs'tails /'[0-9]/ /'55/ /'[0-9]//'[0-9]/ x", 12},
      {"1 @,@ 000 @.@ 5 and co @-@ op", "1,000.5 and co-op", 9},
      {"a : b ; c . d ! e ? f , g", "a: b; c. d! e? f, g", 13},
      {"( a ) [ b ( c ] ) { d } (  ) ( open", "(a) [b (c]) {d} () ( open", 16},
      {"\" x \" and ' y ' and \" z", "\"x\" and 'y' and \" z", 10},
      {"= = = = Top = = = =\n = = Mid = =", "==== Top ====\n== Mid ==", 14},
      {"20 \u00b0 C \n next N 's ( \u00a0 nbsp \u3000 )", "20\u00b0C\nnext 1's (nbsp)", 9},
      {"", "", 1},
      {"' '", "''", 2},
      {"a . . b", "a. . b", 4},
      {"don 't ' s 's", "don 't' s's", 5},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(lm_eval_detokenise(c.page), c.expected);
    EXPECT_EQ(count_split(c.page), c.split) << c.page;
  }
}

TEST(LmEvalPages, LoseTheLineFeedBeforeTheNextHeading) {
  EXPECT_EQ(lm_eval_pages({" \n \n = A = \n a \n", " = B = \n b \n"}),
            (std::vector<std::string>{" = A = \n a ", " = B = \n b \n"}));
  EXPECT_EQ(lm_eval_pages({"a\n"}), (std::vector<std::string>{"a\n"}));
  EXPECT_TRUE(lm_eval_pages({}).empty());
}

// Sums and hash of the pages of wikitext_document_level and of their detokenised form, made with the two Python
// functions.
TEST(LmEvalPages, OfTheTestSplitAreThoseOfTheHarness) {
  RPT_NEEDS_SHARED("data/wikitext-2-raw/wiki.test.raw");
  const std::string text = core::read_file(test::shared("data/wikitext-2-raw/wiki.test.raw"));
  const auto pages = lm_eval_pages(text::split_documents(text, text::DocumentRule::wikitext, "wiki.test.raw"));
  std::uint64_t words = 0;
  std::uint64_t bytes = 0;
  std::string all;
  for (const std::string& page : pages) {
    words += count_split(page);
    bytes += page.size();
    all += lm_eval_detokenise(page);
    all += '\0';
  }
  EXPECT_EQ(pages.size(), 62U);
  EXPECT_EQ(words, 241335U);
  EXPECT_EQ(bytes, 1290527U);
  EXPECT_EQ(core::sha256_hex(all), "da61ba76b9daa5d5964a4e797206bb65bee7dd401fdbc16a83072f8cb94e08db");
}

}  // namespace
}  // namespace rpt::evaluate
