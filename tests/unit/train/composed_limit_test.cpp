// SPDX-License-Identifier: MIT
#include "rpt/train/composed_limit.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "rpt/core/error.h"
#include "rpt/tensor/product.h"
#include "rpt/train/cost.h"
#include "rpt/train/loss.h"

namespace rpt::train {
namespace {

model::Config small_shape() {
  model::Config c;
  c.hidden = 64;
  c.feed_forward = 160;
  c.layers = 3;
  c.heads = 4;
  c.kv_heads = 2;
  c.head_size = 16;
  c.vocabulary = 300;
  c.context = 64;
  return c;
}

const StepProduct& find(const std::vector<StepProduct>& products, const std::string& name) {
  const auto found =
      std::find_if(products.begin(), products.end(), [&](const StepProduct& p) { return p.name == name; });
  RPT_CHECK(found != products.end(), "{}", name);
  return *found;
}

double operations(const std::vector<StepProduct>& products) {
  double sum = 0;
  for (const StepProduct& p : products) sum += p.operations();
  return sum;
}

TEST(StepProducts, EachLinearHasThreeOfItsShape) {
  const auto products = step_products(small_shape(), 2, 32, {});
  ASSERT_EQ(products.size(), 7U * 3 + 3 + 6);  // 64 tokens fit one piece of the head
  const StepProduct& forward = find(products, "attn_k forward");
  EXPECT_EQ(forward.type, ProductType::ternary);
  EXPECT_EQ(std::tuple(forward.m, forward.n, forward.k), std::tuple(64, 32, 64));
  EXPECT_EQ(std::tuple(forward.a_transposed, forward.b_transposed), std::tuple(false, true));
  const StepProduct& dx = find(products, "ffn_down dX");
  EXPECT_EQ(dx.type, ProductType::bf16);
  EXPECT_EQ(std::tuple(dx.m, dx.n, dx.k), std::tuple(64, 160, 64));
  EXPECT_EQ(std::tuple(dx.a_transposed, dx.b_transposed, dx.scaled, dx.accumulate),
            std::tuple(false, false, true, false));
  EXPECT_TRUE(find(products, "ffn_up dX").accumulate);
  const StepProduct& dw = find(products, "ffn_down dW");
  EXPECT_EQ(std::tuple(dw.m, dw.n, dw.k), std::tuple(64, 160, 64));
  EXPECT_EQ(std::tuple(dw.a_transposed, dw.b_transposed, dw.scaled, dw.accumulate),
            std::tuple(true, false, false, false));
  for (const StepProduct& p : products) {
    if (p.causal) continue;
    EXPECT_EQ(p.count, p.name.starts_with("head") ? 1 : 3) << p.name;
  }
  const StepProduct& head = find(products, "head dX, 64 rows");
  EXPECT_EQ(std::tuple(head.m, head.n, head.k), std::tuple(64, 64, 300));
}

TEST(StepProducts, TypesAreThoseOfTheStep) {
  StepOptions options;
  options.backward = model::BackwardType::f32;
  const auto products = step_products(small_shape(), 2, 32, options);
  EXPECT_EQ(find(products, "attn_q forward").type, ProductType::ternary);
  EXPECT_EQ(find(products, "attn_q dW").type, ProductType::f32);
  EXPECT_EQ(find(products, "head dW, 64 rows").type, ProductType::bf16);
  options.head = model::BackwardType::f32;
  EXPECT_EQ(find(step_products(small_shape(), 2, 32, options), "head dW, 64 rows").type, ProductType::f32);
  if (!tensor::multiplies_int8()) return;
  options.backward = options.head = model::BackwardType::int8;
  const auto of_int8 = step_products(small_shape(), 2, 32, options);
  EXPECT_EQ(find(of_int8, "head forward, 64 rows").type, ProductType::bf16);
  EXPECT_EQ(find(of_int8, "head dX, 64 rows").type, ProductType::int8);
  EXPECT_EQ(find(of_int8, "head dW, 64 rows").type, ProductType::int8);
}

TEST(StepProducts, TheHeadComesInPieces) {
  const std::int64_t most = HeadLoss::rows_at_once(small_shape().vocabulary);
  const auto products = step_products(small_shape(), 1, 2 * most + 10, {});
  ASSERT_EQ(products.size(), 7U * 3 + 6 + 6);
  EXPECT_EQ(find(products, "head forward, " + std::to_string(most) + " rows").count, 2);
  EXPECT_EQ(find(products, "head forward, 10 rows").count, 1);
  EXPECT_EQ(step_products(small_shape(), 1, 2 * most, {}).size(), 7U * 3 + 3 + 6);
}

TEST(StepProducts, AttentionHasSixOfEachSequenceAndHead) {
  StepOptions options;
  options.backward = model::BackwardType::f32;
  const auto products = step_products(small_shape(), 40, 50, options);
  const auto expect = [&](const char* name, std::int64_t n, std::int64_t k) {
    const StepProduct& p = find(products, std::string("attention ") + name);
    EXPECT_TRUE(p.causal);
    EXPECT_EQ(p.type, ProductType::f32);
    EXPECT_EQ(std::tuple(p.m, p.n, p.k), std::tuple(50, n, k)) << name;
    EXPECT_EQ(p.count, 3 * 40 * 4);
    // Position t sees t + 1: 1 + 2 + … + 50 of the 2,500 pairs.
    EXPECT_EQ(p.operations(), 3 * 40 * 4 * 2.0 * 1275 * 16) << name;
  };
  expect("scores", 50, 16);
  expect("values", 16, 50);
  expect("dP", 50, 16);
  for (const char* name : {"dQ", "dK", "dV"}) expect(name, 16, 50);
}

TEST(StepProducts, AttentionsGradientsAreOfTheTypeOfTheStep) {
  model::Config c = small_shape();
  c.head_size = 32;
  for (const auto type : {model::BackwardType::bf16, model::BackwardType::f32}) {
    StepOptions options;
    options.backward = type;
    const auto products = step_products(c, 2, 32, options);
    EXPECT_EQ(find(products, "attention scores").type, ProductType::f32);
    EXPECT_EQ(find(products, "attention dK").type,
              model::attention_in_bf16(type, c.head_size) ? ProductType::bf16 : ProductType::f32);
  }
}

TEST(StepProducts, TheirOperationsAreThoseOfAStep) {
  const model::Config c = small_shape();
  for (const std::int64_t context : {1, 64, 5000}) {
    const double tokens = 3.0 * static_cast<double>(context);
    // operations_per_token has half of all pairs; here those of a token with itself come whole.
    const double diagonal = 6.0 * 64 * 3;
    EXPECT_EQ(operations(step_products(c, 3, context, {})), tokens * (operations_per_token(c, context) + diagonal))
        << context;
  }
}

TEST(StepProducts, CheckpointedActivationsRunTheForwardAgain) {
  StepOptions options;
  const double once = operations(step_products(small_shape(), 2, 32, options));
  options.checkpoint_activations = true;
  const auto products = step_products(small_shape(), 2, 32, options);
  EXPECT_EQ(find(products, "attn_q forward").count, 6);
  EXPECT_EQ(find(products, "attn_q dX").count, 3);
  const double weights = 3.0 * (64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 160);
  const double attention = 64 * 3 * 2.0 * 64 * 33;  // tokens, layers, scores and values, hidden, pairs a token
  EXPECT_EQ(operations(products), once + 2 * 64 * weights + attention);
}

TEST(ComposedLimit, AddsProductsAndTraffic) {
  ComposedLimit limit;
  StepProduct p;
  p.m = 10;
  p.n = 20;
  p.k = 30;
  p.count = 2;
  EXPECT_EQ(p.operations(), 24000);
  limit.products = {{p, 1000, 500}, {p, 4000, 4000}};
  limit.optimiser_bytes = 100;
  limit.bandwidth = 50;
  EXPECT_EQ(limit.product_seconds(), 24 + 6);
  EXPECT_EQ(limit.optimiser_seconds(), 2);
  EXPECT_EQ(limit.seconds(), 32);
}

TEST(ComposedLimit, OptimiserMoves34BytesAValue) {
  const model::Config c = small_shape();
  // The step's own kernels: norm 4; gradient 4, master, m and v 8 each, bf16 2.
  EXPECT_EQ(optimiser_bytes(c), static_cast<double>(parameter_count(c)) * (4 + 4 + 3 * 8 + 2));
}

TEST(LimitMeter, MeasuresEveryProduct) {
  StepOptions options;
  options.head = model::BackwardType::f32;
  const auto products = step_products(small_shape(), 2, 16, options);
  LimitMeter meter(products, 1e6);
  EXPECT_THROW(meter.limit(), LogicError);  // nothing was measured yet
  meter.measure();
  meter.measure();
  const ComposedLimit limit = meter.limit();
  ASSERT_EQ(limit.products.size(), products.size());
  for (std::size_t i = 0; i < products.size(); ++i) {
    const MeasuredProduct& m = limit.products[i];
    EXPECT_EQ(m.product.name, products[i].name);
    EXPECT_GT(m.own_rate, 0) << m.product.name;
    EXPECT_GE(m.rate, m.own_rate) << m.product.name;
    if (m.product.type != ProductType::ternary) {
      EXPECT_EQ(m.rate, m.own_rate) << m.product.name;
    }
  }
  EXPECT_GT(limit.bandwidth, 0);
  EXPECT_GT(limit.seconds(), 0);
}

TEST(LimitMeter, EqualProductsShareAMeasurement) {
  LimitMeter meter(step_products(small_shape(), 2, 16, {}), 1);
  meter.measure();
  const auto products = meter.limit().products;
  const auto rate = [&](const std::string& name) {
    return std::find_if(products.begin(), products.end(), [&](const auto& m) { return m.product.name == name; })->rate;
  };
  EXPECT_EQ(rate("attn_q dX"), rate("attn_output dX"));  // both 64 by 64
  EXPECT_EQ(rate("attn_k dW"), rate("attn_v dW"));
  EXPECT_EQ(rate("ffn_gate forward"), rate("ffn_up forward"));
  EXPECT_EQ(rate("attention scores"), rate("attention values"));
}

TEST(LimitMeter, AttentionHasTheBestRateOfItsType) {
  StepOptions options;
  options.backward = model::BackwardType::f32;
  LimitMeter meter(step_products(small_shape(), 2, 16, options), 1);
  meter.measure();
  double best = 0;
  double attention = 0;
  for (const MeasuredProduct& m : meter.limit().products) {
    if (m.product.causal) attention = m.rate;
    if (!m.product.causal && m.product.type == ProductType::f32) best = std::max(best, m.rate);
  }
  EXPECT_GE(attention, best);
}

TEST(Median, IsTheMiddleOne) {
  EXPECT_EQ(median({3}), 3);
  EXPECT_EQ(median({5, 1, 3}), 3);
  EXPECT_EQ(median({8, 1, 3, 2}), 2.5);
  EXPECT_THROW(median({}), LogicError);
}

}  // namespace
}  // namespace rpt::train
