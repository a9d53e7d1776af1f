// SPDX-License-Identifier: MIT
#include "rpt/text/jsonl.h"

#include <nlohmann/json.hpp>

#include "rpt/core/error.h"

namespace rpt::text {

namespace {

nlohmann::json parse_line(std::string_view line, std::uint64_t offset, const std::string& file) {
  try {
    return nlohmann::json::parse(line);
  } catch (const nlohmann::json::parse_error& error) {
    throw FormatError(file, offset + error.byte, "JSON line", "a JSON text", "a mistake in it");
  } catch (const nlohmann::json::exception&) {
    throw FormatError(file, offset, "JSON line", "numbers that a double can hold", "a larger one");
  }
}

}  // namespace

std::string text_of_json_line(std::string_view line, std::uint64_t offset, const std::string& file) {
  const nlohmann::json value = parse_line(line, offset, file);
  const auto text = value.is_object() ? value.find("text") : value.end();
  if (text != value.end() && text->is_string()) return text->get<std::string>();
  throw FormatError(file, offset, "JSON line", "an object with a string 'text'", "another value");
}

bool json_line_says(std::string_view line, const char* member, std::uint64_t offset, const std::string& file) {
  const nlohmann::json value = parse_line(line, offset, file);
  const auto found = value.is_object() ? value.find(member) : value.end();
  return found != value.end() && found->is_boolean() && found->get<bool>();
}

}  // namespace rpt::text
