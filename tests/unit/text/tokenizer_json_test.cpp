// SPDX-License-Identifier: MIT
// What from_tokenizer_json refuses; what it accepts is compared with the original in golden_test.cpp.
#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "rpt/core/error.h"
#include "rpt/text/pre_tokenizer.h"
#include "rpt/text/tokenizer.h"

namespace rpt::text {
namespace {

using Json = nlohmann::json;
using namespace nlohmann::literals;

Json base() {
  return Json::parse(R"({
    "added_tokens": [{"id": 3, "content": "<s>", "special": true}],
    "normalizer": null,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
    "decoder": {"type": "ByteLevel"},
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}
  })");
}

Tokenizer read(const Json& json) {
  return Tokenizer::from_tokenizer_json(json.dump(), "t.json");
}

/// The base with one value replaced: `path` is a JSON pointer.
Json with(const std::string& path, const Json& value) {
  Json json = base();
  json[Json::json_pointer(path)] = value;
  return json;
}

template <typename Failure>
void expect_refused(const Json& json, const std::string& part_of_message) {
  try {
    (void)read(json);
    ADD_FAILURE() << "accepted: " << json.dump();
  } catch (const Failure& error) {
    EXPECT_NE(std::string(error.what()).find(part_of_message), std::string::npos) << error.what();
  }
}

TEST(TokenizerJson, TheBaseIsGood) {
  EXPECT_EQ(read(base()).encode("abab"), (std::vector<std::int32_t>{2, 2}));
  Json without_type = base();
  without_type["model"].erase("type");
  EXPECT_NO_THROW(read(without_type));
}

TEST(TokenizerJson, KindsThatAreNotKnownAreRefusedByName) {
  expect_refused<ConfigError>(with("/model/type", "Unigram"), "'Unigram'");
  expect_refused<ConfigError>(with("/normalizer", {{"type", "NFC"}}), "normalizer: the normalizer 'NFC'");
  expect_refused<ConfigError>(with("/normalizer", {{"type", "Lowercase"}}), "'Lowercase'");
  expect_refused<ConfigError>(
      with("/normalizer", {{"type", "Replace"}, {"pattern", {{"Regex", " +"}}}, {"content", " "}}), "expression");
  expect_refused<ConfigError>(with("/pre_tokenizer", {{"type", "Metaspace"}}), "'Metaspace'");
  expect_refused<ConfigError>(with("/pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", {{{"type", "BertX"}}}}}),
                              "pre_tokenizer.pretokenizers[0]: the pre-tokenizer 'BertX'");
  expect_refused<ConfigError>(with("/decoder", {{"type", "WordPiece"}}), "'WordPiece'");
  expect_refused<ConfigError>(with("/post_processor", {{"type", "BertProcessing"}}), "'BertProcessing'");
}

TEST(TokenizerJson, OptionsThatCannotBeHonouredAreRefusedByName) {
  expect_refused<ConfigError>(with("/model/dropout", 0.1), "dropout");
  expect_refused<ConfigError>(with("/model/continuing_subword_prefix", "##"), "continuing_subword_prefix");
  expect_refused<ConfigError>(with("/model/end_of_word_suffix", "</w>"), "end_of_word_suffix");
  expect_refused<ConfigError>(with("/model/new_thing", 1), "'new_thing'");
  expect_refused<ConfigError>(with("/pre_tokenizer/new_thing", 1), "'new_thing'");
  expect_refused<ConfigError>(with("/added_tokens/0/single_word", true), "single_word");
  expect_refused<ConfigError>(with("/decoder", Json{{"type", "Fuse"}}), "ByteLevel");
  expect_refused<ConfigError>(with("/pre_tokenizer", nullptr), "ByteLevel");
  const Json byte_level = {{"type", "ByteLevel"}};
  expect_refused<ConfigError>(
      with("/pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", {byte_level, byte_level}}}), "second ByteLevel");
  Json normalized = with("/normalizer", {{"type", "Prepend"}, {"prepend", "x"}});
  normalized["added_tokens"][0]["normalized"] = true;
  expect_refused<ConfigError>(normalized, "normalized");
  EXPECT_NO_THROW(read(with("/model/end_of_word_suffix", "")));
}

TEST(TokenizerJson, DamagedVocabulariesAreRefused) {
  expect_refused<FormatError>(with("/model/vocab/ab", 1), "id 1 twice");
  expect_refused<FormatError>(with("/model/vocab/ab", 9), "id 9 among 4 tokens");
  expect_refused<FormatError>(with("/model/vocab/ab", -1), "id -1");
  expect_refused<FormatError>(with("/model/vocab/ab", "x"), "model.vocab, entry");
  expect_refused<FormatError>(with("/model/vocab/ab", Json::array()), "model.vocab");
  expect_refused<FormatError>(with("/model/vocab/", 3), "an empty one");
  expect_refused<FormatError>(with("/model/vocab", Json::array()), "vocab");
  expect_refused<FormatError>(with("/added_tokens/0/id", 2), "added_tokens[0]");
  expect_refused<FormatError>(with("/added_tokens/0/id", 1LL << 40), "added_tokens[0]");
  expect_refused<FormatError>(with("/added_tokens/0/content", ""), "added_tokens[0]");
  expect_refused<FormatError>(with("/added_tokens/0/content", "a"), "token 3");
  expect_refused<FormatError>(with("/added_tokens", {{{"id", 3}}}), "added_tokens[0]");
  Json hole = with("/model/vocab/ab", 3);
  hole["added_tokens"][0]["content"] = "ab";
  expect_refused<FormatError>(hole, "no id 2");
  expect_refused<FormatError>(with("/model/unk_token", "<unk>"), "model.unk_token");
}

