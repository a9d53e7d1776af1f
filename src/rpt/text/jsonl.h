// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace rpt::text {

/// The member `text` of the JSON object on one line of a file; `offset` is where the line begins. Throws FormatError
/// where there is none.
std::string text_of_json_line(std::string_view line, std::uint64_t offset, const std::string& file);

/// Whether the JSON object on one line has a member of that name that is true. Throws FormatError for a line that is no
/// JSON text.
bool json_line_says(std::string_view line, const char* member, std::uint64_t offset, const std::string& file);

}  // namespace rpt::text
