// SPDX-License-Identifier: MIT
#include <cstdint>
#include <cstring>

#include "rpt/core/float16.h"
#include "rpt/kernels/reference/reference.h"

namespace rpt::kernels::reference {
namespace {

constexpr std::int64_t kBlock = 32;  // values

float half(const std::uint8_t* bytes) {
  std::uint16_t bits = 0;
  std::memcpy(&bits, bytes, sizeof bits);
  return core::f16_to_float(bits);
}

/// Value i of the 32 nibbles of a block.
int nibble(const std::uint8_t* nibbles, std::int64_t i) {
  return i < 16 ? nibbles[i] & 15 : nibbles[i - 16] >> 4;
}

void q8_0_to_f32(const std::uint8_t* row, std::int64_t n, float* y) noexcept {
  for (; n > 0; n -= kBlock, row += 34, y += kBlock) {
    const float d = half(row);
    for (std::int64_t i = 0; i < kBlock; ++i) y[i] = d * static_cast<float>(static_cast<std::int8_t>(row[2 + i]));
  }
}

void q4_0_to_f32(const std::uint8_t* row, std::int64_t n, float* y) noexcept {
  for (; n > 0; n -= kBlock, row += 18, y += kBlock) {
    const float d = half(row);
    for (std::int64_t i = 0; i < kBlock; ++i) y[i] = d * static_cast<float>(nibble(row + 2, i) - 8);
  }
}

void q4_1_to_f32(const std::uint8_t* row, std::int64_t n, float* y) noexcept {
  for (; n > 0; n -= kBlock, row += 20, y += kBlock) {
    const float d = half(row);
    const float m = half(row + 2);
    for (std::int64_t i = 0; i < kBlock; ++i) y[i] = d * static_cast<float>(nibble(row + 4, i)) + m;
  }
}

void q6_k_to_f32(const std::uint8_t* row, std::int64_t n, float* y) noexcept {
  for (; n > 0; n -= 256, row += 210, y += 256) {
    const float d = half(row + 208);
    for (std::int64_t i = 0; i < 256; ++i) {
      const std::int64_t h = i / 128, part = i % 128 / 32, l = i % 32;
      const int byte = row[64 * h + l + 32 * (part % 2)];
      const int low = part < 2 ? byte & 15 : byte >> 4;
      const int high = (row[128 + 32 * h + l] >> (2 * part)) & 3;
      const auto scale = static_cast<std::int8_t>(row[192 + i / 16]);
      y[i] = (d * static_cast<float>(scale)) * static_cast<float>((low | high << 4) - 32);
    }
  }
}

}  // namespace

void fill_blocks(KernelTable& table) noexcept {
  table.q8_0_to_f32 = q8_0_to_f32;
  table.q4_0_to_f32 = q4_0_to_f32;
  table.q4_1_to_f32 = q4_1_to_f32;
  table.q6_k_to_f32 = q6_k_to_f32;
}

}  // namespace rpt::kernels::reference
