// SPDX-License-Identifier: MIT
// Vocabularies by themselves, and written with a model.
#include <gtest/gtest.h>

#include <sstream>

#include "rpt/core/atomic_file.h"
#include "rpt/core/error.h"
#include "rpt/io/gguf.h"
#include "rpt/io/gguf_writer.h"
#include "rpt/model/export.h"
#include "rpt/model/model.h"
#include "tests/shared_data.h"
#include "tests/tiny_model.h"

namespace rpt::model {
namespace {

using Ids = std::vector<std::int32_t>;

constexpr const char* kLlamaSpm = "data/gguf-fixtures/ggml-vocab-llama-spm.gguf";
constexpr const char* kLlama2 = "data/tokenizers/llama2/tokenizer.model";
constexpr const char* kTok512 = "data/models/stories260K/tok512.bin";
constexpr const char* kSmolLm = "data/models/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";
constexpr const char* kWiki = "data/wikitext-2-raw/wiki.test.raw";

text::Tokenizer open_quietly(const std::filesystem::path& path) {
  std::vector<std::string> warnings;
  text::Tokenizer found = open_vocabulary(path, warnings);
  EXPECT_TRUE(warnings.empty()) << warnings.front();
  return found;
}

TEST(OpenVocabulary, LlamaSpmPassesLlamaCppVectors) {
  RPT_NEEDS_SHARED(kLlamaSpm);
  const text::Tokenizer tokenizer = open_quietly(test::shared(kLlamaSpm));
  const std::string vectors = "data/tokenizers/llama.cpp-vectors/ggml-vocab-llama-spm.gguf";
  const std::string input = core::read_file(test::shared(vectors + ".inp"));
  std::istringstream output(core::read_file(test::shared(vectors + ".out")));
  constexpr std::string_view kSeparator = "\n__ggml_vocab_test__\n";
  std::size_t at = 0, compared = 0;
  for (std::string line; std::getline(output, line); ++compared) {
    ASSERT_LE(at, input.size());
    const std::size_t end = std::min(input.find(kSeparator, at), input.size());
    std::istringstream numbers(line);
    Ids ids;
    for (std::int32_t id = 0; numbers >> id;) ids.push_back(id);
    const std::string text = input.substr(at, end - at);
    EXPECT_EQ(tokenizer.encode(text), ids) << text;
    EXPECT_EQ(tokenizer.decode(ids), text);
    at = end + kSeparator.size();
  }
  EXPECT_GT(compared, 40U);
}

TEST(OpenVocabulary, SameIdsFromEveryFormOfLlama2) {
  RPT_NEEDS_SHARED(kLlamaSpm);
  const text::Tokenizer gguf = open_quietly(test::shared(kLlamaSpm));
  const text::Tokenizer model = open_quietly(test::shared(kLlama2));
  const text::Tokenizer bin = open_quietly(test::shared("data/tokenizers/llama2/tokenizer.bin"));
  const text::Tokenizer folder = open_quietly(test::shared(kLlama2).parent_path());
  const std::string wiki = core::read_file(test::shared(kWiki)).substr(0, 200'000);
  const Ids ids = gguf.encode(wiki);
  for (const text::Tokenizer* other : {&model, &bin, &folder}) {
    EXPECT_EQ(other->encode(wiki), ids);
    EXPECT_EQ(other->vocab_size(), gguf.vocab_size());
    EXPECT_EQ(other->bos_id(), gguf.bos_id());
    EXPECT_EQ(other->adds_bos(), gguf.adds_bos());
    EXPECT_EQ(other->end_ids(), gguf.end_ids());
  }
  EXPECT_EQ(gguf.decode(ids), wiki);
}

TEST(OpenVocabulary, SmolLm2) {
  RPT_NEEDS_SHARED(kSmolLm);
  const text::Tokenizer tokenizer = open_quietly(test::shared(kSmolLm));
  EXPECT_EQ(tokenizer.vocab_size(), 49152);
  EXPECT_EQ(tokenizer.gguf_pre(), "smollm");
  EXPECT_FALSE(tokenizer.adds_bos());
  EXPECT_EQ(tokenizer.encode("a  1"), (Ids{81, 256, 33}));
  std::string bytes;
  for (int byte = 0; byte < 256; ++byte) bytes += static_cast<char>(static_cast<std::uint8_t>(byte));
  std::uint64_t dropped = 0;
  (void)tokenizer.encode(bytes, {}, &dropped);
  EXPECT_EQ(dropped, 21U);
  EXPECT_EQ(tokenizer.encode(core::read_file(test::shared(kWiki))).size(), 303'415U);
}

TEST(OpenVocabulary, SaysWhatIsMissing) {
  const test::ScratchFolder folder;
  std::vector<std::string> warnings;
  EXPECT_THROW(open_vocabulary(folder / "absent", warnings), IoError);
  std::filesystem::create_directory(folder / "empty");
  EXPECT_THROW(open_vocabulary(folder / "empty", warnings), ConfigError);
  export_gguf(*test::TinyModel::make(), folder / "none.gguf", tensor::DType::i2_s, {});
  EXPECT_THROW(open_vocabulary(folder / "none.gguf", warnings), ConfigError);
}

/// Only the keys are read: neither the architecture nor the types of the tensors matter.
TEST(OpenVocabulary, OfAnyGgufFile) {
  const test::ScratchFolder folder;
  const auto path = folder / "m.gguf";
  {
    io::GgufWriter writer(path);
    writer.set_string("general.architecture", "another");
    writer.set_string("tokenizer.ggml.model", "llama");
    const std::vector<std::string> tokens = {"<unk>", "<s>", "</s>", "\u2581", "a"};
    writer.set_strings("tokenizer.ggml.tokens", std::span<const std::string>(tokens));
    writer.set_f32s("tokenizer.ggml.scores", std::vector<float>(5, 0.0F));
    writer.set_i32s("tokenizer.ggml.token_type", std::vector<std::int32_t>{2, 3, 3, 1, 1});
    writer.declare("t", tensor::DType::f32, {1});
    writer.begin_tensor("t");
    const float value = 1;
    writer.write(&value, sizeof value);
    writer.commit();
  }
  std::string bytes = core::read_file(path);
  const std::size_t extent = bytes.rfind(std::string("t\x01\0\0\0\x01\0\0\0\0\0\0\0", 13));
  ASSERT_NE(extent, std::string::npos);
  bytes[extent + 13] = 3;  // Q4_1
  core::write_file_atomic(path, bytes);
  EXPECT_THROW(io::GgufFile::open(path), FormatError);
  EXPECT_TRUE(io::GgufFile::open_keys(path).tensors().empty());
  EXPECT_EQ(open_quietly(path).encode("aa"), (Ids{3, 4, 4}));
}

/// A model of made-up weights with this vocabulary, and rows for a few tokens more.
std::unique_ptr<Model> model_with(const text::Tokenizer& tokenizer) {
  auto model = test::TinyModel::make({.layers = 1, .vocabulary = tokenizer.vocab_size() + 3});
  model->tokenizer = tokenizer;
  model->bos_id = tokenizer.bos_id();
  model->adds_bos = tokenizer.adds_bos();
  model->end_ids = tokenizer.end_ids();
  return model;
}

TEST(WrittenVocabulary, SentencePieceSurvivesGgufAndHuggingFace) {
  RPT_NEEDS_SHARED(kTok512);
  const test::ScratchFolder folder;
  const text::Tokenizer tokenizer = open_quietly(test::shared(kTok512));
  const auto model = model_with(tokenizer);
  export_gguf(*model, folder / "m.gguf", tensor::DType::i2_s, {});
  const io::GgufFile keys = io::GgufFile::open(folder / "m.gguf");
  EXPECT_EQ(keys.get_string("tokenizer.ggml.model"), "llama");
  EXPECT_EQ(keys.get_strings("tokenizer.ggml.tokens").size(), 515U);
  EXPECT_EQ(keys.find_bool("tokenizer.ggml.add_space_prefix"), true);
  EXPECT_EQ(keys.get_u32("tokenizer.ggml.unknown_token_id"), 0U);
  const auto again = open_gguf(folder / "m.gguf");
  EXPECT_TRUE(again->warnings.empty());
  const std::string wiki = core::read_file(test::shared(kWiki)).substr(0, 50'000);
  const Ids ids = tokenizer.encode(wiki);
  EXPECT_EQ(again->vocabulary().encode(wiki), ids);
  EXPECT_EQ(again->vocabulary().decode(ids), wiki);
  EXPECT_EQ(again->vocabulary().sentence_piece()->scores.at(300), tokenizer.sentence_piece()->scores.at(300));
  EXPECT_EQ(again->vocabulary().type(514), text::TokenType::unused);
  export_huggingface(*again, folder / "hf", HfForm::packed, {});
  EXPECT_TRUE(std::filesystem::exists(folder / "hf/tokenizer.json"));
  EXPECT_EQ(open_huggingface(folder / "hf")->vocabulary().encode(wiki), ids);
}

TEST(WrittenVocabulary, TokenizerModelKeepsItsBytes) {
  RPT_NEEDS_SHARED(kLlama2);
  const test::ScratchFolder folder;
  const auto model = model_with(open_quietly(test::shared(kLlama2)));
  export_huggingface(*model, folder / "hf", HfForm::packed, {});
  EXPECT_FALSE(std::filesystem::exists(folder / "hf/tokenizer.json"));
  EXPECT_EQ(core::read_file(folder / "hf/tokenizer.model"), core::read_file(test::shared(kLlama2)));
  const auto read = open_huggingface(folder / "hf");
  EXPECT_TRUE(read->adds_bos);
  EXPECT_EQ(read->vocabulary().encode("Hello world"), (Ids{15043, 3186}));
  export_gguf(*read, folder / "m.gguf", tensor::DType::i2_s, {});
  EXPECT_EQ(open_gguf(folder / "m.gguf")->vocabulary().encode("Hello world"), (Ids{15043, 3186}));
}

}  // namespace
}  // namespace rpt::model
