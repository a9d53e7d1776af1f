// SPDX-License-Identifier: MIT
#include "rpt/tensor/product.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>
#include <vector>

#include "rpt/core/error.h"
#include "rpt/core/float16.h"
#include "rpt/core/parallel.h"
#include "rpt/core/random.h"
#include "rpt/kernels/isa.h"
#include "rpt/tensor/panels.h"

namespace rpt::tensor {
namespace {

/// A matrix [rows, columns] inside wider rows, as floats and as bf16 bits of the same values.
struct Sample {
  std::int64_t rows, columns, stride;
  std::vector<float> floats;
  std::vector<std::uint16_t> bits;

  Sample(std::int64_t r, std::int64_t c, core::Random& random)
      : rows(r), columns(c), stride(c + 3), floats(static_cast<std::size_t>(r * stride)), bits(floats.size()) {
    for (std::size_t i = 0; i < floats.size(); ++i) {
      bits[i] = core::float_to_bf16(static_cast<float>(random.normal()));
      floats[i] = core::bf16_to_float(bits[i]);
    }
  }
  Operand as(DType type, bool transposed) const {
    const void* data = type == DType::bf16 ? static_cast<const void*>(bits.data()) : floats.data();
    return {data, type, rows, columns, stride, transposed};
  }
  double at(std::int64_t i, std::int64_t j, bool transposed) const {
    return static_cast<double>(floats[static_cast<std::size_t>(transposed ? j * stride + i : i * stride + j)]);
  }
};

void check(DType type, std::int64_t m, std::int64_t n, std::int64_t k, bool ta, bool tb, std::optional<float> factor,
           bool accumulate) {
  const float alpha = factor.value_or(1.0F);
  core::Random random(static_cast<std::uint64_t>(m * 1000 + n * 10 + k));
  const Sample a(ta ? k : m, ta ? m : k, random);
  const Sample b(tb ? n : k, tb ? k : n, random);
  const std::int64_t stride = n + 5;
  std::vector<float> c(static_cast<std::size_t>(m * stride), 2.0F);
  multiply(a.as(type, ta), b.as(type, tb), factor, accumulate, {c.data(), m, n, stride});
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      double sum = 0;
      double size = 0;
      for (std::int64_t l = 0; l < k; ++l) {
        sum += a.at(i, l, ta) * b.at(l, j, tb);
        size += std::abs(a.at(i, l, ta) * b.at(l, j, tb));
      }
      const double expected = static_cast<double>(alpha) * sum + (accumulate ? 2.0 : 0.0);
      // K products and sums in float, in any order, then α and the addition.
      const double bound = static_cast<double>(k + 4) * 0x1p-24 * (std::abs(static_cast<double>(alpha)) * size + 2);
      ASSERT_NEAR(c[static_cast<std::size_t>(i * stride + j)], expected, bound) << i << ' ' << j;
    }
    for (std::int64_t j = n; j < stride; ++j) ASSERT_EQ(c[static_cast<std::size_t>(i * stride + j)], 2.0F);
  }
}

TEST(Product, EveryKindAgainstDouble) {
  for (const DType type : {DType::f32, DType::bf16}) {
    for (const bool ta : {false, true}) {
      for (const bool tb : {false, true}) {
        for (const bool accumulate : {false, true}) {
          check(type, 33, 70, 45, ta, tb, 0.5F, accumulate);
          check(type, 130, 17, 64, ta, tb, std::nullopt, accumulate);
          check(type, 1, 1, 1, ta, tb, 3.0F, accumulate);
        }
      }
    }
  }
}

TEST(Product, ThreadsCoverEverything) {
  for (const int threads : {1, 2, 3, 5}) {
    core::set_threads(threads);
    check(DType::f32, 70, 20, 30, true, false, std::nullopt, false);
    check(DType::bf16, 20, 70, 30, false, true, 2.0F, true);
  }
  core::set_threads(0);
}

TEST(Product, AgainGivesTheSameBits) {
  core::Random random(3);
  const Sample a(40, 64, random);
  const Sample b(64, 50, random);
  std::vector<float> first(40 * 50);
  std::vector<float> second(40 * 50);
  multiply(a.as(DType::bf16, false), b.as(DType::bf16, false), std::nullopt, false, {first.data(), 40, 50});
  multiply(a.as(DType::bf16, false), b.as(DType::bf16, false), std::nullopt, false, {second.data(), 40, 50});
  EXPECT_EQ(first, second);
}

// What makes a fine-tune the same in every gauge: a factor of 1 is a factor like any other power of two.
TEST(Product, FactorsOfTwoChangeOnlyTheExponent) {
  core::Random random(4);
  for (const DType type : {DType::f32, DType::bf16}) {
    for (const auto& [m, n, k] : {std::tuple<int, int, int>{512, 768, 256}, {1024, 256, 768}, {130, 17, 64}}) {
      const Sample a(m, k, random);
      const Sample b(k, n, random);
      const auto product = [&, rows = m, columns = n](float alpha) {
        std::vector<float> c(static_cast<std::size_t>(rows * columns));
        multiply(a.as(type, false), b.as(type, false), alpha, false, {c.data(), rows, columns});
        return c;
      };
      const std::vector<float> one = product(1.0F);
      for (const float alpha : {0.5F, 2.0F, 4.0F}) {
        std::vector<float> expected = one;
        for (float& v : expected) v *= alpha;
        EXPECT_EQ(product(alpha), expected) << name(type) << ' ' << m << ' ' << alpha;
      }
    }
  }
}

