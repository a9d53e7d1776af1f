// SPDX-License-Identifier: MIT
#pragma once
#include <cstddef>
#include <string_view>

namespace rpt::text {

/// What Python's str.isspace and str.strip take as white space: Unicode's White_Space and U+001C … U+001F.
bool is_python_space(char32_t code_point);

/// Bytes of white space at the start of a text.
std::size_t leading_white_space(std::string_view text);

/// The text up to its trailing white space.
std::string_view without_trailing_white_space(std::string_view text);

/// The start of the last character of a text that is not empty.
std::size_t last_character(std::string_view text);

}  // namespace rpt::text
