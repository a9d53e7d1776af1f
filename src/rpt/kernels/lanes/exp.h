// SPDX-License-Identifier: MIT
#pragma once
#include "rpt/core/exact_exp_constants.h"

namespace rpt::kernels::lanes {
namespace {

/// core::exact_exp(float) in every lane: the same operations in the same order.
template <typename V>
typename V::Float exp(typename V::Float x) {
  namespace c = core::exp_f32;
  const auto vanishes = V::less(x, V::broadcast(c::kLowest));
  // min and max hand on their second operand where it is a NaN. At kHighest the scaling overflows to infinity by
  // itself.
  x = V::max(V::broadcast(c::kLowest), V::min(V::broadcast(c::kHighest), x));
  const auto n = V::round(V::mul(x, V::broadcast(c::kLog2E)));
  auto r = V::fma(n, V::broadcast(-c::kLn2High), x);
  r = V::fma(n, V::broadcast(-c::kLn2Low), r);
  auto q = V::fma(V::broadcast(c::kQ4), r, V::broadcast(c::kQ3));
  q = V::fma(q, r, V::broadcast(c::kQ2));
  q = V::fma(q, r, V::broadcast(c::kQ1));
  q = V::fma(q, r, V::broadcast(c::kQ0));
  const auto p = V::add(V::fma(V::mul(r, r), q, r), V::broadcast(1.0F));
  return V::select(vanishes, V::zero(), V::scale_by_power_of_two(p, n));
}

}  // namespace
}  // namespace rpt::kernels::lanes
