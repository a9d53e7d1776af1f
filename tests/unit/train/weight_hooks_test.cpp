// SPDX-License-Identifier: MIT
#include "rpt/train/weight_hooks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <fstream>

#include "rpt/core/atomic_file.h"
#include "rpt/core/float16.h"
#include "rpt/train/run.h"
#include "tests/tiny_model.h"
#include "tests/unit/train/step_test_support.h"

namespace rpt::train {
namespace {

using test::batch_of_noise;
using test::tiny_parameters;

/// Random masks that prune about one weight in three, none in `whole`.
model::Masks random_masks(const Parameters& parameters, const std::string& whole = "") {
  core::Random random(11);
  model::Masks masks = model::full_masks(parameters.model().config);
  for (model::LinearMask& mask : masks.linears) {
    if (mask.name == whole) continue;
    for (std::uint8_t& keep : mask.keep) keep = random.below(3) == 0 ? 0 : 1;
  }
  return masks;
}

model::LinearMask& find(model::Masks& masks, const std::string& name) {
  return const_cast<model::LinearMask&>(*masks.find(name));
}

const Parameter& find(const Parameters& parameters, const std::string& name) {
  return *std::find_if(parameters.all().begin(), parameters.all().end(), [&](const auto& p) { return p.name == name; });
}

/// One optimiser step on a batch of noise.
void step(Parameters& parameters, GradientStep& gradient, Adamw& optimiser, std::uint64_t seed = 7) {
  parameters.zero_gradients();
  gradient.add(batch_of_noise(16, 2, parameters.model().config.vocabulary, seed), 2, 1.0F / 30);
  optimiser.step(1, 1);
}

const StepOptions kFloat{model::BackwardType::f32, model::BackwardType::f32, false};

TEST(MaskHook, PrunedWeightsAreZeroAndHaveNoGradient) {
  const auto parameters = tiny_parameters();
  const model::Masks masks = random_masks(*parameters, "blk.0.attn_k");
  parameters->set_hook(std::make_shared<MaskHook>(masks));
  GradientStep gradient(*parameters, 16, kFloat);
  AdamwOptions options;
  options.weight_decay = 0;
  Adamw optimiser(*parameters, options);
  const std::vector<float> start(find(*parameters, "blk.1.ffn_up").master.data(),
                                 find(*parameters, "blk.1.ffn_up").master.data() + 128 * 64);
  for (std::uint64_t i = 0; i < 3; ++i) {
    step(*parameters, gradient, optimiser, i);
    for (const Parameter& p : parameters->all()) {
      const model::LinearMask* mask = masks.find(p.name);
      std::int64_t zeros = 0;
      for (std::size_t j = 0; std::cmp_less(j, p.size()); ++j) {
        const bool pruned = mask != nullptr && mask->keep[j] == 0;
        if (pruned) {
          ASSERT_EQ(p.rounded[j], 0) << p.name;
          ASSERT_EQ(p.gradient[j], 0) << p.name;
        }
        zeros += p.gradient[j] == 0 ? 1 : 0;
      }
      EXPECT_TRUE(p.kind == ParameterKind::embedding || zeros < p.size()) << p.name;
    }
  }
  // Without decay a master that gets no gradient stands still, and the others move.
  const Parameter& up = find(*parameters, "blk.1.ffn_up");
  for (std::size_t j = 0; j < start.size(); ++j) {
    ASSERT_EQ(up.master[j] == start[j], masks.find("blk.1.ffn_up")->keep[j] == 0) << j;
  }
  // The model reads codes 0 there.
  std::vector<std::int8_t> codes(64);
  for (std::int64_t r = 0; r < 128; ++r) {
    ternary::unpack_row(parameters->model().weights.blocks[1].ffn_up.weight.codes(), r, codes);
    for (std::size_t c = 0; c < codes.size(); ++c) {
      ASSERT_TRUE(masks.find("blk.1.ffn_up")->keep[static_cast<std::size_t>(r) * 64 + c] == 1 || codes[c] == 0);
    }
  }
}

TEST(MaskHook, NormsAreTakenOfWhatIsLeft) {
  const auto norm_under = [&](const std::shared_ptr<MaskHook>& hook) {
    const auto parameters = tiny_parameters();
    GradientStep gradient(*parameters, 16, kFloat);
    Adamw optimiser(*parameters, {});
    gradient.add(batch_of_noise(16, 2, 96), 2, 1.0F / 30);  // both of the same model
    if (hook) parameters->set_hook(hook);
    double squares = 0;
    for (const Parameter& p : parameters->all()) {
      const model::TrainedWeight w = p.trained_weight();
      std::vector<float> g(p.gradient.data(), p.gradient.data() + p.size());
      if (hook) hook->gradient(w, g);
      for (const float v : g) squares += static_cast<double>(v) * static_cast<double>(v);
    }
    const StepNorms norms = optimiser.step(1, 1);
    EXPECT_NEAR(norms.gradient, std::sqrt(squares), 1e-9 * norms.gradient);
    return norms.gradient;
  };
  const auto hook = std::make_shared<MaskHook>(random_masks(*tiny_parameters()));
  EXPECT_LT(norm_under(hook), norm_under(nullptr));
}

TEST(MaskHook, HoldsBfloat16MastersToo) {
  const auto parameters = tiny_parameters(MasterType::bf16_stochastic);
  const model::Masks masks = random_masks(*parameters);
  parameters->set_hook(std::make_shared<MaskHook>(masks));
  GradientStep gradient(*parameters, 16, kFloat);
  Adamw optimiser(*parameters, {});
  for (std::uint64_t i = 0; i < 3; ++i) step(*parameters, gradient, optimiser, i);
  for (const model::LinearMask& mask : masks.linears) {
    const Parameter& p = find(*parameters, mask.name);
    for (std::size_t j = 0; j < mask.keep.size(); ++j) ASSERT_TRUE(mask.keep[j] == 1 || p.rounded[j] == 0) << p.name;
  }
}

TEST(MaskHook, DoesNotFitAnotherModel) {
  const auto parameters = tiny_parameters();
  model::Masks masks = random_masks(*parameters);
  model::LinearMask& mask = find(masks, "blk.0.attn_q");
  mask.rows /= 2;
  mask.keep.resize(mask.keep.size() / 2);
  EXPECT_THROW(parameters->set_hook(std::make_shared<MaskHook>(masks)), ConfigError);
  masks = random_masks(*parameters);
  masks.linears.pop_back();
  EXPECT_THROW(parameters->set_hook(std::make_shared<MaskHook>(masks)), ConfigError);
  EXPECT_EQ(parameters->hook(), nullptr);
}

TEST(WeightHooks, HavingNoneOrOneThatPrunesNothingGivesTheSameBits) {
  const auto masters = [&](bool hooked) {
    const auto parameters = tiny_parameters();
    if (hooked) {
      parameters->set_hook(std::make_shared<MaskHook>(model::full_masks(parameters->model().config)));
    }
    GradientStep gradient(*parameters, 16, kFloat);
    Adamw optimiser(*parameters, {});
    step(*parameters, gradient, optimiser);
    std::vector<float> all;
    for (const Parameter& p : parameters->all()) all.insert(all.end(), p.master.data(), p.master.data() + p.size());
    return all;
  };
  EXPECT_EQ(masters(false), masters(true));
}

TEST(WeightHooks, AGroupWithoutRateFreezesTheCodes) {
  const auto parameters = tiny_parameters();
  GradientStep gradient(*parameters, 16, kFloat);
  AdamwOptions options;
  options.groups.push_back({"blk\\.\\d+\\.(attn_[qkv]|attn_output|ffn_(gate|up|down))", 0, 1});
  Adamw optimiser(*parameters, options);
  std::vector<std::vector<float>> before;
  for (const Parameter& p : parameters->all()) before.emplace_back(p.master.data(), p.master.data() + p.size());
  for (std::uint64_t i = 0; i < 2; ++i) step(*parameters, gradient, optimiser, i);
  for (std::size_t i = 0; i < before.size(); ++i) {
    const Parameter& p = parameters->all()[i];
    const bool same = std::equal(before[i].begin(), before[i].end(), p.master.data());
    EXPECT_EQ(same, p.kind == ParameterKind::linear) << p.name;
  }
}

TEST(KeepLargest, KeepsTheLargestAndTheFirstOfEquals) {
  std::vector<std::uint32_t> scratch;
  const auto mask_of = [&](const std::vector<float>& w, std::int64_t keep) {
    std::vector<std::uint8_t> mask(w.size(), 9);
    keep_largest(w, keep, mask, scratch);
    return mask;
  };
  using Mask = std::vector<std::uint8_t>;
  EXPECT_EQ(mask_of({1, -3, 2, -4}, 2), (Mask{0, 1, 0, 1}));
  EXPECT_EQ(mask_of({1, -1, 1, -1}, 2), (Mask{1, 1, 0, 0}));
  EXPECT_EQ(mask_of({1, 2, 1, -2}, 3), (Mask{1, 1, 0, 1}));
  EXPECT_EQ(mask_of({0, -0.0F, 0}, 1), (Mask{1, 0, 0}));
  EXPECT_EQ(mask_of({1, 2}, 0), (Mask{0, 0}));
  EXPECT_EQ(mask_of({1, 2}, 2), (Mask{1, 1}));
  EXPECT_THROW(mask_of({1, 2}, 3), LogicError);
}

TEST(ReviveHook, PrunesByScope) {
  const auto pruned_in = [&](const ReviveOptions& options, std::int64_t group) {
    const auto parameters = tiny_parameters();
    parameters->set_hook(std::make_shared<ReviveHook>(options));
    std::set<std::int64_t> counts;
    for (const Parameter& p : parameters->all()) {
      if (p.kind != ParameterKind::linear) continue;
      const std::int64_t size = group > 0 ? group : p.size();
      for (std::int64_t g = 0; g < p.size() / size; ++g) {
        const std::uint16_t* begin = p.rounded.data() + g * size;
        const std::int64_t zeros = std::count(begin, begin + size, std::uint16_t{0});
        counts.insert(group > 0 ? zeros : zeros * 100 / size);
        // Every kept magnitude is at least as large as every pruned one.
        float largest_pruned = 0;
        float smallest_kept = 1e9F;
        for (std::int64_t i = 0; i < size; ++i) {
          const float m = std::abs(p.master[static_cast<std::size_t>(g * size + i)]);
          if (begin[i] == 0) {
            largest_pruned = std::max(largest_pruned, m);
          } else {
            smallest_kept = std::min(smallest_kept, m);
          }
        }
        EXPECT_LE(largest_pruned, smallest_kept);
      }
    }
    return counts;
  };
  ReviveOptions options;
  EXPECT_EQ(pruned_in(options, 4), std::set<std::int64_t>{2});
  options.keep = 6;
  options.of = 8;
  EXPECT_EQ(pruned_in(options, 8), std::set<std::int64_t>{2});
  options.scope = ReviveScope::tensor;
  options.sparsity = 0.5;
  EXPECT_EQ(pruned_in(options, 0), std::set<std::int64_t>{50});
  options.scope = ReviveScope::row;
  const auto parameters = tiny_parameters();
  parameters->set_hook(std::make_shared<ReviveHook>(options));
  const Parameter& q = find(*parameters, "blk.0.attn_q");
  for (std::int64_t r = 0; r < q.rows; ++r) {
    EXPECT_EQ(std::count(q.rounded.data() + r * 64, q.rounded.data() + (r + 1) * 64, std::uint16_t{0}), 32);
  }
  EXPECT_EQ(std::count(find(*parameters, "token_embd").rounded.data(),
                       find(*parameters, "token_embd").rounded.data() + 96 * 64, std::uint16_t{0}),
            0);
}

TEST(ReviveHook, PrunedWeightsComeBackAtTheNextRefreshOnly) {
  const auto parameters = tiny_parameters();
  ReviveOptions options;
  options.every = 3;
  const auto hook = std::make_shared<ReviveHook>(options);
  parameters->set_hook(hook);
  GradientStep gradient(*parameters, 16, kFloat);
  AdamwOptions adam;
  adam.lr = 2e-2;  // of weights of 0.05: orders change quickly
  Adamw optimiser(*parameters, adam);
  const Parameter& up = find(*parameters, "blk.0.ffn_up");
  const auto mask = [&] {
    const auto m = hook->state(up.trained_weight());
    return std::vector<std::uint8_t>(m.begin(), m.end());
  };
  const std::vector<std::uint8_t> first = mask();
  step(*parameters, gradient, optimiser, 0);
  // Dense gradients: the pruned ones have theirs too.
  std::int64_t without = 0;
  for (std::size_t i = 0; i < first.size(); ++i) without += first[i] == 0 && up.gradient[i] == 0 ? 1 : 0;
  EXPECT_LT(without, static_cast<std::int64_t>(first.size()) / 20);
  step(*parameters, gradient, optimiser, 1);
  EXPECT_EQ(mask(), first);
  step(*parameters, gradient, optimiser, 2);
  const std::vector<std::uint8_t> second = mask();
  EXPECT_NE(second, first);
  std::int64_t revived = 0;
  for (std::size_t i = 0; i < first.size(); ++i) revived += first[i] == 0 && up.rounded[i] != 0 ? 1 : 0;
  EXPECT_GT(revived, 0);
  EXPECT_EQ(std::count(second.begin(), second.end(), 1), std::count(first.begin(), first.end(), 1));
}

TEST(ReviveHook, RefusesWhatItCannotDo) {
  ReviveOptions options;
  options.keep = 5;
  EXPECT_THROW(ReviveHook{options}, ConfigError);
  options = {};
  options.every = 0;
  EXPECT_THROW(ReviveHook{options}, ConfigError);
  options = {};
  options.sparsity = 1.5;
  EXPECT_THROW(ReviveHook{options}, ConfigError);
  options = {};
  options.keep = 2;
  options.of = 5;  // 64 columns
  const auto parameters = tiny_parameters();
  EXPECT_THROW(parameters->set_hook(std::make_shared<ReviveHook>(options)), ConfigError);
  EXPECT_THROW(tiny_parameters(MasterType::bf16_nearest)->set_hook(std::make_shared<ReviveHook>(ReviveOptions())),
               ConfigError);  // what it prunes would be lost
  EXPECT_EQ(parse_revive_scope("row"), ReviveScope::row);
  EXPECT_THROW(parse_revive_scope("block"), ConfigError);
}

/// Scales of 0.02, the deviation of the small model's weights, for all of them.
std::shared_ptr<model::WeightHook> fixed_scales(const Parameters& p, FixedScaleReading reading) {
  const model::Masks masks = random_masks(p);
  FixedScaleHook::Scales scales;
  const float scale = core::bf16_to_float(core::float_to_bf16(0.02F));
  for (const model::LinearMask& mask : masks.linears) scales[mask.name] = {1 / scale, scale};
  return std::make_shared<FixedScaleHook>(masks, scales, reading);
}

/// A run on random tokens that may be interrupted after some steps and resumed with everything made anew.
class HookedRun : public ::testing::Test {
 protected:
  HookedRun() {
    core::Random random(5);
    for (int i = 0; i < 2000; ++i) stream_.tokens.push_back(static_cast<std::int32_t>(random.below(96)));
    stream_.is_target.assign(stream_.tokens.size(), 1);
    stream_.sha256 = "tokens";
    config_.steps = 12;
    config_.batch = 2;
    config_.context = 16;
    config_.checkpoint_every = 100;
    config_.schedule.kind = ScheduleKind::constant;
    config_.optimiser.lr = 1e-2;
  }

