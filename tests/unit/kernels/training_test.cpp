// SPDX-License-Identifier: MIT
#include "rpt/kernels/reference/training.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "rpt/kernels/reference/training_rows.h"
#include "tests/unit/kernels/kernel_testing.h"

namespace rpt::kernels::test {
namespace {

using Doubles = std::vector<double>;

Doubles wide(const std::vector<float>& x) {
  return {x.begin(), x.end()};
}

std::vector<float> narrow(const Doubles& x) {
  std::vector<float> y;
  for (const double v : x) y.push_back(static_cast<float>(v));
  return y;
}

/// Random numbers that float holds exactly, so that a kernel in float and its twin in double get the same input.
Doubles random_doubles(Random& random, std::int64_t n, float low, float high) {
  return wide(random.row(n, low, high));
}

double dot(const Doubles& a, const Doubles& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

double largest_of(const Doubles& x) {
  double largest = 0;
  for (const double v : x) largest = std::max(largest, std::abs(v));
  return largest;
}

/// Compares a gradient of dy · f(x) with central differences.
void expect_gradient(const std::function<Doubles(const Doubles&)>& f, const Doubles& x, const Doubles& dy,
                     const Doubles& gradient) {
  ASSERT_EQ(x.size(), gradient.size());
  const double h = 1e-6;
  for (std::size_t i = 0; i < x.size(); ++i) {
    Doubles up = x;
    Doubles down = x;
    up[i] += h;
    down[i] -= h;
    const double slope = (dot(f(up), dy) - dot(f(down), dy)) / (2 * h);
    // h²·f'''/6 and 1e-16·|f|/h both stay below 1e-8 of the values here.
    EXPECT_NEAR(slope, gradient[i], 2e-8 * (1 + largest_of(gradient))) << "element " << i;
  }
}

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

/// Causal attention of one head, everything [T, D].
Doubles attention(const Doubles& q, const Doubles& k, const Doubles& v, std::size_t positions, std::size_t d) {
  Doubles out(q.size());
  for (std::size_t t = 0; t < positions; ++t) {
    Doubles p(t + 1);
    double sum = 0;
    for (std::size_t j = 0; j <= t; ++j) {
      double z = 0;
      for (std::size_t i = 0; i < d; ++i) z += q[t * d + i] * k[j * d + i];
      p[j] = std::exp(z / std::sqrt(static_cast<double>(d)));
      sum += p[j];
    }
    for (std::size_t j = 0; j <= t; ++j) {
      for (std::size_t i = 0; i < d; ++i) out[t * d + i] += p[j] / sum * v[j * d + i];
    }
  }
  return out;
}

struct AttentionGradients {
  Doubles q, k, v;
};

AttentionGradients attention_gradients(const Doubles& q, const Doubles& k, const Doubles& v, const Doubles& dout,
                                       std::size_t positions, std::size_t d) {
  AttentionGradients g{Doubles(q.size()), Doubles(q.size()), Doubles(q.size())};
  const auto size = static_cast<std::int64_t>(d);
  const auto count = static_cast<std::int64_t>(positions);
  Doubles scratch(static_cast<std::size_t>(attention_backward_scratch(count, size, 1)));
  reference::attention_backward<double>({q.data(), dout.data(), g.q.data(), size, k.data(), v.data(), g.k.data(),
                                         g.v.data(), size, 1, count, size, 1 / std::sqrt(static_cast<double>(d)),
                                         scratch.data()});
  return g;
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
  training::relu2_mul_backward(gate.data(), up.data(), dy.data(), n, dgate.data(), dup.data());
  expect_gradient([&](const Doubles& moved) { return apply(relu2, moved, up); }, gate, dy, dgate);
  expect_gradient([&](const Doubles& moved) { return apply(relu2, gate, moved); }, up, dy, dup);
  reference::silu_mul_backward(gate.data(), up.data(), dy.data(), n, dgate.data(), dup.data());
  expect_gradient([&](const Doubles& moved) { return apply(silu, moved, up); }, gate, dy, dgate);
  expect_gradient([&](const Doubles& moved) { return apply(silu, gate, moved); }, up, dy, dup);
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

TEST(TrainingReference, AttentionAgainstFiniteDifferences) {
  Random random(4);
  const std::size_t positions = 5;
  const std::size_t d = 6;
  const auto n = static_cast<std::int64_t>(positions * d);
  const Doubles q = random_doubles(random, n, -1, 1);
  const Doubles k = random_doubles(random, n, -1, 1);
  const Doubles v = random_doubles(random, n, -1, 1);
  const Doubles dout = random_doubles(random, n, -1, 1);
  const AttentionGradients g = attention_gradients(q, k, v, dout, positions, d);
  expect_gradient([&](const Doubles& moved) { return attention(moved, k, v, positions, d); }, q, dout, g.q);
  expect_gradient([&](const Doubles& moved) { return attention(q, moved, v, positions, d); }, k, dout, g.k);
  expect_gradient([&](const Doubles& moved) { return attention(q, k, moved, positions, d); }, v, dout, g.v);
}

// ---- every set against the definition in double --------------------------------------------------------------------

class Training : public ::testing::TestWithParam<std::string> {
 protected:
  const KernelTable& table() const { return table_of(GetParam()); }
};

/// Within so many half units in the last place of the largest value.
void expect_near(const std::vector<float>& found, const Doubles& expected, double roundings) {
  const double bound = roundings * 0x1p-24 * largest_of(expected);
  for (std::size_t i = 0; i < found.size(); ++i) {
    ASSERT_NEAR(found[i], expected[i], bound) << "element " << i << " of " << found.size();
  }
}

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
    training::relu2_mul_backward(wide(gate).data(), wide(up).data(), wide(dy).data(), n, dgate_wide.data(),
                                 dup_wide.data());
    table().relu2_mul_backward(gate.data(), up.data(), dy.data(), n, dgate.data(), dup.data());
    expect_near(dgate, dgate_wide, 8);
    expect_near(dup, dup_wide, 8);
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

/// The rows [T, d] of x among rows of `stride` elements, the others `beside`.
std::vector<float> spread(const std::vector<float>& x, std::size_t d, std::size_t stride, float beside) {
  std::vector<float> y(x.size() / d * stride, beside);
  for (std::size_t i = 0; i < x.size(); ++i) y[i / d * stride + i % d] = x[i];
  return y;
}

/// The other way round; what stands beside must be `beside` still.
std::vector<float> gathered(const std::vector<float>& y, std::size_t d, std::size_t stride, float beside) {
  std::vector<float> x;
  for (std::size_t i = 0; i < y.size(); ++i) {
    if (i % stride < d) {
      x.push_back(y[i]);
    } else {
      EXPECT_EQ(y[i], beside) << "of another head";
    }
  }
  return x;
}

TEST_P(Training, AttentionBackward) {
  Random random(8);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const std::size_t d : {8U, 24U, 32U, 64U, 72U, 80U, 128U}) {
    for (const std::size_t positions : {1U, 2U, 3U, 4U, 5U, 15U, 16U, 17U, 66U, 96U}) {
      const auto n = static_cast<std::int64_t>(positions * d);
      const Doubles q = random_doubles(random, n, -1, 1);
      const Doubles k = random_doubles(random, n, -1, 1);
      const Doubles v = random_doubles(random, n, -1, 1);
      const Doubles dout = random_doubles(random, n, -1, 1);
      const AttentionGradients expected = attention_gradients(q, k, v, dout, positions, d);
      // Heads stand beside others; nothing of those, and nothing that was in the scratch space, is read.
      const std::size_t stride = 2 * d + 8;
      const std::size_t key_stride = d + 8;
      const auto qf = spread(narrow(q), d, stride, nan);
      const auto kf = narrow(k);
      const auto vf = narrow(v);
      const auto doutf = spread(narrow(dout), d, stride, nan);
      std::vector<float> dq(positions * stride, 7);  // written, not added to
      std::vector<float> dk(positions * key_stride);
      std::vector<float> dv(positions * key_stride);
      AttentionBackward a;
      a.query = qf.data();
      a.dout = doutf.data();
      a.dquery = dq.data();
      a.query_stride = static_cast<std::int64_t>(stride);
      a.key = kf.data();
      a.value = vf.data();
      a.dkey = dk.data();
      a.dvalue = dv.data();
      a.key_grad_stride = static_cast<std::int64_t>(key_stride);
      a.positions = static_cast<std::int64_t>(positions);
      a.head_size = static_cast<std::int64_t>(d);
      a.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(d)));
      std::vector<float> scratch(static_cast<std::size_t>(attention_backward_scratch(a.positions, a.head_size, 1)),
                                 nan);
      a.scratch = scratch.data();
      table().attention_backward(a);
      // Sums of D and T terms; s − δ and the exponent add a few dozen roundings. Of one position dq and dk are zero.
      const double roundings = 64 + static_cast<double>(d + positions);
      const double noise = roundings * 0x1p-24 * static_cast<double>(d);
      const auto dq_found = gathered(dq, d, stride, 7);
      const auto dk_found = gathered(dk, d, key_stride, 0);
      for (std::size_t i = 0; i < q.size(); ++i) {
        ASSERT_NEAR(dq_found[i], expected.q[i], noise) << d << ' ' << positions << ' ' << i;
        ASSERT_NEAR(dk_found[i], expected.k[i], noise) << d << ' ' << positions << ' ' << i;
      }
      if (positions == 1) {
        EXPECT_EQ(dq_found, std::vector<float>(d));
        EXPECT_EQ(dk_found, std::vector<float>(d));
      }
      expect_near(gathered(dv, d, key_stride, 0), expected.v, roundings);

      // Once more: dq is written again, the others grow.
      const std::vector<float> first = dq;
      table().attention_backward(a);
      EXPECT_EQ(dq, first);
      Doubles twice = expected.v;
      for (double& x : twice) x *= 2;
      expect_near(gathered(dv, d, key_stride, 0), twice, roundings);
      const auto dk_twice = gathered(dk, d, key_stride, 0);
      for (std::size_t i = 0; i < k.size(); ++i) ASSERT_NEAR(dk_twice[i], 2 * expected.k[i], 2 * noise);
    }
  }
}

/// The gradients of `heads` query heads over one key/value head, in double, heads side by side: q [T, heads · d].
AttentionGradients group_gradients(const Doubles& q, const Doubles& k, const Doubles& v, const Doubles& dout,
                                   std::int64_t heads, std::int64_t d, bool in_bf16) {
  const auto positions = static_cast<std::int64_t>(k.size()) / d;
  AttentionGradients g{Doubles(q.size()), Doubles(k.size()), Doubles(k.size())};
  Doubles scratch(static_cast<std::size_t>(attention_backward_scratch(positions, d, heads)));
  const reference::AttentionBackwardOf<double> a{q.data(),
                                                 dout.data(),
                                                 g.q.data(),
                                                 heads * d,
                                                 k.data(),
                                                 v.data(),
                                                 g.k.data(),
                                                 g.v.data(),
                                                 d,
                                                 heads,
                                                 positions,
                                                 d,
                                                 1 / std::sqrt(static_cast<double>(d)),
                                                 scratch.data()};
  if (in_bf16) {
    reference::attention_backward_bf16(a);
  } else {
    reference::attention_backward(a);
  }
  return g;
}

struct GroupGradients {
  std::vector<float> q, k, v;
};

GroupGradients found_gradients(void (*kernel)(const AttentionBackward&) noexcept, const Doubles& q, const Doubles& k,
                               const Doubles& v, const Doubles& dout, std::int64_t heads, std::int64_t d) {
  const auto positions = static_cast<std::int64_t>(k.size()) / d;
  const auto qf = narrow(q);
  const auto kf = narrow(k);
  const auto vf = narrow(v);
  const auto doutf = narrow(dout);
  GroupGradients g{std::vector<float>(q.size(), 7), std::vector<float>(k.size()), std::vector<float>(k.size())};
  std::vector<float> scratch(static_cast<std::size_t>(attention_backward_scratch(positions, d, heads)),
                             std::numeric_limits<float>::quiet_NaN());
  AttentionBackward a;
  a.query = qf.data();
  a.dout = doutf.data();
  a.dquery = g.q.data();
  a.query_stride = heads * d;
  a.key = kf.data();
  a.value = vf.data();
  a.dkey = g.k.data();
  a.dvalue = g.v.data();
  a.key_grad_stride = d;
  a.heads = heads;
  a.positions = positions;
  a.head_size = d;
  a.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(d)));
  a.scratch = scratch.data();
  kernel(a);
  return g;
}

