// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "rpt/core/exact_math.h"
#include "rpt/core/float16.h"
#include "tests/unit/kernels/kernel_testing.h"

namespace rpt::kernels::test {
namespace {

/// One head with keys and values among those of other heads; the last key ends its buffer.
struct Head {
  std::int64_t keys, head_size, stride;
  std::vector<float> query;
  std::vector<std::uint16_t> key, value;

  Head(Random& random, std::int64_t key_count, std::int64_t size, std::int64_t padding, float spread)
      : keys(key_count), head_size(size), stride(size + padding), query(random.row(size, -spread, spread)) {
    const std::int64_t elements = (keys - 1) * stride + head_size;
    for (auto* store : {&key, &value}) {
      for (const float x : random.row(elements, -1.0F, 1.0F)) store->push_back(core::float_to_f16(x));
    }
    value[0] = 0x8000;  // −0
    value[value.size() / 2] = 0x0001;
  }

  std::vector<float> run(const KernelTable& table) const {
    std::vector<float> out(query.size(), -5.0F);
    const AttentionQuery one{query.data(), out.data(), keys};
    AttentionHead a;
    a.queries = &one;
    a.count = 1;
    a.key = key.data();
    a.value = value.data();
    a.stride = stride;
    a.head_size = head_size;
    a.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_size)));
    table.attention_head(a);
    return out;
  }
};

/// Softmax attention in double, in one pass over known scores.
std::vector<double> attention_in_double(const Head& h) {
  std::vector<double> z;
  for (std::int64_t j = 0; j < h.keys; ++j) {
    double dot = 0.0;
    for (std::int64_t i = 0; i < h.head_size; ++i) {
      dot += double{h.query[static_cast<std::size_t>(i)]} *
             core::f16_to_float(h.key[static_cast<std::size_t>(j * h.stride + i)]);
    }
    z.push_back(dot / std::sqrt(static_cast<double>(h.head_size)));
  }
  const double largest = *std::max_element(z.begin(), z.end());
  std::vector<double> out(h.query.size());
  double sum = 0.0;
  for (std::int64_t j = 0; j < h.keys; ++j) {
    const double p = std::exp(z[static_cast<std::size_t>(j)] - largest);
    sum += p;
    for (std::size_t i = 0; i < out.size(); ++i) {
      out[i] += p * core::f16_to_float(h.value[static_cast<std::size_t>(j * h.stride) + i]);
    }
  }
  for (double& x : out) x /= sum;
  return out;
}

TEST(AttentionReference, IsNearSoftmaxInDouble) {
  Random random(1);
  for (const std::int64_t keys : {1, 2, 63, 64, 65, 300}) {
    const Head head(random, keys, 80, 16, 2.0F);
    const auto got = head.run(table_of("reference"));
    const auto expected = attention_in_double(head);
    // Values are at most 1. A score is off by at most (80/16 + 6) roundings of Σ|q k| c ≤ 160/√80 < 18; a weight by
    // that and 2 roundings of exp; the two sums over the keys add at most `keys` roundings each.
    const double bound = 2.0 * ((11.0 * 18.0 + 2.0) + 2.0 * static_cast<double>(keys)) * 0x1p-24;
    for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], bound) << keys;
  }
}

TEST(AttentionReference, OneKeyGivesItsValue) {
  Random random(2);
  const Head head(random, 1, 16, 0, 1.0F);
  const auto out = head.run(table_of("reference"));
  for (std::size_t i = 0; i < out.size(); ++i) EXPECT_EQ(out[i], core::f16_to_float(head.value[i]));
}

TEST(SumExpReference, MatchesItsDefinition) {
  const std::vector<float> x = {1.0F, 3.0F, -200.0F, 3.0F};
  const BlockSum s = table_of("reference").sum_exp(x.data(), 4);
  EXPECT_EQ(s.maximum, 3.0F);
  EXPECT_EQ(s.sum, core::exact_exp(-2.0F) + 2.0F);
  const std::vector<float> zeros = {-0.0F, -0.0F};
  EXPECT_FALSE(std::signbit(table_of("reference").sum_exp(zeros.data(), 2).maximum));
}

class Attention : public IsaTest {};

