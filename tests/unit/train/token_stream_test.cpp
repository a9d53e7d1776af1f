// SPDX-License-Identifier: MIT
#include "rpt/train/token_stream.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "rpt/core/parallel.h"
#include "rpt/core/sha256.h"
#include "rpt/core/timer.h"
#include "tests/unit/train/data_test_support.h"

namespace rpt::train {
namespace {

using test::document;
using Ids = std::vector<std::int32_t>;
using Marks = std::vector<std::uint8_t>;

constexpr std::int32_t kBos = 0, kEos = 1;
constexpr Separators kNone{};
constexpr Separators kBoth{kBos, kEos};

Ids ids_of(const std::string& text) {
  return test::seedling_tokenizer().encode(text);
}

Ids joined(std::initializer_list<Ids> parts) {
  Ids out;
  for (const Ids& part : parts) out.insert(out.end(), part.begin(), part.end());
  return out;
}

TokenStream encode(const std::vector<Document>& documents, const Separators& separators) {
  return encode_documents(documents, test::seedling_tokenizer(), separators);
}

TEST(TokenStream, TheVocabularyHasItsSeparators) {
  const Separators separators = separators_of(test::seedling_tokenizer());
  EXPECT_EQ(separators.bos, kBos);
  EXPECT_EQ(separators.eos, kEos);
}

TEST(TokenStream, PacksDocumentsBetweenSeparators) {
  const std::vector<Document> documents = {document("The old house"), document("Twice told", 2)};
  const Ids a = ids_of("The old house"), b = ids_of("Twice told");
  EXPECT_EQ(encode(documents, kNone).tokens, joined({a, b, b}));
  EXPECT_EQ(encode(documents, {kBos, std::nullopt}).tokens, joined({{kBos}, a, {kBos}, b, {kBos}, b}));
  EXPECT_EQ(encode(documents, {std::nullopt, kEos}).tokens, joined({a, {kEos}, b, {kEos}, b, {kEos}}));
  const TokenStream stream = encode(documents, kBoth);
  EXPECT_EQ(stream.tokens, joined({{kBos}, a, {kEos}, {kBos}, b, {kEos}, {kBos}, b, {kEos}}));
  EXPECT_EQ(stream.documents, 3u);
  EXPECT_EQ(stream.bytes, 13u + 2 * 10);
  EXPECT_EQ(stream.dropped_bytes, 0u);
  for (std::size_t i = 0; i < stream.tokens.size(); ++i) EXPECT_EQ(stream.is_target[i], stream.tokens[i] != kBos) << i;
  EXPECT_EQ(stream.targets, stream.tokens.size() - 3);
}

TEST(TokenStream, OneSeparatorStandsOnce) {
  const Ids a = ids_of("one"), b = ids_of("two");
  const TokenStream stream = encode({document("one"), document("two")}, {kEos, kEos});
  EXPECT_EQ(stream.tokens, joined({{kEos}, a, {kEos}, b, {kEos}}));
  EXPECT_EQ(stream.is_target.front(), 0);
  EXPECT_EQ(stream.targets, stream.tokens.size() - 1);
}

TEST(TokenStream, RepeatsComeBehindAllOthers) {
  const std::vector<Document> documents = {document("one", 3), document("two"), document("three", 2)};
  const Ids a = ids_of("one"), b = ids_of("two"), c = ids_of("three");
  EXPECT_EQ(encode(documents, kNone).tokens, joined({a, b, c, a, c, a}));
}

TEST(TokenStream, NoEosBehindACutText) {
  std::vector<Document> documents = {document("one"), document("two")};
  documents[0].is_whole = false;
  EXPECT_EQ(encode(documents, kBoth).tokens, joined({{kBos}, ids_of("one"), {kBos}, ids_of("two"), {kEos}}));
  EXPECT_EQ(encode(documents, {kEos, kEos}).tokens, joined({{kEos}, ids_of("one"), {kEos}, ids_of("two"), {kEos}}));
}

TEST(TokenStream, ControlTokensInATextAreText) {
  const TokenStream stream = encode({document("a<|end_of_text|>b")}, kNone);
  EXPECT_EQ(std::count(stream.tokens.begin(), stream.tokens.end(), kEos), 0);
  EXPECT_EQ(test::seedling_tokenizer().decode(stream.tokens), "a<|end_of_text|>b");
}

TEST(TokenStream, UnknownWordsGiveNoLoss) {
  std::vector<Document> documents = {document("the <unk> sat on <unk> .")};
  EXPECT_EQ(encode(documents, kNone).targets, ids_of(documents[0].text).size());
  documents[0].unk_is_unknown = true;
  const TokenStream stream = encode(documents, kBoth);
  EXPECT_EQ(stream.tokens, joined({{kBos}, ids_of(documents[0].text), {kEos}}));
  // What is still to be predicted is the text without the marks. (In this vocabulary "<" takes no space before it.)
  Ids targets;
  for (std::size_t i = 0; i < stream.tokens.size(); ++i) {
    if (stream.is_target[i] != 0) targets.push_back(stream.tokens[i]);
  }
  EXPECT_EQ(targets.size(), stream.targets);
  EXPECT_EQ(targets.back(), kEos);
  targets.pop_back();
  EXPECT_EQ(test::seedling_tokenizer().decode(targets), "the  sat on  .");
}

TEST(TokenStream, HashIsThatOfTheIds) {
  const TokenStream stream = encode({document("The old house")}, kBoth);
  std::string bytes;
  for (const std::int32_t id : stream.tokens) {
    for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(id >> shift & 0xff);
  }
  EXPECT_EQ(stream.sha256, core::sha256_hex(bytes));
}

TEST(TokenStream, IsTheSameForAnyNumberOfThreads) {
  std::vector<Document> documents;
  for (int i = 0; i < 200; ++i)
    documents.push_back(document(std::string(static_cast<std::size_t>(i + 1), 'a') + " end"));
  core::set_threads(1);
  const TokenStream one = encode(documents, kBoth);
  core::set_threads(4);
  const TokenStream four = encode(documents, kBoth);
  core::set_threads(0);
  EXPECT_EQ(one.tokens, four.tokens);
  EXPECT_EQ(one.sha256, four.sha256);
}

TEST(TokenStream, NothingMakesAnEmptyStream) {
  const TokenStream stream = encode({}, kBoth);
  EXPECT_TRUE(stream.tokens.empty());
  EXPECT_EQ(stream.documents, 0u);
}

TEST(SlowTokenStream, BooksTakeSeconds) {
  RPT_NEEDS_SHARED("data/text/classic-books");
  const std::vector<Source> sources = {{.text = test::shared("data/text/classic-books").string()}};
  const std::vector<Document> documents = load_documents(sources, {});
  const core::Stopwatch watch;
  const TokenStream stream = encode(documents, kBoth);
  const double rate = static_cast<double>(stream.bytes) / watch.seconds();
  EXPECT_EQ(stream.documents, 194u);
  EXPECT_EQ(stream.dropped_bytes, 0u);
  RecordProperty("megabytes_per_second", fmt::format("{:.1f}", rate / 1e6));
  if (!test::kSanitized) {
    EXPECT_GT(rate, 5e6);
  }
}

}  // namespace
}  // namespace rpt::train
