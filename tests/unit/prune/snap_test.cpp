// SPDX-License-Identifier: MIT
#include "rpt/prune/snap.h"

#include <gtest/gtest.h>

#include "prune_test_support.h"
#include "rpt/model/export.h"
#include "rpt/model/gauge_groups.h"
#include "rpt/prune/apply.h"
#include "rpt/prune/select.h"

namespace rpt::prune {
namespace {

using tensor::DType;
using test::TinyModel;

const SnappedTensor& find(const Snapped& snapped, const std::string& name) {
  return *std::find_if(snapped.tensors.begin(), snapped.tensors.end(),
                       [&](const SnappedTensor& t) { return t.name == name; });
}

/// Sets blk.0.attn_q to repetitions of eight values. Their mean is 1.181671, and 1.150390625 without those below 0.25;
/// three quarters of 1.1796875, the first as bf16, are 0.884765625. Scales are these rounded to bf16.
std::unique_ptr<model::Model> with_known_values(bool pruned) {
  constexpr std::array kValues{0.2F, -0.6F, 1.4F, -2.2F, 0.05F, 0.9F, -1.1F, 3.0F};
  auto model = TinyModel::make(kSmall);
  const auto latents = bf16_latents(model->weights.blocks[0].attn_q);
  for (std::size_t i = 0; i < latents.size(); ++i) {
    const float w = kValues[i % 8];
    latents[i] = core::float_to_bf16(pruned && std::fabs(w) < 0.25F ? 0.0F : w);
  }
  return model;
}

/// One set of codes, four scales: which is meant must be said.
TEST(Snap, EveryRuleHasItsOwnScale) {
  const auto base = with_known_values(false);
  const auto pruned = with_known_values(true);
  const SnapSource source{.base = base.get()};
  const auto scale = [&](SnapRule rule) { return find(snap(*pruned, rule, source), "blk.0.attn_q").scale; };
  EXPECT_EQ(scale(SnapRule::frozen), 1.1796875F);
  EXPECT_EQ(scale(SnapRule::online), 1.1484375F);
  EXPECT_EQ(scale(SnapRule::legacy_double), 0.8828125F);
  EXPECT_EQ(scale(SnapRule::max), 3.0F);
  EXPECT_EQ(scale(SnapRule::refit), 1.1796875F);  // without inputs the codes that are left say as before

  const Snapped frozen = snap(*pruned, SnapRule::frozen, source);
  const SnappedTensor& t = find(frozen, "blk.0.attn_q");
  EXPECT_EQ(t.weights, 4096U);
  EXPECT_EQ(t.zeros, 1024U);
  EXPECT_EQ(t.ternary, 1024U + 512U);  // the zeros, and ±3
  EXPECT_EQ(t.largest, 3.0F);
  EXPECT_EQ(t.online_scale, 1.1484375F);
  EXPECT_EQ(t.scale_again, 0.8828125F);
  EXPECT_EQ(t.changed, 0U);

  // Snapped, the weights are 0 and ±s: `stored` and `max` agree, and a second quantisation shrinks the scale.
  const test::ScratchFolder folder;
  export_gguf(*frozen.model, folder / "snapped.gguf", DType::bf16, {});
  const auto written = model::open_model(folder / "snapped.gguf");
  for (const SnapRule rule : {SnapRule::stored, SnapRule::max}) {
    const Snapped again = snap(*written, rule);
    const SnappedTensor& a = find(again, "blk.0.attn_q");
    EXPECT_EQ(a.scale, 1.1796875F);
    EXPECT_EQ(a.ternary, a.weights);
    EXPECT_EQ(a.online_scale, 0.8828125F);
    EXPECT_EQ(a.scale_again, 0.8828125F);
    EXPECT_EQ(model::gate_nlls(*again.model), model::gate_nlls(*frozen.model));
  }
  EXPECT_THROW(snap(*written, SnapRule::online), ConfigError);
  EXPECT_NE(model::gate_nlls(*snap(*pruned, SnapRule::legacy_double, source).model), model::gate_nlls(*frozen.model));
}

/// Weights that were snapped, in a directory that declares them as latents.
TEST(Snap, StoredTakesWhatStandsThere) {
  const auto model = TinyModel::make(kSmall);
  for (model::BlockWeights& block : model->weights.blocks) {
    for (const model::GaugeGroup& group : model::kGaugeGroups) {
      for (const model::GaugeLinear& linear : group.linears) {
        for (std::uint16_t& w : bf16_latents(block.*linear.weight)) {
          const float x = core::bf16_to_float(w);
          w = core::float_to_bf16(x > 0.03F ? 0.5F : x < -0.03F ? -0.5F : 0.0F);
        }
      }
    }
  }
  const Snapped stored = snap(*model, SnapRule::stored);
  for (const SnappedTensor& t : stored.tensors) {
    EXPECT_EQ(t.scale, 0.5F);
    EXPECT_LT(t.online_scale, 0.4F);
    EXPECT_EQ(t.online_scale, t.scale_again);
    EXPECT_EQ(t.ternary, t.weights);
    EXPECT_EQ(t.changed, 0U);
  }
  EXPECT_NE(model::gate_nlls(*stored.model), model::gate_nlls(*model));
  EXPECT_EQ(model::gate_nlls(*stored.model), model::gate_nlls(*snap(*model, SnapRule::max).model));
  EXPECT_EQ(model::gate_nlls(*snap(*model, SnapRule::online).model), model::gate_nlls(*model));
}

TEST(Snap, OnlineChangesNoBit) {
  for (const DType type : {DType::bf16, DType::f16, DType::f32}) {
    test::TinyShape shape = kSmall;
    shape.type = type;
    const auto model = TinyModel::make(shape);
    model->weights.blocks[1].attn_q.output_scale = 0.5F;
    const Snapped snapped = snap(*model, SnapRule::online);
    EXPECT_EQ(model::gate_nlls(*snapped.model), model::gate_nlls(*model));
    for (const SnappedTensor& t : snapped.tensors) {
      EXPECT_EQ(t.scale, t.online_scale);
      EXPECT_EQ(t.changed, 0U);
    }
    EXPECT_EQ(snapped.model->weights.blocks[1].attn_q.output_scale, 0.5F);
    EXPECT_EQ(snapped.model->weights.blocks[0].ffn_up.weight.rule(), ternary::ScaleRule::stored);
  }
}

TEST(Snap, OnItsOwnBaseFrozenIsOnline) {
  const auto model = TinyModel::make(kSmall);
  const Calibration calibration = calibrate(*model, some_tokens(*model), Moments::inputs);
  for (const SnapSource& source : {SnapSource{model.get(), nullptr}, SnapSource{model.get(), &calibration}}) {
    EXPECT_EQ(model::gate_nlls(*snap(*model, SnapRule::frozen, source).model), model::gate_nlls(*model));
    EXPECT_EQ(model::gate_nlls(*snap(*model, SnapRule::refit, source).model), model::gate_nlls(*model));
  }
}

/// ‖s·CX − s'·C'X‖² of a layer, from the inputs.
double output_error(const InputMoments& input, std::span<const std::int8_t> base, double s,
                    std::span<const std::int8_t> own, double own_scale) {
  const std::size_t columns = input.squares.size();
  double error = 0;
  for (std::size_t t = 0; t < input.square_steps.size(); ++t) {
    const std::int8_t* q = input.inputs.data() + t * columns;
    for (std::size_t n = 0; n < base.size() / columns; ++n) {
      int from = 0;
      int to = 0;
      for (std::size_t k = 0; k < columns; ++k) {
        from += base[n * columns + k] * q[k];
        to += own[n * columns + k] * q[k];
      }
      const double difference = s * from - own_scale * to;
      error += input.square_steps[t] * difference * difference;
    }
  }
  return error;
}

TEST(Snap, RefitComesClosestToTheBase) {
  const test::TinyShape shape{.hidden = 64, .feed_forward = 96, .vocabulary = 100, .type = DType::f32};
  const auto base = TinyModel::make(shape);
  const auto pruned = apply_masks(*base, select(*base, *random_saliency(*base, 3), {.sparsity = 0.3}));
  const Calibration calibration = calibrate(*base, some_tokens(*base), Moments::inputs);
  const Snapped snapped = snap(*pruned, SnapRule::refit, {base.get(), &calibration});
  const Snapped frozen = snap(*pruned, SnapRule::frozen, {base.get(), nullptr});
  const std::vector<Linear> linears = linear_layers(*base);
  for (std::size_t i = 0; i < linears.size(); ++i) {
    const InputMoments& input = calibration.input_of(linears[i]);
    const model::TernaryWeight& weight = (snapped.model->weights.blocks[linears[i].block].*linears[i].part).weight;
    const auto own = ternary::unpack(weight.codes());
    EXPECT_EQ(own, ternary::unpack((frozen.model->weights.blocks[linears[i].block].*linears[i].part).weight.codes()));
    const auto codes = ternary::unpack(linears[i].weight->codes());
    const double s = static_cast<double>(linears[i].weight->codes().scale);
    const double best = static_cast<double>(weight.codes().scale);
    const double left = output_error(input, codes, s, own, best);
    EXPECT_LT(left, output_error(input, codes, s, own, best * 1.001)) << linears[i].name;
    EXPECT_LT(left, output_error(input, codes, s, own, best * 0.999)) << linears[i].name;
    EXPECT_EQ(static_cast<float>(s), frozen.tensors[i].scale);
    EXPECT_NE(best, s);
  }
}

TEST(Snap, RefusesWhatCannotBeSnapped) {
  const auto model = TinyModel::make(kSmall);
  expect_refusal([&] { snap(*model, SnapRule::stored); }, "blk.0.attn_q: its values are not 0 and ±s");
  expect_refusal([&] { snap(*model, SnapRule::frozen); }, "needs a base");
  const auto deeper = TinyModel::make({.hidden = 64, .feed_forward = 96, .layers = 3, .vocabulary = 100});
  const auto wider = TinyModel::make({.hidden = 64, .feed_forward = 128, .vocabulary = 100});
  expect_refusal([&] { snap(*model, SnapRule::frozen, {deeper.get(), nullptr}); }, "another shape");
  expect_refusal([&] { snap(*model, SnapRule::frozen, {wider.get(), nullptr}); }, "another shape");
  const Calibration squares = calibrate(*model, some_tokens(*model), Moments::squares);
  expect_refusal([&] { snap(*model, SnapRule::refit, {model.get(), &squares}); }, "with inputs");
  const Calibration others = calibrate(*wider, some_tokens(*wider), Moments::inputs);
  expect_refusal([&] { snap(*model, SnapRule::refit, {model.get(), &others}); }, "another shape");

  const Snapped packed = snap(*model, SnapRule::online);
  for (const SnapRule rule : {SnapRule::online, SnapRule::stored, SnapRule::max}) {
    expect_refusal([&] { snap(*packed.model, rule); }, "holds codes");
  }
  EXPECT_EQ(model::gate_nlls(*snap(*model, SnapRule::frozen, {packed.model.get(), nullptr}).model).size(), 64U);

  for (const SnapRule rule : {SnapRule::online, SnapRule::max}) {
    const auto broken = TinyModel::make(kSmall);
    bf16_latents(broken->weights.blocks[1].ffn_up)[7] = 0x7fc0;  // a NaN
    EXPECT_THROW(snap(*broken, rule), FormatError);
  }
}

TEST(Snap, RulesHaveNames) {
  for (const SnapRule rule : {SnapRule::online, SnapRule::stored, SnapRule::max, SnapRule::frozen, SnapRule::refit,
                              SnapRule::legacy_double}) {
    EXPECT_EQ(parse_snap_rule(name(rule)), rule);
    EXPECT_EQ(needs_base(rule), rule >= SnapRule::frozen);
  }
  EXPECT_THROW(parse_snap_rule("learned"), ConfigError);
  EXPECT_EQ(scale_read_again(1.1796875F, 6, 8, DType::f32), 0.884765625F);
  EXPECT_EQ(scale_read_again(1.1796875F, 6, 8, DType::bf16), 0.8828125F);
  EXPECT_EQ(scale_read_again(2.0F, 8, 8, DType::f32), 2.0F);
}

}  // namespace
}  // namespace rpt::prune