TEST_P(Attention, EveryNumberOfKeys) {
  Random random(3);
  for (const std::int64_t keys : {1, 2, 3, 4, 5, 15, 16, 17, 31, 33, 63, 64, 65, 66, 127, 128, 129, 200, 513}) {
    const Head head(random, keys, 128, 0, 2.0F);
    EXPECT_EQ(first_difference(head.run(fast()), head.run(reference())), -1) << keys;
  }
}

TEST_P(Attention, EveryHeadSize) {
  Random random(4);
  for (const std::int64_t size : {1, 3, 8, 15, 16, 17, 32, 40, 64, 80, 96, 127, 128, 144, 200, 256, 257}) {
    for (const std::int64_t keys : {7, 70}) {
      const Head head(random, keys, size, 5, 2.0F);
      EXPECT_EQ(first_difference(head.run(fast()), head.run(reference())), -1) << size << " keys " << keys;
    }
  }
}

// Queries that see different numbers of keys, whole blocks apart too.
TEST_P(Attention, QueriesTogetherAreAsAlone) {
  Random random(6);
  for (const std::int64_t size : {16, 64, 80, 128}) {
    Head head(random, 200, size, 0, 2.0F);
    for (const std::vector<std::int64_t>& keys :
         {std::vector<std::int64_t>{1, 2, 3, 4}, {64, 65, 63, 64, 66}, {200, 3, 130, 64, 64, 64, 199, 200, 1}}) {
      std::vector<std::vector<float>> inputs;
      std::vector<std::vector<float>> outputs(keys.size(), std::vector<float>(static_cast<std::size_t>(size)));
      std::vector<AttentionQuery> queries;
      for (std::size_t i = 0; i < keys.size(); ++i) inputs.push_back(random.row(size, -2, 2));
      for (std::size_t i = 0; i < keys.size(); ++i) queries.push_back({inputs[i].data(), outputs[i].data(), keys[i]});
      AttentionHead a;
      a.queries = queries.data();
      a.count = static_cast<std::int64_t>(queries.size());
      a.key = head.key.data();
      a.value = head.value.data();
      a.stride = head.stride;
      a.head_size = size;
      a.scale = 0.125F;
      fast().attention_head(a);
      for (std::size_t i = 0; i < keys.size(); ++i) {
        std::vector<float> alone(static_cast<std::size_t>(size));
        const AttentionQuery one{inputs[i].data(), alone.data(), keys[i]};
        AttentionHead b = a;
        b.queries = &one;
        b.count = 1;
        reference().attention_head(b);
        EXPECT_EQ(first_difference(outputs[i], alone), -1) << size << ' ' << keys[i];
      }
    }
  }
}

TEST_P(Attention, ScoresFarApart) {
  Random random(5);
  for (int i = 0; i < 8; ++i) {
    const Head head(random, 150, 64, 0, 400.0F);  // weights vanish, maxima move from block to block
    EXPECT_EQ(first_difference(head.run(fast()), head.run(reference())), -1);
  }
}

TEST_P(Attention, SumExpAtEveryLength) {
  for (const std::int64_t n : kLengths) {
    Random random(static_cast<std::uint64_t>(n));
    for (const float spread : {0.0F, 1.0F, 30.0F, 300.0F}) {
      for (const float shift : {-1000.0F, 0.0F, 1000.0F}) {
        const auto x = random.row(n, shift - spread, shift + spread);
        const BlockSum got = fast().sum_exp(x.data(), n);
        const BlockSum expected = reference().sum_exp(x.data(), n);
        EXPECT_TRUE(same_bits(got.maximum, expected.maximum)) << n;
        EXPECT_TRUE(same_bits(got.sum, expected.sum)) << n << " " << got.sum << " " << expected.sum;
      }
    }
    std::vector<float> zeros(static_cast<std::size_t>(n), 0.0F);
    for (float& z : zeros) z = random.below(2) == 0 ? 0.0F : -0.0F;
    EXPECT_TRUE(same_bits(fast().sum_exp(zeros.data(), n).maximum, 0.0F));
    EXPECT_TRUE(same_bits(reference().sum_exp(zeros.data(), n).maximum, 0.0F));
  }
}

RPT_TEST_ON_EVERY_ISA(Attention);

}  // namespace
}  // namespace rpt::kernels::test
