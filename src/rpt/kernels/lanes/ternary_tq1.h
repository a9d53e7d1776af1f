// SPDX-License-Identifier: MIT
#pragma once
#include <immintrin.h>

#include <cstdint>

#include "rpt/kernels/kernel_table.h"

/// The base-3 layout TQ1_0, unpacked with 256-bit instructions on every x86 set.
namespace rpt::kernels::lanes {
namespace {

/// (v · 3) >> 8 of every byte: 1 from 86 on, 2 from 171 on. Comparisons give −1; a byte is ≥ c where max(byte, c) is
/// itself.
inline __m256i carried_trit(__m256i v) {
  const __m256i one = _mm256_cmpeq_epi8(_mm256_max_epu8(v, _mm256_set1_epi8(86)), v);
  const __m256i two = _mm256_cmpeq_epi8(_mm256_max_epu8(v, _mm256_set1_epi8(static_cast<char>(171))), v);
  return _mm256_sub_epi8(_mm256_setzero_si256(), _mm256_add_epi8(one, two));
}

/// v · 3 mod 256 of every byte.
inline __m256i times_3(__m256i v) {
  return _mm256_add_epi8(_mm256_add_epi8(v, v), v);
}

/// The 256 values code + 1 of one block of 54 bytes.
inline void unpack_tq1_block(const std::uint8_t* block, std::uint8_t* codes) {
  __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block));
  for (int k = 0; k < 5; ++k) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes + 32 * k), carried_trit(v));
    v = times_3(v);
  }
  v = _mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(block + 32)));
  for (int k = 0; k < 5; ++k) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(codes + 160 + 16 * k), _mm256_castsi256_si128(carried_trit(v)));
    v = times_3(v);
  }
  // The last four bytes, four trits each: byte 4k + j is qh[j] · 3^k, multiplied in 16 bits.
  const __m128i qh = _mm_set1_epi32(static_cast<int>(block[48] | block[49] << 8 | block[50] << 16) |
                                    static_cast<int>(static_cast<unsigned>(block[51]) << 24));
  const __m256i powers = _mm256_setr_epi16(1, 1, 1, 1, 3, 3, 3, 3, 9, 9, 9, 9, 27, 27, 27, 27);
  const __m256i shifted =
      _mm256_and_si256(_mm256_mullo_epi16(_mm256_cvtepu8_epi16(qh), powers), _mm256_set1_epi16(255));
  const __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(shifted), _mm256_extracti128_si256(shifted, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(codes + 240),
                   _mm256_castsi256_si128(carried_trit(_mm256_castsi128_si256(bytes))));
}

struct Tq1 {
  static void unpack(const TernaryGemm& a, std::int64_t n, std::int64_t k, std::int64_t count, std::uint8_t* codes) {
    const std::uint8_t* block = a.weights + (n * (a.columns / 256) + k / 256) * 54;
    for (std::int64_t i = 0; i < count; i += 256, block += 54) unpack_tq1_block(block, codes + i);
  }
};

}  // namespace
}  // namespace rpt::kernels::lanes
