// SPDX-License-Identifier: MIT
// End ids, chat templates and tokens without rows: what side files and GGUF keys say, read and written.
#include <gtest/gtest.h>

#include <array>
#include <nlohmann/json.hpp>
#include <set>

#include "rpt/core/atomic_file.h"
#include "rpt/core/error.h"
#include "rpt/io/gguf.h"
#include "rpt/model/assemble.h"
#include "rpt/model/export.h"
#include "rpt/text/pre_tokenizer.h"
#include "tests/message_of.h"
#include "tests/shared_data.h"
#include "tests/tiny_model.h"

namespace rpt::model {
namespace {

using Json = nlohmann::json;
using test::message_of;

constexpr const char* kLlama2 = "data/tokenizers/llama2/tokenizer.model";

/// A model of made-up weights with a vocabulary of bytes behind these special tokens.
std::unique_ptr<Model> byte_model(std::vector<std::string> special, std::int64_t rows = 300) {
  auto model = test::TinyModel::make({.layers = 1, .vocabulary = rows});
  text::BytePairVocabulary vocabulary;
  vocabulary.special_tokens = std::move(special);
  vocabulary.pattern = text::kLlama3Expression;
  model->tokenizer = text::Tokenizer::from_byte_pairs(vocabulary, "bytes");
  settle_special_ids(*model);
  return model;
}

class SpecialIds : public ::testing::Test {
 protected:
  void SetUp() override { model_->chat_template = "{{ eos_token }}"; }
  /// Writes the model as GGUF, expects the same ids and texts in it, and returns eos, eot and eom; -1 for none.
  std::array<std::int64_t, 3> written() {
    const auto path = folder_ / "m.gguf";
    export_gguf(*model_, path, tensor::DType::i2_s, {});
    const auto again = open_gguf(path);
    EXPECT_EQ(as_set(again->end_ids), as_set(model_->end_ids));
    EXPECT_EQ(again->chat_eos_token, model_->chat_eos_token);
    const io::GgufFile file = io::GgufFile::open(path);
    const auto id = [&](const char* name) {
      return file.find_i64(std::string("tokenizer.ggml.") + name + "_token_id").value_or(-1);
    };
    return {id("eos"), id("eot"), id("eom")};
  }
  static std::set<std::int32_t> as_set(const std::vector<std::int32_t>& ids) { return {ids.begin(), ids.end()}; }
  using Ids = std::array<std::int64_t, 3>;

