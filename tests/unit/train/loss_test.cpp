// SPDX-License-Identifier: MIT
#include "rpt/train/loss.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "rpt/core/error.h"
#include "rpt/core/random.h"
#include "tests/unit/train/step_test_support.h"

namespace rpt::train {
namespace {

/// One call of HeadLoss::add, and its sum and gradients.
struct Outcome {
  double sum = 0;
  tensor::Tensor dhidden, dhead;
};

class HeadLossTest : public ::testing::Test {
 protected:
  // More rows than are held at once, of which every fifth has no target; few targets, so that many share one.
  static constexpr std::int64_t kRows = 1100;
  static constexpr float kWeight = 0.25F;

  void SetUp() override {
    core::Random random(11);
    hidden_.reshape(kRows, head().values().columns);
    for (std::int64_t i = 0; i < kRows * hidden_.columns(); ++i) {
      hidden_.data()[i] = static_cast<float>(random.uniform() * 4 - 2);
    }
    for (std::int64_t t = 0; t < kRows; ++t) {
      targets_.push_back(t % 5 == 0 ? -1 : static_cast<std::int32_t>(random.below(7)));
    }
    ASSERT_LT(HeadLoss::rows_at_once(head().values().rows), kRows);
  }

  const model::EmbeddingWeight& head() const { return parameters_->model().weights.output(); }

  Outcome add(model::BackwardType type, std::int64_t step, float before = 0, bool overwrites = false) {
    model::BackwardWork work(type == model::BackwardType::int8 ? type : model::BackwardType::f32);
    work.begin_step(1, step);
    Outcome out;
    out.dhidden.reshape(kRows, head().values().columns);
    out.dhead.reshape(head().values().rows, head().values().columns);
    std::fill_n(out.dhead.data(), head().values().rows * head().values().columns, before);
    HeadLoss loss(type);
    out.sum =
        loss.add(head(), hidden_.view(), targets_, kWeight, work, out.dhidden.view(), out.dhead.view(), overwrites);
    return out;
  }

  /// |x − y| / |y| of whole matrices.
  static double distance(const std::vector<double>& x, const tensor::Tensor& y) {
    double off = 0;
    double size = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const auto expected = static_cast<double>(y.data()[i]);
      off += (x[i] - expected) * (x[i] - expected);
      size += expected * expected;
    }
    return std::sqrt(off / size);
  }
  static void add_to(std::vector<double>& sums, const tensor::Tensor& x, double factor) {
    sums.resize(static_cast<std::size_t>(x.rows() * x.columns()));
    for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += factor * static_cast<double>(x.data()[i]);
  }

  std::unique_ptr<Parameters> parameters_ = test::tiny_parameters();
  tensor::Tensor hidden_;
  std::vector<std::int32_t> targets_;
};

TEST_F(HeadLossTest, Int8GradientsAreRightOnAverage) {
  if (model::BackwardType type = model::BackwardType::int8; !tensor::multiplies_int8()) {
    EXPECT_THROW(HeadLoss{type}, EnvironmentError);
    return;
  }
  const Outcome expected = add(model::BackwardType::f32, 1);
  constexpr int kTimes = 64;
  std::vector<double> hidden_mean, head_mean;
  for (int i = 1; i <= kTimes; ++i) {
    const Outcome one = add(model::BackwardType::int8, i);
    EXPECT_NEAR(one.sum, expected.sum, 2e-3 * expected.sum);  // logits of bf16
    for (std::int64_t t = 0; t < kRows; t += 5) {
      for (std::int64_t h = 0; h < hidden_.columns(); ++h) ASSERT_EQ(one.dhidden.view().row(t)[h], 0.0F) << t;
    }
    std::vector<double> hidden_one, head_one;
    add_to(hidden_one, one.dhidden, 1);
    add_to(head_one, one.dhead, 1);
    EXPECT_LE(distance(hidden_one, expected.dhidden), 0.03);
    EXPECT_LE(distance(head_one, expected.dhead), 0.03);
    add_to(hidden_mean, one.dhidden, 1.0 / kTimes);
    add_to(head_mean, one.dhead, 1.0 / kTimes);
  }
  // What is left: logits and hidden states, which are rounded to the nearest.
  EXPECT_LE(distance(hidden_mean, expected.dhidden), 0.006);
  EXPECT_LE(distance(head_mean, expected.dhead), 0.006);
}

TEST_F(HeadLossTest, Int8GradientsAreAddedOrWritten) {
  if (!tensor::multiplies_int8()) return;
  const Outcome clean = add(model::BackwardType::int8, 1);
  const Outcome written = add(model::BackwardType::int8, 1, 3.0F, true);
  const Outcome added = add(model::BackwardType::int8, 1, 3.0F, false);
  for (std::int64_t i = 0; i < head().values().rows * head().values().columns; ++i) {
    ASSERT_EQ(written.dhead.data()[i], clean.dhead.data()[i]);
    ASSERT_NEAR(added.dhead.data()[i], 3.0F + clean.dhead.data()[i], 1e-4F);
  }
}

}  // namespace
}  // namespace rpt::train
