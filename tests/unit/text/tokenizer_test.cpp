// SPDX-License-Identifier: MIT
#include "rpt/text/tokenizer.h"

#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "rpt/core/error.h"
#include "rpt/text/utf8.h"
#include "tests/shared_data.h"
#include "tests/unit/text/vocabularies.h"

namespace rpt::text {
namespace {

using Ids = std::vector<std::int32_t>;

/// The message of the Failure that `action` must throw.
template <typename Failure>
std::string failure(const std::function<void()>& action) {
  try {
    action();
  } catch (const Failure& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing of that kind was thrown";
  return "";
}

std::string random_text(std::mt19937& random, bool only_utf8) {
  std::string text;
  const std::size_t size = random() % 60;
  while (text.size() < size) {
    switch (random() % (only_utf8 ? 4 : 5)) {
      case 0:
        text += "hello aaaa  abab\n 12345's";
        break;
      case 1:
        text += static_cast<char>(0x20 + random() % 95);
        break;
      case 2:
        append_utf8(text, static_cast<char32_t>(0x80 + random() % 0xD000));
        break;
      case 3:
        append_utf8(text, static_cast<char32_t>(0x10000 + random() % 0x10000));
        break;
      default:
        text += static_cast<char>(random() % 256);
    }
  }
  return text;
}

void expect_round_trips(const Tokenizer& tokenizer, int rounds) {
  std::mt19937 random(3);
  for (int round = 0; round < rounds; ++round) {
    const std::string text = random_text(random, round % 2 == 0);
    const EncodedText encoded = tokenizer.encode_with_offsets(text, {.special = round % 4 < 2});
    ASSERT_EQ(tokenizer.decode(encoded.ids), text);
    ASSERT_EQ(encoded.dropped_bytes, 0u);
    std::uint64_t begin = 0;
    for (std::size_t i = 0; i < encoded.ids.size(); ++i) {
      ASSERT_EQ(text.substr(begin, encoded.ends[i] - begin), tokenizer.piece(encoded.ids[i]));
      begin = encoded.ends[i];
    }
    ASSERT_EQ(begin, text.size());
  }
}

TEST(Tokenizer, DecodeOfEncodeIsTheText) {
  for (const char* pre : {"llama-bpe", "gpt-2", "falcon", "smollm", "default"})
    expect_round_trips(test::small_tokenizer(pre), 2000);
}

TEST(Tokenizer, DecodeOfEncodeIsTheTextForLlama3) {
  RPT_NEEDS_SHARED("data/tokenizers/llama3/vocab.txt");
  expect_round_trips(test::llama3_from_gguf(), 2000);
}

TEST(Tokenizer, InvalidBytesStandAlone) {
  const Tokenizer tokenizer = test::small_tokenizer("llama-bpe");
  const auto with_bad = tokenizer.encode_with_offsets("hello\xff\xfehello \xc3");
  EXPECT_EQ(with_bad.ends, (std::vector<std::uint64_t>{5, 6, 7, 12, 13, 14}));
  EXPECT_EQ(tokenizer.decode(with_bad.ids), "hello\xff\xfehello \xc3");
}

TEST(Tokenizer, SpecialTokensOnlyWhenAsked) {
  const Tokenizer tokenizer = test::small_tokenizer("gpt-2");
  const std::int32_t eot = tokenizer.find("<|eot_id|>").value();
  EXPECT_TRUE(tokenizer.is_special(eot));
  EXPECT_EQ(tokenizer.type(eot), TokenType::control);
  const std::string text = "a<|eot_id|>hello";
  const Ids plain = tokenizer.encode(text), special = tokenizer.encode(text, {.special = true});
  EXPECT_EQ(std::count(plain.begin(), plain.end(), eot), 0);
  EXPECT_EQ(special, (Ids{tokenizer.find("a").value(), eot, tokenizer.find("hello").value()}));
  EXPECT_EQ(tokenizer.decode(plain), text);
  EXPECT_EQ(tokenizer.decode(special), text);
  EXPECT_EQ(tokenizer.encode("<|eot_id|", {.special = true}), tokenizer.encode("<|eot_id|"));
}

TEST(Tokenizer, FindsTokensByTheirBytes) {
  const Tokenizer tokenizer = test::small_tokenizer("gpt-2");
  EXPECT_EQ(tokenizer.piece(tokenizer.find(" hello").value()), " hello");
  EXPECT_EQ(tokenizer.token_text(tokenizer.find(" hello").value()), "Ġhello");
  EXPECT_FALSE(tokenizer.find("Ġhello").has_value());
  EXPECT_FALSE(tokenizer.find("world").has_value());
  EXPECT_EQ(tokenizer.merges().at(4), "Ġ hello");
}

TEST(Tokenizer, SpecialIdsFollowTheStatedRule) {
  const auto texts = test::small_texts();
  const auto n = static_cast<std::int64_t>(texts->tokens.size());
  GgufVocabulary gguf = test::gguf_vocabulary(texts, "llama-bpe");
  const Tokenizer by_name = Tokenizer::from_gguf(gguf);
  EXPECT_EQ(by_name.bos_id(), n - 3);
  EXPECT_TRUE(by_name.adds_bos());
  EXPECT_EQ(by_name.end_ids(), (Ids{static_cast<std::int32_t>(n - 2), static_cast<std::int32_t>(n - 1)}));
  gguf.eos_id = n - 1;
  gguf.bos_id = 5;
  gguf.pad_id = 6;
  gguf.add_bos = false;
  const Tokenizer declared = Tokenizer::from_gguf(gguf);
  EXPECT_EQ(declared.bos_id(), 5);
  EXPECT_FALSE(declared.adds_bos());
  EXPECT_EQ(declared.eos_id(), n - 1);
  EXPECT_EQ(declared.pad_id(), 6);
  EXPECT_EQ(declared.end_ids(), (Ids{static_cast<std::int32_t>(n - 1), static_cast<std::int32_t>(n - 2)}));
}

TEST(Tokenizer, BadIdsAreRefused) {
  const Tokenizer tokenizer = test::small_tokenizer("gpt-2");
  for (const std::int32_t id : {-1, tokenizer.vocab_size()}) {
    EXPECT_THROW((void)tokenizer.decode(Ids{0, id}), ConfigError);
    EXPECT_THROW((void)tokenizer.piece(id), ConfigError);
    EXPECT_THROW((void)tokenizer.is_special(id), ConfigError);
  }
}

TEST(Tokenizer, GgufFaultsAreNamed) {
  const auto texts = test::small_texts();
  const auto broken = [&](const std::function<void(GgufVocabulary&)>& change) {
    return [&texts, change] {
      GgufVocabulary gguf = test::gguf_vocabulary(texts, "gpt-2");
      change(gguf);
      (void)Tokenizer::from_gguf(std::move(gguf));
    };
  };
  EXPECT_NE(failure<ConfigError>(broken([](auto& g) { g.pre = "qwen2"; })).find("'qwen2'"), std::string::npos);
  EXPECT_NE(failure<ConfigError>(broken([](auto& g) { g.pre.reset(); })).find("tokenizer.ggml.pre"), std::string::npos);
  EXPECT_NE(failure<ConfigError>(broken([](auto& g) { g.model = "bert"; })).find("'bert'"), std::string::npos);
  failure<FormatError>(broken([](auto& g) { g.tokens[3] = g.tokens[4]; }));
  failure<FormatError>(broken([](auto& g) { g.tokens[3] = ""; }));
  failure<FormatError>(broken([](auto& g) { g.tokens[3] = "\xff"; }));
  failure<FormatError>(broken([](auto& g) { g.types.pop_back(); }));
  failure<FormatError>(broken([](auto& g) { g.types[0] = 7; }));
  failure<FormatError>(broken([](auto& g) { g.merges[0] = "h z"; }));
  failure<FormatError>(broken([](auto& g) { g.eos_id = 100000; }));
  failure<FormatError>(broken([](auto& g) { g.bos_id = -1; }));
}

TEST(Tokenizer, AliasesOfLlamaBpe) {
  for (const char* alias : {"llama3", "llama-v3", "falcon3", "llama-bpe"}) {
    EXPECT_EQ(test::small_tokenizer(alias).gguf_pre(), "llama-bpe");
  }
}

TEST(Tokenizer, FalconSplitsDigitsByThreeAndPunctuationFirst) {
  const Tokenizer tokenizer = test::small_tokenizer("falcon");
  EXPECT_EQ(tokenizer.gguf_pre(), "falcon");
  EXPECT_FALSE(tokenizer.adds_bos());
  const auto piece_ends = [&](const std::string& text) { return tokenizer.encode_with_offsets(text).ends; };
  // " hello" is one token, but the comma in between, and a second space, cut it off.
  EXPECT_EQ(piece_ends("x hello"), (std::vector<std::uint64_t>{1, 7}));
  EXPECT_EQ(piece_ends("x, hello"), (std::vector<std::uint64_t>{1, 2, 8}));
  EXPECT_EQ(piece_ends("x  hello"), (std::vector<std::uint64_t>{1, 2, 8}));
}

TEST(Tokenizer, SmollmSplitsEveryDigitFirst) {
  const Tokenizer tokenizer = test::small_tokenizer("smollm");
  EXPECT_EQ(tokenizer.gguf_pre(), "smollm");
  EXPECT_FALSE(tokenizer.adds_bos());
  // Two spaces are one token, unless the second belongs to the number.
  EXPECT_EQ(tokenizer.encode_with_offsets("x  1").ends, (std::vector<std::uint64_t>{1, 3, 4}));
  EXPECT_EQ(test::small_tokenizer("gpt-2").encode_with_offsets("x  1").ends, (std::vector<std::uint64_t>{1, 2, 3, 4}));
  const Tokenizer read = Tokenizer::from_tokenizer_json(tokenizer.to_tokenizer_json(), "written");
  EXPECT_EQ(read.encode("x  12 hello"), tokenizer.encode("x  12 hello"));
  EXPECT_EQ(read.gguf_pre(), "smollm");
}

TEST(Tokenizer, DefaultIsFalconButForTheBacktickAndNumbers) {
  const Tokenizer tokenizer = test::small_tokenizer("default");
  EXPECT_EQ(tokenizer.gguf_pre(), "default");
  EXPECT_FALSE(tokenizer.adds_bos());
  const auto ends = [](const Tokenizer& t, const char* text) { return t.encode_with_offsets(text).ends; };
  EXPECT_EQ(ends(tokenizer, "x, hello"), (std::vector<std::uint64_t>{1, 2, 8}));
  EXPECT_EQ(ends(tokenizer, "  `"), (std::vector<std::uint64_t>{1, 2, 3}));
  EXPECT_EQ(ends(test::small_tokenizer("falcon"), "  `"), (std::vector<std::uint64_t>{2, 3}));
}

TEST(Tokenizer, BytesWithoutTokenAreDroppedAndCounted) {
  const auto full = test::small_texts();
  GgufVocabulary gguf = test::gguf_vocabulary(full, "gpt-2");
  const auto at = std::find(gguf.tokens.begin(), gguf.tokens.end(), "\u0105");  // byte 0x05
  ASSERT_NE(at, gguf.tokens.end());
  *at = "another";
  const Tokenizer tokenizer = Tokenizer::from_gguf(std::move(gguf));
  const std::string text =
      "\x05"
      "a\x05\x05 hello\x05";
  const EncodedText encoded = tokenizer.encode_with_offsets(text);
  EXPECT_EQ(encoded.dropped_bytes, 4u);
  EXPECT_EQ(encoded.ends, (std::vector<std::uint64_t>{2, 10}));
  EXPECT_EQ(tokenizer.decode(encoded.ids), "a hello");
  for (int again = 0; again < 2; ++again) {
    std::uint64_t dropped = 0;
    EXPECT_EQ(tokenizer.encode(text, {}, &dropped), encoded.ids);
    EXPECT_EQ(dropped, 4u);
  }
}

TEST(Tokenizer, ManyThreadsAtOnce) {
  const Tokenizer tokenizer = test::small_tokenizer("llama-bpe");
  std::mt19937 random(4);
  std::vector<std::string> texts;
  std::vector<Ids> expected;
  for (int i = 0; i < 200; ++i) {
    texts.push_back(random_text(random, true));
    expected.push_back(tokenizer.encode(texts.back()));
  }
  std::vector<std::thread> threads;
  std::vector<int> wrong(4);
  for (int& count : wrong) {
    threads.emplace_back([&] {
      for (std::size_t i = 0; i < texts.size(); ++i) count += tokenizer.encode(texts[i]) == expected[i] ? 0 : 1;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

TEST(Tokenizer, WrittenJsonEncodesTheSame) {
  std::mt19937 random(5);
  for (const char* pre : {"llama-bpe", "gpt-2", "falcon"}) {
    const Tokenizer tokenizer = test::small_tokenizer(pre);
    const Tokenizer read = Tokenizer::from_tokenizer_json(tokenizer.to_tokenizer_json(), "written");
    EXPECT_EQ(read.gguf_pre(), pre);
    EXPECT_EQ(read.adds_bos(), tokenizer.adds_bos());
    EXPECT_EQ(read.end_ids(), tokenizer.end_ids());
    for (int i = 0; i < 200; ++i) {
      const std::string text = random_text(random, false) + "<|eot_id|>";
      ASSERT_EQ(read.encode(text), tokenizer.encode(text));
      ASSERT_EQ(read.encode(text, {.special = true}), tokenizer.encode(text, {.special = true}));
    }
  }
}

TEST(Tiktoken, FaultsAreNamedWithTheirPlace) {
  const auto read = [](const std::string& text, std::vector<std::string> special) {
    return [=] { (void)Tokenizer::from_tiktoken(text, special, "t.model"); };
  };
  const std::string two = "YQ== 0\nYg== 1\n";
  EXPECT_NO_THROW(read(two + "YWI= 2", {"<s>"})());
  EXPECT_NE(failure<FormatError>(read(two + "YWI 2\n", {"<s>"})).find("at offset 14 (rank 2)"), std::string::npos);
  failure<FormatError>(read(two + "YWI= 3\n", {"<s>"}));
  failure<FormatError>(read(two + "YWI=\n", {"<s>"}));
  failure<FormatError>(read(two + "\n", {"<s>"}));
  failure<FormatError>(read(two + "YWJ= 2\n", {"<s>"}));  // bits behind the end
  failure<FormatError>(read(two + "Y!I= 2\n", {"<s>"}));
  failure<FormatError>(read(two + "YQ== 2\n", {"<s>"}));
  failure<FormatError>(read(two, {"a"}));
  failure<ConfigError>(read(two, {}));
}

TEST(Tiktoken, MergesByTheRankOfTheResult) {
  // a b c ab bc: "abc" is "ab" + "c", because "ab" has the lower rank.
  const Tokenizer tokenizer =
      Tokenizer::from_tiktoken("YQ== 0\nYg== 1\nYw== 2\nYWI= 3\nYmM= 4\n", {"<|end_of_text|>"}, "t.model");
  EXPECT_EQ(tokenizer.encode("abc"), (Ids{3, 2}));
  EXPECT_EQ(tokenizer.encode("bc"), (Ids{4}));
  EXPECT_EQ(tokenizer.merges(), (std::vector<std::string>{"a b", "b c"}));
  EXPECT_FALSE(tokenizer.adds_bos());
  EXPECT_EQ(tokenizer.end_ids(), Ids{5});
}

}  // namespace
}  // namespace rpt::text
