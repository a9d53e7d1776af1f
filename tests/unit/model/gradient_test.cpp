// SPDX-License-Identifier: MIT
// The backward of the whole decoder against central differences in double. A quantiser, which differences cannot see
// through, stands there as x + c, c being what the recorded forward rounded away: its slope is 1 and its value the
// quantised one, which is what "straight through" says.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "rpt/core/float16.h"
#include "rpt/core/random.h"
#include "rpt/model/decoder.h"
#include "rpt/ternary/layouts.h"
#include "tests/tiny_model.h"

namespace rpt::model {
namespace {

using Doubles = std::vector<double>;
using Ids = std::vector<std::int32_t>;

struct Case {
  std::string name;
  test::TinyShape shape;
  std::int64_t tokens = 9;
  float ternary_share = 1;  // λ of a quantisation warm-up
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name;
}

std::size_t index(std::int64_t i) {
  return static_cast<std::size_t>(i);
}

/// Weights by name, as the forward multiplies them.
class WeightValues {
 public:
  WeightValues(const Weights& weights, float ternary_share) : share_(static_cast<double>(ternary_share)) {
    visit_weights(weights, [&](const std::string& name, const auto& weight) { values_[name] = of(weight); });
  }
  std::map<std::string, Doubles>& all() { return values_; }
  const Doubles& operator[](const std::string& name) const { return values_.at(name); }

 private:
  static Doubles wide(const std::vector<float>& x) { return {x.begin(), x.end()}; }
  static Doubles of(const EmbeddingWeight& weight) { return wide(tensor::widen(weight.values())); }
  static Doubles of(const NormWeight& weight) { return wide(weight.gain); }
  Doubles of(const LinearWeight& weight) const {
    Doubles w = wide(tensor::widen(weight.weight.stored_latents()));
    const std::vector<std::int8_t> codes = ternary::unpack(weight.weight.codes());
    const auto scale = static_cast<double>(weight.weight.codes().scale);
    for (std::size_t i = 0; i < w.size(); ++i) w[i] = (1 - share_) * w[i] + share_ * scale * codes[i];
    return w;
  }

  double share_;
  std::map<std::string, Doubles> values_;
};

/// The decoder in double, by its textbook formulas, for one sequence that was recorded.
class DoubleDecoder {
 public:
  DoubleDecoder(const Config& config, const Tape& tape, KvCache& cache) : c_(config), tape_(tape), cache_(cache) {}

  /// Normed hidden states [T, H] of the recorded sequence. The first call finds what the quantisers round away.
  Doubles hidden(const WeightValues& w) {
    tokens_ = std::ssize(tape_.tokens);
    Doubles h(index(tokens_ * c_.hidden));
    for (std::int64_t t = 0; t < tokens_; ++t) {
      const auto row = w["token_embd"].begin() + tape_.tokens[index(t)] * c_.hidden;
      std::copy_n(row, c_.hidden, h.begin() + t * c_.hidden);
    }
    for (std::int64_t l = 0; l < c_.layers; ++l) {
      add(attention(h, w, l), h);
      add(feed_forward(h, w, l), h);
    }
    return norm(h, w["output_norm"]);
  }

 private:
  static void add(const Doubles& x, Doubles& to) {
    for (std::size_t i = 0; i < x.size(); ++i) to[i] += x[i];
  }

  Doubles norm(const Doubles& x, const Doubles& gain) const {
    Doubles y(x.size());
    const auto n = static_cast<std::int64_t>(gain.size());
    for (std::int64_t t = 0; t < tokens_; ++t) {
      double squares = 0;
      for (std::int64_t i = 0; i < n; ++i) squares += x[index(t * n + i)] * x[index(t * n + i)];
      const double r = 1 / std::sqrt(squares / static_cast<double>(n) + static_cast<double>(c_.norm_epsilon));
      for (std::int64_t i = 0; i < n; ++i) y[index(t * n + i)] = x[index(t * n + i)] * r * gain[index(i)];
    }
    return y;
  }

  /// x + c; c = quantised() − x at the first call with this name.
  template <typename Quantised>
  Doubles straight_through(const std::string& name, Doubles x, const Quantised& quantised) {
    const auto [found, first] = rounded_away_.try_emplace(name);
    if (first) {
      found->second = quantised();
      for (std::size_t i = 0; i < x.size(); ++i) found->second[i] -= x[i];
    }
    add(found->second, x);
    return x;
  }

  Doubles quantise(const std::string& name, const Doubles& x, const tensor::QuantisedRows& recorded) {
    return straight_through(name, x, [&] {
      Doubles values;
      for (std::int64_t t = 0; t < recorded.rows; ++t) {
        const double step = static_cast<double>(recorded.amax[index(t)]) / 127;
        for (std::int64_t i = 0; i < recorded.columns; ++i) {
          values.push_back(step * recorded.q.data()[t * recorded.stride + i]);
        }
      }
      return values;
    });
  }

