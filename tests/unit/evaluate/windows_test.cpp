// SPDX-License-Identifier: MIT
#include "rpt/evaluate/windows.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "rpt/core/error.h"

namespace rpt::evaluate {
namespace {

using Ranges = std::vector<WindowRange>;

TEST(FullWindows, AreThoseOfTheDefinition) {
  EXPECT_EQ(full_windows(10, 4, 2), (Ranges{{0, 1, 4}, {2, 4, 6}, {4, 6, 8}, {6, 8, 10}}));
  EXPECT_EQ(full_windows(7, 4, 2), (Ranges{{0, 1, 4}, {2, 4, 6}, {4, 6, 7}}));
  EXPECT_EQ(full_windows(4, 4, 2), (Ranges{{0, 1, 4}}));
  EXPECT_EQ(full_windows(2, 4, 2), (Ranges{{0, 1, 2}}));
  EXPECT_EQ(full_windows(6, 4, 3), (Ranges{{0, 1, 4}, {3, 4, 6}}));
  EXPECT_TRUE(full_windows(1, 4, 2).empty());
  EXPECT_TRUE(full_windows(0, 4, 2).empty());
}

TEST(FullWindows, ScoreEveryTokenButTheFirstOnceInTheFirstWindowThatHoldsIt) {
  for (std::int64_t tokens = 0; tokens < 40; ++tokens) {
    for (std::int64_t context = 2; context < 12; ++context) {
      for (std::int64_t stride = 1; stride < context; ++stride) {
        std::int64_t next = 1;
        for (const WindowRange& w : full_windows(tokens, context, stride)) {
          ASSERT_EQ(w.score_begin, next);
          for (; next < w.score_end; ++next) {
            // The smallest k with next < k·stride + context.
            const std::int64_t k = std::max<std::int64_t>(0, (next - context) / stride + (next >= context ? 1 : 0));
            ASSERT_EQ(w.begin, k * stride) << tokens << " " << context << " " << stride << " " << next;
          }
        }
        ASSERT_EQ(next, std::max<std::int64_t>(tokens, 1));
      }
    }
  }
}

TEST(FullWindows, RefuseAStrideThatLeavesNoContext) {
  EXPECT_THROW(full_windows(10, 4, 4), LogicError);
}

TEST(LlamaCppWindows, ScoreTheSecondHalfOfWholeContexts) {
  EXPECT_EQ(llama_cpp_windows(17, 8), (Ranges{{0, 5, 8}, {8, 13, 16}}));
  EXPECT_EQ(llama_cpp_windows(7, 7), (Ranges{{0, 4, 7}}));
  EXPECT_TRUE(llama_cpp_windows(7, 8).empty());
  const Ranges ranges = llama_cpp_windows(512 * 3 + 511, 512);
  ASSERT_EQ(ranges.size(), 3U);
  EXPECT_EQ(ranges[2].score_end - ranges[2].score_begin, 255);
}

TEST(LegacyWindows, DropAFinalChunkThatIsExactlyFull) {
  EXPECT_TRUE(legacy_windows(127).empty());
  EXPECT_TRUE(legacy_windows(128).empty());
  EXPECT_EQ(legacy_windows(129), (Ranges{{0, 1, 128}}));
  EXPECT_EQ(legacy_windows(256), (Ranges{{0, 1, 128}}));
  EXPECT_EQ(legacy_windows(257), (Ranges{{0, 1, 128}, {128, 129, 256}}));
}

TEST(LegacyWindows, EndAfterFiftyChunks) {
  const Ranges ranges = legacy_windows(100'000);
  ASSERT_EQ(ranges.size(), 50U);
  std::int64_t targets = 0;
  for (const WindowRange& w : ranges) targets += w.score_end - w.score_begin;
  EXPECT_EQ(targets, 6350);
}

// What get_rolling_token_windows and make_disjoint_window of lm-evaluation-harness give for a prefix 0 and tokens 1 …
// n: a context and a continuation; read are both without their last token.
TEST(LmEvalWindows, AreThoseOfTheHarness) {
  EXPECT_TRUE(lm_eval_windows(1, 4).empty());
  EXPECT_EQ(lm_eval_windows(2, 4), (Ranges{{0, 1, 2}}));                          // [0] [1]
  EXPECT_EQ(lm_eval_windows(5, 4), (Ranges{{0, 1, 5}}));                          // [0] [1 2 3 4]
  EXPECT_EQ(lm_eval_windows(6, 4), (Ranges{{0, 1, 5}, {1, 5, 6}}));               // [1 2 3 4] [5]
  EXPECT_EQ(lm_eval_windows(11, 4), (Ranges{{0, 1, 5}, {4, 5, 9}, {6, 9, 11}}));  // [4] [5 6 7 8], [6 7 8] [9 10]
  EXPECT_EQ(lm_eval_windows(13, 4), (Ranges{{0, 1, 5}, {4, 5, 9}, {8, 9, 13}}));  // [8] [9 10 11 12]
  EXPECT_EQ(lm_eval_windows(4, 8), (Ranges{{0, 1, 4}}));                          // [0] [1 2 3]
}

}  // namespace
}  // namespace rpt::evaluate
