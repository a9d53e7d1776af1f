// SPDX-License-Identifier: MIT
#include "rpt/train/rounding.h"

#include <algorithm>
#include <bit>

#include "rpt/core/error.h"
#include "rpt/core/float16.h"
#include "rpt/core/random.h"

namespace rpt::train {
namespace {

constexpr std::size_t kAtOnce = 8;  ///< values that one block of philox serves
constexpr std::uint64_t kChild = 0x726f'756e'6469'6e67;

}  // namespace

RoundingBits::RoundingBits(std::uint64_t key, std::int64_t step, std::uint32_t tensor)
    : key_{static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)},
      step_(static_cast<std::uint32_t>(step)),
      tensor_(tensor) {}

void RoundingBits::draw(std::int64_t begin, std::span<std::uint16_t> bits) const {
  RPT_CHECK(begin >= 0 && begin % static_cast<std::int64_t>(kAtOnce) == 0, "begin {}", begin);
  auto block = static_cast<std::uint64_t>(begin) / kAtOnce;
  for (std::size_t i = 0; i < bits.size(); i += kAtOnce, ++block) {
    const auto words = core::philox4x32(
        {static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32), tensor_, step_}, key_);
    for (std::size_t k = 0; k < std::min(kAtOnce, bits.size() - i); ++k) {
      bits[i + k] = static_cast<std::uint16_t>(words[k / 2] >> (16 * (k % 2)));
    }
  }
}

std::uint64_t RoundingBits::key_of(std::uint64_t seed) {
  return core::Random(seed).split(kChild).state().seed;
}

void round_to_bf16(std::span<const float> x, std::span<const std::uint16_t> random, std::uint16_t* y) {
  RPT_CHECK(x.size() == random.size(), "{} values, bits for {}", x.size(), random.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const auto bits = std::bit_cast<std::uint32_t>(x[i]);
    const bool finite = (bits & 0x7f800000U) != 0x7f800000U;
    y[i] = finite ? static_cast<std::uint16_t>((bits + random[i]) >> 16) : core::float_to_bf16(x[i]);
  }
}

}  // namespace rpt::train
