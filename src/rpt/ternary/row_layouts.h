// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <span>

#include "rpt/ternary/layouts.h"

/// Packing and unpacking of single rows, unchecked; layouts.h is the way in. Codes to pack are −1, 0, +1 and go on with
/// zeros to the end of the last block.
namespace rpt::ternary {

constexpr std::int64_t i2s_row_bytes(std::int64_t columns) {
  return (columns + kI2sBlock - 1) / kI2sBlock * 32;
}
constexpr std::int64_t tq1_row_bytes(std::int64_t columns) {
  return columns / kTqBlock * kTq1BlockBytes;
}
constexpr std::int64_t tq2_row_bytes(std::int64_t columns) {
  return columns / kTqBlock * kTq2BlockBytes;
}

/// True where every code is −1, 0 or +1.
bool are_codes(std::span<const std::int8_t> codes);

void pack_i2s_row(const std::int8_t* codes, std::int64_t columns, std::uint8_t* bytes);
void pack_tq1_row(const std::int8_t* codes, std::int64_t columns, float scale, std::uint8_t* bytes);
void pack_tq2_row(const std::int8_t* codes, std::int64_t columns, float scale, std::uint8_t* bytes);
/// Four rows, `stride` apart, into one byte row.
void pack_hf_rows(const std::int8_t* codes, std::int64_t stride, std::int64_t columns, std::uint8_t* bytes);

void unpack_i2s_row(const std::uint8_t* bytes, std::int64_t columns, std::int8_t* codes);
void unpack_tq1_row(const std::uint8_t* bytes, std::int64_t columns, std::int8_t* codes);
void unpack_tq2_row(const std::uint8_t* bytes, std::int64_t columns, std::int8_t* codes);
/// Row `which` (0 … 3) of a byte row.
void unpack_hf_row(const std::uint8_t* bytes, int which, std::int64_t columns, std::int8_t* codes);

}  // namespace rpt::ternary
