// SPDX-License-Identifier: MIT
#include "rpt/text/byte_level.h"

#include <array>

#include "rpt/text/utf8.h"

namespace rpt::text {

namespace {

constexpr bool stands_for_itself(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

constexpr unsigned kAlphabetEnd = 0x100 + 68;

struct Alphabet {
  std::array<char16_t, 256> to_char{};
  std::array<std::int16_t, kAlphabetEnd> to_byte{};
};

constexpr Alphabet make_alphabet() {
  Alphabet a;
  for (auto& byte : a.to_byte) byte = -1;
  unsigned next = 0x100;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const unsigned c = stands_for_itself(byte) ? byte : next++;
    a.to_char[byte] = static_cast<char16_t>(c);
    a.to_byte[c] = static_cast<std::int16_t>(byte);
  }
  return a;
}

constexpr Alphabet kAlphabet = make_alphabet();

}  // namespace

char32_t byte_to_char(std::uint8_t byte) {
  return kAlphabet.to_char[byte];
}

std::optional<std::uint8_t> char_to_byte(char32_t character) {
  if (character >= kAlphabetEnd || kAlphabet.to_byte[character] < 0) return std::nullopt;
  return static_cast<std::uint8_t>(kAlphabet.to_byte[character]);
}

std::array<std::uint8_t, 256> bytes_by_character() {
  std::array<std::uint8_t, 256> bytes{};
  std::size_t count = 0;
  for (const std::int16_t byte : kAlphabet.to_byte) {
    if (byte >= 0) bytes[count++] = static_cast<std::uint8_t>(byte);
  }
  return bytes;
}

void append_byte_level(std::string& out, std::string_view bytes) {
  for (const char byte : bytes) append_utf8(out, byte_to_char(static_cast<std::uint8_t>(byte)));
}

std::optional<std::string> from_byte_level(std::string_view text) {
  std::string bytes;
  while (!text.empty()) {
    const Utf8Char c = decode_utf8(text);
    const std::optional<std::uint8_t> byte = c.valid ? char_to_byte(c.code_point) : std::nullopt;
    if (!byte) return std::nullopt;
    bytes += static_cast<char>(*byte);
    text.remove_prefix(c.size);
  }
  return bytes;
}

}  // namespace rpt::text
