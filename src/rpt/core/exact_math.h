// SPDX-License-Identifier: MIT
#pragma once

/// Our own transcendental functions: only + − × ÷, sqrt and explicit fma of IEEE arithmetic take part, so the bits are
/// the same on every processor and in every instruction set. libm's are not (glibc picks variants by processor).
///
/// The errors below are the largest that were found over millions of random arguments against long double, in units in
/// the last place (ulp) of the result; the tests hold the functions to them. A correctly rounded result has at most
/// 0.5.
namespace rpt::core {

/// e^x, float. Any x: below −87 exactly +0, overflow gives +infinity, NaN gives NaN. At most 1.1 ulp. The vector
/// kernels compute these very operations.
/// Formula: exact_exp_constants.h.
float exact_exp(float x);

/// e^x, double. Gradual underflow is kept; overflow gives +infinity, NaN gives NaN. At most 0.66 ulp (1 where the
/// result is subnormal).
double exact_exp(double x);

/// Natural logarithm of any x, subnormals included. log(±0) = −infinity, log(x < 0) = NaN, log(+infinity) = +infinity.
/// At most 0.51 ulp.
double exact_log(double x);
float exact_log(float x);

/// x^y for 0 < x < infinity and finite y; anything else gives NaN. At most 0.66 ulp (1 where the result is subnormal).
double exact_pow(double x, double y);

/// Sine and cosine of an angle in radians, |x| ≤ 2^30; beyond, and for NaN, NaN. At most 0.85 ulp, also beside the
/// zeros.
double exact_sin(double x);
double exact_cos(double x);
/// At most 0.51 ulp: the double function, rounded.
float exact_sin(float x);
float exact_cos(float x);

}  // namespace rpt::core
