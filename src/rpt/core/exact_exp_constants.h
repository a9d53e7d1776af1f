// SPDX-License-Identifier: MIT
#pragma once

/// The numbers of core::exact_exp(float), shared by the scalar definition (exact_math.cpp) and the vector kernels.
/// Plain constants with internal linkage, so that files compiled for an instruction set may include them.
///
/// Formula, every step one IEEE operation, rhe = round half to even:
///   x < kLowest → +0;  x > kHighest → +infinity;  else
///   n = rhe(x · kLog2E);  r = fma(n, −kLn2High, x);  r = fma(n, −kLn2Low, r)
///   q = fma(fma(fma(fma(kQ4, r, kQ3), r, kQ2), r, kQ1), r, kQ0)
///   p = fma(r · r, q, r) + 1;  exp(x) = p · 2^n  (exact, or overflow to infinity)
/// Source: Cody-Waite reduction; q interpolates (e^r − 1 − r) / r² at the Chebyshev points of |r| ≤ ln 2 / 2.
namespace rpt::core::exp_f32 {

constexpr float kLowest = -87.0F;  // e^−87 is a normal number: no subnormal ever arises
constexpr float kHighest = 89.0F;  // above ln of the largest float, and n = 128 still has a place in the scaling
constexpr float kLog2E = 0x1.715476p+0F;
constexpr float kLn2High = 0x1.62e4p-1F;  // 15 bits: n · kLn2High is exact
constexpr float kLn2Low = 0x1.7f7d1cp-20F;
constexpr float kQ0 = 0x1.000000p-1F;
constexpr float kQ1 = 0x1.5554dcp-3F;
constexpr float kQ2 = 0x1.55551ap-5F;
constexpr float kQ3 = 0x1.120b6ep-7F;
constexpr float kQ4 = 0x1.6d110ap-10F;

}  // namespace rpt::core::exp_f32
