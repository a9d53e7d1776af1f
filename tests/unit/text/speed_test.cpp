// SPDX-License-Identifier: MIT
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <ctime>
#include <iostream>

#include "rpt/core/atomic_file.h"
#include "rpt/text/tokenizer.h"
#include "tests/shared_data.h"
#include "tests/unit/text/vocabularies.h"

namespace rpt::text {
namespace {

constexpr const char* kWikiTest = "data/wikitext-2-raw/wiki.test.raw";

/// Processor time of this thread: what other programs do meanwhile does not count.
double thread_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

/// The least seconds of several runs.
template <typename Run>
double best_seconds(int runs, const Run& run) {
  double best = 1e9;
  for (int i = 0; i < runs; ++i) {
    const double begin = thread_seconds();
    run();
    best = std::min(best, thread_seconds() - begin);
  }
  return best;
}

void print(const std::string& what, double value, const std::string& unit) {
  std::cout << fmt::format("[   SPEED  ] {}: {:.1f} {}\n", what, value, unit);
}

/// Speed says nothing under a sanitizer.
#define NEEDS_SPEED() \
  if (test::kSanitized) GTEST_SKIP() << "built with a sanitizer"

TEST(SlowSpeed, EncodesFiveMegabytesASecond) {
  NEEDS_SPEED();
  RPT_NEEDS_SHARED(kWikiTest);
  const std::string wiki = core::read_file(test::shared(kWikiTest));
  const auto megabytes = static_cast<double>(wiki.size()) / 1e6;
  for (const bool llama : {true, false}) {
    const Tokenizer tokenizer = llama ? test::llama3_from_gguf() : test::gpt2_from_gguf();
    const std::string name = llama ? "llama-bpe" : "gpt-2";
    const double first = best_seconds(1, [&] { (void)tokenizer.encode_with_offsets(wiki); });
    const double warm = best_seconds(3, [&] { (void)tokenizer.encode_with_offsets(wiki); });
    print(name + ", wiki.test.raw, first time", megabytes / first, "MB/s");
    print(name + ", wiki.test.raw, again", megabytes / warm, "MB/s");
    EXPECT_GT(megabytes / first, 5.0) << name;
  }
}

TEST(SlowSpeed, SentencePieceEncodesTwoMegabytesASecond) {
  NEEDS_SPEED();
  RPT_NEEDS_SHARED("data/tokenizers/llama2/tokenizer.model");
  const std::string file = core::read_file(test::shared("data/tokenizers/llama2/tokenizer.model"));
  const double opening = best_seconds(3, [&] { (void)Tokenizer::from_sentencepiece(file, "tokenizer.model"); });
  print("opening 32,000 pieces from tokenizer.model", opening * 1e3, "ms");
  const Tokenizer tokenizer = Tokenizer::from_sentencepiece(file, "tokenizer.model");
  const std::string wiki = core::read_file(test::shared(kWikiTest));
  const auto speed = [&](const std::string& what, const std::string& text) {
    const double seconds = best_seconds(1, [&] { (void)tokenizer.encode_with_offsets(text); });
    const double megabytes = static_cast<double>(text.size()) / 1e6;
    print(fmt::format("llama-spm, {} bytes, {}", text.size(), what), megabytes / seconds, "MB/s");
    return megabytes / seconds;
  };
  EXPECT_GT(speed("wiki.test.raw, first time", wiki), 2.0);
  EXPECT_GT(speed("wiki.test.raw, again", wiki), 5.0);
  // Where there is nothing to cut at, the whole text is one word.
  std::string unbroken;
  std::copy_if(wiki.begin(), wiki.end(), std::back_inserter(unbroken), [](char c) { return c != ' '; });
  EXPECT_GT(speed("wiki.test.raw without its spaces", unbroken), 0.5);
  EXPECT_GT(speed("spaces", std::string(wiki.size(), ' ')), 0.5);
  EXPECT_GT(speed("the letter a", std::string(wiki.size(), 'a')), 0.5);
}

TEST(SlowSpeed, LongWordsAreNotQuadratic) {
  NEEDS_SPEED();
  RPT_NEEDS_SHARED(kWikiTest);
  const Tokenizer tokenizer = test::llama3_from_gguf();
  const std::size_t size = std::size_t{1} << 20;
  const std::string mixed = core::read_file(test::shared(kWikiTest)).substr(0, size);
  std::string letters;
  std::copy_if(mixed.begin(), mixed.end(), std::back_inserter(letters), [](char c) { return c >= 'a' && c <= 'z'; });
  for (const std::string& text : {std::string(size, 'a'), std::string(size, ' '), std::string(size, '\n'),
                                  std::string(size, '!'), std::string(size, '\xff'), letters}) {
    const double seconds = best_seconds(1, [&] {
      const std::vector<std::int32_t> ids = tokenizer.encode(text);
      EXPECT_EQ(tokenizer.decode(ids), text);
    });
    print(fmt::format("a word of {} bytes, beginning 0x{:02x}", text.size(), static_cast<unsigned char>(text[0])),
          seconds * 1e3, "ms");
    EXPECT_LT(seconds, 3.0);
  }
}

TEST(SlowSpeed, OpensQuickly) {
  NEEDS_SPEED();
  RPT_NEEDS_SHARED(kWikiTest);
  const auto texts = test::llama3_texts();
  const double gguf = best_seconds(3, [&] {
    const Tokenizer tokenizer = Tokenizer::from_gguf(test::gguf_vocabulary(texts, "llama-bpe"));
    EXPECT_EQ(tokenizer.encode(" antidisestablishmentarianism").size(), 6u);
  });
  print("opening 128,256 tokens and 280,147 merges from GGUF arrays, one word encoded", gguf * 1e3, "ms");
  EXPECT_LT(gguf, 0.1);
  const std::string json = test::llama3_tokenizer_json(true);
  const double from_json = best_seconds(3, [&] { (void)Tokenizer::from_tokenizer_json(json, "tokenizer.json"); });
  print(fmt::format("opening tokenizer.json of {} bytes", json.size()), from_json * 1e3, "ms");
  EXPECT_LT(from_json, 0.8);
}

}  // namespace
}  // namespace rpt::text
