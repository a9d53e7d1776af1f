// SPDX-License-Identifier: MIT
#include "rpt/core/parallel.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <exception>

#include "rpt/core/error.h"

namespace rpt::core {
namespace {
std::atomic<int> wanted{0};
}

void set_threads(int count) {
  RPT_CHECK(count >= 0, "{} threads", count);
  wanted = count;
}

int threads() {
  const int count = wanted;
  return count > 0 ? count : omp_get_num_procs();
}

void parallel_for(std::int64_t count, std::int64_t grain, const std::function<void(std::int64_t, std::int64_t)>& body) {
  RPT_CHECK(grain > 0, "grain {}", grain);
  if (count <= 0) return;
  const std::int64_t ranges = (count - 1) / grain + 1;
  const int team = static_cast<int>(std::min<std::int64_t>(threads(), ranges));
  if (team <= 1 || omp_in_parallel()) {
    body(0, count);
    return;
  }
  std::atomic<std::int64_t> next{0};
  std::atomic<bool> failed{false};
  std::exception_ptr error;
#pragma omp parallel num_threads(team)
  {
    for (;;) {
      const std::int64_t range = next.fetch_add(1, std::memory_order_relaxed);
      if (range >= ranges || failed.load(std::memory_order_relaxed)) break;
      try {
        const std::int64_t begin = range * grain;
        body(begin, begin + std::min(grain, count - begin));
      } catch (...) {
        if (!failed.exchange(true)) error = std::current_exception();
      }
    }
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace rpt::core
