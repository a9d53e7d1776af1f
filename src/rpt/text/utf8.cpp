// SPDX-License-Identifier: MIT
#include "rpt/text/utf8.h"

#include <cstring>

#include "rpt/core/error.h"

namespace rpt::text {

namespace {

std::uint8_t byte_at(std::string_view text, std::size_t i) {
  return static_cast<std::uint8_t>(text[i]);
}

/// What a lead byte asks for: bytes in all (0: no lead byte) and the bounds of the second byte, which is where overlong
/// forms, surrogates and values beyond U+10FFFF are told apart (Unicode 15, table 3-7).
struct Lead {
  std::uint32_t size;
  std::uint8_t second_min, second_max;
};

Lead lead_of(std::uint8_t byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xC2 || byte > 0xF4) return {0, 0, 0};
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte < 0xF0)
    return {3, byte == 0xE0 ? std::uint8_t{0xA0} : std::uint8_t{0x80},
            byte == 0xED ? std::uint8_t{0x9F} : std::uint8_t{0xBF}};
  return {4, byte == 0xF0 ? std::uint8_t{0x90} : std::uint8_t{0x80},
          byte == 0xF4 ? std::uint8_t{0x8F} : std::uint8_t{0xBF}};
}

/// Number of bytes at the start of `text` that fit the lead: `lead.size` where the character is whole.
std::uint32_t fitting_bytes(std::string_view text, Lead lead) {
  std::uint32_t i = 1;
  for (; i < lead.size && i < text.size(); ++i) {
    const std::uint8_t byte = byte_at(text, i);
    const std::uint8_t low = i == 1 ? lead.second_min : std::uint8_t{0x80};
    const std::uint8_t high = i == 1 ? lead.second_max : std::uint8_t{0xBF};
    if (byte < low || byte > high) break;
  }
  return i;
}

/// The first byte of `text` that is no ASCII, or its size.
std::size_t ascii_prefix(std::string_view text, std::size_t from) {
  std::size_t i = from;
  while (i + 8 <= text.size()) {
    std::uint64_t word;
    std::memcpy(&word, text.data() + i, 8);
    if ((word & 0x8080808080808080ULL) != 0) break;
    i += 8;
  }
  while (i < text.size() && byte_at(text, i) < 0x80) ++i;
  return i;
}

}  // namespace

Utf8Char decode_utf8(std::string_view text) {
  RPT_CHECK(!text.empty(), "decode_utf8 of nothing");
  const std::uint8_t first = byte_at(text, 0);
  const Lead lead = lead_of(first);
  if (lead.size == 0) return {kReplacementCharacter, 1, false};
  if (lead.size == 1) return {first, 1, true};
  const std::uint32_t size = fitting_bytes(text, lead);
  if (size < lead.size) return {kReplacementCharacter, size, false};
  char32_t code_point = first & (0x7Fu >> lead.size);
  for (std::uint32_t i = 1; i < size; ++i) code_point = (code_point << 6) | (byte_at(text, i) & 0x3Fu);
  return {code_point, size, true};
}

std::size_t valid_utf8_prefix(std::string_view text) {
  std::size_t i = ascii_prefix(text, 0);
  while (i < text.size()) {
    const Utf8Char c = decode_utf8(text.substr(i));
    if (!c.valid) return i;
    i = ascii_prefix(text, i + c.size);
  }
  return i;
}

void append_utf8(std::string& out, char32_t c) {
  RPT_CHECK(c < 0xD800 || (c > 0xDFFF && c <= 0x10FFFF), "U+{:04X} is no scalar value", static_cast<std::uint32_t>(c));
  const auto put = [&out](char32_t byte) { out += static_cast<char>(static_cast<std::uint8_t>(byte)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | (c >> 6));
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | (c >> 12));
    put(0x80 | ((c >> 6) & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | (c >> 18));
    put(0x80 | ((c >> 12) & 0x3F));
    put(0x80 | ((c >> 6) & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

std::string replace_invalid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const std::size_t valid = valid_utf8_prefix(text);
    out.append(text.substr(0, valid));
    text.remove_prefix(valid);
    if (text.empty()) break;
    append_utf8(out, kReplacementCharacter);
    text.remove_prefix(decode_utf8(text).size);
  }
  return out;
}

std::string for_message(std::string_view text) {
  constexpr std::size_t kLimit = 100;
  std::string out;
  for (const char c : replace_invalid_utf8(text.substr(0, kLimit))) {
    const auto byte = static_cast<std::uint8_t>(c);
    if (byte < 0x20 || byte == 0x7F) {
      out += fmt::format("\\x{:02X}", byte);
    } else {
      out += c;
    }
  }
  if (text.size() > kLimit) out += "…";
  return out;
}

std::string Utf8Stream::push(std::string_view bytes) {
  pending_.append(bytes);
  // Hold back only a last character that more bytes could still complete.
  std::size_t whole = pending_.size();
  for (std::size_t back = 1; back <= 3 && back <= pending_.size(); ++back) {
    const std::string_view tail = std::string_view(pending_).substr(pending_.size() - back);
    const Lead lead = lead_of(byte_at(tail, 0));
    if (lead.size > back && fitting_bytes(tail, lead) == back) whole = pending_.size() - back;
  }
  std::string out = replace_invalid_utf8(std::string_view(pending_).substr(0, whole));
  pending_.erase(0, whole);
  return out;
}

std::string Utf8Stream::finish() {
  std::string out = replace_invalid_utf8(pending_);
  pending_.clear();
  return out;
}

}  // namespace rpt::text
