// SPDX-License-Identifier: MIT
#include "rpt/io/byte_reader.h"

namespace rpt::io {

std::string printable(std::string_view text) {
  constexpr std::size_t kLimit = 80;
  std::string result;
  for (const char c : text) {
    const bool plain = c >= ' ' && c <= '~';
    const std::string shown = plain ? std::string(1, c) : fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    if (result.size() + shown.size() > kLimit) return result + "...";
    result += shown;
  }
  return result;
}

void ByteReader::fail_at(std::uint64_t at, std::string_view place, const std::string& expected,
                         const std::string& found) const {
  throw FormatError(std::string(file_), at, std::string(place), expected, found);
}

void ByteReader::fail_short(std::string_view place, std::uint64_t wanted) const {
  fail(place, describe_bytes(wanted), fmt::format("{} bytes to the end", remaining()));
}

}  // namespace rpt::io
