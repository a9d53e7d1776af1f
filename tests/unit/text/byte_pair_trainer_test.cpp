// SPDX-License-Identifier: MIT
#include "rpt/text/byte_pair_trainer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <random>

#include "rpt/core/atomic_file.h"
#include "rpt/core/error.h"
#include "rpt/core/parallel.h"
#include "rpt/core/sha256.h"
#include "rpt/text/byte_level.h"
#include "rpt/text/byte_pair_learner.h"
#include "tests/shared_data.h"

namespace rpt::text {
namespace {

using Pair = BytePairLearner::Pair;
using Pairs = std::vector<Pair>;
using Texts = std::vector<std::string>;

constexpr std::string_view kWords = R"(\S+|\s+)";

/// Id of a byte where there are `special` special tokens.
std::int32_t id_of(char byte, std::int32_t special) {
  const auto bytes = bytes_by_character();
  const auto at = std::find(bytes.begin(), bytes.end(), static_cast<std::uint8_t>(byte));
  return special + static_cast<std::int32_t>(at - bytes.begin());
}

TrainedBytePairs train(const Texts& texts, const BytePairTrainerOptions& options) {
  BytePairTrainer trainer(options);
  trainer.add(texts);
  return trainer.train();
}

/// Training as it is defined: all pairs are counted anew for every merge. Knows no forbidden spellings.
struct Recounting {
  explicit Recounting(const Texts& texts, const BytePairTrainerOptions& options) : options_(options) {
    const auto special = static_cast<std::int32_t>(options.special_tokens.size());
    const PreTokenizer pre_tokenizer({{.pattern = options.pattern}}, "test");
    MatchScratch scratch;
    for (const std::string& text : texts) {
      pre_tokenizer.split_bytes(text, scratch, [&](const TextSpan& span) {
        std::vector<std::int32_t> word;
        for (const char byte : span.text) word.push_back(id_of(byte, special));
        ++words_[word];
      });
    }
    for (std::int32_t next = special + 256; next < options.vocabulary_size && merge_best(next); ++next) continue;
    for (const auto& [word, count] : words_) tokens += count * word.size();
  }

  Pairs merges;
  std::uint64_t tokens = 0;

 private:
  bool merge_best(std::int32_t merged) {
    std::map<Pair, std::uint64_t> counts;
    for (const auto& [word, count] : words_) {
      for (std::size_t i = 0; i + 1 < word.size(); ++i) counts[{word[i], word[i + 1]}] += count;
    }
    Pair best{-1, -1};
    std::uint64_t most = options_.min_pair_frequency - 1;
    for (const auto& [pair, count] : counts) {  // by rising ids: of equals the first stays
      if (count > most) {
        best = pair;
        most = count;
      }
    }
    if (best.first < 0) return false;
    merges.push_back(best);
    std::map<std::vector<std::int32_t>, std::uint64_t> words;
    for (const auto& [word, count] : words_) {
      std::vector<std::int32_t> out;
      for (std::size_t i = 0; i < word.size(); ++i) {
        const bool here = i + 1 < word.size() && Pair{word[i], word[i + 1]} == best;
        out.push_back(here ? merged : word[i]);
        if (here) ++i;
      }
      words[out] += count;
    }
    words_ = std::move(words);
    return true;
  }

