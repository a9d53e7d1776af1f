// SPDX-License-Identifier: MIT
#pragma once
#include <cstddef>
#include <cstdint>

/// The rope of the forward turns halves: element i of a head with element i + d/2. Some files order the rows of attn_q
/// and attn_k so that neighbours are turned, 2i with 2i + 1 (llama.cpp's architecture `llama`, llama2.c). The rows are
/// the same, so that their order is all that has to be mended.
namespace rpt::model {

/// Where in a file with pairs the row stands that is row n with halves; heads of d rows.
constexpr std::int64_t row_in_pairs(std::int64_t n, std::int64_t d) {
  const std::int64_t i = n % d;
  return n - i + (i < d / 2 ? 2 * i : 2 * (i - d / 2) + 1);
}

/// The inverse: which row with halves is row n of a file with pairs.
constexpr std::int64_t row_in_halves(std::int64_t n, std::int64_t d) {
  const std::int64_t i = n % d;
  return n - i + i / 2 + (i % 2) * (d / 2);
}

/// Copies rows of `row_bytes` bytes from pairs into halves. Sizes: rows a multiple of d, d even; to [rows, row_bytes].
void copy_in_halves(const std::byte* from, std::int64_t rows, std::uint64_t row_bytes, std::int64_t d, std::byte* to);

}  // namespace rpt::model
