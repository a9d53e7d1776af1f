// SPDX-License-Identifier: MIT
#include "rpt/model/row_order.h"

#include <cstring>

#include "rpt/core/error.h"
#include "rpt/core/parallel.h"

namespace rpt::model {

void copy_in_halves(const std::byte* from, std::int64_t rows, std::uint64_t row_bytes, std::int64_t d, std::byte* to) {
  RPT_CHECK(d > 0 && d % 2 == 0 && rows % d == 0, "{} rows in heads of {}", rows, d);
  core::parallel_for(rows, 64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) {
      std::memcpy(to + static_cast<std::uint64_t>(n) * row_bytes,
                  from + static_cast<std::uint64_t>(row_in_pairs(n, d)) * row_bytes, row_bytes);
    }
  });
}

}  // namespace rpt::model
