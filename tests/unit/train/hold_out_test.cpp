// SPDX-License-Identifier: MIT
#include "rpt/train/hold_out.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <set>

#include "rpt/core/error.h"
#include "tests/unit/train/data_test_support.h"

namespace rpt::train {
namespace {

using test::document;

std::vector<Document> numbered(int count) {
  std::vector<Document> documents;
  for (int i = 0; i < count; ++i) documents.push_back(document(fmt::format("text {}", i), 1 + i % 3));
  return documents;
}

std::vector<std::string> texts_of(const std::vector<Document>& documents) {
  std::vector<std::string> texts;
  for (const Document& document : documents) texts.push_back(document.text);
  return texts;
}

/// The held-out end of one text; empty where there is none.
std::string tail_of(const std::string& text, double share = 0.05) {
  // The second document keeps hold_out from refusing.
  const HoldOutSplit split = hold_out({document(text), document(std::string(96, 'x') + "\nyyy")}, {.share = share});
  EXPECT_EQ(split.train.size(), 2u);
  if (split.held_out.size() == 1) {
    EXPECT_EQ(split.train[0].text, text);
    EXPECT_TRUE(split.train[0].is_whole);
    return {};
  }
  EXPECT_EQ(split.train[0].text + split.held_out[0].text, text);
  EXPECT_FALSE(split.train[0].is_whole);
  EXPECT_TRUE(split.held_out[0].is_whole);
  return split.held_out[0].text;
}

TEST(HoldOut, TakesWholeDocumentsOfMany) {
  for (const auto& [count, expected] : std::map<int, std::size_t>{{20, 1}, {29, 1}, {30, 2}, {100, 5}}) {
    const std::vector<Document> documents = numbered(count);
    const HoldOutSplit split = hold_out(documents, {.seed = 7});
    EXPECT_EQ(split.held_out.size(), expected);
    EXPECT_EQ(split.train.size() + split.held_out.size(), documents.size());
    std::set<std::string> all;
    for (const Document& kept : split.train) {
      EXPECT_TRUE(kept.is_whole);
      all.insert(kept.text);
    }
    for (const Document& held : split.held_out) {
      EXPECT_EQ(held.repeat, 1);
      EXPECT_TRUE(all.insert(held.text).second) << "in both: " << held.text;
    }
    EXPECT_EQ(all.size(), documents.size());
  }
  EXPECT_EQ(hold_out(numbered(40), {.share = 1e-9}).held_out.size(), 1u);
  EXPECT_EQ(hold_out(numbered(40), {.share = 0.5}).held_out.size(), 20u);
}

TEST(HoldOut, KeepsOrderAndRepeats) {
  const HoldOutSplit split = hold_out(numbered(100), {.share = 0.3, .seed = 1});
  for (const std::vector<Document>* part : {&split.train, &split.held_out}) {
    int last = -1;
    for (const Document& document : *part) {
      const int number = std::stoi(document.text.substr(5));
      EXPECT_GT(number, last);
      if (part == &split.train) {
        EXPECT_EQ(document.repeat, 1 + number % 3);
      }
      last = number;
    }
  }
}

TEST(HoldOut, TheSeedDecides) {
  std::set<std::string> chosen;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const HoldOutSplit split = hold_out(numbered(20), {.seed = seed});
    EXPECT_EQ(texts_of(split.held_out), texts_of(hold_out(numbered(20), {.seed = seed}).held_out));
    chosen.insert(split.held_out.at(0).text);
  }
  EXPECT_GE(chosen.size(), 19u);  // each of 20 is missed by 200 seeds once in 28,000 times
}

TEST(HoldOut, EqualTextsStayTogether) {
  std::vector<Document> documents = numbered(30);
  for (const Document& copy : numbered(30)) documents.push_back(copy);
  const HoldOutSplit split = hold_out(documents, {.share = 0.2});
  EXPECT_EQ(split.held_out.size(), 6u);
  EXPECT_EQ(split.train.size(), 48u);
  const std::vector<std::string> train = texts_of(split.train);
  for (const Document& held : split.held_out) EXPECT_EQ(std::count(train.begin(), train.end(), held.text), 0);

  // Many copies of few texts are few texts: their ends are held out, once each.
  std::vector<Document> copies(30, document(std::string(95, 'a') + "\nend"));
  const HoldOutSplit ends = hold_out(copies, {});
  EXPECT_EQ(texts_of(ends.held_out), std::vector<std::string>{"end"});
  ASSERT_EQ(ends.train.size(), 30u);
  for (const Document& kept : ends.train) EXPECT_EQ(kept.text, std::string(95, 'a') + "\n");
}

TEST(HoldOut, CutsFewDocumentsAtTheBestBreak) {
  const std::string a(900, 'a');
  // 5 % of 1000 bytes are 50; a break may leave 25 to 100.
  EXPECT_EQ(tail_of(a + "\n\n" + std::string(30, 'b') + "\n" + std::string(67, 'c')),
            std::string(30, 'b') + "\n" + std::string(67, 'c'));
  EXPECT_EQ(tail_of(a + std::string(40, 'b') + "\n\n\n" + std::string(57, 'c')), std::string(57, 'c'));
  EXPECT_EQ(tail_of(a + std::string(40, 'b') + "\r\n\r\n" + std::string(56, 'c')), std::string(56, 'c'));
  EXPECT_EQ(tail_of(a + std::string(20, 'b') + "\n" + std::string(20, 'c') + "\n" + std::string(58, 'd')),
            std::string(58, 'd'));
  EXPECT_EQ(tail_of(a + std::string(40, 'b') + " " + std::string(59, 'c')), " " + std::string(59, 'c'));
  // A paragraph too near to the end or too far from it is none.
  EXPECT_EQ(tail_of(a + std::string(40, 'b') + "\n" + std::string(39, 'c') + "\n\n" + std::string(18, 'd')),
            std::string(39, 'c') + "\n\n" + std::string(18, 'd'));
  EXPECT_EQ(tail_of("a\n\n" + a + std::string(97, 'b')), "");
  for (const char* text : {"a", "ab", "abc", "\n", "\n\n\n", "  "}) EXPECT_EQ(tail_of(text), "") << text;
}

TEST(HoldOut, TailsOfRealTextAreTheShareAskedFor) {
  const std::array roots = {test::source_dir() / "data"};
  std::vector<Source> sources = {{.text = "wikitext-2:test", .repeat = 2, .rule = text::DocumentRule::whole},
                                 {.text = "wikitext-2-raw:validation", .rule = text::DocumentRule::whole}};
  const std::vector<Document> documents = load_documents(sources, roots);
  const HoldOutSplit split = hold_out(documents, {.share = 0.1});
  ASSERT_EQ(split.train.size(), 2u);
  ASSERT_EQ(split.held_out.size(), 2u);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(split.train[i].text + split.held_out[i].text, documents[i].text);
    EXPECT_EQ(split.train[i].text.back(), '\n');
    EXPECT_EQ(split.train[i].repeat, documents[i].repeat);
    EXPECT_EQ(split.held_out[i].repeat, 1);
    EXPECT_EQ(split.held_out[i].unk_is_unknown, documents[i].unk_is_unknown);
    const double share =
        static_cast<double>(split.held_out[i].text.size()) / static_cast<double>(documents[i].text.size());
    EXPECT_NEAR(share, 0.1, 0.01);
  }
}

TEST(HoldOut, NothingAndTooMuch) {
  const HoldOutSplit none = hold_out(numbered(30), {.share = 0});
  EXPECT_EQ(none.train.size(), 30u);
  EXPECT_TRUE(none.held_out.empty());
  for (const double share : {-0.1, 0.51, std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_THROW(hold_out(numbered(30), {.share = share}), ConfigError) << share;
  }
  EXPECT_THROW(hold_out({document(std::string(1000, 'a'))}, {}), ConfigError);
  EXPECT_THROW(hold_out({}, {}), ConfigError);
}

}  // namespace
}  // namespace rpt::train
