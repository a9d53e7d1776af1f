// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>

namespace rpt::core {

/// Bytes a second at which the threads in force read memory together: best of `repeats` passes over `bytes` of memory
/// that no cache holds. Cost: about (repeats + 1) · bytes at that rate.
double measure_read_bandwidth(std::uint64_t bytes = std::uint64_t{128} << 20, int repeats = 3);

/// Bytes of memory that this machine has; 0 where it does not say.
std::uint64_t physical_memory();

}  // namespace rpt::core
