// SPDX-License-Identifier: MIT
#include "rpt/experiment/verdict.h"

#include <gtest/gtest.h>

#include "rpt/core/error.h"
#include "rpt/evaluate/student_t.h"

namespace rpt::experiment {
namespace {

/// A contrast of five bases with this estimate and standard error.
Contrast made(double estimate, double standard_error) {
  Contrast contrast;
  contrast.estimate = estimate;
  const double reach = evaluate::student_t_quantile(0.975, 4) * standard_error;
  const double p = standard_error > 0 ? 2 * evaluate::student_t_cdf(-std::abs(estimate) / standard_error, 4) : 1.0;
  contrast.inference = Inference{standard_error, 4, {estimate - reach, estimate + reach}, {}, p};
  return contrast;
}

Verdict verdict(double estimate, double standard_error) {
  const Contrast one = made(estimate, standard_error);
  return judge({&one, 1}, kMarginPercent).at(0).verdict;
}

TEST(Holm, StepsDown) {
  EXPECT_EQ(holm_adjusted(std::vector{0.01, 0.04, 0.03, 0.005}), (std::vector{0.03, 0.06, 0.06, 0.02}));
  EXPECT_EQ(holm_adjusted(std::vector{0.5, 0.9}), (std::vector{1.0, 1.0}));
  EXPECT_EQ(holm_adjusted(std::vector{0.25}), std::vector{0.25});
  EXPECT_EQ(holm_adjusted(std::vector{0.25, 0.25}), (std::vector{0.5, 0.5}));
  EXPECT_TRUE(holm_adjusted({}).empty());
}

// By the 95 % interval, whose half width is 2.776 standard errors, and the margin of 0.5.
TEST(Judge, FollowsTheIntervalInAFamilyOfOne) {
  EXPECT_EQ(verdict(-1.0, 0.3), Verdict::improves);      // −1.83 … −0.17
  EXPECT_EQ(verdict(1.0, 0.3), Verdict::worsens);        // 0.17 … 1.83
  EXPECT_EQ(verdict(0.1, 0.1), Verdict::equivalent);     // −0.18 … 0.38
  EXPECT_EQ(verdict(-0.2, 0.05), Verdict::equivalent);   // −0.34 … −0.06: a difference that does not matter
  EXPECT_EQ(verdict(-0.4, 0.05), Verdict::improves);     // −0.54 … −0.26
  EXPECT_EQ(verdict(0.2, 0.3), Verdict::undecided);      // −0.63 … 1.03
  EXPECT_EQ(verdict(0.1, 0.1441), Verdict::undecided);   // −0.3000 … 0.50004
  EXPECT_EQ(verdict(0.1, 0.1440), Verdict::equivalent);  // −0.2998 … 0.4998
  EXPECT_EQ(verdict(0.0, 0.0), Verdict::equivalent);     // the same bits
  EXPECT_EQ(name(Verdict::improves), "improves");
  EXPECT_EQ(name(Verdict::worsens), "worsens");
  EXPECT_EQ(name(Verdict::equivalent), "equivalent");
  EXPECT_EQ(name(Verdict::undecided), "undecided");
}

TEST(Judge, CorrectsAFamily) {
  const std::vector<Contrast> family = {made(-1.0, 0.3), made(-1.2, 0.4), made(0.1, 0.1), made(-6.0, 0.3)};
  const auto judged = judge(family, kMarginPercent);
  ASSERT_EQ(judged.size(), 4U);
  EXPECT_EQ(judged[3].verdict, Verdict::improves);
  EXPECT_EQ(*judged[3].p_difference, 4 * family[3].inference->p_value);
  EXPECT_EQ(*judged[0].p_difference, 3 * family[0].inference->p_value);
  EXPECT_EQ(judged[0].verdict, Verdict::undecided);  // p = 0.029 by itself
  EXPECT_EQ(judged[2].verdict, Verdict::undecided);  // equivalent by itself
  EXPECT_LE(judge({&family[0], 1}, kMarginPercent)[0].p_difference, kLevel);
}

TEST(Judge, LeavesOutContrastsWithoutInference) {
  const std::vector<Contrast> family = {made(-1.0, 0.3), {.estimate = -5.0}};
  const auto judged = judge(family, kMarginPercent);
  EXPECT_EQ(judged[0].verdict, Verdict::improves);
  EXPECT_EQ(judged[1].verdict, Verdict::undecided);
  EXPECT_FALSE(judged[1].p_difference);
  EXPECT_FALSE(judged[1].p_equivalence);
  EXPECT_THROW(judge(family, 0.0), LogicError);
}

TEST(Power, AgreesWithTheNoncentralT) {  // contrast_golden.py
  EXPECT_NEAR(power_of_difference(0, 0.25, 4), 0.05, 1e-6);
  EXPECT_NEAR(power_of_difference(0.25, 0.25, 4), 0.1222491520733127, 1e-6);
  EXPECT_NEAR(power_of_difference(-1.0, 0.25, 4), 0.8432964389085801, 1e-6);
  EXPECT_NEAR(power_of_difference(3, 1, 12.5), 0.7891921610581281, 1e-6);
  EXPECT_NEAR(power_of_difference(2.5, 1, 60), 0.6914166479423537, 1e-6);
  EXPECT_NEAR(power_of_equivalence(0.5, 0.25, 4), 0.09719716413724316, 1e-6);
  EXPECT_NEAR(power_of_equivalence(1.0, 0.25, 4), 0.7152692284724648, 1e-6);
  EXPECT_NEAR(power_of_equivalence(4, 1, 30), 0.9437373990630288, 1e-6);
  EXPECT_NEAR(detectable_difference(0.8, 1, 4), 3.7610595538250196, 1e-5);
  EXPECT_NEAR(detectable_difference(0.8, 0.1, 20), 0.29454667170541713, 1e-6);
  EXPECT_THROW(power_of_difference(1, 0, 4), LogicError);
  EXPECT_THROW(power_of_equivalence(1, 1, 1), LogicError);
  EXPECT_THROW(detectable_difference(0.05, 1, 4), LogicError);
}

}  // namespace
}  // namespace rpt::experiment
