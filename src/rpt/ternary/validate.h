// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <optional>

#include "rpt/tensor/view.h"

namespace rpt::ternary {

/// A 2-bit code of 3, which no layout knows.
struct BadCode {
  std::uint64_t offset = 0;  ///< of its byte, from the start of the tensor
  std::int64_t row = 0;
  std::int64_t column = 0;  ///< may be beyond K in the padding of i2_s
};

/// The first byte that holds an invalid code, or nothing. Every byte of base 3 (tq1_0) is valid.
/// Throws: ShapeError where the bytes are fewer than the shape needs. Cost: reads all codes once.
std::optional<BadCode> check_codes(const tensor::PackedTernaryView& weights);

/// The scale that the blocks of a tq1_0 or tq2_0 tensor share, blocks whose codes are all zero aside.
struct TqScale {
  struct Fault {
    std::uint64_t offset = 0;  ///< of the first d that differs, from the start of the tensor
    float found = 0;           ///< that d
  };
  float scale = 0;             ///< 0 where every code is zero
  std::optional<Fault> fault;  ///< a block disagrees with `scale`
};

/// Reads the scales; weights.scale is not looked at. The result may be infinite or NaN: a scale is not judged here.
/// Throws: ShapeError for another type, or where the bytes are fewer than the shape needs.
TqScale tq_common_scale(const tensor::PackedTernaryView& weights);

}  // namespace rpt::ternary
