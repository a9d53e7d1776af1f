// SPDX-License-Identifier: MIT
#include "rpt/text/conversation.h"

#include <gtest/gtest.h>

#include "rpt/core/error.h"

namespace rpt::text {
namespace {

const std::string kGood =
    R"({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]})";
const std::string kRich = R"({"id": 7, "messages": [{"role": "system", "content": ""},)"
                          R"( {"role": "assistant", "content": "\u00e9\n", "name": "x"}]})";

std::string refusal(const std::string& json_lines) {
  try {
    split_conversations(json_lines, "chat.jsonl");
  } catch (const ConfigError& e) {
    return e.what();
  }
  return "accepted";
}

TEST(Conversation, ReadsALineEach) {
  const auto found = split_conversations(kGood + "\r\n\n  \n" + kRich, "chat.jsonl");
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].line, 1U);
  ASSERT_EQ(found[0].messages.size(), 2U);
  EXPECT_EQ(found[0].messages[0].role, "user");
  EXPECT_EQ(found[0].messages[1].content, "Yo");
  EXPECT_EQ(found[1].line, 4U);
  EXPECT_EQ(found[1].messages[1].content, "é\n");
  EXPECT_TRUE(split_conversations("\n \n", "chat.jsonl").empty());
}

TEST(Conversation, AWrittenOneIsReadAgain) {
  const auto rich = split_conversations(kRich, "chat.jsonl").front().messages;
  const std::string line = to_json_line(rich);
  EXPECT_EQ(line, R"({"messages":[{"role":"system","content":""},{"role":"assistant","content":"é\n"}]})");
  const auto again = split_conversations(line, "chat.jsonl").front().messages;
  EXPECT_EQ(to_json_line(again), line);
}

TEST(Conversation, TheFirstObjectSaysWhatAFileHolds) {
  EXPECT_TRUE(holds_conversations(kGood));
  EXPECT_TRUE(holds_conversations("\n{broken\n" + kGood));
  EXPECT_FALSE(holds_conversations(R"({"text": "a"})"
                                   "\n" +
                                   kGood));
  EXPECT_FALSE(holds_conversations(R"({"text": "a", "messages": []})"));
  EXPECT_FALSE(holds_conversations("[1]\n\"messages\"\n"));
  EXPECT_FALSE(holds_conversations(""));
}

TEST(Conversation, BadLinesAreNamed) {
  const auto with = [](const std::string& messages) { return kGood + "\n{\"messages\": " + messages + "}\n"; };
  const std::string at = "chat.jsonl: line 2: ";
  EXPECT_EQ(refusal(kGood + "\n{\"messages\": [\n"), at + "is no JSON");
  EXPECT_EQ(refusal(kGood + "\n{\"messages\": \"\xff\"}\n"), at + "is no JSON");
  EXPECT_EQ(refusal(kGood + "\n" + R"({"text": "a"})"), at + "is no object with a list of messages");
  EXPECT_EQ(refusal(with("3")), at + "is no object with a list of messages");
  EXPECT_EQ(refusal(with("[3]")), at + "message 1 is no object");
  EXPECT_EQ(refusal(with(R"([{"content": "a"}])")), at + "message 1 has no role");
  EXPECT_EQ(refusal(with(R"([{"role": "assistant", "content": "a"}, {"role": "tool\n", "content": "a"}])")),
            at + "message 2 has the unknown role \"tool\\x0A\"; there are system, user and assistant");
  EXPECT_EQ(refusal(with(R"([{"role": "assistant", "content": null}])")), at + "message 1 has no text as content");
  EXPECT_EQ(refusal(with(R"([{"role": "user", "content": "a"}])")),
            at + "has no message of the assistant, so that nothing could be learnt from it");
  EXPECT_EQ(refusal(with("[]")), at + "has no message of the assistant, so that nothing could be learnt from it");
}

}  // namespace
}  // namespace rpt::text
