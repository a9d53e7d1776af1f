// SPDX-License-Identifier: MIT
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "tests/unit/kernels/kernel_testing.h"

/// What compares kernels in float with their twins in double, and those with finite differences.
namespace rpt::kernels::test {

using Doubles = std::vector<double>;

inline Doubles wide(const std::vector<float>& x) {
  return {x.begin(), x.end()};
}

inline std::vector<float> narrow(const Doubles& x) {
  std::vector<float> y;
  for (const double v : x) y.push_back(static_cast<float>(v));
  return y;
}

/// Random numbers that float holds exactly, so that a kernel in float and its twin in double get the same input.
inline Doubles random_doubles(Random& random, std::int64_t n, float low, float high) {
  return wide(random.row(n, low, high));
}

inline double dot(const Doubles& a, const Doubles& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

inline double largest_of(const Doubles& x) {
  double largest = 0;
  for (const double v : x) largest = std::max(largest, std::abs(v));
  return largest;
}

/// Compares a gradient of dy · f(x) with central differences.
inline void expect_gradient(const std::function<Doubles(const Doubles&)>& f, const Doubles& x, const Doubles& dy,
                            const Doubles& gradient) {
  ASSERT_EQ(x.size(), gradient.size());
  const double h = 1e-6;
  for (std::size_t i = 0; i < x.size(); ++i) {
    Doubles up = x;
    Doubles down = x;
    up[i] += h;
    down[i] -= h;
    const double slope = (dot(f(up), dy) - dot(f(down), dy)) / (2 * h);
    // h²·f'''/6 and 1e-16·|f|/h both stay below 1e-8 of the values here.
    EXPECT_NEAR(slope, gradient[i], 2e-8 * (1 + largest_of(gradient))) << "element " << i;
  }
}

/// Within so many half units in the last place of the largest value.
inline void expect_near(const std::vector<float>& found, const Doubles& expected, double roundings) {
  const double bound = roundings * 0x1p-24 * largest_of(expected);
  for (std::size_t i = 0; i < found.size(); ++i) {
    ASSERT_NEAR(found[i], expected[i], bound) << "element " << i << " of " << found.size();
  }
}

}  // namespace rpt::kernels::test
