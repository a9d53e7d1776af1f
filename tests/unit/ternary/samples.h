// SPDX-License-Identifier: MIT
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "rpt/core/aligned_buffer.h"
#include "rpt/core/float16.h"
#include "rpt/core/random.h"
#include "rpt/tensor/view.h"

namespace rpt::ternary {

inline constexpr tensor::DType kLayouts[] = {tensor::DType::i2_s, tensor::DType::tq1_0, tensor::DType::tq2_0,
                                             tensor::DType::hf_packed};
inline constexpr tensor::DType kLatentTypes[] = {tensor::DType::f32, tensor::DType::bf16, tensor::DType::f16};

/// Codes −1, 0, +1 with about the given share of zeros.
inline std::vector<std::int8_t> random_codes(std::int64_t count, std::uint64_t seed, double zeros = 0.4) {
  core::Random random(seed);
  std::vector<std::int8_t> codes(static_cast<std::size_t>(count));
  for (auto& code : codes) {
    const double u = random.uniform();
    code = u < zeros ? 0 : u < zeros + (1 - zeros) / 2 ? -1 : 1;
  }
  return codes;
}

/// Latents [rows, columns] kept in one of the float types.
class Latents {
 public:
  Latents(tensor::DType type, std::int64_t rows, std::int64_t columns, const std::vector<float>& values)
      : type_(type), rows_(rows), columns_(columns) {
    bytes_.resize(values.size() * static_cast<std::size_t>(tensor::element_size(type)));
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (type == tensor::DType::f32) {
        std::memcpy(bytes_.data() + 4 * i, &values[i], 4);
      } else {
        const std::uint16_t bits =
            type == tensor::DType::bf16 ? core::float_to_bf16(values[i]) : core::float_to_f16(values[i]);
        std::memcpy(bytes_.data() + 2 * i, &bits, 2);
      }
    }
  }
  tensor::StoredView view() const { return {bytes_.data(), bytes_.size(), type_, rows_, columns_}; }
  /// Value i as it is after rounding to the type.
  float value(std::size_t i) const {
    float f = 0;
    std::uint16_t bits = 0;
    if (type_ == tensor::DType::f32) {
      std::memcpy(&f, bytes_.data() + 4 * i, 4);
      return f;
    }
    std::memcpy(&bits, bytes_.data() + 2 * i, 2);
    return type_ == tensor::DType::bf16 ? core::bf16_to_float(bits) : core::f16_to_float(bits);
  }

 private:
  core::AlignedBuffer<std::byte> bytes_;
  tensor::DType type_;
  std::int64_t rows_;
  std::int64_t columns_;
};

/// Values spread around 0, most of them below `size`.
inline std::vector<float> random_values(std::int64_t count, std::uint64_t seed, float size = 1.0F) {
  core::Random random(seed);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (auto& value : values) value = size * static_cast<float>(random.uniform() + random.uniform() - 1.0);
  return values;
}

inline std::string hex(const std::uint8_t* bytes, std::size_t count) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (std::size_t i = 0; i < count; ++i) {
    text.push_back(kDigits[bytes[i] >> 4]);
    text.push_back(kDigits[bytes[i] & 15]);
  }
  return text;
}

}  // namespace rpt::ternary
