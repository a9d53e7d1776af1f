// SPDX-License-Identifier: MIT
#pragma once

/// Our own transcendental functions: only + − × ÷, sqrt and explicit fma of IEEE arithmetic take part, so the bits are the
/// same on every processor and in every instruction set. libm's are not (glibc picks variants by processor).
namespace rpt::core {

/// e^x, float. Any x: below −87 exactly +0, overflow gives +infinity, NaN gives NaN. The vector kernels compute these very
/// operations (Formula in exact_math.cpp).
float exact_exp(float x);

/// e^x, double. Gradual underflow is kept; overflow gives +infinity.
double exact_exp(double x);

/// Natural logarithm. log(0) = −infinity, log(x < 0) = NaN.
double exact_log(double x);
float exact_log(float x);

/// x^y for x > 0, finite y.
double exact_pow(double x, double y);

/// Sine and cosine of an angle in radians, |x| ≤ 2^30 (beyond: NaN).
double exact_sin(double x);
double exact_cos(double x);
float exact_sin(float x);
float exact_cos(float x);

}  // namespace rpt::core
