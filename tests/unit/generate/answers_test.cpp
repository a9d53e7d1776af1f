// SPDX-License-Identifier: MIT
// Which tokens of a conversation are the assistant's.
#include <gtest/gtest.h>

#include "rpt/core/error.h"
#include "rpt/generate/prompt.h"
#include "rpt/model/assemble.h"
#include "tests/shared_data.h"
#include "tests/tiny_model.h"

namespace rpt::generate {
namespace {

using text::Message;

const std::string kChatml =
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
const std::vector<Message> kTalk = {{"system", "Be kind"}, {"user", "Hi"},    {"assistant", "Yo"},
                                    {"user", "Bye"},       {"assistant", ""}, {"user", "?"}};

/// A vocabulary of bytes and three special tokens: BOS, which is added, and those of ChatML.
const model::Model& byte_model() {
  static const std::unique_ptr<model::Model> model = [] {
    auto made = test::TinyModel::make();
    text::BytePairVocabulary vocabulary;
    vocabulary.special_tokens = {"<|begin_of_text|>", "<|im_start|>", "<|im_end|>"};
    vocabulary.pattern = R"(\p{L}+|[^\p{L}]+)";
    made->tokenizer = text::Tokenizer::from_byte_pairs(vocabulary, "bytes");
    model::settle_special_ids(*made);
    return made;
  }();
  return *model;
}

/// The conversation's tokens, what is learnt of them in brackets.
std::string marked(const model::Model& model, const std::string& chat_template, const std::vector<Message>& messages) {
  const ChatPrompter prompter(model, text::ChatTemplate::parse(chat_template, "test"));
  const text::EncodedConversation c = prompter.encode_answers(messages);
  EXPECT_EQ(c.ids, prompter.encode(messages, false).ids);
  EXPECT_EQ(c.is_answer.size(), c.ids.size());
  std::string out;
  bool inside = false;
  for (std::size_t i = 0; i < c.ids.size(); ++i) {
    if ((c.is_answer[i] != 0) != inside) out += inside ? "]" : "[";
    inside = c.is_answer[i] != 0;
    out += model.vocabulary().piece(c.ids[i]);
  }
  return inside ? out + "]" : out;
}

std::string refusal(const std::string& chat_template, const std::vector<Message>& messages = kTalk) {
  try {
    return "accepted: " + marked(byte_model(), chat_template, messages);
  } catch (const ConfigError& e) {
    return e.what();
  }
}

TEST(Answers, AreMarkedTokenByTokenWithTheirEnd) {
  EXPECT_EQ(marked(byte_model(), kChatml, kTalk),
            "<|begin_of_text|><|im_start|>system\nBe kind<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
            "<|im_start|>assistant\n[Yo<|im_end|>]\n<|im_start|>user\nBye<|im_end|>\n"
            "<|im_start|>assistant\n[<|im_end|>]\n<|im_start|>user\n?<|im_end|>\n");
}

TEST(Answers, TypedEndTokensAreText) {
  const auto c = ChatPrompter(byte_model(), text::ChatTemplate::parse(kChatml, "test"))
                     .encode_answers(std::vector<Message>{{"user", "<|im_end|>"}, {"assistant", "a<|im_end|>b"}});
  EXPECT_EQ(std::count(c.is_answer.begin(), c.is_answer.end(), 1), 13);  // two letters, ten of the typed token, the end
  EXPECT_EQ(std::count(c.ids.begin(), c.ids.end(), 2), 2);
}

TEST(Answers, WhatATemplatePutsBehindTheWholeIsNotLearnt) {  // as Phi-3-small
  EXPECT_EQ(marked(byte_model(),
                   "{% for m in messages %}{{ m.role[0] ~ m.content }}<|im_end|>{% endfor %}"
                   "{{ 'a' if add_generation_prompt else '<|im_start|>' }}",
                   {{"user", "x"}, {"assistant", "y"}, {"user", "z"}, {"assistant", "!"}}),
            "<|begin_of_text|>ux<|im_end|>a[y<|im_end|>]uz<|im_end|>a[!<|im_end|>]<|im_start|>");
}

TEST(Answers, ATokenAcrossTheBorderIsTheAnswersWhereThePromptEndsWithASpace) {  // as BitNet b1.58 2B4T
  const auto seedling = model::open_model(test::source_dir() / "models/seedling");
  EXPECT_EQ(marked(*seedling,
                   "{% for m in messages %}{{ m.role | capitalize + ': ' + m.content + '<|end_of_text|>' }}{% endfor %}"
                   "{{ 'Assistant: ' if add_generation_prompt }}",
                   {{"user", "Who?"}, {"assistant", "The old man"}, {"user", "Why?"}, {"assistant", "He was"}}),
            "<|begin_of_text|>User: Who?<|end_of_text|>Assistant:[ The old man<|end_of_text|>]"
            "User: Why?<|end_of_text|>Assistant:[ He was<|end_of_text|>]");
}

TEST(Answers, TemplatesWithoutBordersAreRefused) {
  const std::string thinks = kChatml.substr(0, kChatml.rfind("' }}")) + "<think>' }}{% endif %}";
  EXPECT_EQ(
      refusal(thinks),
      "message 3 (assistant): the chat template renders what comes before it as no beginning of the whole "
      "conversation: \"<think>\" becomes \"Yo<|im_end|>\\x0A<|im_start|>user\\x0ABye<|im_end|>\\x0A<|im_start|>\"");
  const std::string forgets =
      "{% for m in messages %}{{ m.content | length if m.role == 'assistant' and not loop.last else m.content }}"
      "<|im_end|>{% endfor %}";
  EXPECT_EQ(refusal(forgets),
            "message 3 (assistant): the chat template renders it in another way where the conversation goes on behind "
            "it");
  EXPECT_EQ(refusal("{% for m in messages %}{{ m.content }}\n{% endfor %}"),
            "message 3 (assistant): the chat template puts no end token behind it: the model could not learn to stop");
}

}  // namespace
}  // namespace rpt::generate
