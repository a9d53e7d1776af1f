// SPDX-License-Identifier: MIT
#include "rpt/train/window_sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "rpt/core/error.h"
#include "rpt/train/permutation.h"
#include "tests/unit/train/data_test_support.h"

namespace rpt::train {
namespace {

using test::counting_stream;

constexpr Sampling kAll[] = {Sampling::epochs, Sampling::chunks, Sampling::anywhere, Sampling::legacy};

/// Where the next `count` windows of a counting stream begin.
std::vector<std::int32_t> starts(WindowSampler& sampler, std::size_t count) {
  std::vector<std::int32_t> out;
  for (std::size_t i = 0; i < count; ++i) out.push_back(sampler.next(1).tokens.front());
  return out;
}

TEST(WindowSampler, WindowsAreRunsOfTheStream) {
  const TokenStream stream = counting_stream(100);
  for (const Sampling sampling : kAll) {
    WindowSampler sampler(stream, {.context = 7, .sampling = sampling, .seed = 3});
    const Batch batch = sampler.next(50);
    ASSERT_EQ(batch.tokens.size(), 350u);
    ASSERT_EQ(batch.targets.size(), 350u);
    for (std::size_t row = 0; row < 50; ++row) {
      for (std::size_t i = 0; i < 7; ++i) {
        EXPECT_EQ(batch.tokens[row * 7 + i], batch.tokens[row * 7] + static_cast<std::int32_t>(i));
        const bool ends = sampling == Sampling::legacy && i == 6;
        EXPECT_EQ(batch.targets[row * 7 + i], ends ? -1 : batch.tokens[row * 7 + i] + 1);
      }
    }
  }
}

TEST(WindowSampler, TokensThatAreNoTargetsGiveNoLoss) {
  TokenStream stream = counting_stream(41);
  for (std::size_t i = 0; i < stream.is_target.size(); i += 3) stream.is_target[i] = 0;
  for (const Sampling sampling : kAll) {
    WindowSampler sampler(stream, {.context = 5, .sampling = sampling});
    const Batch batch = sampler.next(40);
    for (std::size_t i = 0; i < batch.tokens.size(); ++i) {
      const std::int32_t next = batch.tokens[i] + 1;
      const bool ends = sampling == Sampling::legacy && i % 5 == 4;
      EXPECT_EQ(batch.targets[i], next % 3 == 0 || ends ? -1 : next);
    }
  }
}

TEST(WindowSampler, AnEpochTakesEveryTokenOnce) {
  for (const std::int32_t tokens : {9, 10, 15, 16, 17, 23, 24, 25, 100, 1001}) {
    const std::int32_t context = 8;
    const TokenStream stream = counting_stream(tokens);
    WindowSampler sampler(stream, {.context = context, .seed = 11});
    for (std::uint64_t epoch = 0; epoch < 20; ++epoch) {
      std::vector<std::int32_t> begins = starts(sampler, 1);
      EXPECT_EQ(sampler.state().epoch, epoch);
      const std::vector<std::int32_t> rest = starts(sampler, sampler.windows() - 1);
      EXPECT_EQ(sampler.state().epoch, epoch);
      begins.insert(begins.end(), rest.begin(), rest.end());
      std::sort(begins.begin(), begins.end());
      // Side by side from an offset below T to where no window fits any more.
      EXPECT_GE(begins.front(), 0);
      EXPECT_LT(begins.front(), context);
      for (std::size_t i = 1; i < begins.size(); ++i) EXPECT_EQ(begins[i], begins[i - 1] + context);
      EXPECT_LT(begins.back() + context, tokens);
      EXPECT_GE(begins.back() + 2 * context, tokens) << tokens << " tokens, epoch " << epoch;
    }
  }
}

TEST(WindowSampler, EpochsDifferAndSeedsDecide) {
  const TokenStream stream = counting_stream(2000);
  const SamplerOptions options{.context = 16, .seed = 5};
  WindowSampler a(stream, options), b(stream, options), c(stream, {.context = 16, .seed = 6});
  std::set<std::vector<std::int32_t>> orders;
  std::set<std::int32_t> offsets;
  for (int epoch = 0; epoch < 100; ++epoch) {
    std::vector<std::int32_t> order = starts(a, 1);
    const std::vector<std::int32_t> rest = starts(a, a.windows() - 1);
    order.insert(order.end(), rest.begin(), rest.end());
    EXPECT_EQ(starts(b, order.size()), order);
    EXPECT_NE(starts(c, order.size()), order);
    EXPECT_FALSE(std::is_sorted(order.begin(), order.end()));
    offsets.insert(*std::min_element(order.begin(), order.end()));
    orders.insert(std::move(order));
  }
  EXPECT_EQ(orders.size(), 100u);
  EXPECT_GE(offsets.size(), 14u);  // of 16; each is missed by 100 epochs once in 600 times
}

TEST(WindowSampler, StateRestoresAnywhere) {
  const TokenStream stream = counting_stream(500);
  for (const Sampling sampling : kAll) {
    const SamplerOptions options{.context = 16, .sampling = sampling, .seed = 9};
    WindowSampler sampler(stream, options);
    std::vector<WindowSampler::State> states;
    std::vector<Batch> batches;
    for (int step = 0; step < 1000; ++step) {
      states.push_back(sampler.state());
      batches.push_back(sampler.next(3));
    }
    if (sampling == Sampling::epochs) {
      EXPECT_GT(sampler.state().epoch, 90u);
    }
    // Another seed shows that nothing but the state counts.
    WindowSampler restored(stream, {.context = 16, .sampling = sampling, .seed = 1234});
    for (std::size_t step = 0; step < 1000; step += 7) {
      restored.restore(states[step]);
      EXPECT_EQ(restored.state(), states[step]);
      for (std::size_t i = step; i < std::min<std::size_t>(step + 12, 1000); ++i) {
        const Batch batch = restored.next(3);
        ASSERT_EQ(batch.tokens, batches[i].tokens) << name(sampling) << ", step " << i << " from " << step;
        ASSERT_EQ(batch.targets, batches[i].targets);
      }
    }
    restored.restore(states.back());
    (void)restored.next(3);
    EXPECT_EQ(restored.state(), sampler.state());
  }
}

TEST(WindowSampler, RowsDoNotDependOnTheBatch) {
  const TokenStream stream = counting_stream(300);
  for (const Sampling sampling : kAll) {
    WindowSampler one(stream, {.context = 8, .sampling = sampling}), many(stream, {.context = 8, .sampling = sampling});
    const Batch batch = many.next(100);  // over two epochs
    for (std::size_t row = 0; row < 100; ++row) EXPECT_EQ(one.next(1).tokens.front(), batch.tokens[row * 8]);
    EXPECT_EQ(one.state(), many.state());
  }
}

TEST(WindowSampler, ForeignStatesAreRefused) {
  const TokenStream stream = counting_stream(100), longer = counting_stream(10000);
  const SamplerOptions options{.context = 8, .seed = 2};
  WindowSampler sampler(stream, options), other(longer, options);
  (void)other.next(20);
  const WindowSampler::State before = sampler.state();
  EXPECT_THROW(sampler.restore(other.state()), ConfigError);
  EXPECT_EQ(sampler.state(), before);
  WindowSampler untouched(stream, options);
  EXPECT_EQ(starts(sampler, 30), starts(untouched, 30));
  WindowSampler chunks(stream, {.context = 8, .sampling = Sampling::chunks});
  EXPECT_THROW(chunks.restore({.epoch = 1, .position = 0, .random = {}}), ConfigError);
}

TEST(WindowSampler, ReplacementIsUniform) {
  // 40 chunks or 401 − 10 places, 100 draws for each on the average; 6 standard deviations are 60.
  const TokenStream stream = counting_stream(401);
  for (const Sampling sampling : {Sampling::chunks, Sampling::legacy, Sampling::anywhere}) {
    WindowSampler sampler(stream, {.context = 10, .sampling = sampling, .seed = 4});
    const std::size_t places = sampling == Sampling::anywhere ? 391 : 40;
    EXPECT_EQ(sampler.windows(), places);
    std::map<std::int32_t, int> counts;
    for (const std::int32_t start : starts(sampler, 100 * places)) ++counts[start];
    EXPECT_EQ(counts.size(), places);
    for (const auto& [start, count] : counts) {
      if (sampling != Sampling::anywhere) {
        EXPECT_EQ(start % 10, 0);
      }
      EXPECT_NEAR(count, 100, 60) << name(sampling) << " at " << start;
    }
    EXPECT_EQ(counts.rbegin()->first, 390);
  }
}

TEST(WindowSampler, LegacyHasTheChunksOfTheReference) {
  for (const std::int32_t tokens : {129, 255, 256, 257, 384, 385, 1000}) {
    std::uint64_t chunks = 0;
    for (std::int32_t start = 0; start < tokens - 128; start += 128) ++chunks;
    const TokenStream stream = counting_stream(tokens);
    EXPECT_EQ(WindowSampler(stream, {.sampling = Sampling::legacy}).windows(), chunks) << tokens;
  }
}

TEST(WindowSampler, ShortTexts) {
  const TokenStream enough = counting_stream(9), too_short = counting_stream(8);
  for (const Sampling sampling : kAll) {
    WindowSampler sampler(enough, {.context = 8, .sampling = sampling});
    EXPECT_EQ(starts(sampler, 3), (std::vector<std::int32_t>{0, 0, 0}));
    EXPECT_THROW(WindowSampler(too_short, {.context = 8, .sampling = sampling}), ConfigError);
    EXPECT_THROW(WindowSampler(enough, {.context = 0, .sampling = sampling}), ConfigError);
  }
  EXPECT_THROW(WindowSampler(enough, {.context = -1}), ConfigError);
}

TEST(WindowSampler, SamplingsHaveNames) {
  for (const Sampling sampling : kAll) EXPECT_EQ(parse_sampling(name(sampling)), sampling);
  EXPECT_THROW(parse_sampling("Epochs"), ConfigError);
}

TEST(Permutation, EveryOrderIsEquallyLikely) {
  core::Random random(8);
  std::map<std::vector<std::uint32_t>, int> counts;
  for (int i = 0; i < 24000; ++i) ++counts[random_permutation(4, random)];
  EXPECT_EQ(counts.size(), 24u);
  for (const auto& [order, count] : counts) EXPECT_NEAR(count, 1000, 190);  // 6 standard deviations
  EXPECT_TRUE(random_permutation(0, random).empty());
  EXPECT_EQ(random_permutation(1, random), std::vector<std::uint32_t>{0});
}

}  // namespace
}  // namespace rpt::train
