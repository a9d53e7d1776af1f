// SPDX-License-Identifier: MIT
// The backward of ternary layers against its stated rule, element by element, and of the whole decoder against itself.
// Against finite differences stand the decoder in gradient_test.cpp and the float kernels in
// tests/unit/kernels/training_test.cpp; against PyTorch, tests/unit/train/golden_test.cpp.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "rpt/model/decoder.h"
#include "tests/tiny_model.h"

namespace rpt::model {
namespace {

using test::TinyModel;
using test::TinyShape;

constexpr double kUnit = 0x1p-24;  // rounding of one float operation

tensor::Tensor random_tensor(std::int64_t rows, std::int64_t columns, std::uint64_t seed) {
  core::Random random(seed);
  tensor::Tensor x(rows, columns);
  for (std::int64_t i = 0; i < rows * columns; ++i) x.data()[i] = static_cast<float>(random.normal());
  return x;
}

/// ‖a − b‖ / ‖b‖.
template <typename A, typename B>
double relative_l2(const A* a, const B* b, std::int64_t count) {
  double difference = 0, size = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto theirs = static_cast<double>(b[i]);
    difference += std::pow(static_cast<double>(a[i]) - theirs, 2);
    size += theirs * theirs;
  }
  return std::sqrt(difference / size);
}

struct LayerShape {
  std::int64_t tokens, outputs, inputs;
  tensor::DType type;
};

/// A BitLinear of random codes with an input, an output gradient, and what the rule makes of them in double.
class Layer {
 public:
  explicit Layer(const LayerShape& shape) : shape_(shape) {
    core::Random random(7);
    const auto [tokens, outputs, inputs, type] = shape;
    for (std::int64_t i = 0; i < outputs * inputs; ++i) codes_.push_back(static_cast<std::int8_t>(random.below(3)) - 1);
    packed_ = ternary::pack(type, outputs, inputs, kScale, codes_);
    if (type == tensor::DType::i2_s) {  // in a file the scale stands behind the codes
      bytes_.resize(packed_.view().bytes + ternary::kI2sTailBytes);
      std::memcpy(bytes_.data(), packed_.view().data, packed_.view().bytes);
      std::memcpy(bytes_.data() + outputs * inputs / 4, &kScale, sizeof kScale);
    }
    tensor::PackedTernaryView view = packed_.view();
    if (type == tensor::DType::i2_s) view = {bytes_.data(), bytes_.size(), type, outputs, inputs, 0};
    weight_.weight = TernaryWeight::stored({"random", "layer", 0}, view);
    weight_.output_scale = kLast;
    BitLinear(weight_, "layer").quantise(random_tensor(tokens, inputs, 8).view(), x_);
    dy_ = random_tensor(tokens, outputs, 9);
    apply_rule();
  }

  /// Runs the backward; the results hold what it adds to.
  void backward(BackwardType type, bool accumulate, tensor::Tensor& to_dx, tensor::Tensor& to_dweight) const {
    BackwardWork work(type);
    work.load_input(x_);
    BitLinear(weight_, "layer").backward(x_, dy_.view(), work, to_dx.view(), accumulate, to_dweight.view());
  }

  // The rule's results, and Σ |terms| of each sum, by which the error of a float sum is bounded.
  std::vector<double> dx, dx_terms, dweight, dweight_terms;

 private:
  void apply_rule() {
    const auto [tokens, outputs, inputs, type] = shape_;
    dx.assign(static_cast<std::size_t>(tokens * inputs), 0);
    dweight.assign(static_cast<std::size_t>(outputs * inputs), 0);
    dx_terms = dx;
    dweight_terms = dweight;
    for (std::int64_t t = 0; t < tokens; ++t) {
      const double step = static_cast<double>(x_.amax[static_cast<std::size_t>(t)]) / 127;
      for (std::int64_t n = 0; n < outputs; ++n) {
        const auto dy = static_cast<double>(dy_.view().row(t)[n]) * static_cast<double>(kLast);
        for (std::int64_t k = 0; k < inputs; ++k) {
          const double through = static_cast<double>(kScale) * dy * codes_[static_cast<std::size_t>(n * inputs + k)];
          const double learnt = dy * step * x_.q[static_cast<std::size_t>(t * x_.stride + k)];
          dx[static_cast<std::size_t>(t * inputs + k)] += through;
          dx_terms[static_cast<std::size_t>(t * inputs + k)] += std::abs(through);
          dweight[static_cast<std::size_t>(n * inputs + k)] += learnt;
          dweight_terms[static_cast<std::size_t>(n * inputs + k)] += std::abs(learnt);
        }
      }
    }
  }