  /// Keys or values as the cache holds them, [T, G·D].
  template <typename Of>
  Doubles cached(const Of& of) const {
    Doubles x;
    for (std::int64_t t = 0; t < tokens_; ++t) {
      for (std::int64_t g = 0; g < c_.kv_heads; ++g) {
        const std::uint16_t* head = of(g) + t * c_.head_size;
        for (std::int64_t i = 0; i < c_.head_size; ++i) {
          x.push_back(static_cast<double>(core::f16_to_float(head[i])));
        }
      }
    }
    return x;
  }

  Doubles linear(const Doubles& x, const Doubles& w) const {
    const std::int64_t inputs = std::ssize(x) / tokens_;
    const std::int64_t outputs = std::ssize(w) / inputs;
    Doubles y(index(tokens_ * outputs));
    for (std::int64_t t = 0; t < tokens_; ++t) {
      for (std::int64_t n = 0; n < outputs; ++n) {
        for (std::int64_t k = 0; k < inputs; ++k) {
          y[index(t * outputs + n)] += w[index(n * inputs + k)] * x[index(t * inputs + k)];
        }
      }
    }
    return y;
  }

  void rope(Doubles& x, std::int64_t heads) const {
    const std::int64_t half = c_.head_size / 2;
    for (std::int64_t t = 0; t < tokens_; ++t) {
      for (std::int64_t i = 0; i < half; ++i) {
        const double power = -2 * static_cast<double>(i) / static_cast<double>(c_.head_size);
        const double angle = static_cast<double>(t) * std::pow(c_.rope_theta, power);
        for (std::int64_t head = 0; head < heads; ++head) {
          double& a = x[index((t * heads + head) * c_.head_size + i)];
          double& b = x[index((t * heads + head) * c_.head_size + i + half)];
          const double turned = a * std::cos(angle) - b * std::sin(angle);
          b = b * std::cos(angle) + a * std::sin(angle);
          a = turned;
        }
      }
    }
  }

  Doubles attend(const Doubles& q, const Doubles& k, const Doubles& v) const {
    const std::int64_t d = c_.head_size;
    Doubles out(q.size());
    for (std::int64_t t = 0; t < tokens_; ++t) {
      for (std::int64_t head = 0; head < c_.heads; ++head) {
        const std::int64_t of_query = (t * c_.heads + head) * d;
        const auto of_key = [&](std::int64_t j) { return (j * c_.kv_heads + head * c_.kv_heads / c_.heads) * d; };
        Doubles p;
        double sum = 0;
        for (std::int64_t j = 0; j <= t; ++j) {
          double z = 0;
          for (std::int64_t i = 0; i < d; ++i) z += q[index(of_query + i)] * k[index(of_key(j) + i)];
          p.push_back(std::exp(z / std::sqrt(static_cast<double>(d))));
          sum += p.back();
        }
        for (std::int64_t j = 0; j <= t; ++j) {
          for (std::int64_t i = 0; i < d; ++i) {
            out[index(of_query + i)] += p[index(j)] / sum * v[index(of_key(j) + i)];
          }
        }
      }
    }
    return out;
  }

  Doubles attention(const Doubles& h, const WeightValues& w, std::int64_t l) {
    const std::string blk = fmt::format("blk.{}.", l);
    const BlockTape& tape = tape_.blocks[index(l)];
    const Doubles x = quantise(blk + "attn", norm(h, w[blk + "attn_norm"]), tape.attn_input);
    Doubles q = linear(x, w[blk + "attn_q"]);
    Doubles k = linear(x, w[blk + "attn_k"]);
    rope(q, c_.heads);
    rope(k, c_.kv_heads);
    k = straight_through(blk + "k", k, [&] { return cached([&](std::int64_t g) { return cache_.keys(l, g); }); });
    const Doubles v = straight_through(blk + "v", linear(x, w[blk + "attn_v"]),
                                       [&] { return cached([&](std::int64_t g) { return cache_.values(l, g); }); });
    const Doubles normed = norm(attend(q, k, v), w[blk + "attn_sub_norm"]);
    return linear(quantise(blk + "output", normed, tape.output_input), w[blk + "attn_output"]);
  }

  Doubles feed_forward(const Doubles& h, const WeightValues& w, std::int64_t l) {
    const std::string blk = fmt::format("blk.{}.", l);
    const BlockTape& tape = tape_.blocks[index(l)];
    const Doubles x = quantise(blk + "ffn", norm(h, w[blk + "ffn_norm"]), tape.ffn_input);
    Doubles act = linear(x, w[blk + "ffn_gate"]);
    const Doubles up = linear(x, w[blk + "ffn_up"]);
    for (std::size_t i = 0; i < act.size(); ++i) {
      const double g = act[i];
      act[i] = up[i] * (c_.activation == Activation::silu ? g / (1 + std::exp(-g)) : g > 0 ? g * g : 0);
    }
    const Doubles normed = norm(act, w[blk + "ffn_sub_norm"]);
    return linear(quantise(blk + "down", normed, tape.down_input), w[blk + "ffn_down"]);
  }