TEST(TokenizerJson, DamagedMergesAreRefused) {
  expect_refused<FormatError>(with("/model/merges", R"(["a b", "a b"])"_json), "merge 1");
  expect_refused<FormatError>(with("/model/merges", R"(["a c"])"_json), "merge 0");
  expect_refused<FormatError>(with("/model/merges", R"(["b a"])"_json), "'ba'");
  expect_refused<FormatError>(with("/model/merges", R"(["ab"])"_json), "merge 0");
  expect_refused<FormatError>(with("/model/merges", R"([["a"]])"_json), "model.merges[0]");
  expect_refused<FormatError>(with("/model/merges", R"([["a", "b", "c"]])"_json), "model.merges[0]");
  expect_refused<FormatError>(with("/model/merges", R"([["a", 1]])"_json), "model.merges[0]");
  expect_refused<FormatError>(with("/model/merges", R"([7])"_json), "model.merges[0]");
  expect_refused<FormatError>(with("/model/merges", Json::object()), "merges");
  expect_refused<FormatError>(with("/model", R"({"type": "BPE", "merges": []})"_json), "vocab");
}

TEST(TokenizerJson, TemplatesSayWhetherBosIsAdded) {
  Json json = base();
  const Json bos = {{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}},
             text = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  json["post_processor"] = {{"type", "TemplateProcessing"},
                            {"single", {bos, text}},
                            {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", {3}}, {"tokens", {"<s>"}}}}}}};
  EXPECT_TRUE(read(json).adds_bos());
  EXPECT_EQ(read(json).bos_id(), 3);
  Json nested = json;
  nested["post_processor"] = {{"type", "Sequence"}, {"processors", {{{"type", "ByteLevel"}}, json["post_processor"]}}};
  EXPECT_TRUE(read(nested).adds_bos());
  Json none = json;
  none["post_processor"]["single"] = {text, bos};
  EXPECT_FALSE(read(none).adds_bos());
  EXPECT_EQ(read(none).bos_id(), 3);  // by its name
  Json twice = json;
  twice["post_processor"]["single"] = {bos, bos, text};
  expect_refused<ConfigError>(twice, "more than one");
  Json outside = json;
  outside["post_processor"]["special_tokens"]["<s>"]["ids"] = {99};
  expect_refused<FormatError>(outside, "post_processor");
}

TEST(TokenizerJson, BrokenJsonIsRefusedWithItsOffset) {
  const auto offset = [](const std::string& text) -> std::uint64_t {
    try {
      (void)Tokenizer::from_tokenizer_json(text, "t.json");
    } catch (const FormatError& error) {
      return error.offset();
    }
    ADD_FAILURE() << "accepted: " << text;
    return 0;
  };
  EXPECT_EQ(offset(R"({"a": nul})"), 10u);
  EXPECT_GT(offset(base().dump().substr(0, 100)), 90u);
  EXPECT_GT(offset(base().dump() + "x"), 100u);
  EXPECT_EQ(offset(""), 1u);
  EXPECT_EQ(offset("[]"), 0u);
  EXPECT_EQ(offset(R"({"a": 1, "a": 2})"), 0u);
  EXPECT_EQ(offset(std::string(100000, '[')), 0u);
  EXPECT_EQ(offset(R"({"a": 18446744073709551615})"), 0u);
  EXPECT_GT(offset("{\"\xff\": 1}"), 0u);
}

TEST(TokenizerJson, StepsThatFeedEachOtherAreStopped) {
  Json json = base();
  Json normalizers = Json::array(), decoders = Json::array();
  for (int i = 0; i < 60; ++i) {
    const Json replace = {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "aa"}};
    normalizers.push_back(replace);
    decoders.push_back(replace);
  }
  json["pre_tokenizer"] = nullptr;
  json["decoder"] = {{"type", "Sequence"}, {"decoders", decoders}};
  EXPECT_THROW((void)read(json).decode(std::vector<std::int32_t>{0}), ConfigError);
  json["decoder"] = nullptr;
  json["normalizer"] = {{"type", "Sequence"}, {"normalizers", normalizers}};
  EXPECT_THROW((void)read(json).encode("a"), ConfigError);
  EXPECT_EQ(read(json).encode("bb").size(), 2u);
  for (int i = 0; i < 10; ++i) json["normalizer"]["normalizers"].push_back(normalizers[0]);
  EXPECT_THROW((void)read(json), ConfigError);
}

TEST(TokenizerJson, MergingInTheJsonMayBeHarmlessToGguf) {
  // Without ignore_merges, but every token comes out of its own merges: llama-bpe means the same.
  Json json = base();
  const Json split = {
      {"type", "Split"}, {"pattern", {{"Regex", kLlama3Expression}}}, {"behavior", "Isolated"}, {"invert", false}};
  const Json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  json["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", {split, byte_level}}};
  EXPECT_EQ(read(json).gguf_pre(), "llama-bpe");
  json["model"]["merges"] = Json::array();  // now "ab" does not
  EXPECT_FALSE(read(json).gguf_pre().has_value());
  EXPECT_EQ(read(json).encode("ab"), (std::vector<std::int32_t>{0, 1}));
  json["model"]["ignore_merges"] = true;
  EXPECT_EQ(read(json).gguf_pre(), "llama-bpe");
  EXPECT_EQ(read(json).encode("ab"), (std::vector<std::int32_t>{2}));
  json["pre_tokenizer"]["pretokenizers"][1]["add_prefix_space"] = true;
  EXPECT_FALSE(read(json).gguf_pre().has_value());
}

}  // namespace
}  // namespace rpt::text
