// SPDX-License-Identifier: MIT
// Conversations are scored where the assistant speaks.
#include <gtest/gtest.h>

#include "rpt/core/error.h"
#include "rpt/evaluate/plan.h"
#include "rpt/model/assemble.h"
#include "tests/tiny_model.h"

namespace rpt::evaluate {
namespace {

/// A random model with one special token (0) and one for each byte.
std::unique_ptr<model::Model> byte_model(std::int64_t context) {
  auto model = test::TinyModel::make({.context = context});
  text::BytePairVocabulary vocabulary;
  vocabulary.special_tokens = {"<|im_end|>"};
  vocabulary.pattern = R"(\p{L}+|[^\p{L}]+)";
  model->tokenizer = text::Tokenizer::from_byte_pairs(vocabulary, "bytes");
  model::settle_special_ids(*model);
  return model;
}

TEST(ConversationPlan, ScoresAnswersAndReadsTheRest) {
  const auto model = byte_model(64);
  const std::vector<text::EncodedConversation> talks = {
      {{5, 6, 7, 0, 8}, {0, 0, 1, 1, 0}, 0}, {{9, 9, 9}, {0, 0, 0}, 0}, {{5, 0}, {1, 1}, 0}};
  const ScoringPlan plan = plan_conversations(talks, *model);
  ASSERT_EQ(plan.windows.size(), 2U);  // nothing of the second one is scored
  EXPECT_EQ(plan.windows[0], (Window{{5, 6, 7, 0}, {-1, 7, 0, -1}}));
  EXPECT_EQ(plan.windows[1], (Window{{5}, {0}}));  // nothing stands before its first token
  EXPECT_EQ(plan.scored, (std::vector<ScoredToken>{{7, 0, 1}, {0, 0, 0}, {0, 2, 0}}));
  EXPECT_EQ(plan.documents, 3);
  EXPECT_EQ(plan.bytes, 1U);
  EXPECT_THROW(plan_conversations(std::span(talks).subspan(1, 1), *model), ConfigError);
}

TEST(ConversationPlan, ScoresEveryTokenOfALongAnswerOnce) {
  const auto model = byte_model(16);
  text::EncodedConversation talk;
  for (std::int32_t i = 0; i < 50; ++i) {
    talk.ids.push_back(i);
    talk.is_answer.push_back(i >= 20 && i < 40 ? 1 : 0);
  }
  const ScoringPlan plan = plan_conversations({&talk, 1}, *model);
  ASSERT_EQ(plan.scored.size(), 20U);
  for (std::int32_t i = 0; i < 20; ++i) EXPECT_EQ(plan.scored[static_cast<std::size_t>(i)].id, 20 + i);
  for (const Window& w : plan.windows) EXPECT_LE(w.tokens.size(), 15U);
}

}  // namespace
}  // namespace rpt::evaluate
