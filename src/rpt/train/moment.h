// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rpt/core/aligned_buffer.h"
#include "rpt/tensor/dtype.h"
#include "rpt/train/rounding.h"

namespace rpt::train {

/// How the moments of AdamW are stored.
enum class StateType : std::uint8_t {
  f32,
  bf16,  ///< rounded stochastically
  int8,  ///< a byte each and a scale for each 256 values, rounded stochastically
};

/// "f32", "bf16", "int8".
std::string_view name(StateType type);
/// The type of a name. Throws ConfigError.
StateType parse_state(std::string_view type_name);

/// A buffer as a checkpoint holds it.
struct StoredBuffer {
  std::string name;
  tensor::DType type = tensor::DType::f32;
  std::byte* data = nullptr;
  std::int64_t elements = 0;

  std::uint64_t bytes() const { return static_cast<std::uint64_t>(elements * tensor::element_size(type)); }
};

/// One moment of one tensor, in memory as its type says; zero at first.
///
/// The byte of `int8` is a float of its own, for the moments of a block lie decades apart, and what an integer code
/// would round to 0 in the second moment would divide a step by nothing. A block of 256 stores s = max|x| in float32
/// and of each x the code of |x|/s: the upper 12 bits of that float32 (8 of exponent, 3 of mantissa), counted back from
/// those of 1.0, which has the highest code; 0 has code 0.
/// * second moment (x ≥ 0): codes to 255, |x|/s from 1.25·2^−32; what lies below but is not 0 takes code 1, so that a
///   step becomes too short rather than too long;
/// * first moment: a sign and codes to 127, |x|/s from 1.25·2^−16, the square root of the above; below it 0 or code 1.
/// Neighbours differ by 1/15 to 1/8. Rounding is stochastic with the mean x (but for code 1 above): to the nearest, a
/// moment that changes by less than half of that a step would stand still. Blocks, and a code with an exponent, follow
/// Dettmers, Lewis, Shleifer, Zettlemoyer, "8-bit optimizers via block-wise quantization", ICLR 2022; their code's
/// exponent has a variable length and rounds to the nearest.
class Moment {
 public:
  static constexpr std::int64_t kBlock = 256;

  enum class Sign : std::uint8_t {
    both,      ///< the first moment
    positive,  ///< the second
  };

  Moment(StateType type, Sign sign, std::int64_t size);

  /// The values from `begin` on, a multiple of kBlock.
  void read(std::int64_t begin, std::span<float> x) const;
  /// Replaces them; they end at a block's or the tensor's end.
  void write(std::int64_t begin, std::span<const float> x, const RoundingBits& bits);
  void clear();

  /// The values themselves, of type f32.
  float* floats() { return floats_.data(); }
  /// What a checkpoint stores of it, `stored_name` first.
  std::vector<StoredBuffer> stored(const std::string& stored_name);

  /// Bytes of `size` values.
  static std::uint64_t bytes(StateType type, std::int64_t size);

 private:
  StateType type_;
  Sign sign_;
  core::AlignedBuffer<float> floats_;
  core::AlignedBuffer<std::uint16_t> halves_;
  core::AlignedBuffer<std::uint8_t> codes_;
  core::AlignedBuffer<float> scales_;
};

}  // namespace rpt::train
