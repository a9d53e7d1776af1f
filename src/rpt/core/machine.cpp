// SPDX-License-Identifier: MIT
#include "rpt/core/machine.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "rpt/core/aligned_buffer.h"
#include "rpt/core/parallel.h"
#include "rpt/core/timer.h"

namespace rpt::core {

double measure_read_bandwidth(std::uint64_t bytes, int repeats) {
  RPT_CHECK(bytes >= 64 && repeats > 0, "{} bytes, {} passes", bytes, repeats);
  AlignedBuffer<std::uint64_t> memory(bytes / sizeof(std::uint64_t));
  std::fill_n(memory.data(), memory.size(), 1);
  std::atomic<std::uint64_t> sink{0};
  double best = 0;
  for (int pass = 0; pass < repeats; ++pass) {
    const Stopwatch watch;
    parallel_for(static_cast<std::int64_t>(memory.size()), 1 << 17, [&](std::int64_t begin, std::int64_t end) {
      // Eight sums, so that the additions do not wait for each other.
      std::uint64_t sum[8] = {};
      const std::uint64_t* p = memory.data();
      for (std::int64_t i = begin; i + 8 <= end; i += 8) {
        for (int lane = 0; lane < 8; ++lane) sum[lane] += p[i + lane];
      }
      for (const std::uint64_t s : sum) sink.fetch_add(s, std::memory_order_relaxed);
    });
    best = std::max(best, static_cast<double>(bytes) / watch.seconds());
  }
  return sink > 0 ? best : 0;
}

std::uint64_t physical_memory() {
  const long pages = sysconf(_SC_PHYS_PAGES);
  const long size = sysconf(_SC_PAGESIZE);
  return pages > 0 && size > 0 ? static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(size) : 0;
}

}  // namespace rpt::core