  using MakeHook = std::function<std::shared_ptr<model::WeightHook>(const Parameters&)>;

  /// The masters in the end. `interruptions` are steps after which the run is ended and resumed.
  std::vector<float> masters(const std::string& name, std::vector<std::int64_t> interruptions, const MakeHook& make) {
    for (bool resume = false;; resume = true) {
      const auto parameters = tiny_parameters();
      if (make) parameters->set_hook(make(*parameters));
      std::int64_t last = 0;
      RunHooks hooks;
      hooks.step = [&](const StepRecord& r) { last = r.step; };
      hooks.interrupted = [&] { return std::count(interruptions.begin(), interruptions.end(), last) > 0; };
      hooks.evaluate = [&](const model::Model&) {
        return std::vector<Evaluation>{{"noise", 1.0 + static_cast<double>(last), 0, 1, "", true}};  // ever worse
      };
      const RunResult result = run_training(config_, *parameters, stream_, folder_ / name, resume, "machine", hooks);
      if (result.end == RunEnd::interrupted) continue;
      result_ = result;
      result_.lock.reset();  // some go on with the run
      std::vector<float> all;
      for (const Parameter& p : parameters->all()) all.insert(all.end(), p.master.data(), p.master.data() + p.size());
      return all;
    }
  }

  test::ScratchFolder folder_;
  TokenStream stream_;
  TrainConfig config_;
  RunResult result_;
};

TEST_F(HookedRun, ResumesBitExactlyUnderEveryHook) {
  ReviveOptions options;
  options.every = 5;
  const std::vector<MakeHook> hooks = {
      [](const Parameters& p) { return std::make_shared<MaskHook>(random_masks(p)); },
      [&](const Parameters&) { return std::make_shared<ReviveHook>(options); },
      [](const Parameters& p) { return fixed_scales(p, FixedScaleReading::frozen); },
      [](const Parameters& p) { return fixed_scales(p, FixedScaleReading::twice); },
  };
  const std::vector<float> without = masters("without", {}, nullptr);
  for (std::size_t i = 0; i < hooks.size(); ++i) {
    const std::vector<float> whole = masters(fmt::format("whole{}", i), {}, hooks[i]);
    EXPECT_EQ(masters(fmt::format("cut{}", i), {3, 5, 9}, hooks[i]), whole);
    EXPECT_NE(whole, without);
  }
  // The masks between two refreshes are those of the last one: refreshed at every step the run is another one.
  options.every = 1;
  EXPECT_NE(masters("often", {}, hooks[1]), masters("whole1-again", {}, [&](const Parameters&) {
              ReviveOptions seldom = options;
              seldom.every = 5;
              return std::make_shared<ReviveHook>(seldom);
            }));
}

TEST_F(HookedRun, ResumesBitExactlyDuringAWarmUp) {
  config_.quantisation.warmup = 8;
  const std::vector<float> whole = masters("whole", {}, nullptr);
  EXPECT_EQ(masters("cut", {1, 4, 8}, nullptr), whole);
  config_.quantisation.warmup = 0;
  EXPECT_NE(masters("without", {}, nullptr), whole);
}

TEST_F(HookedRun, TheConfigurationCanAskForRevival) {
  config_.revive.emplace();
  config_.revive->every = 4;
  const std::vector<float> asked = masters("asked", {6}, nullptr);
  const ReviveOptions options = *config_.revive;
  config_.revive.reset();
  EXPECT_EQ(masters("given", {}, [&](const Parameters&) { return std::make_shared<ReviveHook>(options); }), asked);
  config_.revive = options;
  EXPECT_THROW(masters("both", {}, [](const Parameters& p) { return std::make_shared<MaskHook>(random_masks(p)); }),
               ConfigError);
}

TEST_F(HookedRun, GoesOnOnlyUnderTheHookItWasStartedWith) {
  masters("run", {}, [](const Parameters& p) { return std::make_shared<MaskHook>(random_masks(p)); });
  const auto resume = [&](const std::shared_ptr<model::WeightHook>& hook) {
    const auto parameters = tiny_parameters();
    parameters->set_hook(hook);
    run_training(config_, *parameters, stream_, folder_ / "run", true, "machine", {});
  };
  resume(std::make_shared<MaskHook>(random_masks(*tiny_parameters())));
  EXPECT_THROW(resume(nullptr), ConfigError);
  model::Masks other = random_masks(*tiny_parameters());
  find(other, "blk.0.attn_q").keep[0] ^= 1U;
  EXPECT_THROW(resume(std::make_shared<MaskHook>(other)), ConfigError);
  EXPECT_THROW(resume(std::make_shared<ReviveHook>(ReviveOptions())), ConfigError);
}

TEST_F(HookedRun, AWarmUpIsInTheMetricsAndDoesNotEndTheRun) {
  config_.evaluate_every = 1;
  config_.stop_on_overfitting = true;
  config_.overfit.patience = 2;
  config_.quantisation.warmup = 6;
  config_.quantisation.shape = WarmUpShape::linear;
  masters("run", {}, nullptr);
  EXPECT_EQ(result_.end, RunEnd::overfitting);
  EXPECT_EQ(result_.best_step, 6);  // what came before was not judged
  std::ifstream file(folder_ / "run" / "metrics.jsonl");
  int shares = 0;
  for (std::string line; std::getline(file, line);) shares += line.find("ternary_share") != std::string::npos ? 1 : 0;
  EXPECT_EQ(shares, 6);
}

TEST_F(HookedRun, WhatHasStoppedOnOverfittingIsNotTrainedFurther) {
  config_.evaluate_every = 1;
  config_.stop_on_overfitting = true;
  config_.overfit.patience = 2;
  const std::vector<float> ended = masters("run", {}, nullptr);
  const RunResult first = result_;
  EXPECT_EQ(first.end, RunEnd::overfitting);
  ASSERT_LT(first.steps, config_.steps);
  const auto parameters = tiny_parameters();
  const RunResult again = run_training(config_, *parameters, stream_, folder_ / "run", true, "machine", {});
  EXPECT_EQ(again.end, RunEnd::overfitting);
  EXPECT_EQ(again.steps, first.steps);
  EXPECT_EQ(again.first_step, first.steps);
  EXPECT_EQ(again.best_step, first.best_step);
  ASSERT_TRUE(first.last_loss);
  EXPECT_EQ(again.last_loss, first.last_loss);
  std::vector<float> all;
  for (const Parameter& p : parameters->all()) all.insert(all.end(), p.master.data(), p.master.data() + p.size());
  EXPECT_EQ(all, ended);
}

// Every other stretch of 64 tokens has something to learn.
TEST_F(HookedRun, StepsWithoutTargetsChangeNothingAndAreCounted) {
  config_.batch = 1;
  for (std::size_t i = 0; i < stream_.tokens.size(); ++i) stream_.is_target[i] = i / 64 % 2 == 0 ? 1 : 0;
  std::vector<StepRecord> steps;
  std::vector<std::string> warnings;
  std::vector<std::vector<float>> gains;
  const auto parameters = tiny_parameters();
  RunHooks hooks;
  hooks.step = [&](const StepRecord& r) {
    steps.push_back(r);
    gains.push_back(parameters->model().weights.output_norm.gain);
  };
  hooks.warn = [&](const std::string& line) { warnings.push_back(line); };
  const RunResult result = run_training(config_, *parameters, stream_, folder_ / "run", false, "machine", hooks);
  int idle = 0;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    EXPECT_EQ(steps[i].loss.has_value(), steps[i].targets > 0) << i;
    if (steps[i].targets > 0) continue;
    ++idle;
    if (i > 0) {
      EXPECT_EQ(gains[i], gains[i - 1]) << i;
    }
  }
  EXPECT_GT(idle, 2);
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_EQ(warnings[0], fmt::format("{} of 12 steps had no token to learn from and changed nothing", idle));
  EXPECT_TRUE(result.last_loss);
  EXPECT_EQ(describe_loss(std::nullopt), "no loss: no token to learn from");
  EXPECT_EQ(describe_loss(2.5), "loss 2.5000");

  stream_.is_target.assign(stream_.tokens.size(), 0);
  stream_.sha256 = "nothing to learn";
  EXPECT_THROW(masters("nothing", {}, nullptr), ConfigError);
}

}  // namespace
}  // namespace rpt::train
