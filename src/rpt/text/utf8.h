// SPDX-License-Identifier: MIT
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace rpt::text {

/// The code point that stands for bytes which are no UTF-8.
inline constexpr char32_t kReplacementCharacter = U'\uFFFD';

/// One step of decoding.
struct Utf8Char {
  char32_t code_point;  ///< kReplacementCharacter where `valid` is false
  std::uint32_t size;   ///< bytes consumed, 1…4; of an invalid sequence its maximal subpart
  bool valid;
};

/// The character at the start of `text` (not empty). An invalid sequence is consumed as its maximal subpart: the
/// longest start of a well-formed sequence, or one byte. Overlong forms, surrogates and values above U+10FFFF are
/// invalid. Source: Unicode 15, table 3-7 and section 3.9.
Utf8Char decode_utf8(std::string_view text);

/// Length in bytes of the longest well-formed start of `text`.
std::size_t valid_utf8_prefix(std::string_view text);

/// True where the whole text is well-formed UTF-8.
inline bool is_valid_utf8(std::string_view text) {
  return valid_utf8_prefix(text) == text.size();
}

/// Appends the UTF-8 form of a code point, which must be a Unicode scalar value.
void append_utf8(std::string& out, char32_t code_point);

/// The text with each maximal subpart of an invalid sequence replaced by U+FFFD.
std::string replace_invalid_utf8(std::string_view text);

/// The start of a text (100 bytes), fit for a one-line message: what is no UTF-8 as U+FFFD, control characters as \xNN.
std::string for_message(std::string_view text);

/// Turns a stream of byte pieces, cut anywhere, into whole characters. Everything given out is valid UTF-8: an invalid
/// sequence becomes U+FFFD as soon as it is known to be invalid. The pieces of one stream, joined, equal
/// replace_invalid_utf8 of the joined input.
class Utf8Stream {
 public:
  /// Takes bytes; gives the characters that are whole now. At most 3 bytes are held back.
  std::string push(std::string_view bytes);
  /// Ends the stream: a character that was begun and never finished becomes one U+FFFD. The stream can be used again.
  std::string finish();

 private:
  std::string pending_;  ///< the start of a character, 0…3 bytes
};

}  // namespace rpt::text
