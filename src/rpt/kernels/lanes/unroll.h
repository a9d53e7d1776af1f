// SPDX-License-Identifier: MIT
#pragma once

/// Before a loop over an array of registers: unrolls it early enough for the array to live in registers. (GCC 12
/// unrolls such loops by itself, but after it has decided to keep sums in memory.)
#define RPT_UNROLL _Pragma("GCC unroll 16")
