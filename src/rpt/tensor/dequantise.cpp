// SPDX-License-Identifier: MIT
#include "rpt/tensor/dequantise.h"

#include <cstring>

#include "rpt/core/float16.h"

namespace rpt::tensor {
namespace {

std::uint16_t load_u16(const std::byte* p) {
  std::uint16_t v = 0;
  std::memcpy(&v, p, sizeof v);
  return v;
}

}  // namespace

void dequantise_q6_k(const std::byte* row, std::span<float> out) {
  for (std::size_t block = 0; block * 256 < out.size(); ++block) {
    const std::byte* p = row + block * 210;
    const float d = core::f16_to_float(load_u16(p + 208));
    for (std::size_t half = 0; half < 2; ++half) {
      const std::byte* nibbles = p + half * 64;
      const std::byte* pairs = p + 128 + half * 32;
      const std::byte* scales = p + 192 + half * 8;
      float* y = out.data() + block * 256 + half * 128;
      for (std::size_t l = 0; l < 32; ++l) {
        for (std::size_t part = 0; part < 4; ++part) {
          const auto byte = std::to_integer<unsigned>(nibbles[l + 32 * (part % 2)]);
          const unsigned low = part < 2 ? byte & 15U : byte >> 4;
          const unsigned high = (std::to_integer<unsigned>(pairs[l]) >> (2 * part)) & 3U;
          const auto scale = static_cast<float>(static_cast<std::int8_t>(scales[l / 16 + 2 * part]));
          y[l + 32 * part] = (d * scale) * static_cast<float>(static_cast<int>(low | (high << 4)) - 32);
        }
      }
    }
  }
}

void bf16_row_as_f16(const std::uint16_t* row, std::span<float> out) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = core::f16_to_float(core::float_to_f16(core::bf16_to_float(row[i])));
  }
}

}  // namespace rpt::tensor