  BytePairTrainerOptions options_;
  std::map<std::vector<std::int32_t>, std::uint64_t> words_;
};

Texts random_texts(std::mt19937& random, std::string_view letters) {
  Texts texts(random() % 6);
  for (std::string& text : texts) {
    const std::size_t size = random() % 150;
    for (std::size_t i = 0; i < size; ++i) text += letters[random() % letters.size()];
  }
  return texts;
}

TEST(BytePairTrainer, MergesAreThoseOfRecounting) {
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    const Texts texts = random_texts(random, round % 3 == 0 ? "a" : round % 3 == 1 ? "aab " : "abcde  \n'1\xc3\xa9");
    BytePairTrainerOptions options;
    options.vocabulary_size = static_cast<std::int32_t>(258 + random() % 80);
    options.min_pair_frequency = 1 + random() % 4;
    if (round % 2 == 0) options.pattern = kWords;
    const TrainedBytePairs ours = train(texts, options);
    const Recounting expected(texts, options);
    ASSERT_EQ(ours.vocabulary.merges, expected.merges) << "round " << round;
    ASSERT_EQ(ours.tokens, expected.tokens) << "round " << round;
  }
}

TEST(BytePairTrainer, MergesOfAWorkedExample) {
  const auto id = [](char c) { return id_of(c, 2); };
  // he 5, el 3, en 2; then hel 3, hen 2.
  const TrainedBytePairs trained = train({"hel hel hel hen hen"}, {.pattern = std::string(kWords)});
  EXPECT_EQ(trained.vocabulary.merges, (Pairs{{id('h'), id('e')}, {258, id('l')}, {258, id('n')}}));
  EXPECT_EQ(trained.bytes, 19u);
  EXPECT_EQ(trained.pre_tokens, 9u);
  EXPECT_EQ(trained.distinct_pre_tokens, 3u);
  EXPECT_EQ(trained.tokens, 9u);
}

TEST(BytePairTrainer, OfEqualCountsTheLowerIdsComeFirst) {
  const auto id = [](char c) { return id_of(c, 2); };
  EXPECT_EQ(id('!'), 2);
  EXPECT_LT(id('~'), id('\xa1'));
  EXPECT_LT(id('\xff'), id('\0'));  // U+00FF, U+0100
  EXPECT_LT(id('\0'), id(' '));
  const BytePairTrainerOptions options{.min_pair_frequency = 1, .pattern = std::string(kWords)};
  EXPECT_EQ(train({"zb", "ad", "ac", "za"}, options).vocabulary.merges,
            (Pairs{{id('a'), id('c')}, {id('a'), id('d')}, {id('z'), id('a')}, {id('z'), id('b')}}));
}

TEST(BytePairTrainer, OverlappingPairsMergeFromTheLeft) {
  const std::int32_t a = id_of('a', 2);
  // aaaaa: aa occurs 4 times; then aa aa a holds (aa, aa) and (aa, a) once each.
  const BytePairTrainerOptions once{.min_pair_frequency = 1, .pattern = std::string(kWords)};
  EXPECT_EQ(train({"aaaaa"}, once).vocabulary.merges, (Pairs{{a, a}, {258, a}, {258, 259}}));
  const TrainedBytePairs twice = train({"aaaaa"}, {.pattern = std::string(kWords)});
  EXPECT_EQ(twice.vocabulary.merges, (Pairs{{a, a}}));
  EXPECT_EQ(twice.tokens, 3u);
}

TEST(BytePairTrainer, NeitherThreadsNorOrderChangeTheMerges) {
  std::mt19937 random(11);
  Texts texts;
  for (int i = 0; i < 40; ++i) {
    for (std::string& text : random_texts(random, "etaoin shrdlu.\n")) texts.push_back(std::move(text));
  }
  const BytePairTrainerOptions options{.vocabulary_size = 700};
  core::set_threads(1);
  const TrainedBytePairs one = train(texts, options);
  EXPECT_GT(one.vocabulary.merges.size(), 200u);
  std::reverse(texts.begin(), texts.end());
  for (const int threads : {2, 3}) {
    core::set_threads(threads);
    const TrainedBytePairs more = train(texts, options);
    EXPECT_EQ(more.vocabulary.merges, one.vocabulary.merges);
    EXPECT_EQ(more.tokens, one.tokens);
    EXPECT_EQ(more.pre_tokens, one.pre_tokens);
    EXPECT_EQ(more.distinct_pre_tokens, one.distinct_pre_tokens);
  }
  core::set_threads(0);
  BytePairTrainer single(options);
  for (const std::string& text : texts) single.add(text);
  EXPECT_EQ(single.train().vocabulary.merges, one.vocabulary.merges);
  EXPECT_EQ(single.bytes(), one.bytes);
  // What was learnt stays learnt from: training again gives the same, further texts count on.
  EXPECT_EQ(single.train().vocabulary.merges, one.vocabulary.merges);
  single.add(std::string(1000, 'q'));
  EXPECT_NE(single.train().vocabulary.merges, one.vocabulary.merges);
}

TEST(BytePairTrainer, TooSmallTextsGiveFewerMerges) {
  EXPECT_EQ(train({}, {}).vocabulary.merges, Pairs{});
  EXPECT_EQ(train({""}, {}).distinct_pre_tokens, 0u);
  const TrainedBytePairs single = train({"abc"}, {});
  EXPECT_EQ(single.vocabulary.merges, Pairs{});
  EXPECT_EQ(single.tokens, 3u);
  EXPECT_EQ(train({"abc abc"}, {}).vocabulary.merges.size(), 2u);
  EXPECT_EQ(train({"abc abc"}, {.vocabulary_size = 259}).vocabulary.merges.size(), 1u);
  EXPECT_EQ(train({"abc abc"}, {.vocabulary_size = 258}).vocabulary.merges.size(), 0u);
  EXPECT_EQ(Tokenizer::from_byte_pairs(train({}, {}).vocabulary, "test").vocab_size(), 258);
}

/// What was counted while training is what encoding gives.
TEST(BytePairTrainer, TheVocabularyEncodesAsItWasTrained) {
  std::mt19937 random(5);
  for (int round = 0; round < 40; ++round) {
    Texts texts = random_texts(random, "abcab \n\xc3\xa9\xff\xfe'1");
    const TrainedBytePairs trained = train(texts, {.vocabulary_size = 330});
    const Tokenizer tokenizer = Tokenizer::from_byte_pairs(trained.vocabulary, "test");
    const Tokenizer again = Tokenizer::from_tokenizer_json(tokenizer.to_tokenizer_json(), "test");
    EXPECT_EQ(again.merges(), tokenizer.merges());
    std::uint64_t tokens = 0;
    for (const std::string& text : texts) {
      const auto ids = tokenizer.encode(text);
      tokens += ids.size();
      ASSERT_EQ(tokenizer.decode(ids), text);
      ASSERT_EQ(again.encode(text), ids);
    }
    ASSERT_EQ(tokens, trained.tokens);
    const std::string unseen = "zebra \xf0\x9f\xa6\x93 \x80 ab";
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(unseen)), unseen);
  }
}

