// SPDX-License-Identifier: MIT
#include "rpt/text/conversation.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "rpt/core/error.h"
#include "rpt/text/utf8.h"

namespace rpt::text {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<std::string_view, 3> kRoles = {"system", "user", "assistant"};

/// Calls body(line, number) for every line that is not empty, until it returns false.
template <typename Body>
void for_each_filled_line(std::string_view text, const Body& body) {
  std::uint64_t number = 0;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    ++number;
    if (line.find_first_not_of(" \t\r") != std::string_view::npos && !body(line, number)) return;
  }
}

/// The member `key` where it is a text, else null.
const std::string* find_text(const Json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get_ptr<const std::string*>() : nullptr;
}

/// Throws ConfigError without file and line.
Message read_message(const Json& value, std::size_t number) {
  if (!value.is_object()) throw ConfigError(fmt::format("message {} is no object", number));
  const std::string* role = find_text(value, "role");
  if (role == nullptr) throw ConfigError(fmt::format("message {} has no role", number));
  if (std::find(kRoles.begin(), kRoles.end(), *role) == kRoles.end()) {
    throw ConfigError(fmt::format("message {} has the unknown role \"{}\"; there are system, user and assistant",
                                  number, for_message(*role)));
  }
  const std::string* content = find_text(value, "content");
  if (content == nullptr) throw ConfigError(fmt::format("message {} has no text as content", number));
  return {*role, *content};
}

/// Throws as read_message.
std::vector<Message> read_messages(std::string_view line) {
  const Json value = Json::parse(line, nullptr, false);
  if (value.is_discarded()) throw ConfigError("is no JSON");
  const auto list = value.is_object() ? value.find("messages") : value.end();
  if (list == value.end() || !list->is_array()) throw ConfigError("is no object with a list of messages");
  std::vector<Message> messages;
  for (const Json& message : *list) messages.push_back(read_message(message, messages.size() + 1));
  if (std::none_of(messages.begin(), messages.end(), [](const Message& m) { return m.role == "assistant"; })) {
    throw ConfigError("has no message of the assistant, so that nothing could be learnt from it");
  }
  return messages;
}

}  // namespace

bool holds_conversations(std::string_view json_lines) {
  bool holds = false;
  for_each_filled_line(json_lines, [&](std::string_view line, std::uint64_t) {
    const Json value = Json::parse(line, nullptr, false);
    holds = value.is_object() && value.contains("messages") && !value.contains("text");
    return !value.is_object();
  });
  return holds;
}

std::vector<Conversation> split_conversations(std::string_view json_lines, const std::string& file_name) {
  std::vector<Conversation> out;
  for_each_filled_line(json_lines, [&](std::string_view line, std::uint64_t number) {
    try {
      out.push_back({read_messages(line), number});
    } catch (const ConfigError& e) {
      throw ConfigError(fmt::format("{}: line {}: {}", file_name, number, e.what()));
    }
    return true;
  });
  return out;
}

std::string to_json_line(std::span<const Message> messages) {
  Json list = Json::array();
  for (const Message& m : messages) list.push_back({{"role", m.role}, {"content", m.content}});
  return Json({{"messages", list}}).dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace rpt::text
