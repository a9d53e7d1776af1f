// SPDX-License-Identifier: MIT
#include "rpt/text/jsonl.h"

#include <nlohmann/json.hpp>

#include "rpt/core/error.h"

namespace rpt::text {

std::string text_of_json_line(std::string_view line, std::uint64_t offset, const std::string& file) {
  try {
    const nlohmann::json value = nlohmann::json::parse(line);
    const auto text = value.is_object() ? value.find("text") : value.end();
    if (text != value.end() && text->is_string()) return text->get<std::string>();
  } catch (const nlohmann::json::parse_error& error) {
    throw FormatError(file, offset + error.byte, "JSON line", "a JSON text", "a mistake in it");
  } catch (const nlohmann::json::exception&) {
    throw FormatError(file, offset, "JSON line", "numbers that a double can hold", "a larger one");
  }
  throw FormatError(file, offset, "JSON line", "an object with a string 'text'", "another value");
}

}  // namespace rpt::text
