// SPDX-License-Identifier: MIT
#include "rpt/train/moment.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <utility>

#include "rpt/core/error.h"
#include "rpt/core/float16.h"

namespace rpt::train {
namespace {

constexpr std::array<std::pair<StateType, std::string_view>, 3> kNames{
    {{StateType::f32, "f32"}, {StateType::bf16, "bf16"}, {StateType::int8, "int8"}}};

constexpr int kDropped = 20;                ///< bits of a float32 that a code leaves out
constexpr std::uint32_t kUnitCode = 0x3f8;  ///< the others of 1.0

/// Codes of values in 0 … 1, `most` of them beside 0.
template <std::uint32_t most>
struct Code {
  static float value(std::uint32_t code) {
    return code == 0 ? 0.0F : std::bit_cast<float>((code + kUnitCode - most) << kDropped);
  }
  /// From value(1) to 1. The random bits stand at the top of those left out; half of what they leave below makes
  /// their steps symmetric.
  static std::uint32_t round(float x, std::uint16_t random) {
    constexpr int kFree = kDropped - 16;
    const std::uint32_t added = std::uint32_t{random} << kFree | 1U << (kFree - 1);
    return ((std::bit_cast<std::uint32_t>(x) + added) >> kDropped) - (kUnitCode - most);
  }
};
using Signed = Code<127>;
using Positive = Code<255>;

constexpr std::uint8_t kSignBit = 0x80;

std::uint8_t encode_signed(float x, float scale, std::uint16_t random) {
  const float share = std::min(std::abs(x) / scale, 1.0F);
  const float smallest = Signed::value(1);
  const std::uint32_t code = share >= smallest ? Signed::round(share, random)
                                               : (static_cast<float>(random) < share / smallest * 0x1p16F ? 1U : 0U);
  return static_cast<std::uint8_t>(code | (std::signbit(x) && code != 0 ? kSignBit : 0U));
}

std::uint8_t encode_positive(float x, float scale, std::uint16_t random) {
  const float share = std::min(x / scale, 1.0F);
  if (share >= Positive::value(1)) return static_cast<std::uint8_t>(Positive::round(share, random));
  return x > 0 ? 1 : 0;
}

float decode_signed(std::uint8_t code) {
  const float value = Signed::value(code & ~std::uint32_t{kSignBit});
  return (code & kSignBit) != 0 ? -value : value;
}

/// Writes the codes of one block and returns its scale.
float encode_block(std::span<const float> x, std::span<const std::uint16_t> random, bool both_signs,
                   std::uint8_t* codes) {
  float scale = 0;
  for (const float v : x) scale = std::max(scale, std::abs(v));
  scale = std::min(scale, std::numeric_limits<float>::max());  // a square may overflow
  if (scale == 0) {
    std::fill_n(codes, x.size(), std::uint8_t{0});
  } else if (both_signs) {
    for (std::size_t i = 0; i < x.size(); ++i) codes[i] = encode_signed(x[i], scale, random[i]);
  } else {
    for (std::size_t i = 0; i < x.size(); ++i) codes[i] = encode_positive(x[i], scale, random[i]);
  }
  return scale;
}

template <typename T>
StoredBuffer stored_buffer(std::string name, tensor::DType type, core::AlignedBuffer<T>& buffer) {
  return {std::move(name), type, reinterpret_cast<std::byte*>(buffer.data()), static_cast<std::int64_t>(buffer.size())};
}

std::int64_t blocks_of(std::int64_t size) {
  return (size + Moment::kBlock - 1) / Moment::kBlock;
}

}  // namespace

std::string_view name(StateType type) {
  for (const auto& [value, text] : kNames) {
    if (value == type) return text;
  }
  return {};
}

StateType parse_state(std::string_view type_name) {
  for (const auto& [value, text] : kNames) {
    if (text == type_name) return value;
  }
  throw ConfigError(fmt::format("unknown state \"{}\"; there are f32, bf16, int8", type_name));
}

Moment::Moment(StateType type, Sign sign, std::int64_t size) : type_(type), sign_(sign) {
  const auto count = static_cast<std::size_t>(size);
  switch (type) {
    case StateType::f32:
      floats_.resize(count);
      break;
    case StateType::bf16:
      halves_.resize(count);
      break;
    case StateType::int8:
      codes_.resize(count);
      scales_.resize(static_cast<std::size_t>(blocks_of(size)));
      break;
  }
}

void Moment::read(std::int64_t begin, std::span<float> x) const {
  RPT_CHECK(begin % kBlock == 0, "begin {}", begin);
  if (type_ == StateType::f32) {
    std::copy_n(floats_.data() + begin, x.size(), x.data());
  } else if (type_ == StateType::bf16) {
    const std::uint16_t* halves = halves_.data() + begin;
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = core::bf16_to_float(halves[i]);
  } else {
    const std::uint8_t* codes = codes_.data() + begin;
    const float* scales = scales_.data() + begin / kBlock;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const float share = sign_ == Sign::both ? decode_signed(codes[i]) : Positive::value(codes[i]);
      x[i] = share * scales[i / kBlock];
    }
  }
}

void Moment::write(std::int64_t begin, std::span<const float> x, const RoundingBits& bits) {
  RPT_CHECK(begin % kBlock == 0, "begin {}", begin);
  if (type_ == StateType::f32) {
    std::copy_n(x.data(), x.size(), floats_.data() + begin);
    return;
  }
  std::array<std::uint16_t, kBlock> random;
  for (std::size_t i = 0; i < x.size(); i += kBlock) {
    const auto part = x.subspan(i, std::min<std::size_t>(kBlock, x.size() - i));
    const std::int64_t at = begin + static_cast<std::int64_t>(i);
    const std::span drawn(random.data(), part.size());
    bits.draw(at, drawn);
    if (type_ == StateType::bf16) {
      round_to_bf16(part, drawn, halves_.data() + at);
    } else {
      scales_.data()[at / kBlock] = encode_block(part, drawn, sign_ == Sign::both, codes_.data() + at);
    }
  }
}

void Moment::clear() {
  std::fill_n(floats_.data(), floats_.size(), 0.0F);
  std::fill_n(halves_.data(), halves_.size(), std::uint16_t{0});
  std::fill_n(codes_.data(), codes_.size(), std::uint8_t{0});
  std::fill_n(scales_.data(), scales_.size(), 0.0F);
}

std::vector<StoredBuffer> Moment::stored(const std::string& stored_name) {
  switch (type_) {
    case StateType::f32:
      return {stored_buffer(stored_name, tensor::DType::f32, floats_)};
    case StateType::bf16:
      return {stored_buffer(stored_name, tensor::DType::bf16, halves_)};
    case StateType::int8:
      break;
  }
  return {stored_buffer(stored_name, tensor::DType::u8, codes_),
          stored_buffer(stored_name + ".scale", tensor::DType::f32, scales_)};
}

std::uint64_t Moment::bytes(StateType type, std::int64_t size) {
  const auto count = static_cast<std::uint64_t>(size);
  switch (type) {
    case StateType::f32:
      return count * 4;
    case StateType::bf16:
      return count * 2;
    case StateType::int8:
      break;
  }
  return count + static_cast<std::uint64_t>(blocks_of(size)) * 4;
}

}  // namespace rpt::train
