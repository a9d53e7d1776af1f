// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <span>
#include <vector>

/// The packing of the reference's own CPU layer: four codes a byte, the first in the lowest bits, in two's complement
/// of two bits (0 → 00, +1 → 01, −1 → 11). None of our files holds it; it is here to read and check what the reference
/// packed.
namespace rpt::ternary {

/// A row of codes, each −1, 0 or +1, in ceil(K/4) bytes; bits past the row are 0. Throws: ShapeError for another code.
std::vector<std::uint8_t> pack_legacy(std::span<const std::int8_t> codes);

/// The `count` codes of a row. Throws: ShapeError where the bytes are not ceil(count/4); FormatError naming the first
/// byte that holds the pattern 10, or bits behind the row.
std::vector<std::int8_t> unpack_legacy(std::span<const std::uint8_t> bytes, std::size_t count);

}  // namespace rpt::ternary
