// SPDX-License-Identifier: MIT
// Kernels of training that treat every number by itself: conversions, codes, scaled sums.
#include "rpt/kernels/reference/training_rows.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "rpt/core/float16.h"
#include "tests/unit/kernels/kernel_testing.h"

namespace rpt::kernels::test {
namespace {

class TrainingRows : public ::testing::TestWithParam<std::string> {
 protected:
  const KernelTable& table() const { return table_of(GetParam()); }
};

TEST_P(TrainingRows, ConversionsAreExact) {
  Random random(9);
  for (const std::int64_t n : kLengths) {
    auto x = random.awkward_row(n);
    x[0] = std::numeric_limits<float>::quiet_NaN();
    std::vector<std::uint16_t> y(x.size());
    table().scale_to_bf16(x.data(), n, 0.75F, y.data());
    for (std::size_t i = 0; i < x.size(); ++i) ASSERT_EQ(y[i], core::float_to_bf16(x[i] * 0.75F)) << x[i];

    // Subnormal numbers may go; a row of its own, since the others hold some.
    const auto normal = random.row(n, -3, 3);
    std::vector<std::uint16_t> plain(x.size());
    std::vector<std::uint16_t> scaled(x.size());
    table().gradient_to_bf16(normal.data(), n, 0.75F, plain.data(), scaled.data());
    for (std::size_t i = 0; i < x.size(); ++i) {
      ASSERT_EQ(plain[i], core::float_to_bf16(normal[i]));
      ASSERT_EQ(scaled[i], core::float_to_bf16(normal[i] * 0.75F));
    }

    std::vector<std::int8_t> q(x.size());
    for (auto& v : q) v = static_cast<std::int8_t>(random.below(256) - 128);
    table().int8_to_bf16(q.data(), n, y.data());
    for (std::size_t i = 0; i < x.size(); ++i) ASSERT_EQ(core::bf16_to_float(y[i]), static_cast<float>(q[i]));

    std::vector<std::uint8_t> row(static_cast<std::size_t>((n + 127) / 128 * 32));
    std::vector<float> codes(x.size());
    for (std::int64_t k = 0; k < n; ++k) {
      const auto code = static_cast<int>(random.below(3));
      codes[static_cast<std::size_t>(k)] = static_cast<float>(code - 1);
      const auto at = static_cast<std::size_t>(k / 128 * 32 + k % 32);
      row[at] = static_cast<std::uint8_t>(row[at] | (code << (6 - 2 * (k % 128 / 32))));
    }
    table().ternary2_to_int8(row.data(), n, q.data());
    for (std::size_t i = 0; i < x.size(); ++i) ASSERT_EQ(static_cast<float>(q[i]), codes[i]) << i;
    table().ternary2_to_bf16(row.data(), n, y.data());
    for (std::size_t i = 0; i < x.size(); ++i) ASSERT_EQ(core::bf16_to_float(y[i]), codes[i]) << i;
  }
}

TEST_P(TrainingRows, MaximaOfGradients) {
  Random random(12);
  for (const std::int64_t n : kLengths) {
    const auto x = random.row(n, -9, 9);
    auto column = random.row(n, 0, 3);
    const auto before = column;
    float most = 0;
    for (const float v : x) most = std::max(most, std::abs(v));
    EXPECT_EQ(table().gradient_maxima(x.data(), n, 0.5F, column.data()), most);
    for (std::size_t i = 0; i < x.size(); ++i) ASSERT_EQ(column[i], std::max(before[i], std::abs(x[i] * 0.5F)));

    auto bad = x;
    bad.back() = std::numeric_limits<float>::infinity();
    EXPECT_TRUE(std::isinf(table().gradient_maxima(bad.data(), n, 1, column.data())));
    bad.front() = std::numeric_limits<float>::quiet_NaN();
    EXPECT_TRUE(std::isnan(table().gradient_maxima(bad.data(), n, 1, column.data())));
    EXPECT_TRUE(std::isnan(column.front()));
    table().gradient_maxima(x.data(), n, 1, column.data());
    EXPECT_TRUE(std::isnan(column.front()));  // stays
  }
}

TEST_P(TrainingRows, CodesOfGradientsAreRightOnAverage) {
  Random random(13);
  for (const std::int64_t n : kLengths) {
    const auto x = random.row(n, -1, 1);
    const auto inverses = random.row(n, 1, 250);
    std::vector<std::int8_t> rows(x.size()), columns(x.size()), reference_rows(x.size()), reference_columns(x.size());
    GradientCodes a;
    a.x = x.data();
    a.n = n;
    a.row_inverse = 126.7F;
    a.factor = 0.5F;
    a.column_inverse = inverses.data();
    constexpr int kKeys = 400;
    std::vector<double> row_means(x.size()), column_means(x.size());
    for (a.key = 0; a.key < kKeys; ++a.key) {
      a.by_row = reference_rows.data();
      a.by_column = reference_columns.data();
      training::gradient_codes(a);
      a.by_row = rows.data();
      a.by_column = columns.data();
      table().gradient_codes(a);
      ASSERT_EQ(rows, reference_rows);
      ASSERT_EQ(columns, reference_columns);
      for (std::size_t i = 0; i < x.size(); ++i) {
        ASSERT_LE(std::abs(static_cast<float>(rows[i]) - x[i] * 126.7F), 1.0F);
        row_means[i] += rows[i] / static_cast<double>(kKeys);
        column_means[i] += columns[i] / static_cast<double>(kKeys);
      }
    }
    // Standard error at most 0.5 / 20.
    for (std::size_t i = 0; i < x.size(); ++i) {
      ASSERT_NEAR(row_means[i], static_cast<double>(x[i] * 126.7F), 0.13);
      ASSERT_NEAR(column_means[i], static_cast<double>(x[i] * 0.5F * inverses[i]), 0.13);
    }
    const std::vector<float> beyond(x.size(), -9.0F);
    a.x = beyond.data();
    table().gradient_codes(a);
    for (const std::int8_t code : rows) ASSERT_EQ(code, -127);
    const std::vector<float> none(x.size(), std::numeric_limits<float>::quiet_NaN());
    a.x = none.data();
    table().gradient_codes(a);
    for (const std::int8_t code : columns) ASSERT_EQ(code, -127);
  }
}

TEST_P(TrainingRows, ScaledSumsAreAdded) {
  Random random(14);
  for (const std::int64_t n : kLengths) {
    auto y = random.row(n, -1, 1);
    const auto before = y;
    std::vector<std::int32_t> sums(y.size());
    for (auto& v : sums) v = static_cast<std::int32_t>(random.below(2'000'000)) - 1'000'000;
    table().add_scaled_int32(sums.data(), n, 0.003F, y.data());
    for (std::size_t i = 0; i < y.size(); ++i) ASSERT_EQ(y[i], before[i] + static_cast<float>(sums[i]) * 0.003F);
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, TrainingRows, ::testing::ValuesIn(all_isas()), isa_test_name);

}  // namespace
}  // namespace rpt::kernels::test