  static constexpr float kScale = 0.37F;
  static constexpr float kLast = 1.7F;  // the output scale

  LayerShape shape_;
  std::vector<std::int8_t> codes_;
  ternary::PackedTernary packed_;
  core::AlignedBuffer<std::uint8_t> bytes_;
  LinearWeight weight_;
  tensor::QuantisedRows x_;
  tensor::Tensor dy_;
};

class BitLinearBackward : public ::testing::TestWithParam<LayerShape> {};

TEST_P(BitLinearBackward, FollowsTheRuleInFloat) {
  const auto [tokens, outputs, inputs, type] = GetParam();
  const Layer layer(GetParam());
  for (const bool accumulate : {false, true}) {
    tensor::Tensor dx = random_tensor(tokens, inputs, 10);
    tensor::Tensor dweight = random_tensor(outputs, inputs, 11);
    const tensor::Tensor dx_before = random_tensor(tokens, inputs, 10);
    const tensor::Tensor dweight_before = random_tensor(outputs, inputs, 11);
    layer.backward(BackwardType::f32, accumulate, dx, dweight);
    // A sum of n terms in any order is off by at most n · kUnit · Σ |terms|; up to five more operations scale it, and
    // one adds it to what was there.
    for (std::int64_t i = 0; i < tokens * inputs; ++i) {
      const auto j = static_cast<std::size_t>(i);
      const double before = accumulate ? static_cast<double>(dx_before.data()[i]) : 0;
      ASSERT_NEAR(dx.data()[i], before + layer.dx[j],
                  static_cast<double>(outputs + 6) * kUnit * (layer.dx_terms[j] + std::abs(before)))
          << accumulate << ' ' << i;
    }
    for (std::int64_t i = 0; i < outputs * inputs; ++i) {
      const auto j = static_cast<std::size_t>(i);
      const auto before = static_cast<double>(dweight_before.data()[i]);
      ASSERT_NEAR(dweight.data()[i], before + layer.dweight[j],
                  static_cast<double>(tokens + 6) * kUnit * (layer.dweight_terms[j] + std::abs(before)))
          << accumulate << ' ' << i;
    }
  }
}

TEST_P(BitLinearBackward, Bf16RoundsOnlyTheGradientOfTheOutput) {
  const auto [tokens, outputs, inputs, type] = GetParam();
  const Layer layer(GetParam());
  tensor::Tensor dx(tokens, inputs), dweight(outputs, inputs);
  layer.backward(BackwardType::bf16, false, dx, dweight);
  // Each dY is off by at most 2^-8 of itself, by 2^-8/√3 in the mean square; the signs in C and Q are random, so that
  // the sums are too. 2^-7 is above three times that.
  EXPECT_LE(relative_l2(dx.data(), layer.dx.data(), tokens * inputs), 0x1p-7);
  EXPECT_LE(relative_l2(dweight.data(), layer.dweight.data(), outputs * inputs), 0x1p-7);
  EXPECT_GT(relative_l2(dx.data(), layer.dx.data(), tokens * inputs), 0x1p-12);  // it did round
}

std::string name_of(const ::testing::TestParamInfo<LayerShape>& info) {
  return fmt::format("{}_{}x{}_{}", info.param.tokens, info.param.outputs, info.param.inputs,
                     tensor::name(info.param.type));
}

INSTANTIATE_TEST_SUITE_P(Shapes, BitLinearBackward,
                         ::testing::Values(LayerShape{37, 72, 200, tensor::DType::hf_packed},
                                           LayerShape{64, 300, 257, tensor::DType::hf_packed},
                                           LayerShape{37, 72, 128, tensor::DType::i2_s},
                                           LayerShape{3, 40, 384, tensor::DType::i2_s}),
                         name_of);

/// Gradients of all weights but the head's, in one row of numbers.
class Collected {
 public:
  explicit Collected(const Model& model) {
    gradients.blocks.resize(model.weights.blocks.size());
    std::vector<std::pair<std::size_t, tensor::MutableMatrix*>> places;
    visit_weights(gradients, [&](const std::string& name, tensor::MutableMatrix& matrix) {
      const auto [rows, columns] = expected_shape(name, model.config);
      matrix = {nullptr, rows, columns};
      places.emplace_back(values.size(), &matrix);
      values.resize(values.size() + static_cast<std::size_t>(rows * columns));
    });
    for (auto& [offset, matrix] : places) *matrix = {values.data() + offset, matrix->rows, matrix->columns};
  }
  Collected(const Collected&) = delete;
  Collected& operator=(const Collected&) = delete;

