// SPDX-License-Identifier: MIT
// Real vocabularies against ids made by other programs.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "rpt/core/atomic_file.h"
#include "rpt/text/tokenizer.h"
#include "tests/shared_data.h"
#include "tests/unit/text/vocabularies.h"

namespace rpt::text {
namespace {

constexpr const char* kLlama3 = "data/tokenizers/llama3/vocab.txt";
constexpr const char* kWikiTest = "data/wikitext-2-raw/wiki.test.raw";

void expect_llama3(const Tokenizer& tokenizer) {
  const auto golden = nlohmann::json::parse(core::read_file(test::shared("data/tokenizers/llama3/golden_encode.json")));
  ASSERT_EQ(golden["vectors"].size() + golden["special_token_vectors"].size(), 216u);
  for (const char* list : {"vectors", "special_token_vectors"}) {
    const bool special = std::string(list) != "vectors";
    for (const auto& vector : golden[list]) {
      const std::string text = vector["text"];
      const std::vector<std::int32_t> ids = vector["ids"];
      EXPECT_EQ(tokenizer.encode(text, {.special = special}), ids) << vector["text"].dump();
      EXPECT_EQ(tokenizer.decode(ids), text);
    }
  }
  EXPECT_EQ(tokenizer.vocab_size(), 128256);
  EXPECT_EQ(tokenizer.bos_id(), 128000);
  EXPECT_EQ(tokenizer.gguf_pre(), "llama-bpe");
  const std::vector<std::int32_t> ends = tokenizer.end_ids();
  EXPECT_NE(std::find(ends.begin(), ends.end(), 128009), ends.end());

  const std::string wiki = core::read_file(test::shared(kWikiTest));
  const EncodedText encoded = tokenizer.encode_with_offsets(wiki);
  EXPECT_EQ(encoded.ids.size(), 289076u);
  EXPECT_EQ(test::ids_sha256(encoded.ids), "36ce8ec09afe1b1c331123fed448048f52525852f88f32bb2c544b1b11440a38");
  EXPECT_EQ(encoded.dropped_bytes, 0u);
  std::uint64_t begin = 0;
  for (std::size_t i = 0; i < encoded.ids.size(); ++i) {
    ASSERT_EQ(wiki.substr(begin, encoded.ends[i] - begin), tokenizer.piece(encoded.ids[i])) << "token " << i;
    begin = encoded.ends[i];
  }
  EXPECT_EQ(begin, wiki.size());
}

TEST(SharedVocabularies, Llama3FromGguf) {
  RPT_NEEDS_SHARED(kLlama3);
  const Tokenizer tokenizer = test::llama3_from_gguf();
  expect_llama3(tokenizer);
  EXPECT_TRUE(tokenizer.adds_bos());
}

TEST(SharedVocabularies, Llama3FromGgufWithoutPre) {
  RPT_NEEDS_SHARED(kLlama3);
  GgufVocabulary gguf = test::gguf_vocabulary(test::llama3_texts(), "");
  gguf.pre.reset();
  gguf.add_bos = true;
  gguf.bos_id = 128000;
  gguf.eos_id = gguf.pad_id = 128001;
  const Tokenizer tokenizer = Tokenizer::from_gguf(std::move(gguf));
  EXPECT_EQ(tokenizer.encode("Hello, world!"), (std::vector<std::int32_t>{9906, 11, 1917, 0}));
  EXPECT_EQ(tokenizer.end_ids(), (std::vector<std::int32_t>{128001, 128008, 128009}));
  EXPECT_EQ(tokenizer.pad_id(), 128001);
}

TEST(SharedVocabularies, Llama3FromTokenizerJson) {
  RPT_NEEDS_SHARED(kLlama3);
  for (const bool pairs : {false, true}) {
    const std::string json = test::llama3_tokenizer_json(pairs);
    const Tokenizer tokenizer = Tokenizer::from_tokenizer_json(json, "tokenizer.json");
    expect_llama3(tokenizer);
    EXPECT_FALSE(tokenizer.adds_bos());
    EXPECT_EQ(tokenizer.to_tokenizer_json(), json);
  }
}

TEST(SharedVocabularies, Llama3FromTiktoken) {
  RPT_NEEDS_SHARED(kLlama3);
  const Tokenizer tokenizer = test::llama3_from_tiktoken();
  expect_llama3(tokenizer);
  EXPECT_TRUE(tokenizer.adds_bos());
  // The merges that Hugging Face's conversion derives are those of the published tokenizer.json.
  const auto texts = test::llama3_texts();
  const std::vector<std::string> merges = tokenizer.merges();
  ASSERT_EQ(merges.size(), texts->merges.size());
  EXPECT_TRUE(std::equal(merges.begin(), merges.end(), texts->merges.begin()));
  for (std::int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    ASSERT_EQ(tokenizer.token_text(id), texts->tokens[static_cast<std::size_t>(id)]);
  }
}

TEST(SharedVocabularies, WrittenTokenizerJsonReadsBackTheSame) {
  RPT_NEEDS_SHARED(kLlama3);
  const Tokenizer tiktoken = test::llama3_from_tiktoken();
  const Tokenizer read = Tokenizer::from_tokenizer_json(tiktoken.to_tokenizer_json(), "written");
  expect_llama3(read);
  EXPECT_TRUE(read.adds_bos());
  EXPECT_EQ(read.end_ids(), tiktoken.end_ids());
  EXPECT_EQ(read.merges(), tiktoken.merges());
}

/// llama.cpp's test texts with the ids of one vocabulary.
void expect_llama_cpp_vectors(const Tokenizer& tokenizer, const std::string& name) {
  const std::string folder = "data/tokenizers/llama.cpp-vectors/ggml-vocab-" + name + ".gguf";
  const std::string input = core::read_file(test::shared(folder + ".inp"));
  std::istringstream output(core::read_file(test::shared(folder + ".out")));
  constexpr std::string_view kSeparator = "\n__ggml_vocab_test__\n";
  std::size_t at = 0, compared = 0;
  for (std::string line; std::getline(output, line); ++compared) {
    ASSERT_LE(at, input.size());
    const std::size_t end = std::min(input.find(kSeparator, at), input.size());
    std::vector<std::int32_t> ids;
    std::istringstream numbers(line);
    for (std::int32_t id = 0; numbers >> id;) ids.push_back(id);
    const std::string text = input.substr(at, end - at);
    EXPECT_EQ(tokenizer.encode(text), ids) << text;
    at = end + kSeparator.size();
  }
  EXPECT_GT(compared, 40u);
}

TEST(SharedVocabularies, LlamaCppVectors) {
  RPT_NEEDS_SHARED("data/tokenizers/llama.cpp-vectors");
  expect_llama_cpp_vectors(test::llama3_from_gguf(), "llama-bpe");
  expect_llama_cpp_vectors(test::gpt2_from_gguf(), "gpt-2");
  const std::string llama2 = core::read_file(test::shared("data/tokenizers/llama2/tokenizer.model"));
  expect_llama_cpp_vectors(Tokenizer::from_sentencepiece(llama2, "tokenizer.model"), "llama-spm");
}

TEST(SharedVocabularies, Gpt2) {
  RPT_NEEDS_SHARED("data/tokenizers/gpt2/vocab.json");
  const Tokenizer tokenizer = test::gpt2_from_gguf();
  EXPECT_EQ(tokenizer.vocab_size(), 50257);
  EXPECT_FALSE(tokenizer.adds_bos());
  EXPECT_EQ(tokenizer.bos_id(), 50256);
  EXPECT_EQ(tokenizer.end_ids(), std::vector<std::int32_t>{50256});
  EXPECT_EQ(tokenizer.gguf_pre(), "gpt-2");
  const std::string text = "Hello world, don't 123 <|endoftext|>\n";
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
  const Tokenizer read = Tokenizer::from_tokenizer_json(tokenizer.to_tokenizer_json(), "written");
  const std::string wiki = core::read_file(test::shared(kWikiTest));
  EXPECT_EQ(read.encode(wiki), tokenizer.encode(wiki));
}

TEST(SharedVocabularies, Seedling) {
  RPT_NEEDS_SHARED("data/models/seedling/tokenizer.json");
  const Tokenizer tokenizer = Tokenizer::from_tokenizer_json(
      core::read_file(test::shared("data/models/seedling/tokenizer.json")), "tokenizer.json");
  EXPECT_EQ(tokenizer.vocab_size(), 4096);
  EXPECT_EQ(tokenizer.bos_id(), 0);
  EXPECT_TRUE(tokenizer.adds_bos());
  EXPECT_EQ(tokenizer.end_ids(), std::vector<std::int32_t>{1});
  const auto golden = nlohmann::json::parse(core::read_file(test::shared("data/models/seedling/golden.json")));
  for (const auto& [name, expected] : golden["texts"].items()) {
    const std::string text = core::read_file(test::shared("data/text/" + name)).substr(0, expected["bytes"]);
    const std::vector<std::int32_t> ids = tokenizer.encode(text);
    EXPECT_EQ(ids.size(), expected["tokens"].get<std::size_t>());
    EXPECT_EQ(test::ids_sha256(ids), expected["ids_sha256"]);
  }
  for (const auto& greedy : golden["greedy"]) {
    std::vector<std::int32_t> ids = tokenizer.encode(greedy["prompt"].get<std::string>());
    ids.insert(ids.begin(), 0);
    EXPECT_EQ(ids, greedy["prompt_ids"].get<std::vector<std::int32_t>>());
  }
}

}  // namespace
}  // namespace rpt::text
