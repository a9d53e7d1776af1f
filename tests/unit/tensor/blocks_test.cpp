// SPDX-License-Identifier: MIT
#include "rpt/tensor/blocks.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "rpt/core/error.h"
#include "rpt/core/float16.h"
#include "rpt/core/random.h"
#include "rpt/tensor/ops.h"

namespace rpt::tensor {
namespace {

std::vector<float> normal_values(std::size_t n, float size) {
  core::Random random(11);
  std::vector<float> x(n);
  for (float& v : x) v = size * static_cast<float>(random.normal());
  return x;
}

/// The values that a row is read as once it is quantised.
std::vector<float> there_and_back(DType type, const std::vector<float>& x) {
  const auto n = static_cast<std::int64_t>(x.size());
  std::vector<std::byte> row(static_cast<std::size_t>(quantised_row_bytes(type, n)), std::byte{0xa5});
  quantise_row(type, x, row.data());
  std::vector<float> y(x.size());
  read_row({row.data(), row.size(), type, 1, n}, 0, y);
  return y;
}

/// Root of the mean squared error over that of the values.
double relative_error(const std::vector<float>& x, const std::vector<float>& y) {
  double error = 0, size = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double e = static_cast<double>(x[i]) - static_cast<double>(y[i]);
    error += e * e;
    size += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  }
  return std::sqrt(error / size);
}

TEST(QuantiseRow, RowBytesAreTheTypes) {
  EXPECT_EQ(quantised_row_bytes(DType::f16, 3), 6);
  EXPECT_EQ(quantised_row_bytes(DType::q8_0, 64), 68);
  EXPECT_EQ(quantised_row_bytes(DType::q4_0, 64), 36);
  EXPECT_EQ(quantised_row_bytes(DType::q6_k, 512), 420);
  EXPECT_EQ(block_values(DType::q4_1), 32);
  EXPECT_EQ(block_values(DType::q6_k), 256);
  EXPECT_EQ(block_values(DType::i2_s), 1);
  EXPECT_THROW(quantised_row_bytes(DType::q8_0, 48), ShapeError);
  EXPECT_THROW(quantised_row_bytes(DType::q6_k, 128), ShapeError);
  EXPECT_THROW(quantised_row_bytes(DType::q4_1, 32), ShapeError);
}

TEST(QuantiseRow, Q8ErrsByHalfAStep) {
  const auto x = normal_values(512, 0.03F);
  const auto y = there_and_back(DType::q8_0, x);
  for (std::size_t block = 0; block < x.size(); block += 32) {
    float most = 0;
    for (std::size_t i = block; i < block + 32; ++i) most = std::max(most, std::abs(x[i]));
    // Half a step of most/127, and what rounding d to f16 takes from the largest code.
    for (std::size_t i = block; i < block + 32; ++i) EXPECT_LE(std::abs(x[i] - y[i]), most * (0.5F / 127 + 0x1p-11F));
  }
  EXPECT_LT(relative_error(x, y), 0.006);
}

TEST(QuantiseRow, Q4HoldsTheLargestAndErrsByHalfAStep) {
  const auto x = normal_values(512, 2.0F);
  const auto y = there_and_back(DType::q4_0, x);
  EXPECT_LT(relative_error(x, y), 0.1);
  std::vector<float> whole(32);
  for (std::size_t i = 0; i < 32; ++i) whole[i] = 0.25F * (static_cast<float>(i % 16) - 8);
  EXPECT_EQ(there_and_back(DType::q4_0, whole), whole);
}

// Of values with one factor for 16 of them, 63 steps wide, the bound of plain rounding is 0.018 of their size; the
// search must do better than that.
TEST(QuantiseRow, Q6IsBetterThanPlainRounding) {
  const auto x = normal_values(4096, 0.02F);
  double plain = 0, size = 0;
  for (std::size_t s = 0; s < x.size(); s += 16) {
    float most = 0;
    for (std::size_t i = s; i < s + 16; ++i) most = std::max(most, std::abs(x[i]));
    for (std::size_t i = s; i < s + 16; ++i) {
      const float e = x[i] - std::nearbyintf(x[i] / (most / 31)) * (most / 31);
      plain += static_cast<double>(e) * static_cast<double>(e);
      size += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    }
  }
  const double error = relative_error(x, there_and_back(DType::q6_k, x));
  EXPECT_LT(error, std::sqrt(plain / size));
  EXPECT_LT(error, 0.018);
}

TEST(QuantiseRow, WhatATypeHoldsComesBack) {
  // Scales of both signs that are multiples of d, with every code from −32 to 31 at the largest.
  std::vector<float> x(256);
  for (std::size_t i = 0; i < 256; ++i) {
    const int scale = i / 16 % 2 == 0 ? -128 : 64 + static_cast<int>(i / 16);
    x[i] = 0x1p-10F * static_cast<float>(scale) * static_cast<float>(i % 16 == 0 ? -32 : static_cast<int>(i % 64) - 32);
  }
  const auto y = there_and_back(DType::q6_k, x);
  EXPECT_LT(relative_error(x, y), 1e-3);
  for (const DType type : {DType::q8_0, DType::q4_0, DType::q6_k}) {
    EXPECT_EQ(there_and_back(type, std::vector<float>(256, 0.0F)), std::vector<float>(256, 0.0F)) << name(type);
  }
  const std::vector<float> halves{0.5F, -65504.0F, 0x1p-24F};
  EXPECT_EQ(there_and_back(DType::f16, halves), halves);
}

// One value beyond what f16 can scale makes its block infinite, which every reader of weights refuses; not its
// neighbours.
TEST(QuantiseRow, BeyondF16IsNotHidden) {
  std::vector<float> x = normal_values(512, 1.0F);
  x[300] = 3e38F;
  for (const DType type : {DType::q8_0, DType::q4_0, DType::q6_k}) {
    const auto y = there_and_back(type, x);
    EXPECT_FALSE(std::isfinite(y[300])) << name(type);
    EXPECT_TRUE(std::isfinite(y[100])) << name(type);
  }
}

}  // namespace
}  // namespace rpt::tensor
