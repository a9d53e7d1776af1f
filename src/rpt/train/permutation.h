// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include "rpt/core/random.h"

namespace rpt::train {

/// 0 … n − 1 in random order, every order equally likely. Source: Fisher and Yates, in Durstenfeld's form.
inline std::vector<std::uint32_t> random_permutation(std::uint32_t n, core::Random& random) {
  std::vector<std::uint32_t> order(n);
  std::iota(order.begin(), order.end(), 0U);
  for (std::size_t left = n; left > 1; --left) std::swap(order[left - 1], order[random.below(left)]);
  return order;
}

}  // namespace rpt::train
