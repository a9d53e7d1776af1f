// SPDX-License-Identifier: MIT
#pragma once

/// Student's t distribution with ν degrees of freedom, ν any real number from 1 to 1e9. Own arithmetic, so the same
/// everywhere.
namespace rpt::evaluate {

/// Distribution function, for any t that is no NaN. Absolute error below 1e-15 · max(4, ν); above t = 0 it is that of
/// 1 − the value below. Formula: with x = t² / (ν + t²), ½ + ½ I_x(½, ν/2) for t ≥ 0, the incomplete beta function by
/// its series of positive terms, or that of I_{1−x}(ν/2, ½) where x > ½. Throws: LogicError for other ν, and NaN.
double student_t_cdf(double t, double degrees);

/// Its inverse, for 1e-9 ≤ p ≤ 1 − 1e-9 (LogicError outside).
double student_t_quantile(double p, double degrees);

}  // namespace rpt::evaluate
