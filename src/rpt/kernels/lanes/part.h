// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>

/// The row kernels of all vector sets, written once: templates over a class V of static functions on 16 lanes
/// (avx2/vector.h, avx512/vector.h). Everything here and there stands in anonymous namespaces: the files of an
/// instruction set must not leave symbols behind that the linker could pick for code which runs without the set.
namespace rpt::kernels::lanes {
namespace {

/// All 16 elements from a pointer on.
struct All {};

/// The first `count` (1 … 15) elements from a pointer on; nothing beyond is touched, absent lanes read as zero.
struct First {
  int count;
};

/// Calls step(i, part) for i = 0, 16, 32, …: All for whole groups of 16, First for the rest.
template <typename Step>
void for_each_16(std::int64_t n, const Step& step) {
  std::int64_t i = 0;
  for (; i + 16 <= n; i += 16) step(i, All{});
  if (i < n) step(i, First{static_cast<int>(n - i)});
}

}  // namespace
}  // namespace rpt::kernels::lanes
