// SPDX-License-Identifier: MIT
#include "rpt/ternary/legacy_pack.h"

#include <fmt/format.h>

#include "rpt/core/error.h"

namespace rpt::ternary {

std::vector<std::uint8_t> pack_legacy(std::span<const std::int8_t> codes) {
  std::vector<std::uint8_t> bytes((codes.size() + 3) / 4);
  for (std::size_t i = 0; i < codes.size(); ++i) {
    if (codes[i] < -1 || codes[i] > 1) throw ShapeError(fmt::format("code {} at {}: none of -1, 0, 1", codes[i], i));
    const unsigned two_bits = static_cast<unsigned>(codes[i]) & 3U;
    bytes[i / 4] = static_cast<std::uint8_t>(bytes[i / 4] | two_bits << (2 * (i % 4)));
  }
  return bytes;
}

std::vector<std::int8_t> unpack_legacy(std::span<const std::uint8_t> bytes, std::size_t count) {
  if (bytes.size() != (count + 3) / 4) {
    throw ShapeError(fmt::format("{} bytes for {} codes, expected {}", bytes.size(), count, (count + 3) / 4));
  }
  std::vector<std::int8_t> codes;
  for (std::size_t i = 0; i < 4 * bytes.size(); ++i) {
    const unsigned two_bits = bytes[i / 4] >> (2 * (i % 4)) & 3U;
    if (two_bits == 2 || (i >= count && two_bits != 0)) {
      throw FormatError("packed row", i / 4, i < count ? fmt::format("code {}", i) : "behind the last code",
                        i < count ? "00, 01 or 11" : "00", two_bits == 2 ? "10" : fmt::format("{:02b}", two_bits));
    }
    if (i < count) codes.push_back(static_cast<std::int8_t>(two_bits == 3 ? -1 : static_cast<int>(two_bits)));
  }
  return codes;
}

}  // namespace rpt::ternary
