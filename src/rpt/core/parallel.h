// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <functional>

namespace rpt::core {

/// Sets how many threads parallel_for uses; 0 means every core this process may run on.
void set_threads(int count);

/// How many threads parallel_for uses.
int threads();

/// Calls body(begin, end) for disjoint ranges that cover [0, count), on up to threads() threads. Ranges are multiples
/// of `grain` long (but the last), handed out in order; which thread takes which range is not fixed, so a body must
/// write only to places that its range owns. Runs on the calling thread when one range suffices or when called from
/// within a body. The first exception of a body is rethrown.
void parallel_for(std::int64_t count, std::int64_t grain, const std::function<void(std::int64_t, std::int64_t)>& body);

}  // namespace rpt::core
