// SPDX-License-Identifier: MIT
#include "rpt/generate/session.h"

#include <gtest/gtest.h>

#include "rpt/core/error.h"
#include "tests/shared_data.h"
#include "tests/tiny_model.h"

namespace rpt::generate {
namespace {

const model::Model& seedling() {
  static const auto model = model::open_model(test::source_dir() / "models/seedling");
  return *model;
}

Generation generate(const std::string& prompt, const GenerationOptions& options, std::string* streamed = nullptr) {
  std::vector<std::int32_t> ids{*seedling().bos_id};
  for (const std::int32_t id : seedling().vocabulary().encode(prompt)) ids.push_back(id);
  Session session(seedling(), room_for(seedling(), static_cast<std::int64_t>(ids.size()), options), options.sampling);
  session.append(ids);
  TextWriter writer(seedling(), options, [&](std::string_view text) {
    EXPECT_TRUE(text::is_valid_utf8(text));
    if (streamed != nullptr) *streamed += text;
  });
  while (writer.wants_more() && writer.accept(session.next_token())) {
  }
  return writer.finish();
}

TEST(Session, NextTokenIsTheArgMaxOfAForwardFromTheStart) {
  const std::vector<std::int32_t> prompt{0, 495, 673, 853};
  Session session(seedling(), 32, {});
  session.append(prompt);
  for (int i = 0; i < 6; ++i) {
    const auto token = session.next_token();
    ASSERT_TRUE(token);
    model::Decoder decoder(seedling().config, seedling().weights);
    model::KvCache cache(seedling().config, 32);
    tensor::Tensor hidden, logits(1, seedling().config.vocabulary);
    const auto before = session.tokens().first(session.tokens().size() - 1);
    decoder.forward(before, cache, hidden);
    decoder.logits(hidden.view().slice(hidden.rows() - 1, hidden.rows()), logits.view());
    EXPECT_EQ(*token, tensor::arg_max({logits.data(), static_cast<std::size_t>(seedling().config.vocabulary)}));
    EXPECT_EQ(std::memcmp(session.logits().data(), logits.data(), sizeof(float) * session.logits().size()), 0);
  }
}

TEST(Session, EndsWithItsCapacity) {
  Session session(seedling(), 5, {});
  EXPECT_THROW(session.next_token(), ShapeError);
  session.append(std::vector<std::int32_t>{0, 495, 673, 853});
  EXPECT_TRUE(session.next_token());  // after four positions
  EXPECT_TRUE(session.next_token());  // after five
  EXPECT_FALSE(session.next_token());
  EXPECT_EQ(session.tokens().size(), 6U);
  EXPECT_THROW(Session(seedling(), 1025, {}), ConfigError);
}

TEST(TextWriter, StreamsWhatItReturns) {
  std::string streamed;
  const Generation g = generate("The old house", {.max_tokens = 20}, &streamed);
  EXPECT_EQ(streamed, g.text);
  EXPECT_EQ(g.token_ids.size(), 20U);
  EXPECT_EQ(g.reason, FinishReason::length);
  EXPECT_EQ(seedling().vocabulary().decode(g.token_ids), g.text);
  EXPECT_EQ(g.timed_tokens, 19);
}

TEST(TextWriter, StopTextAcrossTokensIsHeldBackAndCut) {
  std::string streamed;
  const std::string whole = generate("The old house", {.max_tokens = 20}).text;
  const std::string stop = whole.substr(7, 9);  // begins and ends within tokens
  const Generation g = generate("The old house", {.max_tokens = 20, .stop = {stop}}, &streamed);
  EXPECT_EQ(g.text, whole.substr(0, whole.find(stop)));
  EXPECT_EQ(streamed, g.text);
  EXPECT_EQ(g.reason, FinishReason::stop);
  // What only begins like a stop text comes out after all.
  EXPECT_EQ(generate("The old house", {.max_tokens = 20, .stop = {whole.substr(whole.size() - 3) + "?"}}).text, whole);
}

TEST(TextWriter, EveryEndIdEnds) {
  TextWriter writer(seedling(), {.max_tokens = 5}, {});
  EXPECT_TRUE(writer.accept(495));
  EXPECT_FALSE(writer.accept(seedling().end_ids.front()));
  const Generation g = writer.finish();
  EXPECT_EQ(g.reason, FinishReason::end_of_text);
  EXPECT_EQ(g.token_ids, std::vector<std::int32_t>{495});
}

TEST(TextWriter, RefusesSenselessOptions) {
  EXPECT_THROW(TextWriter(seedling(), {.max_tokens = -1}, {}), ConfigError);
  EXPECT_THROW(TextWriter(seedling(), {.stop = {""}}, {}), ConfigError);
  EXPECT_THROW(TextWriter(*test::TinyModel::make(), {}, {}), ConfigError);  // no vocabulary
  EXPECT_THROW(room_for(seedling(), 0, {}), ConfigError);
  EXPECT_THROW(room_for(seedling(), 1025, {}), ConfigError);
  EXPECT_EQ(room_for(seedling(), 1000, {.max_tokens = 100}), 1024);
  EXPECT_EQ(room_for(seedling(), 10, {.max_tokens = 5}), 15);
}

TEST(FinishReasons, HaveNames) {
  EXPECT_EQ(name(FinishReason::end_of_text), "end_of_text");
  EXPECT_EQ(name(FinishReason::context_full), "context_full");
}

}  // namespace
}  // namespace rpt::generate
