// SPDX-License-Identifier: MIT
#include "rpt/core/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <limits>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include "rpt/core/error.h"

namespace rpt::core {
namespace {

/// Restores the number of threads that was wanted before the test: all of them.
class Parallel : public testing::Test {
 protected:
  void TearDown() override { set_threads(0); }
};

TEST_F(Parallel, CoversEveryIndexOnce) {
  for (const int count_of_threads : {1, 2, 3}) {
    set_threads(count_of_threads);
    EXPECT_EQ(threads(), count_of_threads);
    for (const std::int64_t count : {0, 1, 2, 15, 16, 17, 1000}) {
      for (const std::int64_t grain : {1, 3, 16, 2000}) {
        std::vector<std::atomic<int>> seen(static_cast<std::size_t>(count));
        parallel_for(count, grain, [&](std::int64_t begin, std::int64_t end) {
          EXPECT_LT(begin, end);
          EXPECT_EQ(begin % grain, 0);
          EXPECT_TRUE(end % grain == 0 || end == count);
          for (std::int64_t i = begin; i < end; ++i) ++seen.at(static_cast<std::size_t>(i));
        });
        for (const auto& times : seen) ASSERT_EQ(times, 1);
      }
    }
  }
}

TEST_F(Parallel, UsesSeveralThreads) {
  set_threads(2);
  // Each body waits until another has begun, so that one thread alone would never end both.
  std::atomic<int> begun{0};
  std::mutex mutex;
  std::set<std::thread::id> ids;
  parallel_for(2, 1, [&](std::int64_t, std::int64_t) {
    ++begun;
    while (begun < 2) std::this_thread::yield();
    const std::lock_guard lock(mutex);
    ids.insert(std::this_thread::get_id());
  });
  EXPECT_EQ(ids.size(), 2U);
}

TEST_F(Parallel, UsesAtLeastOneThreadByDefault) {
  EXPECT_GE(threads(), 1);
  EXPECT_THROW(set_threads(-1), LogicError);
}

TEST_F(Parallel, RethrowsAnException) {
  for (const int count_of_threads : {1, 3}) {
    set_threads(count_of_threads);
    try {
      parallel_for(100, 1, [](std::int64_t begin, std::int64_t end) {
        if (begin <= 42 && 42 < end) throw std::runtime_error("forty-two");
      });
      ADD_FAILURE() << "nothing thrown";
    } catch (const std::runtime_error& e) {
      EXPECT_STREQ(e.what(), "forty-two");
    }
    // The pool is as good as before.
    std::atomic<std::int64_t> sum{0};
    parallel_for(100, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) sum += i;
    });
    EXPECT_EQ(sum, 4950);
  }
}

TEST_F(Parallel, RethrowsOneOfManyExceptions) {
  set_threads(3);
  EXPECT_THROW(parallel_for(100, 1, [](std::int64_t, std::int64_t) { throw IoError("each"); }), IoError);
}

TEST_F(Parallel, RunsNestedLoopsOnTheCallingThread) {
  set_threads(3);
  std::atomic<int> inner_calls{0};
  std::atomic<std::int64_t> sum{0};
  parallel_for(10, 1, [&](std::int64_t outer_begin, std::int64_t outer_end) {
    const auto id = std::this_thread::get_id();
    for (std::int64_t i = outer_begin; i < outer_end; ++i) {
      parallel_for(10, 1, [&](std::int64_t begin, std::int64_t end) {
        EXPECT_EQ(std::this_thread::get_id(), id);
        ++inner_calls;
        for (std::int64_t j = begin; j < end; ++j) sum += 10 * i + j;
      });
    }
  });
  EXPECT_EQ(inner_calls, 10);
  EXPECT_EQ(sum, 4950);
}

TEST_F(Parallel, TakesHugeGrainsAndRefusesNone) {
  std::int64_t covered = 0;
  parallel_for(5, std::numeric_limits<std::int64_t>::max(),
               [&](std::int64_t begin, std::int64_t end) { covered += end - begin; });
  EXPECT_EQ(covered, 5);
  EXPECT_THROW(parallel_for(5, 0, [](std::int64_t, std::int64_t) {}), LogicError);
}

}  // namespace
}  // namespace rpt::core
