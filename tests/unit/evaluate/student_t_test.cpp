// SPDX-License-Identifier: MIT
#include "rpt/evaluate/student_t.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "rpt/core/error.h"
#include "rpt/evaluate/statistics.h"

namespace rpt::evaluate {
namespace {

// scipy.stats.t, see tests/unit/experiment/contrast_golden.py.
TEST(StudentT, AgreesWithKnownValues) {
  EXPECT_NEAR(student_t_cdf(-3.5, 1), 0.08858553278290476, 4e-15);
  EXPECT_NEAR(student_t_cdf(-40, 1), 0.007956089912025812, 4e-15);
  EXPECT_NEAR(student_t_cdf(-2.5, 4), 0.03338327240599407, 4e-15);
  EXPECT_NEAR(student_t_cdf(-0.3, 4), 0.3895607141387299, 4e-15);
  EXPECT_NEAR(student_t_cdf(-12, 4), 0.0001382142742514865, 4e-15);
  EXPECT_NEAR(student_t_cdf(-1.7, 7.25), 0.0657247092834783, 7e-15);
  EXPECT_NEAR(student_t_cdf(-2, 61), 0.024979113583330242, 6e-14);
  EXPECT_NEAR(student_t_cdf(-6, 61), 5.8440972075158105e-08, 6e-14);
  EXPECT_NEAR(student_t_cdf(-1.9, 1e4), 0.02873092841369304, 1e-11);

  EXPECT_NEAR(student_t_quantile(0.975, 4), 2.7764451051977934, 1e-13);
  EXPECT_NEAR(student_t_quantile(0.025, 1), -12.706204736174705, 1e-11);
  EXPECT_NEAR(student_t_quantile(0.995, 6.5), 3.5931239959839543, 1e-12);
  EXPECT_NEAR(student_t_quantile(0.9, 61), 1.295584571275215, 1e-12);
  EXPECT_NEAR(student_t_quantile(1e-6, 4), -41.577854150450975, 1e-6);
  EXPECT_NEAR(student_t_quantile(0.975, 1e6), 1.959966356814107, 1e-8);
}

// One degree of freedom is Cauchy's distribution, two have a closed form, and many are nearly normal.
TEST(StudentT, AgreesWithItsSpecialCases) {
  for (const double t : {-1e200, -1e9, -300.0, -7.0, -1.0, -0.999, -1e-3, -1e-12, 0.0, 0.5, 1.5, 20.0, 1e12}) {
    EXPECT_NEAR(student_t_cdf(t, 1), 0.5 + std::atan(t) * std::numbers::inv_pi, 4e-15) << t;
    const double two = std::abs(t) < 1e100 ? 0.5 + 0.5 * t / std::sqrt(2 + t * t) : 0.0;
    EXPECT_NEAR(student_t_cdf(t, 2), two, 4e-15) << t;
  }
  for (const double t : {-30.0, -25.0, -5.0, -1.0, -0.1, 0.1, 2.0, 8.0, 40.0}) {
    EXPECT_NEAR(student_t_cdf(t, 1e9), normal_cdf(t), 1e-6) << t;
  }
  EXPECT_EQ(student_t_cdf(-std::numeric_limits<double>::infinity(), 3), 0.0);
  EXPECT_EQ(student_t_cdf(std::numeric_limits<double>::infinity(), 3), 1.0);
}

TEST(StudentT, QuantileInvertsTheDistribution) {
  for (const double degrees : {1.0, 1.5, 4.0, 33.0, 700.0}) {
    for (const double p : {1e-8, 0.001, 0.3, 0.5, 0.7, 0.975, 0.99999}) {
      EXPECT_NEAR(student_t_cdf(student_t_quantile(p, degrees), degrees), p, 1e-15 * std::max(4.0, degrees))
          << p << ", " << degrees;
    }
  }
}

// Where one series takes over from the other, nothing jumps.
TEST(StudentT, RisesEverywhere) {
  for (const double degrees : {1.0, 3.7, 60.0, 699.0, 701.0}) {
    double last = 0;
    for (double t = -40; t <= 40; t += 0.0625) {
      const double value = student_t_cdf(t, degrees);
      EXPECT_GE(value, last - 1e-12) << t << ", " << degrees;
      last = value;
    }
    EXPECT_GT(last, 0.98);
  }
}

TEST(StudentT, RefusesWhatMakesNoSense) {
  EXPECT_THROW(student_t_cdf(1, 0.5), LogicError);
  EXPECT_THROW(student_t_cdf(1, 2e9), LogicError);
  EXPECT_THROW(student_t_cdf(std::nan(""), 3), LogicError);
  EXPECT_THROW(student_t_quantile(0, 3), LogicError);
  EXPECT_THROW(student_t_quantile(0.5, 0), LogicError);
}

}  // namespace
}  // namespace rpt::evaluate
