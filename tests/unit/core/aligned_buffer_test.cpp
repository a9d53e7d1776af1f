// SPDX-License-Identifier: MIT
#include "rpt/core/aligned_buffer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <utility>

namespace rpt::core {
namespace {

TEST(AlignedBuffer, IsAlignedAndZeroed) {
  for (const std::size_t count : {1U, 7U, 64U, 100'001U}) {
    AlignedBuffer<float> buffer(count);
    EXPECT_EQ(buffer.size(), count);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % AlignedBuffer<float>::kAlignment, 0U);
    EXPECT_TRUE(std::all_of(buffer.span().begin(), buffer.span().end(), [](float x) { return x == 0; }));
  }
  EXPECT_EQ(AlignedBuffer<int>(0).data(), nullptr);
  EXPECT_EQ(AlignedBuffer<int>().size(), 0U);
}

TEST(AlignedBuffer, ResizeZeroesAgainAndScratchOnlyGrows) {
  AlignedBuffer<int> buffer(4);
  buffer[3] = 5;
  buffer.reserve_scratch(2);
  EXPECT_EQ(buffer.size(), 4U);
  EXPECT_EQ(buffer[3], 5);
  buffer.resize(4);
  EXPECT_EQ(buffer[3], 0);
  buffer.reserve_scratch(9);
  EXPECT_EQ(buffer.size(), 9U);
  buffer.resize(0);
  EXPECT_EQ(buffer.span().size(), 0U);
}

TEST(AlignedBuffer, MovesAndLeavesNothingBehind) {
  AlignedBuffer<int> a(3);
  a[0] = 7;
  const int* const place = a.data();
  AlignedBuffer<int> b(std::move(a));
  EXPECT_EQ(b.data(), place);
  EXPECT_EQ(a.size(), 0U);  // NOLINT: what a move leaves behind is promised here
  AlignedBuffer<int> c(1);
  c = std::move(b);
  EXPECT_EQ(c[0], 7);
  EXPECT_EQ(c.size(), 3U);
  EXPECT_EQ(b.size(), 0U);  // NOLINT
  EXPECT_EQ(b.data(), nullptr);
}

TEST(AlignedBuffer, RefusesSizesThatOverflow) {
  AlignedBuffer<double> buffer;
  EXPECT_THROW(buffer.resize(~std::size_t{0}), LogicError);
  EXPECT_THROW(buffer.resize(~std::size_t{0} / sizeof(double)), LogicError);
}

}  // namespace
}  // namespace rpt::core
