// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "rpt/core/aligned_buffer.h"
#include "rpt/tensor/view.h"

/// The packed layouts of ternary codes. Where weight (n, k) stands in each of them is told once, at the products of
/// kernels/kernel_table.h; in all of them code + 1 is stored: 0, 1 or 2.
///
///   i2_s       rows of ceil(K/128) blocks of 32 bytes; weights past K in the last block are code 0
///   tq1_0      K a multiple of 256; blocks of 54 bytes: 52 of base 3, then d
///   tq2_0      K a multiple of 256; blocks of 66 bytes: 64 of 2-bit codes, then d
///   hf_packed  N a multiple of 4; byte row r holds the rows r, r + N/4, r + N/2, r + 3N/4
///
/// d is the scale as f16, the same in every block.
namespace rpt::ternary {

/// Bytes behind the codes of an I2_S tensor in a file: the scale as f32, then 28 unused ones. Not part of a packed
/// tensor in memory.
inline constexpr std::uint64_t kI2sTailBytes = 32;

inline constexpr std::int64_t kI2sBlock = 128;  ///< weights of a block
inline constexpr std::int64_t kTqBlock = 256;   ///< weights of a block
inline constexpr std::int64_t kTq1BlockBytes = 54;
inline constexpr std::int64_t kTq2BlockBytes = 66;

/// The two orders of codes in an I2_S tensor of a file, which does not say which one it has.
enum class I2sLayout : std::uint8_t {
  x86,  ///< blocks of 128, as everything here reads them
  arm,  ///< blocks of 64 in 16 bytes: weight j in byte j % 16 at shift 6 − 2·(j / 16); bitnet.cpp on Arm
};

/// Puts I2_S codes of an Arm file into the x86 order. Sizes: both [bytes], a multiple of 32. Source: bitnet.cpp's
/// quantize_i2_s with QK_I2_S = 64.
void i2s_from_arm(const std::uint8_t* arm, std::uint64_t bytes, std::uint8_t* x86);

/// Bytes of packed codes [N, K], an I2_S tail not among them.
/// Throws: ShapeError where the layout cannot have that shape, the size does not fit, or `type` is no ternary type.
std::uint64_t packed_bytes(tensor::DType type, std::int64_t rows, std::int64_t columns);

/// Throws: ShapeError where the bytes are fewer than the shape needs, or as packed_bytes. More are allowed (an I2_S
/// tail).
void check_bytes(const tensor::PackedTernaryView& weights);

/// Owning packed ternary weights [N, K].
class PackedTernary {
 public:
  PackedTernary() = default;
  /// Bytes are zero until they are packed into. Throws: as packed_bytes.
  PackedTernary(tensor::DType type, std::int64_t rows, std::int64_t columns, float scale);

  std::uint8_t* data() { return bytes_.data(); }
  tensor::PackedTernaryView view() const { return {bytes_.data(), bytes_.size(), type_, rows_, columns_, scale_}; }

 private:
  core::AlignedBuffer<std::uint8_t> bytes_;
  tensor::DType type_ = tensor::DType::i2_s;
  std::int64_t rows_ = 0;
  std::int64_t columns_ = 0;
  float scale_ = 0;
};

/// Writes the codes of row n, each −1, 0 or +1.
using RowCodes = std::function<void(std::int64_t n, std::span<std::int8_t> codes)>;

/// Packs the codes that row_codes delivers; it is called once for each row, from several threads, in any order.
/// tq1_0 and tq2_0 hold the scale as f16: one that this changes is refused, unless `lossy`; the packed tensor then has
/// the rounded scale. Throws: as packed_bytes; ConfigError for a refused scale and one that is not finite; LogicError
/// for a code beyond ±1.
PackedTernary pack(tensor::DType type, std::int64_t rows, std::int64_t columns, float scale, const RowCodes& row_codes,
                   bool lossy = false);

/// Packs codes [N, K], row-major. Throws: as above.
PackedTernary pack(tensor::DType type, std::int64_t rows, std::int64_t columns, float scale,
                   std::span<const std::int8_t> codes, bool lossy = false);

/// The same weights in another layout. The codes must be valid (check_codes). Throws: as pack, unpack_row.
PackedTernary repack(const tensor::PackedTernaryView& weights, tensor::DType type, bool lossy = false);

/// Codes of row n, codes [K]; an invalid code 3 comes out as +2.
/// Throws: ShapeError where row or size do not fit, or the bytes are fewer than the shape needs.
void unpack_row(const tensor::PackedTernaryView& weights, std::int64_t n, std::span<std::int8_t> codes);

/// All codes, [N, K] row-major. Throws: ShapeError.
std::vector<std::int8_t> unpack(const tensor::PackedTernaryView& weights);

}  // namespace rpt::ternary
