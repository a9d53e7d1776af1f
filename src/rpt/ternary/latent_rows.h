// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <functional>
#include <span>

#include "rpt/kernels/kernel_table.h"
#include "rpt/tensor/view.h"

namespace rpt::ternary {

/// Calls body(begin, end) for disjoint ranges of rows that cover [0, rows), in parallel, each range worth a thread's
/// while.
void for_row_ranges(std::int64_t rows, std::int64_t columns,
                    const std::function<void(std::int64_t begin, std::int64_t end)>& body);

/// The rows of float latents [N, K] in f32, bf16 or f16, as the kernels read them. Borrows the bytes.
class LatentRows {
 public:
  /// Throws: ShapeError for another type, an empty tensor or bytes that do not hold N·K values. The bytes must be
  /// aligned for their type (LogicError).
  explicit LatentRows(const tensor::StoredView& latents);

  /// Row n, widened exactly; points into the tensor or into scratch of the calling thread, valid until its next call.
  const float* widened(std::int64_t n) const;
  /// Σ|w| of row n in 16 double lanes.
  double sum_abs(std::int64_t n) const;
  /// codes [K] = clamp(rhe(w · inv), −1, 1) of row n.
  void codes(std::int64_t n, float inv, std::span<std::int8_t> codes) const;

 private:
  template <typename T>
  const T* row(std::int64_t n) const {
    return reinterpret_cast<const T*>(latents_.data) + n * latents_.columns;
  }

  tensor::StoredView latents_;
  const kernels::KernelTable& kernels_;
};

}  // namespace rpt::ternary