TEST(BytePairTrainer, TheFileSaysWhatItIs) {
  const TrainedBytePairs trained = train({"hello hello"}, {});
  const Tokenizer tokenizer = Tokenizer::from_byte_pairs(trained.vocabulary, "test");
  const Tokenizer again = Tokenizer::from_tokenizer_json(tokenizer.to_tokenizer_json(), "test");
  for (const Tokenizer& t : {tokenizer, again}) {
    EXPECT_EQ(t.bos_id(), 0);
    EXPECT_TRUE(t.adds_bos());
    EXPECT_EQ(t.end_ids(), std::vector<std::int32_t>{1});
    EXPECT_TRUE(t.is_special(0) && t.is_special(1) && !t.is_special(2));
    EXPECT_EQ(t.find("hello"), 258 + 3);
    EXPECT_EQ(t.gguf_pre(), "llama-bpe");
  }
  const auto json = nlohmann::json::parse(tokenizer.to_tokenizer_json());
  EXPECT_EQ(json["model"]["type"], "BPE");
  EXPECT_EQ(json["model"]["byte_fallback"], false);
  EXPECT_EQ(json["model"]["ignore_merges"], false);
  EXPECT_EQ(json["model"]["vocab"].size(), static_cast<std::size_t>(tokenizer.vocab_size()));
  EXPECT_EQ(json["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"], kLlama3Expression);
  EXPECT_EQ(json["pre_tokenizer"]["pretokenizers"][1]["use_regex"], false);
  EXPECT_EQ(json["decoder"]["type"], "ByteLevel");
  EXPECT_EQ(json["post_processor"]["single"][0]["SpecialToken"]["id"], "<|begin_of_text|>");
  EXPECT_EQ(json["added_tokens"].size(), 2u);

  const auto config = nlohmann::json::parse(tokenizer.to_tokenizer_config_json());
  EXPECT_EQ(config["tokenizer_class"], "PreTrainedTokenizerFast");
  EXPECT_EQ(config["bos_token"], "<|begin_of_text|>");
  EXPECT_EQ(config["eos_token"], "<|end_of_text|>");
  EXPECT_EQ(config["add_bos_token"], true);
  EXPECT_EQ(config["model_max_length"], 1e30);
  EXPECT_FALSE(config.contains("pad_token"));
}

TEST(BytePairTrainer, SpecialTokensAreTheirs) {
  const auto tokenizer = [](std::vector<std::string> special) {
    return Tokenizer::from_byte_pairs(train({"the the"}, {.special_tokens = std::move(special)}).vocabulary, "test");
  };
  EXPECT_EQ(tokenizer({"<s>", "</s>", "\"quoted\""}).encode("<s>\"quoted\"", {.special = true}),
            (std::vector<std::int32_t>{0, 2}));
  EXPECT_TRUE(tokenizer({"<s>", "</s>"}).adds_bos());
  // Without a begin-of-text token of its own nothing is put in front.
  for (const auto& special : std::vector<Texts>{{}, {"<x>"}, {"</s>"}, {"<|endoftext|>"}}) {
    EXPECT_FALSE(tokenizer(special).adds_bos());
    EXPECT_FALSE(Tokenizer::from_tokenizer_json(tokenizer(special).to_tokenizer_json(), "test").adds_bos());
    EXPECT_EQ(nlohmann::json::parse(tokenizer(special).to_tokenizer_config_json())["add_bos_token"], false);
  }
}

