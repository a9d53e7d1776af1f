// SPDX-License-Identifier: MIT
#include "rpt/tensor/rows.h"

#include <gtest/gtest.h>

#include <cmath>

#include "rpt/kernels/isa.h"
#include "tests/unit/tensor/random_tensor.h"

namespace rpt::tensor {
namespace {

TEST(QuantiseRows, PadsWithZerosAndFindsTheFirstBadRow) {
  Tensor x = random_tensor(3, 100, 1);
  QuantisedRows q;
  ASSERT_EQ(quantise_rows(x.view(), q), -1);
  EXPECT_EQ(q.stride, 128);
  for (std::int64_t t = 0; t < 3; ++t) {
    std::int32_t sum = 0;
    float largest = 0;
    for (std::int64_t k = 0; k < 128; ++k) {
      const int code = q.q[static_cast<std::size_t>(t * 128 + k)];
      if (k >= 100) {
        EXPECT_EQ(code, 0);
      }
      sum += code;
      if (k < 100) largest = std::max(largest, std::fabs(x.view().row(t)[k]));
    }
    EXPECT_EQ(sum, q.sum[static_cast<std::size_t>(t)]);
    EXPECT_EQ(largest, q.amax[static_cast<std::size_t>(t)]);
  }
  x.view().row(2)[7] = HUGE_VALF;
  EXPECT_EQ(quantise_rows(x.view(), q), 2);
  x.view().row(1)[99] = std::nanf("");
  EXPECT_EQ(quantise_rows(x.view(), q), 1);
}

TEST(FirstNotFinite, IsTheFirstRow) {
  Tensor x = random_tensor(3, 5, 1);
  EXPECT_EQ(first_not_finite(x.view()), -1);
  x.view().row(2)[4] = HUGE_VALF;
  EXPECT_EQ(first_not_finite(x.view()), 2);
  x.view().row(1)[0] = std::nanf("");
  EXPECT_EQ(first_not_finite(x.view()), 1);
}

TEST(RowOperations, RefuseShapesThatDoNotFit) {
  Tensor a(2, 3), b(2, 4), c(3, 3);
  const std::vector<float> gain(3, 1.0F);
  EXPECT_THROW((void)rms_norm(a.view(), gain, 1e-5F, b.view()), ShapeError);
  EXPECT_THROW((void)rms_norm(b.view(), gain, 1e-5F, b.view()), ShapeError);
  EXPECT_THROW(gate_mul(Gating::relu2, a.view(), b.view(), a.view()), ShapeError);
  EXPECT_THROW(gate_mul(Gating::silu, a.view(), c.view(), a.view()), ShapeError);
  QuantisedRows q;
  EXPECT_THROW(norm_and_quantise(b.view(), gain, 1e-5F, q), ShapeError);
  EXPECT_THROW(gate_norm_and_quantise(Gating::relu2, a.view(), c.view(), gain, 1e-5F, q), ShapeError);
  EXPECT_THROW(gate_norm_and_quantise(Gating::relu2, b.view(), b.view(), gain, 1e-5F, q), ShapeError);
  EXPECT_THROW(rms_norm_backward(a.view(), gain, 1e-5F, a.view(), false, a.view(), a.view()), ShapeError);
  Tensor dgain(1, 3);
  EXPECT_THROW(
      gate_norm_backward(Gating::silu, a.view(), a.view(), gain, 1e-5F, c.view(), a.view(), a.view(), dgain.view()),
      ShapeError);
  EXPECT_THROW(add(a.view(), c.view()), ShapeError);
}

TEST(RowOperations, WorkRowByRow) {
  const Tensor x = random_tensor(40, 33, 5), up = random_tensor(40, 33, 6);
  const std::vector<float> gain(33, 2.0F);
  Tensor normed(40, 33), relu(40, 33), silu(40, 33), sum = random_tensor(40, 33, 5);
  EXPECT_EQ(rms_norm(x.view(), gain, 1e-5F, normed.view()), -1);
  gate_mul(Gating::relu2, x.view(), up.view(), relu.view());
  gate_mul(Gating::silu, x.view(), up.view(), silu.view());
  add(sum.view(), up.view());
  for (std::int64_t t = 0; t < 40; ++t) {
    double squares = 0;
    for (std::int64_t i = 0; i < 33; ++i) squares += std::pow(static_cast<double>(x.view().row(t)[i]), 2);
    const double r = 1 / std::sqrt(squares / 33 + 1e-5);
    for (std::int64_t i = 0; i < 33; ++i) {
      const double g = static_cast<double>(x.view().row(t)[i]), u = static_cast<double>(up.view().row(t)[i]);
      const auto near = [&](const Tensor& got, double want) {
        ASSERT_NEAR(static_cast<double>(const_cast<Tensor&>(got).view().row(t)[i]), want,
                    16 * std::ldexp(1.0, -24) * std::abs(want));
      };
      near(normed, g * r * 2);
      near(relu, std::pow(std::max(g, 0.0), 2) * u);
      near(silu, g / (1 + std::exp(-g)) * u);
      EXPECT_EQ(sum.view().row(t)[i], x.view().row(t)[i] + up.view().row(t)[i]);
    }
  }
}

TEST(RmsNorm, NamesTheFirstRowWhoseSquaresOverflow) {
  Tensor x = random_tensor(40, 33, 5), y(40, 33);
  const std::vector<float> gain(33, 1.0F);
  x.view().row(30)[3] = 3e19F;
  EXPECT_EQ(rms_norm(x.view(), gain, 1e-5F, y.view()), 30);
  x.view().row(7)[32] = std::nanf("");
  EXPECT_EQ(rms_norm(x.view(), gain, 1e-5F, y.view()), 7);
}

std::vector<float> gains(std::int64_t n) {
  const Tensor random = random_tensor(1, n, 3);
  return {random.data(), random.data() + n};
}

void expect_same(const QuantisedRows& a, const QuantisedRows& b) {
  EXPECT_EQ(a.amax, b.amax);
  EXPECT_EQ(a.sum, b.sum);
  ASSERT_EQ(a.stride, b.stride);
  EXPECT_TRUE(std::equal(a.q.data(), a.q.data() + a.rows * a.stride, b.q.data()));
}

TEST(NormAndQuantise, GivesTheBitsOfItsParts) {
  const Tensor x = random_tensor(100, 200, 5), up = random_tensor(100, 200, 6);
  const std::vector<float> gain = gains(200);
  Tensor normed(100, 200);
  QuantisedRows parts, whole;
  ASSERT_EQ(rms_norm(x.view(), gain, 1e-5F, normed.view()), -1);
  ASSERT_EQ(quantise_rows(normed.view(), parts), -1);
  const UnusableRows bad = norm_and_quantise(x.view(), gain, 1e-5F, whole);
  EXPECT_EQ(bad.norm, -1);
  EXPECT_EQ(bad.value, -1);
  expect_same(parts, whole);
  for (const Gating gating : {Gating::relu2, Gating::silu}) {
    gate_mul(gating, x.view(), up.view(), normed.view());
    ASSERT_EQ(rms_norm(normed.view(), gain, 1e-5F, normed.view()), -1);
    ASSERT_EQ(quantise_rows(normed.view(), parts), -1);
    EXPECT_EQ(gate_norm_and_quantise(gating, x.view(), up.view(), gain, 1e-5F, whole).norm, -1);
    expect_same(parts, whole);
  }
}

TEST(NormAndQuantise, NamesTheFirstRowsItCannotUse) {
  Tensor x = random_tensor(40, 33, 5);
  std::vector<float> gain(33, 1.0F);
  QuantisedRows q;
  x.view().row(30)[3] = 3e19F;
  x.view().row(9)[32] = std::nanf("");
  EXPECT_EQ(norm_and_quantise(x.view(), gain, 1e-5F, q).norm, 9);
  x = random_tensor(40, 33, 5);
  gain[7] = 3e38F;  // the square is of the row, not of what the gain makes of it
  x.view().row(12)[7] = 30;
  const UnusableRows bad = norm_and_quantise(x.view(), gain, 1e-5F, q);
  EXPECT_EQ(bad.norm, -1);
  EXPECT_LE(bad.value, 12);
  EXPECT_GE(bad.value, 0);
}

TEST(GateNormBackward, GivesTheBitsOfItsParts) {
  const Tensor gate = random_tensor(130, 70, 5), up = random_tensor(130, 70, 6), dy = random_tensor(130, 70, 7);
  const std::vector<float> gain = gains(70);
  const auto& table = kernels::active();
  for (const Gating gating : {Gating::relu2, Gating::silu}) {
    Tensor activated(130, 70), dactivated(130, 70), dgain(1, 70);
    Tensor dgate(130, 70), dup(130, 70), whole_gate(130, 70), whole_up(130, 70), whole_gain(1, 70);
    gate_mul(gating, gate.view(), up.view(), activated.view());
    rms_norm_backward(activated.view(), gain, 1e-5F, dy.view(), false, dactivated.view(), dgain.view());
    if (gating == Gating::silu) {
      table.silu_mul_backward(gate.data(), up.data(), dactivated.data(), 130 * 70, dgate.data(), dup.data());
    } else {
      for (std::int64_t i = 0; i < 130 * 70; ++i) {
        const float r = std::max(gate.data()[i], 0.0F);
        dgate.data()[i] = (2 * r) * (up.data()[i] * dactivated.data()[i]);
        dup.data()[i] = (r * r) * dactivated.data()[i];
      }
    }
    gate_norm_backward(gating, gate.view(), up.view(), gain, 1e-5F, dy.view(), whole_gate.view(), whole_up.view(),
                       whole_gain.view());
    for (std::int64_t i = 0; i < 130 * 70; ++i) {
      ASSERT_EQ(whole_gate.data()[i], dgate.data()[i]) << i;
      ASSERT_EQ(whole_up.data()[i], dup.data()[i]) << i;
    }
    for (std::int64_t i = 0; i < 70; ++i) ASSERT_EQ(whole_gain.data()[i], dgain.data()[i]) << i;
  }
}

TEST(QuantiseRows, AnotherWidthLeavesNothingBehind) {
  QuantisedRows q;
  const Tensor wide = random_tensor(4, 256, 1), narrow = random_tensor(4, 200, 2);
  quantise_rows(wide.view(), q);
  quantise_rows(narrow.view(), q);
  for (std::int64_t t = 0; t < 4; ++t) {
    for (std::int64_t k = 200; k < 256; ++k) ASSERT_EQ(q.q[static_cast<std::size_t>(t * 256 + k)], 0);
  }
}

}  // namespace
}  // namespace rpt::tensor
