// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rpt/text/chat_template.h"

/// Conversations to learn from and to be scored: JSON lines of {"messages": [{"role": …, "content": …}, …]}.
namespace rpt::text {

struct Conversation {
  std::vector<Message> messages;
  std::uint64_t line = 0;  ///< of its file, counted from 1
};

/// Whether JSON lines hold conversations: the first line that is an object has `messages` and no `text`.
bool holds_conversations(std::string_view json_lines);

/// The conversation of each line that is not empty. Roles are system, user and assistant; further members of a line or
/// a message are not looked at. `file_name` is named in errors. Throws ConfigError naming the line: for what is no
/// JSON, for messages without one of these roles or without a text as content, and where the assistant says nothing.
std::vector<Conversation> split_conversations(std::string_view json_lines, const std::string& file_name);

/// The messages as one such line, without a line feed. What is no UTF-8 becomes U+FFFD.
std::string to_json_line(std::span<const Message> messages);

/// A conversation of n tokens in which the assistant's answers are marked.
struct EncodedConversation {
  std::vector<std::int32_t> ids;        ///< [n]
  std::vector<std::uint8_t> is_answer;  ///< [n] 1 for an answer's tokens and the one that ends it, else 0
  std::uint64_t dropped_bytes = 0;      ///< bytes that the vocabulary cannot hold
};

}  // namespace rpt::text
