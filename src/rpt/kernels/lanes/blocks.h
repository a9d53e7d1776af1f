// SPDX-License-Identifier: MIT
#pragma once
#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "rpt/kernels/kernel_table.h"
#include "rpt/kernels/lanes/part.h"

namespace rpt::kernels::lanes {
namespace {

inline float half(const std::uint8_t* bytes) {
  std::uint16_t bits = 0;
  std::memcpy(&bits, bytes, sizeof bits);
  return _cvtsh_ss(bits);
}

inline __m128i load_16_bytes(const std::uint8_t* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}

/// The low nibbles of 16 bytes, then the high ones.
struct Nibbles {
  __m128i low, high;
  explicit Nibbles(const std::uint8_t* p) {
    const __m128i bytes = load_16_bytes(p);
    const __m128i mask = _mm_set1_epi8(15);
    low = _mm_and_si128(bytes, mask);
    high = _mm_and_si128(_mm_srli_epi16(bytes, 4), mask);
  }
};

template <typename V>
void q8_0_to_f32(const std::uint8_t* row, std::int64_t n, float* y) noexcept {
  for (; n > 0; n -= 32, row += 34, y += 32) {
    const auto d = V::broadcast(half(row));
    V::store(y, V::mul(d, V::from_int8(load_16_bytes(row + 2))), All{});
    V::store(y + 16, V::mul(d, V::from_int8(load_16_bytes(row + 18))), All{});
  }
}

template <typename V>
void q4_0_to_f32(const std::uint8_t* row, std::int64_t n, float* y) noexcept {
  const __m128i eight = _mm_set1_epi8(8);
  for (; n > 0; n -= 32, row += 18, y += 32) {
    const auto d = V::broadcast(half(row));
    const Nibbles q(row + 2);
    V::store(y, V::mul(d, V::from_int8(_mm_sub_epi8(q.low, eight))), All{});
    V::store(y + 16, V::mul(d, V::from_int8(_mm_sub_epi8(q.high, eight))), All{});
  }
}

template <typename V>
void q4_1_to_f32(const std::uint8_t* row, std::int64_t n, float* y) noexcept {
  for (; n > 0; n -= 32, row += 20, y += 32) {
    const auto d = V::broadcast(half(row));
    const auto m = V::broadcast(half(row + 2));
    const Nibbles q(row + 4);
    V::store(y, V::add(V::mul(d, V::from_int8(q.low)), m), All{});
    V::store(y + 16, V::add(V::mul(d, V::from_int8(q.high)), m), All{});
  }
}

template <typename V>
void q6_k_to_f32(const std::uint8_t* row, std::int64_t n, float* y) noexcept {
  const __m128i two_bits = _mm_set1_epi8(3);
  const __m128i middle = _mm_set1_epi8(32);
  for (; n > 0; n -= 256, row += 210, y += 256) {
    const float d = half(row + 208);
    for (int h = 0; h < 2; ++h) {
      for (int group = 0; group < 2; ++group) {  // values 16·group … + 15 of each part of 32
        const std::uint8_t* const low = row + 64 * h + 16 * group;
        const Nibbles first(low), second(low + 32);
        const __m128i nibbles[] = {first.low, second.low, first.high, second.high};
        const __m128i pairs = load_16_bytes(row + 128 + 32 * h + 16 * group);
        for (int part = 0; part < 4; ++part) {
          const __m128i high = _mm_and_si128(_mm_srl_epi16(pairs, _mm_cvtsi32_si128(2 * part)), two_bits);
          const __m128i q = _mm_or_si128(nibbles[part], _mm_slli_epi16(high, 4));
          const auto scale = static_cast<std::int8_t>(row[192 + 8 * h + 2 * part + group]);
          V::store(y + 128 * h + 32 * part + 16 * group,
                   V::mul(V::broadcast(d * static_cast<float>(scale)), V::from_int8(_mm_sub_epi8(q, middle))), All{});
        }
      }
    }
  }
}

/// Replaces the entries of this file.
template <typename V>
void override_blocks(KernelTable& table) noexcept {
  table.q8_0_to_f32 = q8_0_to_f32<V>;
  table.q4_0_to_f32 = q4_0_to_f32<V>;
  table.q4_1_to_f32 = q4_1_to_f32<V>;
  table.q6_k_to_f32 = q6_k_to_f32<V>;
}

}  // namespace
}  // namespace rpt::kernels::lanes
