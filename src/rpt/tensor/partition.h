// SPDX-License-Identifier: MIT
#pragma once
#include <algorithm>
#include <cstdint>

#include "rpt/core/parallel.h"

/// How operations split their work over threads. For this room's own files.
namespace rpt::tensor {

/// A thread is woken only for at least so many multiply-adds.
inline constexpr std::int64_t kWorkPerRange = 1 << 16;

/// How many of `rows` one range takes when a row costs `work` operations: about four ranges a thread, none too small.
inline std::int64_t row_grain(std::int64_t rows, std::int64_t work, std::int64_t tile) {
  const std::int64_t even = rows / (4 * core::threads());
  const std::int64_t enough = kWorkPerRange / std::max<std::int64_t>(work, 1);
  const std::int64_t grain = std::max<std::int64_t>({even, enough, 1});
  return (grain + tile - 1) / tile * tile;
}

}  // namespace rpt::tensor
