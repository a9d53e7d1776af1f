// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>

#include "rpt/core/random.h"
#include "rpt/tensor/view.h"

namespace rpt::tensor {

/// Normal numbers.
inline Tensor random_tensor(std::int64_t rows, std::int64_t columns, std::uint64_t seed) {
  core::Random random(seed);
  Tensor out(rows, columns);
  for (std::int64_t i = 0; i < rows * columns; ++i) out.data()[i] = static_cast<float>(random.normal());
  return out;
}

}  // namespace rpt::tensor