TEST(BytePairTrainer, NoMergeSpellsASpecialToken) {
  // After "he", "the" may not follow, nor " th", which is written with U+0120.
  const TrainedBytePairs trained = train({"the the the the"}, {.special_tokens = {"the", "\u0120th"}});
  const Tokenizer tokenizer = Tokenizer::from_byte_pairs(trained.vocabulary, "test");
  EXPECT_EQ(tokenizer.merges(), (Texts{"h e", "\u0120 t", "\u0120t he"}));
  EXPECT_EQ(tokenizer.encode("the", {.special = true}), std::vector<std::int32_t>{0});
  EXPECT_EQ(tokenizer.encode("the").size(), 2u);
}

TEST(BytePairTrainer, WhatCannotBeTrainedIsRefused) {
  const auto refused = [](const BytePairTrainerOptions& options) {
    EXPECT_THROW(BytePairTrainer{options}, ConfigError);
  };
  refused({.vocabulary_size = 257});
  refused({.vocabulary_size = -1});
  refused({.vocabulary_size = (1 << 24) + 1});
  refused({.min_pair_frequency = 0});
  refused({.special_tokens = {""}});
  refused({.special_tokens = {"\xff"}});
  refused({.special_tokens = {"<s>", "<s>"}});
  refused({.special_tokens = {"a"}});
  refused({.special_tokens = {"\u0120"}});  // how a space is written
  refused({.pattern = "("});
  EXPECT_NO_THROW(BytePairTrainer({.vocabulary_size = 256, .special_tokens = {}}));
}

TEST(BytePairTrainer, PartsThatContradictThemselvesAreRefused) {
  const auto refused = [](const BytePairVocabulary& vocabulary) {
    EXPECT_THROW(Tokenizer::from_byte_pairs(vocabulary, "test"), FormatError);
  };
  refused({.special_tokens = {"<s>"}, .merges = {{0, 1}}});    // of a special token
  refused({.special_tokens = {"<s>"}, .merges = {{1, 257}}});  // of itself
  refused({.special_tokens = {"<s>"}, .merges = {{1, -1}}});
  refused({.special_tokens = {}, .merges = {{1, 2}, {1, 2}}});
  refused({.special_tokens = {}, .merges = {{1, 1}, {256, 1}, {1, 256}}});  // the same token twice
  refused({.special_tokens = {"<s>", "<s>"}});
  refused({.special_tokens = {"!!"}, .merges = {{1, 1}}});
  EXPECT_THROW(Tokenizer::from_byte_pairs({.pattern = "("}, "test"), ConfigError);
}

TEST(BytePairTrainer, LongPreTokensTakeTimeInProportion) {
  std::mt19937 random(3);
  std::string word;
  for (int i = 0; i < 300'000; ++i) word += static_cast<char>('a' + random() % 4);
  const TrainedBytePairs trained = train({word, std::string(300'000, 'x')}, {.vocabulary_size = 2000});
  EXPECT_EQ(trained.vocabulary.merges.size(), 2000u - 258);
  EXPECT_EQ(trained.distinct_pre_tokens, 2u);
}

/// Against the BpeTrainer of Hugging Face's tokenizers: tokenizers_golden.py.
TEST(BytePairTrainer, MergesAreThoseOfTokenizers) {
  const auto golden =
      nlohmann::json::parse(core::read_file(test::source_dir() / "tests/unit/text/tokenizers_golden.json"));
  std::size_t compared = 0;
  for (const auto& entry : golden["trainings"]) {
    const bool is_file = entry.contains("file");
    const Texts texts = is_file ? Texts{core::read_file(test::source_dir() / entry["file"].get<std::string>())}
                                : entry["texts"].get<Texts>();
    BytePairTrainerOptions options;
    options.vocabulary_size = entry["vocabulary"];
    options.min_pair_frequency = entry["min_frequency"];
    options.special_tokens = entry["special"].get<Texts>();
    const Texts merges = Tokenizer::from_byte_pairs(train(texts, options).vocabulary, "golden").merges();
    if (is_file) {
      EXPECT_EQ(merges.size(), entry["merge_count"].get<std::size_t>());
      std::string lines;
      for (const std::string& merge : merges) lines += merge + "\n";
      EXPECT_EQ(core::sha256_hex(lines), entry["merges_sha256"].get<std::string>());
    } else {
      EXPECT_EQ(merges, entry["merges"].get<Texts>());
    }
    ++compared;
  }
  EXPECT_EQ(compared, 4u);
}

TEST(ByteLevel, BytesByCharacterAreAllBytesInOrder) {
  const auto bytes = bytes_by_character();
  for (std::size_t i = 1; i < bytes.size(); ++i) EXPECT_LT(byte_to_char(bytes[i - 1]), byte_to_char(bytes[i]));
  EXPECT_EQ(bytes.front(), '!');
}

}  // namespace
}  // namespace rpt::text
