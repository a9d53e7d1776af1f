// SPDX-License-Identifier: MIT
#include "rpt/text/byte_pair.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "rpt/core/error.h"
#include "rpt/text/byte_level.h"
#include "rpt/text/tokenizer_state.h"

namespace rpt::text {
namespace {

TEST(HashTables, PairTableFindsWhatWasPutInAndGrows) {
  PairTable table(3);
  std::map<std::pair<std::int32_t, std::int32_t>, std::uint32_t> expected;
  std::mt19937 random(2);
  for (std::uint32_t rank = 0; rank < 5000; ++rank) {
    const auto left = static_cast<std::int32_t>(random() % 200), right = static_cast<std::int32_t>(random() % 200);
    EXPECT_EQ(table.insert(left, right, rank, left + right), expected.emplace(std::pair(left, right), rank).second);
  }
  for (std::int32_t left = 0; left < 200; ++left) {
    for (std::int32_t right = 0; right < 200; ++right) {
      const auto found = expected.find({left, right});
      const PairTable::Entry& entry = table.find(left, right);
      ASSERT_EQ(entry.merged, found == expected.end() ? -1 : left + right);
      if (found != expected.end()) {
        ASSERT_EQ(entry.rank, found->second);
      }
    }
  }
}

TEST(HashTables, StringTableTellsAllShortStringsApart) {
  std::vector<std::string> texts = {""};
  for (std::size_t i = 0; texts.size() < 5000; ++i) {
    for (const char c : {'a', 'b', '\0'}) texts.push_back(texts[i] + c);
  }
  const std::vector<std::string_view> keys(texts.begin(), texts.end());
  StringTable table(keys.size());
  for (std::size_t i = 0; i < keys.size(); ++i) EXPECT_EQ(table.insert(keys, static_cast<std::int32_t>(i)), -1);
  EXPECT_EQ(table.insert(keys, 7), 7);
  std::vector<std::int32_t> found(keys.size());
  table.find_many(keys, keys, found);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    ASSERT_EQ(table.find(keys, texts[i]), static_cast<std::int32_t>(i));
    ASSERT_EQ(found[i], static_cast<std::int32_t>(i));
  }
  EXPECT_EQ(table.find(keys, "abc"), -1);
}

TEST(ByteLevel, IsGpt2sAlphabet) {
  std::string form;
  append_byte_level(form, std::string("! \n~\x7f\xa1\xad\xff\0", 9));
  EXPECT_EQ(form, "!ĠĊ~ġ¡ŃÿĀ");
  for (unsigned byte = 0; byte < 256; ++byte) {
    const auto b = static_cast<std::uint8_t>(byte);
    EXPECT_EQ(char_to_byte(byte_to_char(b)), b);
  }
  EXPECT_EQ(from_byte_level("Ġa"), " a");
  EXPECT_FALSE(from_byte_level("a b").has_value());
  EXPECT_FALSE(from_byte_level("\u0144").has_value());
  EXPECT_FALSE(from_byte_level("\xff").has_value());
}

/// A model over the letters a…d with random merges.
struct RandomModel {
  std::vector<std::string> texts;
  Vocabulary vocabulary;
  BytePairModel model;

  explicit RandomModel(std::uint32_t seed) {
    std::mt19937 random(seed);
    texts = {"a", "b", "c", "d"};
    std::vector<std::pair<std::string, std::string>> merges;
    while (merges.size() < 60) {
      const std::string left = texts[random() % texts.size()], right = texts[random() % texts.size()];
      if (std::find(merges.begin(), merges.end(), std::pair(left, right)) != merges.end()) continue;
      merges.emplace_back(left, right);
      if (std::find(texts.begin(), texts.end(), left + right) == texts.end()) texts.push_back(left + right);
    }
    const std::vector<std::string_view> views(texts.begin(), texts.end());
    vocabulary = Vocabulary(views, std::vector<TokenType>(views.size(), TokenType::normal), nullptr, "test");
    model = BytePairModel(vocabulary, {.byte_level = true}, merges.size());
    const std::string file = "test";
    MergeReader reader(vocabulary, model, file);
    for (const auto& [left, right] : merges) reader.add(left, right);
    reader.finish();
  }

  /// The definition: again and again the leftmost pair of lowest rank.
  std::vector<std::string> merge_slowly(const std::string& word) const {
    std::vector<std::string> parts;
    for (const char c : word) parts.emplace_back(1, c);
    while (true) {
      std::size_t best = 0;
      std::uint32_t best_rank = UINT32_MAX;
      for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
        for (std::uint32_t rank = 0; rank < model.merges().size(); ++rank) {
          const auto& [left, right] = model.merges()[rank];
          if (vocabulary.text(left) == parts[i] && vocabulary.text(right) == parts[i + 1] && rank < best_rank) {
            best = i;
            best_rank = rank;
          }
        }
      }
      if (best_rank == UINT32_MAX) return parts;
      parts[best] += parts[best + 1];
      parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    }
  }
};

TEST(BytePair, ShortAndLongWordsMergeByTheDefinition) {
  for (std::uint32_t seed = 0; seed < 10; ++seed) {
    const RandomModel m(seed);
    std::mt19937 random(seed + 100);
    BytePairScratch scratch;
    for (int round = 0; round < 30; ++round) {
      std::string word;
      const std::size_t size = 1 + random() % 120;  // on both sides of where the heap begins
      while (word.size() < size) word += static_cast<char>('a' + random() % 4);
      for (int again = 0; again < 2; ++again) {  // the second time from what is remembered
        std::vector<TokenEnd> tokens;
        EXPECT_EQ(m.model.encode(m.vocabulary, word, scratch, tokens), 0u);
        std::vector<std::string> parts;
        std::uint32_t begin = 0;
        for (const TokenEnd& token : tokens) {
          parts.emplace_back(m.vocabulary.text(token.id));
          ASSERT_EQ(word.substr(begin, token.end - begin), parts.back());
          begin = token.end;
        }
        ASSERT_EQ(parts, m.merge_slowly(word)) << word;
      }
    }
  }
}

TEST(BytePair, MergesMustBePlainTokensAndComeOnce) {
  const std::vector<std::string_view> tokens = {"a", "b", "ab", "<s>"};
  const std::vector<TokenType> types = {TokenType::normal, TokenType::normal, TokenType::normal, TokenType::control};
  const Vocabulary vocabulary(tokens, types, nullptr, "test");
  const std::string file = "test";
  const auto read = [&](std::vector<std::string_view> merges) {
    BytePairModel model(vocabulary, {.byte_level = true}, merges.size());
    MergeReader reader(vocabulary, model, file);
    for (const std::string_view merge : merges) reader.add(merge);
    reader.finish();
  };
  EXPECT_NO_THROW(read({"a b"}));
  EXPECT_THROW(read({"a b", "a b"}), FormatError);
  EXPECT_THROW(read({"a c"}), FormatError);
  EXPECT_THROW(read({"b a"}), FormatError);
  EXPECT_THROW(read({"a <s>"}), FormatError);
  EXPECT_THROW(read({"ab"}), FormatError);
  EXPECT_THROW(read({"a b "}), FormatError);
}

}  // namespace
}  // namespace rpt::text