  Gradients gradients;
  std::vector<float> values;
};

/// A decoder whose loss is Σ dhidden · hidden.
class DecoderBackward : public ::testing::TestWithParam<Activation> {
 protected:
  using Ids = std::vector<std::int32_t>;

  static Ids random_ids(std::int64_t count, std::uint64_t seed) {
    core::Random random(seed);
    Ids ids;
    for (std::int64_t i = 0; i < count; ++i) ids.push_back(static_cast<std::int32_t>(random.below(300)));
    return ids;
  }

  /// Adds the gradients of sequences run together. dhidden [T, H] holds their rows.
  void add(const std::vector<Ids>& sequences, tensor::MatrixView dhidden, BackwardType type, bool checkpoint,
           Collected& to) {
    Decoder decoder(model_->config, model_->weights);
    std::vector<KvCache> caches;
    caches.reserve(sequences.size());
    std::vector<Segment> segments;
    for (const Ids& ids : sequences) {
      caches.emplace_back(model_->config, std::ssize(ids));
      segments.push_back({ids, &caches.back()});
    }
    Tape tape;
    tape.checkpoint_activations = checkpoint;
    tensor::Tensor hidden, gradient;
    BackwardWork work(type);
    decoder.forward(segments, hidden, tape, work);
    tensor::copy(dhidden, gradient);
    decoder.backward(tape, gradient.view(), work, to.gradients);
  }

  const std::unique_ptr<Model> model_ = TinyModel::make({.activation = GetParam()});
  const Ids first_ = random_ids(33, 1);
  const Ids second_ = random_ids(20, 2);
  const tensor::Tensor dhidden_ = random_tensor(53, 256, 3);
  /// Of gradients that differ only in the order of float sums: up to 7 products a block, each of sums of at most F =
  /// 512 terms, whose errors are random and grow as √512; twice, for what dX carries on.
  const double noise_ = 2 * 7 * 2 * std::sqrt(512.0) * kUnit;
};

TEST_P(DecoderBackward, CheckpointedActivationsGiveTheSameBits) {
  for (const BackwardType type : {BackwardType::f32, BackwardType::bf16}) {
    Collected whole(*model_), again(*model_);
    add({first_, second_}, dhidden_.view(), type, false, whole);
    add({first_, second_}, dhidden_.view(), type, true, again);
    EXPECT_TRUE(std::any_of(whole.values.begin(), whole.values.end(), [](float v) { return v != 0; }));
    EXPECT_EQ(std::memcmp(whole.values.data(), again.values.data(), whole.values.size() * sizeof(float)), 0);
  }
}

TEST_P(DecoderBackward, ABatchIsTheSumOfItsSequences) {
  Collected together(*model_), one(*model_), two(*model_);
  add({first_, second_}, dhidden_.view(), BackwardType::f32, false, together);
  add({first_}, dhidden_.view().slice(0, 33), BackwardType::f32, false, one);
  add({second_}, dhidden_.view().slice(33, 53), BackwardType::f32, false, two);
  std::vector<double> sum;
  for (std::size_t i = 0; i < one.values.size(); ++i) sum.push_back(double{one.values[i]} + double{two.values[i]});
  EXPECT_LE(relative_l2(together.values.data(), sum.data(), std::ssize(sum)), noise_);
  EXPECT_GT(relative_l2(one.values.data(), sum.data(), std::ssize(sum)), 0.1);  // neither is the sum already
}

TEST_P(DecoderBackward, GradientsAdd) {
  for (const BackwardType type : {BackwardType::f32, BackwardType::bf16}) {
    Collected once(*model_), twice(*model_);
    add({first_}, dhidden_.view().slice(0, 33), type, false, once);
    add({first_}, dhidden_.view().slice(0, 33), type, false, twice);
    add({first_}, dhidden_.view().slice(0, 33), type, false, twice);
    std::vector<double> sum;
    for (const float v : once.values) sum.push_back(2 * double{v});
    EXPECT_LE(relative_l2(twice.values.data(), sum.data(), std::ssize(sum)), noise_);
  }
}

INSTANTIATE_TEST_SUITE_P(Activations, DecoderBackward, ::testing::Values(Activation::relu2, Activation::silu));

}  // namespace
}  // namespace rpt::model
