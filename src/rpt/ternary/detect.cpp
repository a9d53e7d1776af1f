// SPDX-License-Identifier: MIT
#include "rpt/ternary/detect.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <limits>

#include "rpt/core/float16.h"
#include "rpt/ternary/latent_rows.h"

namespace rpt::ternary {
namespace {

using tensor::DType;

/// True where every magnitude in [begin, end) is 0 or `s`; `magnitude` clears the sign bit.
template <typename Bits>
bool only_zero_or(const Bits* begin, const Bits* end, Bits magnitude, Bits s) {
  constexpr std::ptrdiff_t kChunk = 4096;  // without a branch inside, so that it is vectorised
  while (begin != end) {
    const Bits* const stop = begin + std::min(kChunk, end - begin);
    Bits wrong = 0;
    for (; begin != stop; ++begin) {
      const auto a = static_cast<Bits>(*begin & magnitude);
      wrong = static_cast<Bits>(wrong | (a != 0 && a != s ? 1 : 0));
    }
    if (wrong != 0) return false;
  }
  return true;
}

/// The bits of s: 0 where all values are 0, nothing where there is no s. `infinity` is the bits of +infinity.
template <typename Bits>
std::optional<Bits> find_scale_bits(const tensor::StoredView& values, Bits infinity) {
  constexpr Bits magnitude = std::numeric_limits<Bits>::max() >> 1;
  const auto* const all = reinterpret_cast<const Bits*>(values.data);
  const auto* const end = all + values.rows * values.columns;
  const auto* const first = std::find_if(all, end, [](Bits bits) { return (bits & magnitude) != 0; });
  if (first == end) return Bits{0};
  const auto s = static_cast<Bits>(*first & magnitude);
  if (s >= infinity) return std::nullopt;

  std::atomic<bool> holds{true};
  for_row_ranges(values.rows, values.columns, [&](std::int64_t begin_row, std::int64_t end_row) {
    if (!holds.load(std::memory_order_relaxed)) return;
    if (!only_zero_or(all + begin_row * values.columns, all + end_row * values.columns, magnitude, s)) holds = false;
  });
  if (!holds) return std::nullopt;
  return s;
}

}  // namespace

std::optional<float> find_stored_scale(const tensor::StoredView& values) {
  (void)LatentRows(values);  // checks type, size and alignment
  if (values.type == DType::f32) {
    const auto bits = find_scale_bits<std::uint32_t>(values, 0x7f800000);
    return bits ? std::optional(std::bit_cast<float>(*bits)) : std::nullopt;
  }
  const bool bf16 = values.type == DType::bf16;
  const auto bits = find_scale_bits<std::uint16_t>(values, bf16 ? 0x7f80 : 0x7c00);
  if (!bits) return std::nullopt;
  return bf16 ? core::bf16_to_float(*bits) : core::f16_to_float(*bits);
}

PackedTernary pack_stored(const tensor::StoredView& values, float scale) {
  const LatentRows rows(values);
  return pack(DType::i2_s, values.rows, values.columns, scale, [&](std::int64_t n, std::span<std::int8_t> codes) {
    const float* const row = rows.widened(n);
    for (std::size_t k = 0; k < codes.size(); ++k) codes[k] = static_cast<std::int8_t>((row[k] > 0) - (row[k] < 0));
  });
}

}  // namespace rpt::ternary
