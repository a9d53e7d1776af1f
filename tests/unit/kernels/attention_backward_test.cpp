// SPDX-License-Identifier: MIT
#include "rpt/kernels/reference/training.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "tests/unit/kernels/doubles.h"

namespace rpt::kernels::test {
namespace {

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

/// The gradients of `heads` query heads over one key/value head, in double, heads side by side: q [T, heads · d].
AttentionGradients attention_gradients(const Doubles& q, const Doubles& k, const Doubles& v, const Doubles& dout,
                                       std::int64_t d, std::int64_t heads = 1, bool in_bf16 = false) {
  const auto positions = static_cast<std::int64_t>(k.size()) / d;
  AttentionGradients g{Doubles(q.size()), Doubles(k.size()), Doubles(k.size())};
  Doubles scratch(static_cast<std::size_t>(2 * positions));
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

TEST(AttentionBackwardReference, AgainstFiniteDifferences) {
  Random random(4);
  const std::size_t positions = 5;
  const std::size_t d = 6;
  const auto n = static_cast<std::int64_t>(positions * d);
  const Doubles q = random_doubles(random, n, -1, 1);
  const Doubles k = random_doubles(random, n, -1, 1);
  const Doubles v = random_doubles(random, n, -1, 1);
  const Doubles dout = random_doubles(random, n, -1, 1);
  const AttentionGradients g = attention_gradients(q, k, v, dout, static_cast<std::int64_t>(d));
  expect_gradient([&](const Doubles& moved) { return attention(moved, k, v, positions, d); }, q, dout, g.q);
  expect_gradient([&](const Doubles& moved) { return attention(q, moved, v, positions, d); }, k, dout, g.k);
  expect_gradient([&](const Doubles& moved) { return attention(q, k, moved, positions, d); }, v, dout, g.v);
}

class AttentionGradient : public ::testing::TestWithParam<std::string> {
 protected:
  const KernelTable& table() const { return table_of(GetParam()); }
};

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

TEST_P(AttentionGradient, OfOneHeadAmongOthers) {
  Random random(8);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const std::size_t d : {8U, 24U, 32U, 64U, 72U, 80U, 128U}) {
    for (const std::size_t positions : {1U, 2U, 3U, 4U, 5U, 15U, 16U, 17U, 66U, 96U}) {
      const auto n = static_cast<std::int64_t>(positions * d);
      const Doubles q = random_doubles(random, n, -1, 1);
      const Doubles k = random_doubles(random, n, -1, 1);
      const Doubles v = random_doubles(random, n, -1, 1);
      const Doubles dout = random_doubles(random, n, -1, 1);
      const AttentionGradients expected = attention_gradients(q, k, v, dout, static_cast<std::int64_t>(d));
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
      std::vector<float> scratch(
          static_cast<std::size_t>(attention_backward_scratch(a.positions, a.head_size, 1, false)), nan);
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

struct GroupGradients {
  std::vector<float> q, k, v;
};

GroupGradients found_gradients(const KernelTable& table, bool in_bf16, const Doubles& q, const Doubles& k,
                               const Doubles& v, const Doubles& dout, std::int64_t heads, std::int64_t d) {
  const auto positions = static_cast<std::int64_t>(k.size()) / d;
  const auto qf = narrow(q);
  const auto kf = narrow(k);
  const auto vf = narrow(v);
  const auto doutf = narrow(dout);
  GroupGradients g{std::vector<float>(q.size(), 7), std::vector<float>(k.size()), std::vector<float>(k.size())};
  // What is in the scratch space is not read, what stands behind it not touched.
  const auto needed = static_cast<std::size_t>(attention_backward_scratch(positions, d, heads, in_bf16));
  std::vector<float> scratch(needed + 64, std::numeric_limits<float>::quiet_NaN());
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
  (in_bf16 ? table.attention_backward_bf16 : table.attention_backward)(a);
  for (std::size_t i = needed; i < scratch.size(); ++i) EXPECT_TRUE(std::isnan(scratch[i])) << "past the scratch space";
  return g;
}

/// ‖found − expected‖ / ‖expected‖.
double relative_distance(const std::vector<float>& found, const Doubles& expected) {
  Doubles rest = wide(found);
  for (std::size_t i = 0; i < rest.size(); ++i) rest[i] -= expected[i];
  return std::sqrt(dot(rest, rest) / dot(expected, expected));
}

TEST_P(AttentionGradient, OfGroups) {
  Random random(12);
  for (const std::int64_t heads : {1, 2, 3, 4, 5}) {
    for (const std::int64_t d : {32, 40, 64, 96}) {
      for (const std::int64_t positions : {2, 16, 31, 70}) {
        const Doubles q = random_doubles(random, positions * heads * d, -1, 1);
        const Doubles k = random_doubles(random, positions * d, -1, 1);
        const Doubles v = random_doubles(random, positions * d, -1, 1);
        const Doubles dout = random_doubles(random, positions * heads * d, -1, 1);
        const AttentionGradients exact = attention_gradients(q, k, v, dout, d, heads);
        const GroupGradients found = found_gradients(table(), false, q, k, v, dout, heads, d);
        // Roundings of sums of D, T and heads · T terms, each half a unit, a dozen of each kind.
        const double bound = 0x1p-24 * (64 + 12 * std::sqrt(static_cast<double>(d + heads * positions)));
        EXPECT_LT(relative_distance(found.q, exact.q), bound) << heads << ' ' << d << ' ' << positions;
        EXPECT_LT(relative_distance(found.k, exact.k), bound) << heads << ' ' << d << ' ' << positions;
        EXPECT_LT(relative_distance(found.v, exact.v), bound) << heads << ' ' << d << ' ' << positions;
        if (d % 32 != 0) continue;
        const AttentionGradients rounded = attention_gradients(q, k, v, dout, d, heads, true);
        const GroupGradients bf16 = found_gradients(table(), true, q, k, v, dout, heads, d);
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

INSTANTIATE_TEST_SUITE_P(Isa, AttentionGradient, ::testing::ValuesIn(all_isas()), isa_test_name);

}  // namespace
}  // namespace rpt::kernels::test
