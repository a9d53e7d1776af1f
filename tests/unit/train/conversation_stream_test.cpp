// SPDX-License-Identifier: MIT
// Conversations as documents: marks, hash, what is held out, and that only answers move a weight.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstring>

#include "rpt/core/error.h"
#include "rpt/core/sha256.h"
#include "rpt/train/hold_out.h"
#include "rpt/train/run.h"
#include "rpt/train/step.h"
#include "tests/unit/train/data_test_support.h"
#include "tests/unit/train/step_test_support.h"

namespace rpt::train {
namespace {

using Ids = std::vector<std::int32_t>;
using Marks = std::vector<std::uint8_t>;

/// A token a byte; a message is its role's first letter, its content and 1, of which the assistant's content and 1 are
/// learnt.
text::EncodedConversation encode_bytes(std::span<const text::Message> messages) {
  text::EncodedConversation c;
  const auto put = [&](std::int32_t id, bool is_answer) {
    c.ids.push_back(id);
    c.is_answer.push_back(is_answer ? 1 : 0);
  };
  for (const text::Message& m : messages) {
    if (m.content == "refuse") throw ConfigError("message 1 is refused");
    put(m.role[0] % 96, false);
    for (const char letter : m.content) put(letter % 96, m.role == "assistant");
    put(1, m.role == "assistant");
  }
  return c;
}

Document talk(const std::string& question, const std::string& answer, std::int64_t repeat = 1) {
  Document out;
  out.name = "chat.jsonl: line 1";
  out.messages = {{"user", question}, {"assistant", answer}};
  out.text = text::to_json_line(out.messages);
  out.repeat = repeat;
  return out;
}

/// The same tokens; the second one is learnt too.
text::EncodedConversation encode_with_other_marks(std::span<const text::Message> messages) {
  text::EncodedConversation c = encode_bytes(messages);
  c.is_answer[1] = 1;
  return c;
}

TokenStream encode(const std::vector<Document>& documents, const ConversationEncoder& encoder = encode_bytes) {
  return encode_documents(documents, test::seedling_tokenizer(), {0, 1}, encoder);
}

TEST(ConversationStream, HasTheMarksOfItsConversations) {
  const TokenStream stream = encode({talk("ab", "c"), talk("", "dd", 2)});
  const std::int32_t u = 'u' % 96, a = 'a' % 96;
  EXPECT_EQ(stream.tokens, (Ids{u, 1, 2, 1, a, 3, 1, u, 1, a, 4, 4, 1, u, 1, a, 4, 4, 1}));
  EXPECT_EQ(stream.is_target, (Marks{0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1}));
  EXPECT_EQ(stream.targets, 8U);
  EXPECT_EQ(stream.documents, 3U);
}

TEST(ConversationStream, HashCoversTheMarks) {
  const TokenStream stream = encode({talk("ab", "c")});
  core::Sha256 sha256;
  sha256.update(stream.tokens.data(), stream.tokens.size() * 4);
  sha256.update(stream.is_target.data(), stream.is_target.size());
  EXPECT_EQ(stream.sha256, sha256.hex_digest());
  const TokenStream other = encode({talk("ab", "c")}, encode_with_other_marks);
  EXPECT_EQ(other.tokens, stream.tokens);
  EXPECT_NE(other.sha256, stream.sha256);
}

TEST(ConversationStream, RefusalsNameTheLine) {
  const auto refusal = [](const Document& document, const ConversationEncoder& encoder) -> std::string {
    try {
      encode_documents({&document, 1}, test::seedling_tokenizer(), {}, encoder);
    } catch (const ConfigError& e) {
      return e.what();
    }
    return "accepted";
  };
  EXPECT_EQ(refusal(talk("refuse", "a"), encode_bytes), "chat.jsonl: line 1: message 1 is refused");
  EXPECT_EQ(refusal(talk("a", "a"), {}), "chat.jsonl: line 1: is a conversation; expected a text");
  EXPECT_THROW(corpus_of(std::vector{talk("a", "a")}), ConfigError);
}

TEST(ConversationDocuments, ComeFromJsonLines) {
  const test::TemporaryFolder folder;
  const std::string line = text::to_json_line(talk("a", "b").messages);
  const Source chat{.text = folder.write("chat.jsonl", "\n" + line + "\n" + line + "\n"), .repeat = 3};
  const auto documents = load_documents({&chat, 1}, {});
  ASSERT_EQ(documents.size(), 2U);
  EXPECT_EQ(documents[0].name, chat.text + ": line 2");
  EXPECT_EQ(documents[0].repeat, 3);
  EXPECT_EQ(documents[0].text, line);
  EXPECT_EQ(documents[0].messages[1].content, "b");
  const std::vector<Source> both = {chat, {.text = folder.write("a.txt", "a text")}};
  EXPECT_THROW(load_documents(both, {}), ConfigError);
}

TEST(ConversationDocuments, AreHeldOutWhole) {
  const HoldOutSplit split = hold_out({talk("a", "b\nc d"), talk("b", "c"), talk("c", "d")}, {.share = 0.3});
  EXPECT_EQ(split.train.size(), 2U);
  ASSERT_EQ(split.held_out.size(), 1U);
  EXPECT_EQ(split.held_out[0].messages.size(), 2U);
  EXPECT_EQ(split.held_out[0].text, text::to_json_line(split.held_out[0].messages));
  EXPECT_THROW(hold_out({talk("a", "b"), talk("a", "b")}, {.share = 0.3}), ConfigError);
  EXPECT_EQ(hold_out({talk("a", "b")}, {.share = 0}).train.size(), 1U);
}

/// The gradient of the embedding, bit for bit, of the one window of a stream.
std::vector<float> gradient_of(const TokenStream& stream) {
  const auto parameters = test::tiny_parameters();
  const auto context = static_cast<std::int64_t>(stream.tokens.size()) - 1;
  GradientStep step(*parameters, context, {.backward = model::BackwardType::f32, .head = model::BackwardType::f32});
  step.begin_step(0, 0);
  WindowSampler sampler(stream, {.context = context, .sampling = Sampling::chunks});
  step.add(sampler.next(1), 1, 1.0F);
  const auto& g = parameters->gradients().token_embd;
  std::vector<float> values;
  for (std::int64_t r = 0; r < g.rows; ++r) values.insert(values.end(), g.row(r), g.row(r) + g.columns);
  return values;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

TEST(ConversationGradient, ComesFromAnswersAlone) {
  // The last token of the one window is asked for, but never read: changing it changes a target and nothing else.
  const auto ending_with = [](const std::string& role, char letter) {
    Document document = talk("abc", "de");
    document.messages.push_back({role, std::string("f") + letter});
    TokenStream stream = encode({document});
    stream.tokens.pop_back();
    stream.is_target.pop_back();
    return gradient_of(stream);
  };
  EXPECT_TRUE(same_bits(ending_with("user", 'g'), ending_with("user", 'h')));
  EXPECT_FALSE(same_bits(ending_with("assistant", 'g'), ending_with("assistant", 'h')));
}

TEST(ConversationRun, ResumesWithTheSameBitsAndOnlyOnTheSameMarks) {
  const test::TemporaryFolder folder;
  std::vector<Document> documents;
  for (int i = 0; i < 12; ++i) documents.push_back(talk(fmt::format("How is {}?", i), fmt::format("It is {}.", i * 7)));
  TokenStream stream = encode(documents);
  TrainConfig config;
  config.data = {{.text = "chat.jsonl"}};
  config.steps = 6;
  config.batch = 2;
  config.context = 16;
  config.checkpoint_every = 2;
  const auto train = [&](const std::string& name, std::int64_t stop_at, bool resume) {
    const auto parameters = test::tiny_parameters();
    std::int64_t step = 0;
    RunHooks hooks;
    hooks.step = [&](const StepRecord& r) { step = r.step; };
    hooks.interrupted = [&] { return step == stop_at; };
    return run_training(config, *parameters, stream, folder.path() / name, resume, "here", hooks).last_loss;
  };
  const std::optional<double> whole = train("whole", 0, false);
  train("cut", 3, false);
  EXPECT_EQ(train("cut", 0, true), whole);
  const auto state = [&](const std::string& name) {
    return core::read_file(*newest_checkpoint(folder.path() / name / "checkpoints") / "state.safetensors");
  };
  EXPECT_EQ(state("cut"), state("whole"));

  train("other", 3, false);
  stream = encode(documents, encode_with_other_marks);
  EXPECT_THROW(train("other", 0, true), ConfigError);
}

}  // namespace
}  // namespace rpt::train
