// SPDX-License-Identifier: MIT
#include "rpt/kernels/reference/training.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "rpt/core/float16.h"
#include "rpt/kernels/reference/training_rows.h"
#include "tests/unit/kernels/doubles.h"

namespace rpt::kernels::test {
namespace {

// ---- the layers in double, by their textbook formulas --------------------------------------------------------------

Doubles rms_norm(const Doubles& x, const Doubles& gain, double eps) {
  const double r = 1 / std::sqrt(dot(x, x) / static_cast<double>(x.size()) + eps);
  Doubles y(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) y[i] = x[i] * r * gain[i];
  return y;
}

double silu(double g) {
  return g / (1 + std::exp(-g));
}

double relu2(double g) {
  return g > 0 ? g * g : 0;
}

TEST(TrainingReference, NormAgainstFiniteDifferences) {
  Random random(1);
  for (const std::int64_t n : {1, 7, 40}) {
    const Doubles x = random_doubles(random, n, -2, 2);
    const Doubles gain = random_doubles(random, n, -2, 2);
    const Doubles dy = random_doubles(random, n, -1, 1);
    Doubles dx(x.size());
    Doubles dgain(x.size());
    reference::rms_norm_backward(x.data(), gain.data(), dy.data(), n, 1e-3, dx.data(), dgain.data());
    expect_gradient([&](const Doubles& moved) { return rms_norm(moved, gain, 1e-3); }, x, dy, dx);
    expect_gradient([&](const Doubles& moved) { return rms_norm(x, moved, 1e-3); }, gain, dy, dgain);
    // Gradients are added.
    const Doubles once = dx;
    reference::rms_norm_backward(x.data(), gain.data(), dy.data(), n, 1e-3, dx.data(), dgain.data());
    for (std::size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(dx[i], 2 * once[i], 1e-14);
  }
}

TEST(TrainingReference, GatesAgainstFiniteDifferences) {
  Random random(2);
  const std::int64_t n = 50;
  const Doubles gate = random_doubles(random, n, -3, 3);
  const Doubles up = random_doubles(random, n, -3, 3);
  const Doubles dy = random_doubles(random, n, -1, 1);
  const auto apply = [](double (*act)(double), const Doubles& g, const Doubles& u) {
    Doubles y(g.size());
    for (std::size_t i = 0; i < g.size(); ++i) y[i] = act(g[i]) * u[i];
    return y;
  };
  Doubles dgate(gate.size());
  Doubles dup(gate.size());
  reference::silu_mul_backward(gate.data(), up.data(), dy.data(), n, dgate.data(), dup.data());
  expect_gradient([&](const Doubles& moved) { return apply(silu, moved, up); }, gate, dy, dgate);
  expect_gradient([&](const Doubles& moved) { return apply(silu, gate, moved); }, up, dy, dup);
}

TEST(TrainingReference, GateAndNormAgainstFiniteDifferences) {
  Random random(3);
  const std::int64_t n = 40;
  const Doubles gate = random_doubles(random, n, -2, 2);
  const Doubles up = random_doubles(random, n, -2, 2);
  const Doubles gain = random_doubles(random, n, -2, 2);
  const Doubles dy = random_doubles(random, n, -1, 1);
  const auto apply = [](const Doubles& g, const Doubles& u, const Doubles& factors) {
    Doubles v(g.size());
    for (std::size_t i = 0; i < g.size(); ++i) v[i] = relu2(g[i]) * u[i];
    return rms_norm(v, factors, 1e-3);
  };
  Doubles dgate(gate.size());
  Doubles dup(gate.size());
  Doubles dgain(gate.size());
  reference::relu2_norm_backward(gate.data(), up.data(), gain.data(), dy.data(), n, 1e-3, dgate.data(), dup.data(),
                                 dgain.data());
  expect_gradient([&](const Doubles& moved) { return apply(moved, up, gain); }, gate, dy, dgate);
  expect_gradient([&](const Doubles& moved) { return apply(gate, moved, gain); }, up, dy, dup);
  expect_gradient([&](const Doubles& moved) { return apply(gate, up, moved); }, gain, dy, dgain);
}

TEST(TrainingReference, RopeAgainstFiniteDifferences) {
  Random random(3);
  const Doubles angles = random_doubles(random, 4, -3, 3);
  Doubles cos;
  Doubles sin;
  for (const double a : angles) {
    cos.push_back(std::cos(a));
    sin.push_back(std::sin(a));
  }
  const Doubles x = random_doubles(random, 8, -1, 1);
  const Doubles dy = random_doubles(random, 8, -1, 1);
  const auto rotate = [&](const Doubles& v) {
    Doubles y(8);
    for (std::size_t i = 0; i < 4; ++i) {
      y[i] = v[i] * cos[i] - v[i + 4] * sin[i];
      y[i + 4] = v[i + 4] * cos[i] + v[i] * sin[i];
    }
    return y;
  };
  Doubles dx = dy;
  training::rope_halves_backward(dx.data(), cos.data(), sin.data(), 8);
  expect_gradient(rotate, x, dy, dx);
}

// ---- every set against the definition in double --------------------------------------------------------------------

class Training : public ::testing::TestWithParam<std::string> {
 protected:
  const KernelTable& table() const { return table_of(GetParam()); }
};

TEST_P(Training, NormBackward) {
  Random random(5);
  for (const std::int64_t n : kLengths) {
    const auto x = random.row(n, -2, 2);
    const auto gain = random.row(n, 0.5F, 2);
    const auto dy = random.row(n, -1, 1);
    auto dx = random.row(n, -1, 1);
    auto dgain = random.row(n, -1, 1);
    Doubles dx_wide = wide(dx);
    Doubles dgain_wide = wide(dgain);
    reference::rms_norm_backward(wide(x).data(), wide(gain).data(), wide(dy).data(), n, static_cast<double>(1e-5F),
                                 dx_wide.data(), dgain_wide.data());
    table().rms_norm_backward(x.data(), gain.data(), dy.data(), n, 1e-5F, dx.data(), dgain.data());
    // The reference adds n numbers one after another, the other sets in 16 lanes.
    expect_near(dx, dx_wide, 32 + static_cast<double>(n));
    expect_near(dgain, dgain_wide, 32 + static_cast<double>(n));
  }
}

TEST_P(Training, GatesBackward) {
  Random random(6);
  for (const std::int64_t n : kLengths) {
    const auto gate = random.row(n, -6, 6);
    const auto up = random.row(n, -2, 2);
    const auto dy = random.row(n, -1, 1);
    Doubles dgate_wide(gate.size());
    Doubles dup_wide(gate.size());
    std::vector<float> dgate(gate.size());
    std::vector<float> dup(gate.size());
    reference::silu_mul_backward(wide(gate).data(), wide(up).data(), wide(dy).data(), n, dgate_wide.data(),
                                 dup_wide.data());
    table().silu_mul_backward(gate.data(), up.data(), dy.data(), n, dgate.data(), dup.data());
    expect_near(dgate, dgate_wide, 32);
    expect_near(dup, dup_wide, 32);
    auto gate_in_place = gate;
    auto up_in_place = up;
    table().silu_mul_backward(gate_in_place.data(), up_in_place.data(), dy.data(), n, gate_in_place.data(),
                              up_in_place.data());
    EXPECT_EQ(gate_in_place, dgate);
    EXPECT_EQ(up_in_place, dup);
  }
}

TEST_P(Training, GateAndNormBackward) {
  Random random(13);
  for (const std::int64_t n : kLengths) {
    const auto gate = random.row(n, 0.5F, 2);
    const auto up = random.row(n, 0.5F, 2);
    const auto gain = random.row(n, 0.5F, 2);
    const auto dy = random.row(n, -1, 1);
    std::vector<float> dgate(gate.size());
    std::vector<float> dup(gate.size());
    auto dgain = random.row(n, -1, 1);
    Doubles dgate_wide(gate.size());
    Doubles dup_wide(gate.size());
    Doubles dgain_wide = wide(dgain);
    reference::relu2_norm_backward(wide(gate).data(), wide(up).data(), wide(gain).data(), wide(dy).data(), n,
                                   static_cast<double>(1e-5F), dgate_wide.data(), dup_wide.data(), dgain_wide.data());
    table().relu2_norm_backward(gate.data(), up.data(), gain.data(), dy.data(), n, 1e-5F, dgate.data(), dup.data(),
                                dgain.data());
    // As NormBackward, with some roundings more for v. The gradients are differences of two terms, each at most
    // 8 (1 / rms) · 2 (gain · dy), times 8 (2 · r · up).
    const double roundings = 48 + static_cast<double>(n);
    const double noise = roundings * 0x1p-24 * 128;
    for (std::size_t i = 0; i < gate.size(); ++i) {
      ASSERT_NEAR(dgate[i], dgate_wide[i], noise) << n << ' ' << i;
      ASSERT_NEAR(dup[i], dup_wide[i], noise) << n << ' ' << i;
    }
    expect_near(dgain, dgain_wide, roundings);
    auto gate_in_place = gate;
    auto up_in_place = up;
    table().relu2_norm_backward(gate_in_place.data(), up_in_place.data(), gain.data(), dy.data(), n, 1e-5F,
                                gate_in_place.data(), up_in_place.data(), dgain.data());
    EXPECT_EQ(gate_in_place, dgate);
    EXPECT_EQ(up_in_place, dup);
  }
}

TEST_P(Training, RopeBackwardUndoesRope) {
  Random random(7);
  for (const std::int64_t size : {2, 32, 64, 80, 128}) {
    std::vector<float> cos;
    std::vector<float> sin;
    for (std::int64_t i = 0; i < size / 2; ++i) {
      const auto angle = static_cast<double>(random.uniform(-3, 3));
      cos.push_back(static_cast<float>(std::cos(angle)));
      sin.push_back(static_cast<float>(std::sin(angle)));
    }
    const auto x = random.row(size, -1, 1);
    auto y = x;
    table().rope_halves(y.data(), cos.data(), sin.data(), size);
    table().rope_halves_backward(y.data(), cos.data(), sin.data(), size);
    expect_near(y, wide(x), 12);
  }
}

TEST_P(Training, SumsAndSoftmax) {
  Random random(10);
  for (const std::int64_t n : kLengths) {
    auto x = random.row(n, -9, 9);
    const Doubles x_wide = wide(x);
    EXPECT_NEAR(table().sum_squares(x.data(), n), dot(x_wide, x_wide), 1e-13 * dot(x_wide, x_wide));
    auto again = x;
    std::vector<std::uint16_t> rounded(x.size());
    table().softmax_to_bf16(again.data(), n, 2.5F, 0.125F, rounded.data());
    table().softmax_scaled(x.data(), n, 2.5F, 0.125F);
    for (std::size_t i = 0; i < x.size(); ++i) ASSERT_EQ(rounded[i], core::float_to_bf16(x[i])) << i;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double expected = 0.125 * std::exp(x_wide[i] - 2.5);
      ASSERT_NEAR(x[i], expected, 1e-6 * expected);
    }
  }
}

TEST_P(Training, AdamwAgainstDouble) {
  Random random(11);
  for (const std::int64_t n : kLengths) {
    auto weight = random.row(n, -1, 1);
    const auto gradient = random.row(n, -1, 1);
    auto m = random.row(n, -1, 1);
    auto v = random.row(n, 0, 1);
    Doubles expected;
    for (std::size_t i = 0; i < weight.size(); ++i) {
      const double g = gradient[i] * 0.5;
      const double m1 = 0.9 * m[i] + 0.1 * g;
      const double v1 = 0.95 * v[i] + 0.05 * g * g;
      expected.push_back(weight[i] * 0.999 - 0.01 * m1 / (std::sqrt(v1) * 1.5 + 1e-8));
    }
    AdamwStep a;
    a.weight = weight.data();
    a.gradient = gradient.data();
    a.m = m.data();
    a.v = v.data();
    a.n = n;
    a.clip = 0.5F;
    a.beta1 = 0.9F;
    a.beta2 = 0.95F;
    a.keep = 0.999F;
    a.rate = 0.01F;
    a.root = 1.5F;
    a.eps = 1e-8F;
    table().adamw(a);
    for (std::size_t i = 0; i < weight.size(); ++i) ASSERT_NEAR(weight[i], expected[i], 2e-6);
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, Training, ::testing::ValuesIn(all_isas()), isa_test_name);

}  // namespace
}  // namespace rpt::kernels::test
