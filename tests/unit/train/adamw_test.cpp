// SPDX-License-Identifier: MIT
#include "rpt/train/adamw.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "rpt/core/float16.h"
#include "rpt/core/parallel.h"
#include "rpt/train/schedule.h"
#include "rpt/train/step.h"
#include "tests/unit/train/optimiser_test_support.h"

namespace rpt::train {
namespace {

std::unique_ptr<Parameters> small_parameters(MasterType masters = MasterType::f32) {
  return Parameters::of_model(test::TinyModel::make(test::small_shape()), masters);
}

TEST(Adamw, ThreadsChangeNothing) {
  for (const test::Storage& storage : test::every_storage()) {
    std::vector<std::pair<std::string, std::string>> found[2];
    for (const int threads : {1, 3}) {
      core::set_threads(threads);
      const auto parameters = small_parameters(storage.masters);
      AdamwOptions options;
      options.state = storage.state;
      options.relative = true;  // so that the norms of masters take part
      Adamw optimiser(*parameters, options, 5);
      for (std::uint64_t s = 0; s < 3; ++s) {
        test::fill_gradients(*parameters, s, 1);
        optimiser.step(1, 1);
      }
      found[threads / 2] = test::contents(*parameters, optimiser);
    }
    EXPECT_EQ(found[0], found[1]) << storage.text();
  }
  core::set_threads(0);
}

TEST(Adamw, Bf16MastersStandAloneAndBeginAsTheRoundedOnes) {
  const auto wide = small_parameters();
  const auto narrow = small_parameters(MasterType::bf16_stochastic);
  for (std::size_t i = 0; i < wide->all().size(); ++i) {
    const Parameter& a = wide->all()[i];
    const Parameter& b = narrow->all()[i];
    EXPECT_EQ(b.master.size(), 0U);
    EXPECT_TRUE(std::ranges::equal(a.rounded.span(), b.rounded.span())) << a.name;
  }
  for (const MasterType masters : test::kMasters) EXPECT_EQ(parse_masters(name(masters)), masters);
  EXPECT_THROW(parse_masters("f16"), ConfigError);
  EXPECT_THROW(parse_state("f16"), ConfigError);
}

/// How much of a value a rounding to one of its neighbours may change.
double spacing(StateType state) {
  return state == StateType::int8 ? 0.125 : 0x1p-7;
}

/// The second step of float32 masters with moments that were stored after the first one, against moments that were not
/// rounded. With stored m' and v', |m' − m| ≤ d·|m| and v/(1 + d) ≤ v' ≤ v·(1 + d), the step differs by at most
/// rate/sqrt(v2)·root · (d·sqrt(1 + d)·β1·|m| + (sqrt(1 + d) − 1)·|m2|), m2 and v2 being the moments behind it.
TEST(Adamw, NarrowStateChangesAStepWithinItsBound) {
  for (const StateType state : {StateType::bf16, StateType::int8}) {
    const auto exact = small_parameters();
    const auto rounded = small_parameters();
    AdamwOptions options;
    options.clip = 0;
    options.weight_decay = 0;
    Adamw reference(*exact, options);
    options.state = state;
    Adamw optimiser(*rounded, options, 3);
    std::vector<std::vector<float>> before, g1;
    for (std::uint64_t s = 0; s < 2; ++s) {
      before.clear();
      for (const Parameter& p : exact->all()) before.emplace_back(p.master.span().begin(), p.master.span().end());
      test::fill_gradients(*exact, s, 1);
      test::fill_gradients(*rounded, s, 1);
      if (s == 0) {
        for (const Parameter& p : exact->all()) g1.emplace_back(p.gradient.span().begin(), p.gradient.span().end());
      }
      reference.step(1, 1);
      optimiser.step(1, 1);
    }
    const double d = spacing(state);
    double errors = 0, moves = 0;
    for (std::size_t i = 0; i < g1.size(); ++i) {
      const Parameter& p = exact->all()[i];
      for (std::size_t j = 0; j < g1[i].size(); ++j) {
        const double m1 = 0.1 * static_cast<double>(g1[i][j]);
        const double m2 = 0.9 * m1 + 0.1 * static_cast<double>(p.gradient[j]);
        const double v1 = 0.05 * std::pow(static_cast<double>(g1[i][j]), 2);
        const double v2 = 0.95 * v1 + 0.05 * std::pow(static_cast<double>(p.gradient[j]), 2);
        const double scale = 1e-3 / (1 - 0.81) * std::sqrt(1 - 0.95 * 0.95) / std::sqrt(v2);
        const double bound =
            scale * (d * std::sqrt(1 + d) * 0.9 * std::abs(m1) + (std::sqrt(1 + d) - 1) * std::abs(m2));
        const double error = static_cast<double>(rounded->all()[i].master[j]) - static_cast<double>(p.master[j]);
        const double ulp = 2e-7 * std::abs(static_cast<double>(before[i][j])) + 1e-9;
        ASSERT_LE(std::abs(error), bound * (1 + 1e-4) + ulp) << p.name << ' ' << j << ' ' << name(state);
        errors += error * error;
        moves += std::pow(static_cast<double>(p.master[j]) - static_cast<double>(before[i][j]), 2);
      }
    }
    const double relative = std::sqrt(errors / moves);
    EXPECT_LE(relative, 0.4 * d) << name(state);
    EXPECT_GT(relative, 0.05 * d) << name(state);  // it was rounded at all
  }
}

/// 300 steps of the reference's schedule over weights between 0.26 and 2: how far they go on average along `direction`
/// (against their gradients, which are noise of deviation 1 around `drift`), and which share has moved at all.
struct Travel {
  double mean = 0;
  double moved = 0;
};

AdamwOptions reference_options() {
  AdamwOptions options;
  options.lr = 5e-4;
  options.beta2 = 0.999;
  options.weight_decay = 0.01;
  options.clip = 0;
  return options;
}

constexpr int kReferenceSteps = 300;

float reference_gradient(core::Random& random, bool constant) {
  return constant ? 1.0F : static_cast<float>(random.normal());
}

std::vector<float> large_weights(std::int64_t n) {
  core::Random random(4);
  std::vector<float> w(static_cast<std::size_t>(n));
  for (float& v : w) v = core::bf16_to_float(core::float_to_bf16(static_cast<float>(0.26 + 1.74 * random.uniform())));
  return w;
}

Travel travel(MasterType masters, bool constant) {
  test::TinyShape shape = test::small_shape();
  shape.layers = 1;
  const auto parameters = Parameters::of_model(test::TinyModel::make(shape), masters);
  Parameter& p = parameters->all().front();
  const std::vector<float> start = large_weights(p.size());
  for (std::size_t i = 0; i < start.size(); ++i) {
    p.rounded[i] = core::float_to_bf16(start[i]);
    if (p.has_master()) p.master[i] = start[i];
  }
  Adamw optimiser(*parameters, reference_options(), 6);
  const Schedule schedule{ScheduleKind::cosine, 0, 0, 0};
  core::Random random(5);
  for (int s = 0; s < kReferenceSteps; ++s) {
    for (float& g : p.gradient.span()) g = reference_gradient(random, constant);
    optimiser.step(schedule.rate(s, kReferenceSteps), 1);
  }
  Travel t;
  for (std::size_t i = 0; i < start.size(); ++i) {
    const float now = p.has_master() ? p.master[i] : core::bf16_to_float(p.rounded[i]);
    t.mean += static_cast<double>(start[i] - now) / static_cast<double>(start.size());
    t.moved += (now != start[i] ? 1.0 : 0.0) / static_cast<double>(start.size());
  }
  return t;
}

/// The operations of PyTorch's AdamW on bfloat16 tensors, each rounded; the share of weights that they move.
double moved_by_pytorch(bool constant) {
  const auto r = [](double x) {
    return static_cast<double>(core::bf16_to_float(core::float_to_bf16(static_cast<float>(x))));
  };
  const AdamwOptions o = reference_options();
  const Schedule schedule{ScheduleKind::cosine, 0, 0, 0};
  const std::vector<float> start = large_weights(2000);
  core::Random random(5);
  std::vector<double> w(start.begin(), start.end()), m(w.size()), v(w.size());
  for (int s = 0; s < kReferenceSteps; ++s) {
    const double lr = o.lr * schedule.rate(s, kReferenceSteps);
    const double bias1 = 1 - std::pow(o.beta1, s + 1);
    const double bias2 = 1 - std::pow(o.beta2, s + 1);
    for (std::size_t i = 0; i < w.size(); ++i) {
      const double g = r(static_cast<double>(reference_gradient(random, constant)));
      w[i] = r(w[i] * (1 - lr * o.weight_decay));
      m[i] = r(m[i] + (1 - o.beta1) * (g - m[i]));
      v[i] = r(r(v[i] * o.beta2) + (1 - o.beta2) * g * g);
      const double divisor = r(r(r(std::sqrt(v[i])) / std::sqrt(bias2)) + o.eps);
      w[i] = r(w[i] - lr / bias1 * m[i] / divisor);
    }
  }
  double moved = 0;
  for (std::size_t i = 0; i < w.size(); ++i) moved += (w[i] != static_cast<double>(start[i]) ? 1.0 : 0.0);
  return moved / static_cast<double>(w.size());
}

TEST(Adamw, MastersRoundedToTheNearestStandStillAsTheReferencesDo) {
  for (const bool constant : {true, false}) {
    EXPECT_EQ(travel(MasterType::bf16_nearest, constant).moved, 0);
    EXPECT_EQ(moved_by_pytorch(constant), 0);
    EXPECT_GT(travel(MasterType::f32, constant).moved, 0.99);
  }
}

TEST(Adamw, MastersRoundedStochasticallyTravelAsFloatsDo) {
  const Travel floats = travel(MasterType::f32, true);
  const Travel rounded = travel(MasterType::bf16_stochastic, true);
  EXPECT_NEAR(floats.mean, 0.075, 0.003);  // Σ lr and the decay
  // Of 19,264 weights with a spacing u of at most 2^−7, 300 roundings of variance step·(u − step) each.
  const double deviation = std::sqrt(0.075 * 0x1p-7 / 19264);
  EXPECT_NEAR(rounded.mean, floats.mean, 5 * deviation);
}

/// Mean loss of the last 20 of 300 steps on sequences in which a token decides most of the next one.
double loss_after_training(const test::Storage& storage) {
  test::TinyShape shape = test::small_shape();
  shape.layers = 1;
  shape.vocabulary = 64;
  const auto parameters = Parameters::random(test::TinyModel::make(shape), 0.05, 9, storage.masters);
  AdamwOptions options;
  options.lr = 3e-3;
  options.beta2 = 0.99;
  options.state = storage.state;
  Adamw optimiser(*parameters, options, 9);
  GradientStep gradient(*parameters, 16, {});
  core::Random random(10);
  double sum = 0;
  for (int s = 0; s < 300; ++s) {
    Batch batch;
    for (int row = 0; row < 4; ++row) {
      std::uint64_t token = random.below(64);
      for (int t = 0; t < 16; ++t) {
        batch.tokens.push_back(static_cast<std::int32_t>(token));
        token = random.uniform() < 0.8 ? (token * 5 + 3) % 64 : random.below(64);
        batch.targets.push_back(static_cast<std::int32_t>(token));
      }
    }
    parameters->zero_gradients();
    const double loss = gradient.add(batch, 4, 1.0F / 64) / 64;
    optimiser.step(1, 1);
    if (s >= 280) sum += loss / 20;
  }
  return sum;
}

TEST(Adamw, NarrowTypesLearnAsFloatsDo) {
  const double floats = loss_after_training({});
  EXPECT_LT(floats, 2.2);  // of log 64 = 4.16; the sequences' own entropy is 1.33
  for (const test::Storage& storage :
       {test::Storage{MasterType::f32, StateType::bf16}, test::Storage{MasterType::f32, StateType::int8},
        test::Storage{MasterType::bf16_stochastic, StateType::int8}}) {
    const double loss = loss_after_training(storage);
    RecordProperty(storage.text(), std::to_string(loss - floats));
    EXPECT_LT(std::abs(loss - floats), 0.05) << storage.text() << ": " << loss << ", " << floats;
  }
}

}  // namespace
}  // namespace rpt::train