TEST(Product, Int8RowsAreExact) {
  if (!multiplies_int8()) GTEST_SKIP() << "no exact int8 products here";
  core::Random random(5);
  const char* const best = kernels::active().name;
  const auto codes = [&](std::int64_t count) {
    std::vector<std::int8_t> out(static_cast<std::size_t>(count));
    for (auto& v : out) v = static_cast<std::int8_t>(static_cast<int>(random.below(255)) - 127);
    return out;
  };
  for (const auto& [m, n, k] : {std::tuple<int, int, int>{1, 1, 1}, {33, 70, 45}, {700, 20, 64}, {16, 130, 601}}) {
    const auto a = codes((m + 3) * (k + 3));
    const auto b = codes((n + 3) * (k + 3));
    std::vector<float> factors(static_cast<std::size_t>(m));
    for (float& f : factors) f = static_cast<float>(random.uniform());
    for (int kind = 0; kind < 8; ++kind) {
      const bool ta = (kind & 1) != 0, tb = (kind & 2) != 0, accumulate = (kind & 4) != 0;
      const std::int64_t a_stride = (ta ? m : k) + 3;
      const std::int64_t b_stride = (tb ? k : n) + 3;
      std::vector<float> expected(static_cast<std::size_t>(m * n));
      for (std::int64_t i = 0; i < m; ++i) {
        for (std::int64_t j = 0; j < n; ++j) {
          std::int32_t sum = 0;
          for (std::int64_t l = 0; l < k; ++l) {
            sum += a[static_cast<std::size_t>(ta ? l * a_stride + i : i * a_stride + l)] *
                   b[static_cast<std::size_t>(tb ? j * b_stride + l : l * b_stride + j)];
          }
          const float scaled = static_cast<float>(sum) * factors[static_cast<std::size_t>(i)];
          expected[static_cast<std::size_t>(i * n + j)] = accumulate ? 2.0F + scaled : scaled;
        }
      }
      for (const auto& [isa, threads] : {std::pair{"reference", 2}, {best, 1}, {best, 3}}) {
        kernels::force_isa(isa);  // below the best one the library multiplies
        core::set_threads(threads);
        std::vector<float> c(expected.size(), 2.0F);
        multiply_int8_rows({a.data(), DType::i8, ta ? k : m, ta ? m : k, a_stride, ta},
                           {b.data(), DType::i8, tb ? n : k, tb ? k : n, b_stride, tb}, factors, accumulate,
                           {c.data(), m, n});
        ASSERT_EQ(c, expected) << isa << ' ' << threads << ' ' << kind << ' ' << m;
        if (tb || !kernels::active().panels) continue;
        std::fill(c.begin(), c.end(), 2.0F);  // also where the library's product is faster
        multiply_int8_panels({a.data(), DType::i8, ta ? k : m, ta ? m : k, a_stride, ta},
                             {b.data(), DType::i8, k, n, b_stride, false}, factors, accumulate, {c.data(), m, n});
        ASSERT_EQ(c, expected) << "panels " << threads << ' ' << kind << ' ' << m;
      }
    }
  }
  core::set_threads(0);
  std::vector<float> c(4), factors(2);
  const auto a = codes(2 * 200'000);
  const Operand long_rows{a.data(), DType::i8, 2, 200'000, 200'000, false};
  const Operand long_columns{a.data(), DType::i8, 2, 200'000, 200'000, true};
  EXPECT_THROW(multiply_int8_rows(long_rows, long_columns, factors, false, {c.data(), 2, 2}), ShapeError);
  const Operand small{a.data(), DType::i8, 2, 2, 2, false};
  EXPECT_NO_THROW(multiply_int8_rows(small, small, factors, false, {c.data(), 2, 2}));
  EXPECT_THROW(multiply_int8_rows(small, small, std::span(factors).first(1), false, {c.data(), 2, 2}), ShapeError);
  EXPECT_THROW(multiply_int8_rows(small, long_rows, factors, false, {c.data(), 2, 2}), ShapeError);
  EXPECT_GE(multiply_int8_rows_scratch(700, 20, 64, false), 16U * 64);
  EXPECT_GE(multiply_int8_rows_scratch(700, 20, 64, true), 16U * 64);
}

TEST(Product, ShapesAndTypesMustFit) {
  core::Random random(4);
  const Sample a(4, 5, random);
  const Sample b(5, 6, random);
  std::vector<float> c(24);
  EXPECT_THROW(multiply(a.as(DType::f32, true), b.as(DType::f32, false), 1, false, {c.data(), 4, 6}), ShapeError);
  EXPECT_THROW(multiply(a.as(DType::f32, false), b.as(DType::bf16, false), 1, false, {c.data(), 4, 6}), ShapeError);
  EXPECT_THROW(multiply(a.as(DType::f32, false), b.as(DType::f32, false), 1, false, {c.data(), 6, 4}), ShapeError);
}

}  // namespace
}  // namespace rpt::tensor
