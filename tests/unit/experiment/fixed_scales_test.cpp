// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include "rpt/core/float16.h"
#include "rpt/experiment/fine_tune.h"
#include "rpt/model/gate.h"
#include "rpt/prune/apply.h"
#include "rpt/prune/snap.h"
#include "rpt/train/parameters.h"
#include "rpt/train/run.h"
#include "tests/shared_data.h"
#include "tests/tiny_model.h"

namespace rpt::experiment {
namespace {

std::unique_ptr<model::Model> micro() {
  return model::open_model(test::source_dir() / "models/micro-1");
}

// Codes at s0: with the scale s0, or quantised online once more, as the reference trains and scores.
TEST(FixedScales, TrainWhatSnappingScores) {
  const auto base = micro();
  model::Masks masks = model::full_masks(base->config);
  for (model::LinearMask& mask : masks.linears) {
    for (std::size_t i = 0; i < mask.keep.size(); i += 7) mask.keep[i] = 0;
  }
  const auto pruned = prune::apply_masks(*base, masks);
  const std::string latents = model::nll_sha256(model::gate_nlls(*pruned));
  const auto parameters = train::Parameters::of_model(prune::apply_masks(*base, masks), train::MasterType::f32);
  for (const auto& [reading, rule] : {std::pair{train::FixedScaleReading::twice, prune::SnapRule::legacy_double},
                                      std::pair{train::FixedScaleReading::frozen, prune::SnapRule::frozen}}) {
    const std::string snapped =
        model::nll_sha256(model::gate_nlls(*prune::snap(*pruned, rule, {.base = &*base}).model));
    ASSERT_NE(snapped, latents);
    parameters->set_hook(std::make_shared<train::FixedScaleHook>(masks, scales_of(*base), reading));
    EXPECT_EQ(model::nll_sha256(model::gate_nlls(parameters->model())), snapped) << prune::name(rule);
  }
  parameters->set_hook(nullptr);
  EXPECT_EQ(model::nll_sha256(model::gate_nlls(parameters->model())), latents) << "the latents are still there";
}

// After steps too: what fine_tune() leaves are latents, and snapped they are what was trained.
TEST(FixedScales, WhatWasTrainedIsTheSnappedModel) {
  const auto base = micro();
  const model::Masks masks = model::full_masks(base->config);
  train::TokenStream stream;
  for (std::int32_t i = 0; i < 200; ++i) stream.tokens.push_back(1 + i * i % 97);
  stream.is_target.assign(stream.tokens.size(), 1);
  stream.sha256 = "squares";
  train::TrainConfig tune;
  tune.steps = 2;
  tune.batch = 1;
  tune.context = 32;
  tune.optimiser.lr = 1e-2;
  tune.optimiser.relative = true;
  tune.hold_out = 0;
  const test::ScratchFolder folder;
  for (const FixedScales scales : {FixedScales{base.get(), train::FixedScaleReading::frozen},
                                   FixedScales{base.get(), train::FixedScaleReading::twice}}) {
    const auto twin = train::Parameters::of_model(prune::apply_masks(*base, masks), train::MasterType::f32);
    twin->set_hook(std::make_shared<train::FixedScaleHook>(masks, scales_of(*base), scales.reading));
    const std::string name = scales.reading == train::FixedScaleReading::twice ? "twice" : "frozen";
    train::run_training(tune, *twin, stream, folder / (name + "-twin"), false, "here", {});
    const std::string trained = model::nll_sha256(model::gate_nlls(twin->model()));

    Surroundings around;
    around.machine = "here";
    const auto latents =
        fine_tune(prune::apply_masks(*base, masks), nullptr, tune, stream, folder / name, around, scales);
    EXPECT_EQ(model::nll_sha256(model::gate_nlls(*scales.snap(*latents))), trained) << name;
    EXPECT_NE(model::nll_sha256(model::gate_nlls(*latents)), trained) << name;
  }
}

TEST(FixedScales, ReadCodesTimesTheScale) {
  model::Masks masks;
  masks.linears.push_back({"blk.0.attn_q", 1, 6, {1, 1, 1, 1, 1, 0}});
  const train::FixedScaleHook hook(masks, {{"blk.0.attn_q", {1 / 0.5F, 0.5F}}}, train::FixedScaleReading::frozen);
  std::vector<std::uint16_t> values;
  for (const float v : {0.2F, -0.2F, 0.3F, -3.0F, 0.5F, 2.0F}) values.push_back(core::float_to_bf16(v));
  hook.published({"blk.0.attn_q", true, 1, 6, {}}, values);
  std::vector<float> read;
  for (const std::uint16_t v : values) read.push_back(core::bf16_to_float(v));
  EXPECT_EQ(read, (std::vector<float>{0, 0, 0.5F, -0.5F, 0.5F, 0}));
  std::vector<std::uint16_t> norm{core::float_to_bf16(0.3F)};
  hook.published({"output_norm", false, 1, 1, {}}, norm);
  EXPECT_EQ(core::bf16_to_float(norm[0]), core::bf16_to_float(core::float_to_bf16(0.3F)));
}

TEST(FixedScales, AreNeededForEveryLinearAndTellHooksApart) {
  const auto base = micro();
  train::FixedScaleHook::Scales scales = scales_of(*base);
  const model::Masks masks = model::full_masks(base->config);
  using train::FixedScaleReading;
  const train::FixedScaleHook hook(masks, scales, FixedScaleReading::twice);
  EXPECT_NE(train::FixedScaleHook(masks, scales, FixedScaleReading::frozen).description(), hook.description());
  scales.begin()->second.scale *= 2;
  EXPECT_NE(train::FixedScaleHook(masks, scales, FixedScaleReading::twice).description(), hook.description());
  const auto narrow = train::Parameters::of_model(micro(), train::MasterType::bf16_nearest);
  EXPECT_THROW(narrow->set_hook(std::make_shared<train::FixedScaleHook>(hook)), ConfigError) << "no latents";
  scales.erase(scales.begin());
  const auto parameters = train::Parameters::of_model(micro(), train::MasterType::f32);
  EXPECT_THROW(parameters->set_hook(std::make_shared<train::FixedScaleHook>(masks, scales, FixedScaleReading::twice)),
               ConfigError);
}

}  // namespace
}  // namespace rpt::experiment