/// ‖found − expected‖ / ‖expected‖.
double relative_distance(const std::vector<float>& found, const Doubles& expected) {
  Doubles rest = wide(found);
  for (std::size_t i = 0; i < rest.size(); ++i) rest[i] -= expected[i];
  return std::sqrt(dot(rest, rest) / dot(expected, expected));
}

TEST_P(Training, AttentionBackwardOfGroups) {
  Random random(12);
  for (const std::int64_t heads : {1, 2, 3, 4, 5}) {
    for (const std::int64_t d : {32, 40, 64, 96}) {
      for (const std::int64_t positions : {2, 16, 31, 70}) {
        const Doubles q = random_doubles(random, positions * heads * d, -1, 1);
        const Doubles k = random_doubles(random, positions * d, -1, 1);
        const Doubles v = random_doubles(random, positions * d, -1, 1);
        const Doubles dout = random_doubles(random, positions * heads * d, -1, 1);
        const AttentionGradients exact = group_gradients(q, k, v, dout, heads, d, false);
        const GroupGradients found = found_gradients(table().attention_backward, q, k, v, dout, heads, d);
        // Roundings of sums of D, T and heads · T terms, each half a unit, a dozen of each kind.
        const double bound = 0x1p-24 * (64 + 12 * std::sqrt(static_cast<double>(d + heads * positions)));
        EXPECT_LT(relative_distance(found.q, exact.q), bound) << heads << ' ' << d << ' ' << positions;
        EXPECT_LT(relative_distance(found.k, exact.k), bound) << heads << ' ' << d << ' ' << positions;
        EXPECT_LT(relative_distance(found.v, exact.v), bound) << heads << ' ' << d << ' ' << positions;
        if (d % 32 != 0) continue;
        const AttentionGradients rounded = group_gradients(q, k, v, dout, heads, d, true);
        const GroupGradients bf16 = found_gradients(table().attention_backward_bf16, q, k, v, dout, heads, d);
        // Against the same roundings: those of p and ds, where float32 and double fall on two sides of a tie, are off
        // by a unit of bf16 in a few of a thousand terms. Against none: two roundings of 2^-9 a term, and those of the
        // slopes, which enter ds.
        const auto check = [&](const std::vector<float>& of_set, const Doubles& same, const Doubles& none) {
          EXPECT_LT(relative_distance(of_set, same), 0x1p-11) << heads << ' ' << d << ' ' << positions;
          EXPECT_LT(relative_distance(of_set, none), 0x1p-7) << heads << ' ' << d << ' ' << positions;
          EXPECT_GT(relative_distance(of_set, none), 0x1p-11) << heads << ' ' << d << ' ' << positions;
        };
        check(bf16.q, rounded.q, exact.q);
        check(bf16.k, rounded.k, exact.k);
        check(bf16.v, rounded.v, exact.v);
      }
    }
  }
}

TEST_P(Training, SumsAndSoftmax) {
  Random random(10);
  for (const std::int64_t n : kLengths) {
    auto x = random.row(n, -9, 9);
    const Doubles x_wide = wide(x);
    EXPECT_NEAR(table().sum_squares(x.data(), n), dot(x_wide, x_wide), 1e-13 * dot(x_wide, x_wide));
    table().softmax_scaled(x.data(), n, 2.5F, 0.125F);
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
