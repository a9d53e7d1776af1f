// SPDX-License-Identifier: MIT
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace rpt::text {

/// The byte-to-unicode form of GPT-2: each byte is written as one printable character, so that vocabularies are text.
/// The printable bytes of Latin-1 stand for themselves; the other 68, in order, for U+0100…U+0143 (space is U+0120).

/// The character of a byte.
char32_t byte_to_char(std::uint8_t byte);

/// The byte of a character, or nothing for characters outside the alphabet.
std::optional<std::uint8_t> char_to_byte(char32_t character);

/// All bytes in the order of their characters' code points, `!` first: the order in which GPT-2 numbers them.
std::array<std::uint8_t, 256> bytes_by_character();

/// Appends the byte-to-unicode form of `bytes`, as UTF-8.
void append_byte_level(std::string& out, std::string_view bytes);

/// The bytes that a byte-to-unicode text stands for, or nothing where a character is outside the alphabet.
std::optional<std::string> from_byte_level(std::string_view text);

}  // namespace rpt::text