  std::unique_ptr<Model> model_ =
      byte_model({"<|begin_of_text|>", "<|end_of_text|>", "<|eom_id|>", "<|eot_id|>", "<|stop|>"});
  test::ScratchFolder folder_;
};

TEST_F(SpecialIds, GgufNamesThemByTheirTexts) {
  ASSERT_EQ(model_->end_ids, (std::vector<std::int32_t>{1, 2, 3}));  // as Llama 3's
  model_->chat_eos_token = "<|end_of_text|>";
  EXPECT_EQ(written(), (Ids{1, 3, 2}));
  model_->chat_eos_token = "<|eot_id|>";  // of an Instruct model's directory
  EXPECT_EQ(written(), (Ids{3, -1, 2}));
  model_->end_ids.push_back(4);  // which no reader knows by its text
  EXPECT_EQ(written(), (Ids{3, 4, 2}));
  model_->chat_eos_token = "<|stop|>";
  EXPECT_EQ(written(), (Ids{4, 3, 2}));
}

TEST_F(SpecialIds, WhatGgufCannotSayIsRefused) {
  model_->chat_eos_token = "<|nothing|>";
  EXPECT_NE(message_of([&] { written(); }).find("cannot say the chat template's eos_token"), std::string::npos);
  model_->chat_template = "no token is read";
  export_gguf(*model_, folder_ / "m.gguf", tensor::DType::i2_s, {});
  model_->end_ids = {1, 2};
  EXPECT_NE(message_of([&] { written(); }).find("cannot say that 3 ends no text"), std::string::npos);
}

TEST_F(SpecialIds, TheChatTemplateSurvivesEveryTokenizerConfig) {
  const std::string mine = "{{ 'mine' }}";
  model_->chat_template = mine;
  for (const Json& chat_template :
       {Json(), Json("other"), Json(mine), Json::array({{{"name", "default"}, {"template", "listed"}}})}) {
    Json config{{"eos_token", "<|end_of_text|>"}, {"chat_template", chat_template}};
    model_->tokenizer_config_json = config.dump();
    const auto folder = folder_ / "hf";
    export_huggingface(*model_, folder, HfForm::latents, {.replace_folder = true});
    EXPECT_EQ(open_huggingface(folder)->chat_template, mine) << chat_template;
    EXPECT_EQ(std::filesystem::exists(folder / "chat_template.jinja"), chat_template != mine);
  }
}

TEST(TokensWithoutRows, AreAWarningAndNoModelWithoutThemIsRefused) {
  const test::ScratchFolder folder;
  const auto model = byte_model({"<|begin_of_text|>", "<|end_of_text|>"}, 256);  // 258 tokens
  ASSERT_EQ(model->warnings.size(), 1U);
  EXPECT_NE(model->warnings[0].find("258 tokens, the embedding has 256 rows"), std::string::npos);
  export_huggingface(*model, folder / "hf", HfForm::latents, {});
  const auto again = open_huggingface(folder / "hf");
  EXPECT_EQ(again->warnings.size(), 1U);
  EXPECT_EQ(again->vocabulary().vocab_size(), 258);
  EXPECT_NE(message_of([&] { export_gguf(*model, folder / "m.gguf", tensor::DType::i2_s, {}); }).find("258 tokens"),
            std::string::npos);
}

/// A folder with Llama 2's tokenizer.model and side files.
class SideTokens : public ::testing::Test {
 protected:
  void SetUp() override {
    RPT_NEEDS_SHARED(kLlama2);
    std::filesystem::copy(test::shared(kLlama2), folder_ / "tokenizer.model");
  }
  text::Tokenizer open(const Json& config, const Json& added = Json::object()) {
    core::write_file_atomic(folder_ / "tokenizer_config.json", config.dump());
    core::write_file_atomic(folder_ / "added_tokens.json", added.dump());
    std::vector<std::string> warnings;
    return open_vocabulary(folder_.path(), warnings);
  }
  static Json decoder(const Json& tokens) { return {{"added_tokens_decoder", tokens}}; }
  test::ScratchFolder folder_;
};

TEST_F(SideTokens, StandBehindThePieces) {
  const Json end{{"content", "<|im_end|>"}, {"special", true}};
  const text::Tokenizer t = open(decoder({{"1", {{"content", "<s>"}, {"special", true}}},
                                          {"32001", {{"content", "<tool>"}, {"special", false}}},
                                          {"32000", end}}));
  EXPECT_EQ(t.vocab_size(), 32002);
  EXPECT_EQ(t.type(32000), text::TokenType::control);
  EXPECT_EQ(t.type(32001), text::TokenType::user_defined);
  EXPECT_EQ(t.end_ids(), (std::vector<std::int32_t>{2, 32000}));
  EXPECT_EQ(t.encode("a<|im_end|>", {.special = true}).back(), 32000);
  EXPECT_NE(t.encode("a<|im_end|>").back(), 32000);
  EXPECT_EQ(t.encode("a<tool>").back(), 32001);
  EXPECT_TRUE(t.sentence_piece()->model_file.empty());  // which would lose them
  const text::Tokenizer old =
      open({{"eos_token", {{"content", "<|im_end|>"}}}}, {{"<|im_end|>", 32000}, {"<tool>", 32001}});
  EXPECT_EQ(old.type(32000), text::TokenType::control);
  EXPECT_EQ(old.type(32001), text::TokenType::user_defined);
}

TEST_F(SideTokens, ThatCannotBeHonouredAreRefusedByName) {
  const auto refusal = [&](const Json& config, const Json& added = Json::object()) {
    return message_of([&] { open(config, added); });
  };
  EXPECT_NE(refusal(decoder({{"1", {{"content", "<bos>"}}}})).find("the token 1 is \"<bos>\""), std::string::npos);
  EXPECT_NE(refusal(Json::object(), {{"<x>", 32005}}).find("none is known for 32000"), std::string::npos);
  EXPECT_NE(refusal(decoder({{"32000", {{"content", "<x>"}}}}), {{"<y>", 32000}}).find("the token 32000 is \"<y>\""),
            std::string::npos);
  EXPECT_NE(refusal(decoder({{"32000", {{"content", "<x>"}, {"lstrip", true}}}})).find("lstrip"), std::string::npos);
  EXPECT_NE(refusal(decoder({{"x", {{"content", "<x>"}}}})).find("the id -1"), std::string::npos);
  EXPECT_NE(refusal(decoder({{"32000", 5}})).find("has no text"), std::string::npos);
}

}  // namespace
}  // namespace rpt::model
