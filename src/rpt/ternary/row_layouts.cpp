// SPDX-License-Identifier: MIT
#include "rpt/ternary/row_layouts.h"

#include <algorithm>

#include "rpt/core/float16.h"

namespace rpt::ternary {
namespace {

/// code + 1.
unsigned stored(std::int8_t code) {
  return static_cast<unsigned>(code + 1);
}

std::int8_t two_bits(std::uint8_t byte, int shift) {
  return static_cast<std::int8_t>(((byte >> shift) & 3) - 1);
}

/// The byte of five base-3 digits of value q = t0·81 + … + t4: q/243 as a fraction of 256, rounded up, so that
/// multiplying by 3 carries the digits out one by one.
std::uint8_t base3_byte(unsigned q) {
  return static_cast<std::uint8_t>((q * 256 + 242) / 243);
}

std::int8_t trit(std::uint8_t byte, unsigned power_of_3) {
  const auto shifted = static_cast<std::uint8_t>(byte * power_of_3);
  return static_cast<std::int8_t>(((shifted * 3) >> 8) - 1);
}

constexpr unsigned kPowers[] = {1, 3, 9, 27, 81};

/// A part of a tq1_0 block: `bytes` bytes, the first holds the weights first, first + bytes, first + 2·bytes, ….
struct Tq1Part {
  int first;
  int bytes;
  int trits;
};
constexpr Tq1Part kTq1Parts[] = {{0, 32, 5}, {160, 16, 5}, {240, 4, 4}};

void put_scale(float scale, std::uint8_t* bytes) {
  const std::uint16_t d = core::float_to_f16(scale);
  bytes[0] = static_cast<std::uint8_t>(d & 0xff);
  bytes[1] = static_cast<std::uint8_t>(d >> 8);
}

}  // namespace

bool are_codes(std::span<const std::int8_t> codes) {
  std::uint8_t most = 0;
  for (const std::int8_t code : codes) most = std::max(most, static_cast<std::uint8_t>(code + 1));
  return most <= 2;
}

void pack_i2s_row(const std::int8_t* codes, std::int64_t columns, std::uint8_t* bytes) {
  for (std::int64_t k = 0; k < columns; k += kI2sBlock, codes += kI2sBlock, bytes += 32) {
    for (int g = 0; g < 32; ++g) {
      bytes[g] = static_cast<std::uint8_t>(stored(codes[g]) << 6 | stored(codes[g + 32]) << 4 |
                                           stored(codes[g + 64]) << 2 | stored(codes[g + 96]));
    }
  }
}

void unpack_i2s_row(const std::uint8_t* bytes, std::int64_t columns, std::int8_t* codes) {
  for (std::int64_t k = 0; k < columns; k += kI2sBlock, bytes += 32) {
    for (int part = 0; part < 4; ++part) {
      const std::int64_t first = k + 32 * part;
      const auto count = static_cast<int>(std::clamp<std::int64_t>(columns - first, 0, 32));
      for (int g = 0; g < count; ++g) codes[first + g] = two_bits(bytes[g], 6 - 2 * part);
    }
  }
}

void pack_tq1_row(const std::int8_t* codes, std::int64_t columns, float scale, std::uint8_t* bytes) {
  for (std::int64_t k = 0; k < columns; k += kTqBlock, codes += kTqBlock, bytes += kTq1BlockBytes) {
    std::uint8_t* out = bytes;
    for (const Tq1Part& part : kTq1Parts) {
      for (int m = 0; m < part.bytes; ++m) {
        unsigned q = 0;
        for (int t = 0; t < part.trits; ++t) q = q * 3 + stored(codes[part.first + t * part.bytes + m]);
        *out++ = base3_byte(part.trits == 4 ? q * 3 : q);
      }
    }
    put_scale(scale, out);
  }
}

void unpack_tq1_row(const std::uint8_t* bytes, std::int64_t columns, std::int8_t* codes) {
  for (std::int64_t k = 0; k < columns; k += kTqBlock, codes += kTqBlock, bytes += kTq1BlockBytes) {
    const std::uint8_t* in = bytes;
    for (const Tq1Part& part : kTq1Parts) {
      for (int t = 0; t < part.trits; ++t) {
        std::int8_t* const out = codes + part.first + t * part.bytes;
        for (int m = 0; m < part.bytes; ++m) out[m] = trit(in[m], kPowers[t]);
      }
      in += part.bytes;
    }
  }
}

void pack_tq2_row(const std::int8_t* codes, std::int64_t columns, float scale, std::uint8_t* bytes) {
  for (std::int64_t k = 0; k < columns; k += kTqBlock, bytes += kTq2BlockBytes) {
    for (int half = 0; half < 2; ++half, codes += 128) {
      for (int m = 0; m < 32; ++m) {
        bytes[32 * half + m] = static_cast<std::uint8_t>(stored(codes[m]) | stored(codes[m + 32]) << 2 |
                                                         stored(codes[m + 64]) << 4 | stored(codes[m + 96]) << 6);
      }
    }
    put_scale(scale, bytes + 64);
  }
}

void unpack_tq2_row(const std::uint8_t* bytes, std::int64_t columns, std::int8_t* codes) {
  for (std::int64_t k = 0; k < columns; k += kTqBlock, bytes += kTq2BlockBytes) {
    for (int half = 0; half < 2; ++half) {
      for (int part = 0; part < 4; ++part, codes += 32) {
        for (int m = 0; m < 32; ++m) codes[m] = two_bits(bytes[32 * half + m], 2 * part);
      }
    }
  }
}

void pack_hf_rows(const std::int8_t* codes, std::int64_t stride, std::int64_t columns, std::uint8_t* bytes) {
  for (std::int64_t k = 0; k < columns; ++k) {
    bytes[k] = static_cast<std::uint8_t>(stored(codes[k]) | stored(codes[stride + k]) << 2 |
                                         stored(codes[2 * stride + k]) << 4 | stored(codes[3 * stride + k]) << 6);
  }
}

void unpack_hf_row(const std::uint8_t* bytes, int which, std::int64_t columns, std::int8_t* codes) {
  for (std::int64_t k = 0; k < columns; ++k) codes[k] = two_bits(bytes[k], 2 * which);
}

}  // namespace rpt::ternary
