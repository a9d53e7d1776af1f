// SPDX-License-Identifier: MIT
// Quantisation warm-up: its course, its dense term, and that evaluation never sees it.
#include <gtest/gtest.h>

#include <cmath>

#include "rpt/core/float16.h"
#include "rpt/train/adamw.h"
#include "rpt/train/step.h"
#include "rpt/train/train_config.h"
#include "tests/tiny_model.h"
#include "tests/unit/train/step_test_support.h"

namespace rpt::train {
namespace {

using test::batch_of_noise;
using test::tiny_parameters;

TEST(QuantisationSchedule, RisesAsTheReferenceDoes) {
  QuantisationSchedule s;
  s.warmup = 100;
  const std::array<std::int64_t, 6> steps = {0, 25, 50, 75, 99, 100};
  const std::array<double, 6> cosine = {0, 0.1464, 0.5, 0.8536, 0.9998, 1};
  const std::array<double, 6> linear = {0, 0.25, 0.5, 0.75, 0.99, 1};
  for (std::size_t i = 0; i < steps.size(); ++i) {
    s.shape = WarmUpShape::cosine;
    EXPECT_NEAR(s.share(steps[i]), cosine[i], 5e-5);
    s.shape = WarmUpShape::linear;
    EXPECT_DOUBLE_EQ(s.share(steps[i]), linear[i]);
  }
  EXPECT_TRUE(s.rises(99));
  EXPECT_FALSE(s.rises(100));
  EXPECT_EQ(QuantisationSchedule().share(0), 1);
  s.trains_quantised = false;
  EXPECT_EQ(s.share(1000), 0);
  EXPECT_EQ(parse_warm_up_shape("linear"), WarmUpShape::linear);
  EXPECT_THROW(parse_warm_up_shape("wave"), ConfigError);
}

/// y [T, N] of the warm-up in double, from what BitLinear reads.
std::vector<double> expected_output(const model::TernaryWeight& weight, const tensor::QuantisedRows& x, double share) {
  const tensor::PackedTernaryView& codes = weight.codes();
  const auto* latents = reinterpret_cast<const std::uint16_t*>(weight.stored_latents().data);
  std::vector<std::int8_t> row(static_cast<std::size_t>(codes.columns));
  std::vector<double> y(static_cast<std::size_t>(x.rows * codes.rows));
  for (std::int64_t n = 0; n < codes.rows; ++n) {
    ternary::unpack_row(codes, n, row);
    for (std::int64_t t = 0; t < x.rows; ++t) {
      double dense = 0;
      double ternary = 0;
      for (std::int64_t k = 0; k < codes.columns; ++k) {
        const double q = x.q[static_cast<std::size_t>(t * x.stride + k)];
        dense += q * static_cast<double>(core::bf16_to_float(latents[n * codes.columns + k]));
        ternary += q * row[static_cast<std::size_t>(k)];
      }
      const double step = static_cast<double>(x.amax[static_cast<std::size_t>(t)]) / 127;
      y[static_cast<std::size_t>(t * codes.rows + n)] =
          step * ((1 - share) * dense + share * static_cast<double>(codes.scale) * ternary);
    }
  }
  return y;
}

TEST(QuantisationWarmUp, MixesDenseAndTernaryProducts) {
  const auto parameters = tiny_parameters();
  const model::LinearWeight& weight = parameters->model().weights.blocks[0].ffn_down;
  const model::BitLinear linear(weight, "test");
  core::Random random(3);
  tensor::Tensor x(5, weight.weight.columns());
  for (std::int64_t i = 0; i < 5 * x.columns(); ++i) x.data()[i] = static_cast<float>(random.normal());
  for (const model::BackwardType type : {model::BackwardType::f32, model::BackwardType::bf16}) {
    for (const float share : {0.0F, 0.25F, 0.875F}) {
      model::BackwardWork work(type);
      work.ternary_share = share;
      tensor::QuantisedRows q;
      tensor::Tensor y(5, weight.weight.rows());
      std::fill_n(y.data(), y.rows() * y.columns(), std::nanf(""));  // what stood there takes no part
      linear.forward(x.view(), q, y.view(), &work);
      const std::vector<double> expected = expected_output(weight.weight, q, static_cast<double>(share));
      double size = 0;
      for (const double v : expected) size = std::max(size, std::abs(v));
      // q and W are exact in both types; what remains is the rounding of float sums.
      for (std::size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(y.data()[i], expected[i], 1e-5 * size);
    }
  }
}

TEST(QuantisationWarmUp, AtShareOneNothingDenseIsComputed) {
  const auto parameters = tiny_parameters();
  const model::LinearWeight& weight = parameters->model().weights.blocks[0].attn_q;
  const model::BitLinear linear(weight, "test");
  tensor::Tensor x(3, weight.weight.columns());
  std::fill_n(x.data(), 3 * x.columns(), 0.5F);
  tensor::Tensor plain(3, weight.weight.rows()), recorded(3, weight.weight.rows());
  tensor::QuantisedRows q;
  model::BackwardWork work(model::BackwardType::f32);
  linear.forward(x.view(), q, plain.view());
  linear.forward(x.view(), q, recorded.view(), &work);
  EXPECT_EQ(std::memcmp(plain.data(), recorded.data(), sizeof(float) * 3 * static_cast<std::size_t>(plain.columns())),
            0);
  EXPECT_EQ(work.dense.rows(), 0);
}

/// NLLs of a batch under the published weights, by the forward that evaluation uses.
std::vector<double> evaluate(const model::Model& model, const Batch& batch) {
  model::Decoder decoder(model.config, model.weights);
  model::KvCache cache(model.config, static_cast<std::int64_t>(batch.tokens.size()));
  tensor::Tensor hidden;
  decoder.forward(batch.tokens, cache, hidden);
  std::vector<double> nll(batch.tokens.size());
  decoder.score(hidden.view(), batch.targets, nll);
  return nll;
}

TEST(QuantisationWarmUp, EvaluationDoesNotSeeIt) {
  const auto parameters = tiny_parameters();
  const Batch batch = batch_of_noise(24, 1, parameters->model().config.vocabulary);
  GradientStep step(*parameters, 24, {model::BackwardType::f32, model::BackwardType::f32, false});
  const std::vector<double> before = evaluate(parameters->model(), batch);
  const double ternary = step.add(batch, 1, 1);
  step.set_ternary_share(0.25);
  const double mixed = step.add(batch, 1, 1);
  EXPECT_GT(std::abs(mixed - ternary), 1e-3);
  EXPECT_EQ(evaluate(parameters->model(), batch), before);
  double sum = 0;
  for (const double v : before) sum += v;
  EXPECT_DOUBLE_EQ(sum, ternary);
  step.set_ternary_share(1);
  EXPECT_EQ(step.add(batch, 1, 1), ternary);
}

TEST(QuantisationWarmUp, CheckpointedActivationsGiveTheSameGradients) {
  const auto gradients = [&](bool checkpointed) {
    const auto parameters = tiny_parameters();
    GradientStep step(*parameters, 16, {model::BackwardType::bf16, model::BackwardType::bf16, checkpointed});
    step.set_ternary_share(0.5);
    step.add(batch_of_noise(16, 2, parameters->model().config.vocabulary), 2, 0.1F);
    std::vector<float> all;
    for (const Parameter& p : parameters->all()) all.insert(all.end(), p.gradient.data(), p.gradient.data() + p.size());
    return all;
  };
  EXPECT_EQ(gradients(false), gradients(true));
}

TEST(QuantisationWarmUp, DenseTrainingLowersTheDenseLoss) {
  const auto parameters = tiny_parameters();
  const Batch batch = batch_of_noise(32, 2, parameters->model().config.vocabulary);
  GradientStep step(*parameters, 32, {model::BackwardType::bf16, model::BackwardType::bf16, false});
  step.set_ternary_share(0);
  AdamwOptions options;
  options.lr = 1e-3;
  Adamw optimiser(*parameters, options);
  std::vector<double> losses;
  for (int i = 0; i < 8; ++i) {
    parameters->zero_gradients();
    losses.push_back(step.add(batch, 2, 1.0F / 62) / 62);
    optimiser.step(1, 1);
  }
  EXPECT_LT(losses.back(), losses.front() - 0.5);
}

TEST(QuantisationConfig, IsWrittenOnlyWhereItIsNotTheDefault) {
  const std::string plain = R"({"data": [{"text": "a"}], "steps": 50)";
  const TrainConfig c = parse_train_config(plain + "}", "test");
  for (const char* member : {"qat", "quantisation", "revive"}) {
    EXPECT_EQ(to_json(c).find(member), std::string::npos) << member;
  }
  const TrainConfig warm =
      parse_train_config(plain + R"(, "quantisation_warmup": 10, "quantisation_warmup_shape": "linear"})", "test");
  EXPECT_EQ(warm.quantisation.warmup, 10);
  EXPECT_EQ(warm.quantisation.shape, WarmUpShape::linear);
  EXPECT_EQ(to_json(parse_train_config(to_json(warm), "test")), to_json(warm));
  const TrainConfig dense = parse_train_config(plain + R"(, "qat": "none"})", "test");
  EXPECT_EQ(dense.quantisation.share(0), 0);
  EXPECT_EQ(to_json(parse_train_config(to_json(dense), "test")), to_json(dense));
  const TrainConfig revive =
      parse_train_config(plain + R"(, "revive": {"scope": "row", "sparsity": 0.25, "every": 5}})", "test");
  ASSERT_TRUE(revive.revive);
  EXPECT_EQ(revive.revive->scope, ReviveScope::row);
  EXPECT_EQ(revive.revive->every, 5);
  EXPECT_EQ(to_json(parse_train_config(to_json(revive), "test")), to_json(revive));
  for (const char* wrong : {R"(, "quantisation_warmup": 51})", R"(, "quantisation_warmup": -1})",
                            R"(, "quantisation_warmup_shape": "wave"})", R"(, "qat": "both"})",
                            R"(, "qat": "none", "quantisation_warmup": 5})", R"(, "revive": {"scope": "all"}})",
                            R"(, "revive": {"n": 2}})", R"(, "revive": {}, "masters": "bf16-nearest"})"}) {
    EXPECT_THROW(parse_train_config(plain + wrong, "test"), ConfigError) << wrong;
  }
}

}  // namespace
}  // namespace rpt::train
