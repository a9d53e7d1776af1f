// SPDX-License-Identifier: MIT
#include "rpt/evaluate/plan.h"

#include <gtest/gtest.h>

#include "rpt/core/error.h"
#include "tests/unit/evaluate/evaluate_test_support.h"

namespace rpt::evaluate {
namespace {

using test::byte_model;

std::string scored_text(const ScoringPlan& plan) {
  std::string text;
  for (const ScoredToken& token : plan.scored) text += static_cast<char>(token.id);
  return text;
}

/// Each scored target of the windows must be a ScoredToken, in order.
void expect_consistent(const ScoringPlan& plan) {
  std::size_t at = 0;
  for (const Window& window : plan.windows) {
    ASSERT_EQ(window.tokens.size(), window.targets.size());
    for (const std::int32_t target : window.targets) {
      if (target < 0) continue;
      ASSERT_LT(at, plan.scored.size());
      ASSERT_EQ(plan.scored[at++].id, target);
    }
  }
  ASSERT_EQ(at, plan.scored.size());
}

std::string error_of(const text::Corpus& corpus, const TextModel& model, const ProtocolOptions& options) {
  try {
    plan_scoring(corpus, model, options);
  } catch (const ConfigError& e) {
    return e.what();
  }
  return "";
}

TEST(Protocol, HasItsOwnContext) {
  EXPECT_EQ(default_context(Protocol::full, 256), 256);
  EXPECT_EQ(default_context(Protocol::full, 4096), 2048);
  EXPECT_EQ(default_context(Protocol::llama_cpp, 4096), 512);
  EXPECT_EQ(default_context(Protocol::legacy, 4096), 128);
  EXPECT_EQ(default_context(Protocol::lm_eval, 4096), 4096);
}

TEST(Protocol, HasNames) {
  for (const char* text : {"full", "llama.cpp", "legacy", "lm-eval"}) EXPECT_EQ(name(parse_protocol(text)), text);
  EXPECT_THROW(parse_protocol("fast"), ConfigError);
}

TEST(PlanFull, ScoresEveryDocumentAlone) {
  const text::Corpus corpus{{"abcdef", "x", "", "gh"}, false};
  const ScoringPlan with = plan_scoring(corpus, byte_model(4, true), {});
  expect_consistent(with);
  EXPECT_EQ(scored_text(with), "abcdefxgh");
  EXPECT_EQ(with.documents, 4);
  EXPECT_EQ(with.bytes, 9U);
  EXPECT_EQ(with.words, 3U);
  ASSERT_EQ(with.windows.size(), 5U);
  EXPECT_EQ(with.windows[0], (Window{{256, 'a', 'b'}, {'a', 'b', 'c'}}));
  EXPECT_EQ(with.windows[1], (Window{{'b', 'c', 'd'}, {-1, 'd', 'e'}}));
  EXPECT_EQ(with.windows[2], (Window{{'d', 'e'}, {-1, 'f'}}));
  EXPECT_EQ(with.windows[3], (Window{{256}, {'x'}}));
  EXPECT_EQ(with.windows[4], (Window{{256, 'g'}, {'g', 'h'}}));
  EXPECT_EQ(with.scored[7], (ScoredToken{'g', 3, 1}));
  EXPECT_EQ(with.tokens_read(), 11);
}

TEST(PlanFull, LeavesTheFirstTokenUnscoredWithoutBos) {
  const text::Corpus corpus{{"ab cd", "x"}, false};
  const ScoringPlan plan = plan_scoring(corpus, byte_model(8, true), {.bos = false});
  expect_consistent(plan);
  EXPECT_EQ(scored_text(plan), "b cd");
  EXPECT_EQ(plan.words, 1U);  // the first byte of "ab" is not scored
  ASSERT_EQ(plan.windows.size(), 1U);
  EXPECT_EQ(plan.windows[0], (Window{{'a', 'b', ' ', 'c'}, {'b', ' ', 'c', 'd'}}));
}

TEST(PlanFull, ReadsUnknownWordsWithoutScoringThem) {
  const text::Corpus corpus{{"a <unk> b"}, true};
  const ScoringPlan plan = plan_scoring(corpus, byte_model(32, true), {});
  expect_consistent(plan);
  EXPECT_EQ(scored_text(plan), "a  b");
  EXPECT_EQ(plan.bytes, 4U);
  EXPECT_EQ(plan.words, 2U);
  ASSERT_EQ(plan.windows.size(), 1U);
  EXPECT_EQ(plan.windows[0].tokens.size(), 9U);

  const ScoringPlan known = plan_scoring({corpus.documents, false}, byte_model(32, true), {});
  EXPECT_EQ(scored_text(known), "a <unk> b");
  EXPECT_EQ(known.words, 3U);
}

TEST(PlanFull, TakesContextAndStride) {
  const text::Corpus corpus{{"abcdefgh"}, false};
  const ScoringPlan plan = plan_scoring(corpus, byte_model(64, false), {.context = 4, .stride = 3});
  expect_consistent(plan);
  ASSERT_EQ(plan.windows.size(), 3U);
  EXPECT_EQ(plan.windows[1], (Window{{'d', 'e', 'f'}, {'e', 'f', 'g'}}));
  EXPECT_EQ(plan.windows[2], (Window{{'g'}, {'h'}}));
}

TEST(PlanLlamaCpp, CutsTheJoinedTextAndPutsBosOverTheFirstTokens) {
  const text::Corpus corpus{{"abc\n", "defg", "hijkl"}, false};  // joined: abc\ndefg\nhijkl
  const ScoringPlan plan = plan_scoring(corpus, byte_model(64, true), {.protocol = Protocol::llama_cpp, .context = 5});
  expect_consistent(plan);
  // BOS abc\n | defg\n | hijkl, of each the tokens 3 and 4.
  EXPECT_EQ(scored_text(plan), "c\ng\nkl");
  ASSERT_EQ(plan.windows.size(), 3U);
  EXPECT_EQ(plan.windows[0], (Window{{256, 'a', 'b', 'c'}, {-1, -1, 'c', '\n'}}));
  EXPECT_EQ(plan.windows[1], (Window{{256, 'e', 'f', 'g'}, {-1, -1, 'g', '\n'}}));
  EXPECT_EQ(plan.windows[2], (Window{{256, 'i', 'j', 'k'}, {-1, -1, 'k', 'l'}}));
  EXPECT_EQ(plan.scored[0].document, 0);
  EXPECT_EQ(plan.scored[2].document, 1);
  EXPECT_EQ(plan.scored[5].document, 2);
  EXPECT_EQ(plan.words, 0U);  // no word begins in a scored token

  const ScoringPlan without =
      plan_scoring(corpus, byte_model(64, true), {.protocol = Protocol::llama_cpp, .context = 5, .bos = false});
  ASSERT_EQ(without.windows.size(), 2U);
  EXPECT_EQ(without.windows[1].tokens, (std::vector<std::int32_t>{'e', 'f', 'g', '\n'}));
}

TEST(PlanLlamaCpp, SaysHowManyTokensThereAre) {
  const std::string error = error_of({{"abc"}, false}, byte_model(64, true), {.protocol = Protocol::llama_cpp});
  EXPECT_NE(error.find("4 tokens"), std::string::npos) << error;
  EXPECT_NE(error.find("at least 64"), std::string::npos) << error;
}

TEST(PlanLegacy, JoinsStrippedLinesOfTwentyCharacters) {
  const std::string kept = "  twenty characters!!!  \n";  // 20 characters when stripped
  const std::string dropped = "   nineteen character!   \n";
  std::string document;
  for (int i = 0; i < 13; ++i) document += kept + dropped;
  const ScoringPlan plan =
      plan_scoring({{document, document}, false}, byte_model(256, true), {.protocol = Protocol::legacy});
  expect_consistent(plan);
  // 26 lines of 20 tokens: chunks at 0, 128, 256 and 384 of 520 tokens.
  ASSERT_EQ(plan.windows.size(), 4U);
  EXPECT_EQ(plan.scored.size(), 4 * 127U);
  EXPECT_EQ(plan.windows[0].tokens.size(), 127U);
  std::string stream;
  for (int i = 0; i < 26; ++i) stream += "twenty characters!!!";
  for (std::size_t w = 0; w < 4; ++w) {
    for (std::size_t i = 0; i < 127; ++i) ASSERT_EQ(plan.windows[w].tokens[i], stream[128 * w + i]);
  }
  EXPECT_EQ(plan.scored.front().document, 0);
  EXPECT_EQ(plan.scored.back().document, 1);
  // 512 tokens hold 26 starts of "twenty" and 26 of "characters"; unscored are the tokens 0, 128, 256 and 384, of which
  // only 0 begins a word.
  EXPECT_EQ(plan.words, 51U);
  EXPECT_EQ(plan.bytes, 4 * 127U);
}

TEST(PlanLegacy, CountsCharactersNotBytes) {
  std::string line;
  for (int i = 0; i < 19; ++i) line += "\u00e9";
  const std::string error = error_of({{line}, false}, byte_model(256, true), {.protocol = Protocol::legacy});
  EXPECT_NE(error.find("0 tokens"), std::string::npos) << error;
}

TEST(PlanLmEval, ScoresDetokenisedPagesFromAPrefixToken) {
  const text::Corpus corpus{{" \n = A = \n x @-@ y \n", " = B = \n"}, false};
  const ScoringPlan plan = plan_scoring(corpus, byte_model(8, true), {.protocol = Protocol::lm_eval});
  expect_consistent(plan);
  EXPECT_EQ(scored_text(plan), " = A =\nx-y  = B =\n");
  EXPECT_EQ(plan.windows[0].tokens.front(), 256);
  EXPECT_EQ(plan.windows[0].tokens.size(), 8U);
  EXPECT_EQ(plan.bytes, std::string(" = A = \n x @-@ y  = B = \n").size());
  EXPECT_EQ(plan.words, 8U + 5U);  // "", =, A, =, x, @-@, y, "" and "", =, B, =, ""
  EXPECT_EQ(plan.scored.back().document, 1);

  const ScoringPlan twice = plan_scoring(corpus, byte_model(8, true), {.protocol = Protocol::lm_eval, .bos = true});
  EXPECT_EQ(twice.windows[0].targets.front(), 256);
  EXPECT_EQ(twice.scored.size(), plan.scored.size() + 2);
}

TEST(PlanLmEval, BeginsWithTheEndTokenWhereThereIsNoBos) {
  TextModel model = byte_model(64, false);
  model.bos_id.reset();
  const ScoringPlan plan = plan_scoring({{"abc"}, false}, model, {.protocol = Protocol::lm_eval});
  EXPECT_EQ(plan.windows[0].tokens, (std::vector<std::int32_t>{257, 'a', 'b'}));
  model.eos_id.reset();
  EXPECT_NE(error_of({{"abc"}, false}, model, {.protocol = Protocol::lm_eval}), "");
}

TEST(PlanScoring, RefusesOptionsThatDoNotFit) {
  const text::Corpus corpus{{std::string(1000, 'a')}, false};
  const TextModel model = byte_model(64, true);
  EXPECT_NE(error_of(corpus, model, {.context = 65}), "");
  EXPECT_NE(error_of(corpus, model, {.context = 3}), "");
  EXPECT_NE(error_of(corpus, model, {.context = -1}), "");
  EXPECT_NE(error_of(corpus, model, {.context = 8, .stride = 8}), "");
  EXPECT_NE(error_of(corpus, model, {.context = 8, .stride = -1}), "");
  EXPECT_NE(error_of(corpus, model, {.protocol = Protocol::llama_cpp, .stride = 4}), "");
  EXPECT_NE(error_of(corpus, model, {.protocol = Protocol::legacy}), "");  // 128 do not fit 64
  EXPECT_NE(error_of(corpus, byte_model(256, true), {.protocol = Protocol::legacy, .context = 64}), "");
  EXPECT_NE(error_of(corpus, byte_model(256, true), {.protocol = Protocol::legacy, .bos = true}), "");
  TextModel without = model;
  without.bos_id.reset();
  without.adds_bos = false;
  EXPECT_NE(error_of(corpus, without, {.bos = true}), "");
  EXPECT_EQ(error_of(corpus, without, {}), "");
  EXPECT_NE(error_of({{}, false}, model, {}), "");
}

}  // namespace
}  // namespace rpt::evaluate
