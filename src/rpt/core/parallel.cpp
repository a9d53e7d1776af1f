// SPDX-License-Identifier: MIT
#include "rpt/core/parallel.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "rpt/core/error.h"

namespace rpt::core {
namespace {

using Body = std::function<void(std::int64_t, std::int64_t)>;

/// How often a waiting thread looks again at once: about 20 µs, longer than the gaps between the layers of a forward,
/// shorter than anything that other programs would miss.
constexpr int kSpins = 1000;
/// How often it then looks again after others had their turn, before it sleeps: some 200 µs where there are none.
/// Shares of a large product end so far apart, and to be woken up takes tens of microseconds.
constexpr int kTurns = 500;

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Waits until value differs from `old`; sleeps after a while, so that a loaded machine is not kept busy by waiting.
template <typename T>
T wait_for_change(const std::atomic<T>& value, T old) {
  for (int i = 0; i < kSpins; ++i) {
    const T now = value.load(std::memory_order_acquire);
    if (now != old) return now;
    relax();
  }
  for (int i = 0; i < kTurns; ++i) {
    sched_yield();
    const T now = value.load(std::memory_order_acquire);
    if (now != old) return now;
  }
  for (;;) {
    value.wait(old, std::memory_order_acquire);
    const T now = value.load(std::memory_order_acquire);
    if (now != old) return now;
  }
}

/// Set while a thread runs a body: what it starts itself runs on it alone.
thread_local bool inside = false;

/// Threads that take ranges of one job at a time.
class Pool {
 public:
  static Pool& instance() {
    static Pool pool;
    return pool;
  }

  ~Pool() {
    stopping_ = true;
    ticket_.fetch_add(kEpoch, std::memory_order_release);
    ticket_.notify_all();
    for (std::thread& t : workers_) t.join();
  }

  /// False where another thread's job is under way.
  bool run(std::int64_t count, std::int64_t grain, std::int64_t ranges, int team, const Body& body) {
    const std::unique_lock lock(busy_, std::try_to_lock);
    if (!lock) return false;
    while (std::cmp_less(workers_.size(), team - 1)) {
      try {
        workers_.emplace_back([this, index = static_cast<int>(workers_.size())] { work(index); });
      } catch (const std::system_error&) {
        break;  // the system has no more threads to give: those that there are do the work
      }
    }
    body_ = &body;
    count_ = count;
    grain_ = grain;
    ranges_ = ranges;
    error_ = nullptr;
    failed_ = false;
    helpers_.store(team - 1, std::memory_order_relaxed);
    pending_.store(ranges, std::memory_order_relaxed);
    // The former job's ranges are all taken, so the low half is 0: one addition begins an epoch with `ranges` left.
    const std::uint64_t begun = ticket_.load(std::memory_order_relaxed) + kEpoch + static_cast<std::uint64_t>(ranges);
    ticket_.store(begun, std::memory_order_release);
    ticket_.notify_all();
    inside = true;
    take_ranges(begun >> 32);
    inside = false;
    for (std::int64_t left = pending_.load(std::memory_order_acquire); left != 0;)
      left = wait_for_change(pending_, left);
    if (error_) std::rethrow_exception(error_);
    return true;
  }

 private:
  static constexpr std::uint64_t kEpoch = std::uint64_t{1} << 32;

  void work(int index) {
    inside = true;
    std::uint64_t ticket = ticket_.load(std::memory_order_acquire);
    while (!stopping_) {
      if ((ticket & (kEpoch - 1)) != 0 && index < helpers_.load(std::memory_order_relaxed)) {
        take_ranges(ticket >> 32);
        ticket = ticket_.load(std::memory_order_acquire);
      } else {
        ticket = wait_for_change(ticket_, ticket);
      }
    }
  }

  /// Takes ranges of the job of this epoch as long as there are any. Until a range is taken nothing else of the job is
  /// read, since by then it might be over; once one is taken, the job lasts until that range is done.
  void take_ranges(std::uint64_t epoch) {
    std::uint64_t ticket = ticket_.load(std::memory_order_acquire);
    while (ticket >> 32 == epoch && (ticket & (kEpoch - 1)) != 0) {
      if (!ticket_.compare_exchange_weak(ticket, ticket - 1, std::memory_order_acq_rel, std::memory_order_acquire))
        continue;
      const std::int64_t range = ranges_ - static_cast<std::int64_t>(ticket & (kEpoch - 1));
      if (!failed_.load(std::memory_order_relaxed)) {
        try {
          const std::int64_t begin = range * grain_;
          (*body_)(begin, begin + std::min(grain_, count_ - begin));
        } catch (...) {
          if (!failed_.exchange(true)) error_ = std::current_exception();
        }
      }
      if (pending_.fetch_sub(1, std::memory_order_acq_rel) == 1) pending_.notify_all();
      ticket = ticket_.load(std::memory_order_acquire);
    }
  }

  std::mutex busy_;
  std::vector<std::thread> workers_;
  std::atomic<bool> stopping_{false};
  std::atomic<int> helpers_{0};           ///< workers that may take part
  std::atomic<std::uint64_t> ticket_{0};  ///< epoch in the high half, ranges left to take in the low
  std::atomic<std::int64_t> pending_{0};  ///< ranges not yet done
  const Body* body_ = nullptr;
  std::int64_t count_ = 0;
  std::int64_t grain_ = 1;
  std::int64_t ranges_ = 0;
  std::atomic<bool> failed_{false};
  std::exception_ptr error_;
};

std::atomic<int> wanted{0};

/// Cores that this process may run on.
int available_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) return CPU_COUNT(&set);
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace

void set_threads(int count) {
  RPT_CHECK(count >= 0, "{} threads", count);
  wanted = count;
}

int threads() {
  static const int cores = available_cores();
  const int count = wanted;
  return count > 0 ? count : cores;
}

void parallel_for(std::int64_t count, std::int64_t grain, const Body& body) {
  RPT_CHECK(grain > 0, "grain {}", grain);
  if (count <= 0) return;
  const std::int64_t ranges = count / grain + (count % grain != 0 ? 1 : 0);
  RPT_CHECK(ranges < std::int64_t{1} << 32, "{} ranges", ranges);
  const int team = static_cast<int>(std::min<std::int64_t>(threads(), ranges));
  if (team > 1 && !inside && Pool::instance().run(count, grain, ranges, team, body)) return;
  body(0, count);
}

}  // namespace rpt::core
