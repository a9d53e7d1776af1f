// SPDX-License-Identifier: MIT
#include "rpt/text/white_space.h"

#include "rpt/text/utf8.h"

namespace rpt::text {

bool is_python_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

std::size_t leading_white_space(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const Utf8Char c = decode_utf8(text.substr(at));
    if (!c.valid || !is_python_space(c.code_point)) break;
    at += c.size;
  }
  return at;
}

std::size_t last_character(std::string_view text) {
  // A whole character of up to four bytes that ends where the text does, else its last byte.
  for (std::size_t size = 1; size <= 4 && size <= text.size(); ++size) {
    const Utf8Char c = decode_utf8(text.substr(text.size() - size));
    if (c.valid && c.size == size) return text.size() - size;
  }
  return text.size() - 1;
}

std::string_view without_trailing_white_space(std::string_view text) {
  while (!text.empty()) {
    const std::size_t last = last_character(text);
    const Utf8Char c = decode_utf8(text.substr(last));
    if (!c.valid || !is_python_space(c.code_point)) break;
    text = text.substr(0, last);
  }
  return text;
}

}  // namespace rpt::text