  const Config& c_;
  const Tape& tape_;
  KvCache& cache_;
  std::int64_t tokens_ = 0;
  std::map<std::string, Doubles> rounded_away_;
};

class DecoderGradient : public ::testing::TestWithParam<Case> {
 protected:
  DecoderGradient() {
    core::Random random(5);
    Ids ids;  // few different ones, so that tokens repeat
    for (std::int64_t i = 0; i < GetParam().tokens; ++i) ids.push_back(static_cast<std::int32_t>(random.below(5)));
    const Segment segment{ids, &cache_};
    BackwardWork work(BackwardType::f32);
    work.ternary_share = GetParam().ternary_share;
    decoder_.forward({&segment, 1}, hidden_, tape_, work);
    tensor::Tensor dhidden(hidden_.rows(), hidden_.columns());
    for (std::int64_t i = 0; i < hidden_.rows() * hidden_.columns(); ++i) {
      dhidden.data()[i] = static_cast<float>(random.normal());
      dhidden_.push_back(static_cast<double>(dhidden.data()[i]));
    }
    gradients_.blocks.resize(model_->weights.blocks.size());
    visit_weights(gradients_, [&](const std::string& name, tensor::MutableMatrix& matrix) {
      const auto [rows, columns] = expected_shape(name, model_->config);
      std::vector<float>& values = gradient_[name];
      values.resize(index(rows * columns));
      matrix = {values.data(), rows, columns};
    });
    decoder_.backward(tape_, dhidden.view(), work, gradients_);
  }

  double loss(const WeightValues& weights) {
    const Doubles hidden = double_decoder_.hidden(weights);
    double sum = 0;
    for (std::size_t i = 0; i < hidden.size(); ++i) sum += dhidden_[i] * hidden[i];
    return sum;
  }

  const std::unique_ptr<Model> model_ = test::TinyModel::make(GetParam().shape);
  Decoder decoder_{model_->config, model_->weights};
  KvCache cache_{model_->config, GetParam().tokens};
  Tape tape_;
  tensor::Tensor hidden_;
  Doubles dhidden_;
  Gradients gradients_;
  std::map<std::string, std::vector<float>> gradient_;
  DoubleDecoder double_decoder_{model_->config, tape_, cache_};
};

TEST_P(DecoderGradient, IsTheSlopeOfTheStraightThroughFunction) {
  WeightValues weights(model_->weights, GetParam().ternary_share);
  const Doubles hidden = double_decoder_.hidden(weights);
  for (std::size_t i = 0; i < hidden.size(); ++i) {
    // The function is the one that ran: float against double through every layer.
    ASSERT_NEAR(static_cast<double>(hidden_.data()[i]), hidden[i], 1e-4) << i;
  }
  constexpr double kStep = 1e-6;
  core::Random random(6);
  for (auto& [name, values] : weights.all()) {
    const std::vector<float>& gradient = gradient_.at(name);
    double norm = 0;
    for (const float g : gradient) norm += static_cast<double>(g) * static_cast<double>(g);
    norm = std::sqrt(norm);
    // A single token looks at itself alone, whatever query and key are.
    const bool looks = GetParam().tokens > 1 || !(name.ends_with("attn_q") || name.ends_with("attn_k"));
    EXPECT_EQ(norm > 0, looks) << name;
    for (int trial = 0; trial < 3; ++trial) {
      Doubles direction;
      double expected = 0;
      for (const float g : gradient) {
        direction.push_back(random.normal());
        expected += direction.back() * static_cast<double>(g);
      }
      const Doubles before = values;
      const auto at = [&, &values = values](double step) {  // clang 14 captures no bindings
        for (std::size_t i = 0; i < values.size(); ++i) values[i] = before[i] + step * direction[i];
        return loss(weights);
      };
      const double slope = (at(kStep) - at(-kStep)) / (2 * kStep);
      values = before;
      // A direction's share of the gradient is about its norm. The float backward is off by some 2^-24 a
      // sum, through two blocks of them; a gradient that lacks one term of many is off by far more.
      EXPECT_NEAR(expected, slope, 2e-5 * norm) << name;
    }
  }
}

const Case kCases[] = {
    {"relu2_grouped_heads", {.hidden = 32, .feed_forward = 48, .heads = 4, .kv_heads = 2, .vocabulary = 5}},
    {"silu_own_head_size",
     {.hidden = 24,
      .feed_forward = 40,
      .heads = 3,
      .kv_heads = 1,
      .head_size = 6,
      .vocabulary = 5,
      .activation = Activation::silu}},
    {"one_token", {.hidden = 32, .feed_forward = 48, .heads = 2, .kv_heads = 2, .vocabulary = 5}, 1},
    {"beyond_a_key_block",
     {.hidden = 16, .feed_forward = 16, .layers = 1, .heads = 2, .kv_heads = 1, .vocabulary = 5},
     70},
    {"warm_up", {.hidden = 32, .feed_forward = 48, .heads = 4, .kv_heads = 2, .vocabulary = 5}, 9, 0.25F},
    {"dense", {.hidden = 32, .feed_forward = 48, .heads = 4, .kv_heads = 2, .vocabulary = 5}, 9, 0},
};

INSTANTIATE_TEST_SUITE_P(Shapes, DecoderGradient, ::testing::ValuesIn(kCases),
                         [](const auto& one) { return one.param.name; });

}  // namespace
}  // namespace rpt::model
