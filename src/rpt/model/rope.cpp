// SPDX-License-Identifier: MIT
#include "rpt/model/rope.h"

#include <algorithm>

#include "rpt/core/exact_math.h"
#include "rpt/core/parallel.h"

namespace rpt::model {

RopeTable::RopeTable(double theta, std::int64_t head_size) : half_(head_size / 2) {
  for (std::int64_t i = 0; i < half_; ++i) {
    frequency_.push_back(core::exact_pow(theta, static_cast<double>(-2 * i) / static_cast<double>(head_size)));
  }
}

void RopeTable::reserve(std::int64_t count) {
  const std::int64_t have = static_cast<std::int64_t>(cos_.size()) / half_;
  if (count <= have) return;
  count = std::max(count, have + 64);  // generation asks for one more each time
  cos_.resize(static_cast<std::size_t>(count * half_));
  sin_.resize(static_cast<std::size_t>(count * half_));
  core::parallel_for(count - have, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t position = have + begin; position < have + end; ++position) {
      for (std::int64_t i = 0; i < half_; ++i) {
        const double angle = static_cast<double>(position) * frequency_[static_cast<std::size_t>(i)];
        const auto at = static_cast<std::size_t>(position * half_ + i);
        cos_[at] = static_cast<float>(core::exact_cos(angle));
        sin_[at] = static_cast<float>(core::exact_sin(angle));
      }
    }
  });
}

}  // namespace rpt::model
