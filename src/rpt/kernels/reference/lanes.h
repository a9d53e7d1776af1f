// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>

namespace rpt::kernels::reference {

/// The 16 accumulators of a reduction (kernel_table.h, "Lanes").
template <typename T>
struct Lanes {
  T lane[16] = {};

  /// The accumulator of element i.
  T& of(std::int64_t i) { return lane[i % 16]; }

  /// The sum of all lanes by the tree 8-4-2-1.
  T sum() {
    for (int width = 8; width > 0; width /= 2) {
      for (int i = 0; i < width; ++i) lane[i] = lane[i] + lane[i + width];
    }
    return lane[0];
  }
};

}  // namespace rpt::kernels::reference
