// SPDX-License-Identifier: MIT
#include "rpt/prune/apply.h"

#include <gtest/gtest.h>

#include "prune_test_support.h"
#include "rpt/model/export.h"
#include "rpt/prune/account.h"
#include "rpt/prune/select.h"
#include "tests/shared_data.h"

namespace rpt::prune {
namespace {

using tensor::DType;
using test::TinyModel;

TEST(Apply, ZeroesWhatIsMaskedAndNothingElse) {
  for (const DType type : {DType::bf16, DType::f16, DType::f32}) {
    test::TinyShape shape = kSmall;
    shape.type = type;
    const auto model = TinyModel::make(shape);
    model->weights.blocks[1].attn_q.output_scale = 0.5F;
    const model::Masks masks =
        select(*model, *random_saliency(*model, 2), {.sparsity = 0.2, .protect = ".*attn_output"});
    const auto after = apply_masks(*model, masks);
    const auto from = plain_layers(*model);
    const auto to = plain_layers(*after);
    for (std::size_t i = 0; i < from.size(); ++i) {
      EXPECT_EQ(to[i].name, from[i].name);
      for (std::size_t j = 0; j < from[i].latents.size(); ++j) {
        const float expected = masks.linears[i].keep[j] != 0 ? from[i].latents[j] : 0.0F;
        ASSERT_EQ(std::bit_cast<std::uint32_t>(to[i].latents[j]), std::bit_cast<std::uint32_t>(expected));
      }
    }
    EXPECT_EQ(after->weights.blocks[0].attn_output.weight.stored_latents().data,
              model->weights.blocks[0].attn_output.weight.stored_latents().data)
        << "what does not change is shared";
    EXPECT_EQ(after->weights.blocks[1].ffn_sub_norm.gain, model->weights.blocks[1].ffn_sub_norm.gain);
    EXPECT_EQ(after->weights.blocks[1].attn_q.output_scale, 0.5F);
    EXPECT_NE(model::gate_nlls(*after), model::gate_nlls(*model));
  }
}

TEST(Apply, FullMasksChangeNoBit) {
  const auto model = TinyModel::make(kSmall);
  EXPECT_EQ(model::gate_nlls(*apply_masks(*model, model::full_masks(model->config))), model::gate_nlls(*model));
}

TEST(Apply, TheResultOutlivesItsSourceAndIsExported) {
  auto model = TinyModel::make();
  auto after = apply_masks(*model, select(*model, *magnitude_saliency(*model), {.sparsity = 0.1}));
  const std::vector<double> nlls = model::gate_nlls(*after);
  model.reset();
  EXPECT_EQ(model::gate_nlls(*after), nlls);
  const test::ScratchFolder folder;
  export_huggingface(*after, folder / "hf", model::HfForm::latents, {});
  export_gguf(*after, folder / "m.gguf", DType::i2_s, {});
  EXPECT_EQ(model::gate_nlls(*model::open_model(folder / "hf")), nlls);
  EXPECT_EQ(model::gate_nlls(*model::open_model(folder / "m.gguf")), nlls);
  // Codes alone cannot be pruned further.
  const auto packed = model::open_model(folder / "m.gguf");
  expect_refusal([&] { magnitude_saliency(*packed); }, "only latents are pruned");
  expect_refusal([&] { apply_masks(*packed, model::full_masks(packed->config)); }, "blk.0.attn_q");
}

/// The account against counting by hand.
TEST(Account, CountsWhatHappened) {
  const auto model = TinyModel::make(kSmall);
  bf16_latents(model->weights.blocks[0].attn_q)[3] = 0;
  const model::Masks masks = select(*model, *magnitude_saliency(*model), {.sparsity = 0.3});
  const auto after = apply_masks(*model, masks);
  const Account a = account(*model, *after);
  const auto from = plain_layers(*model);
  const auto to = plain_layers(*after);
  ASSERT_EQ(a.tensors.size(), from.size());
  WeightAccount total;
  for (std::size_t i = 0; i < from.size(); ++i) {
    WeightAccount e;
    for (std::size_t j = 0; j < from[i].codes.size(); ++j) {
      ++e.weights;
      if (from[i].latents[j] == 0) ++e.latents_zero_before;
      if (from[i].latents[j] != 0 && to[i].latents[j] == 0) ++e.latents_zeroed;
      if (from[i].codes[j] == 0) ++e.codes_zero_before;
      if (to[i].codes[j] == 0) ++e.codes_zero_after;
      if (from[i].codes[j] != 0 && to[i].codes[j] == 0) ++e.codes_removed;
      if (from[i].codes[j] == 0 && to[i].codes[j] != 0) ++e.codes_gained;
    }
    EXPECT_EQ(static_cast<const WeightAccount&>(a.tensors[i]), e) << from[i].name;
    EXPECT_EQ(a.tensors[i].name, from[i].name);
    EXPECT_EQ(e.codes_removed, masks.linears[i].pruned());
    EXPECT_EQ(e.codes_zero_after, e.codes_zero_before + e.codes_removed - e.codes_gained);
    EXPECT_EQ(a.tensors[i].scale_before, linear_layers(*model)[i].weight->codes().scale);
    EXPECT_EQ(a.tensors[i].scale_after, linear_layers(*after)[i].weight->codes().scale);
    EXPECT_LT(a.tensors[i].scale_after, a.tensors[i].scale_before);
    total += e;
  }
  EXPECT_EQ(a.total, total);
  EXPECT_GE(total.latents_zero_before, 1U);
  EXPECT_GT(total.codes_gained, 0U) << "the scale shrinks, and weights near the boundary get a code";
  EXPECT_NEAR(a.total.dose(), 0.3, 1e-5);
  EXPECT_EQ(WeightAccount{}.dose(), 0);
  EXPECT_EQ(WeightAccount{}.zero_share(), 0);
  EXPECT_DOUBLE_EQ(a.total.zero_share(),
                   static_cast<double>(a.total.codes_zero_after) / static_cast<double>(a.total.weights));
}

TEST(Account, TurnedCodesAndStoredOnes) {
  const auto model = TinyModel::make();
  const auto other = TinyModel::make();
  for (std::uint16_t& w : bf16_latents(other->weights.blocks[0].ffn_up)) w = static_cast<std::uint16_t>(w ^ 0x8000U);
  const Account turned = account(*model, *other);
  const std::size_t up = 5;
  EXPECT_EQ(turned.tensors[up].codes_turned, turned.tensors[up].weights - turned.tensors[up].codes_zero_before);
  EXPECT_EQ(turned.total.codes_turned, turned.tensors[up].codes_turned);
  EXPECT_EQ(turned.total.codes_removed + turned.total.codes_gained, 0U);

  const test::ScratchFolder folder;
  export_gguf(*model, folder / "m.gguf", DType::i2_s, {});
  const Account stored = account(*model::open_model(folder / "m.gguf"), *model);
  EXPECT_EQ(stored.total.codes_removed + stored.total.codes_gained + stored.total.codes_turned, 0U);
  EXPECT_EQ(stored.total.latents_zero_before, stored.total.codes_zero_before) << "a stored code of 0 is a zero";
  EXPECT_THROW(account(*model, *TinyModel::make(kSmall)), ConfigError);
  EXPECT_THROW(account(*model, *TinyModel::make({.layers = 3})), ConfigError);
}

TEST(Account, OfAnEmbeddedModel) {
  const auto model = model::open_model(test::source_dir() / "models/seedling");
  const auto after = apply_masks(*model, select(*model, *magnitude_saliency(*model), {.sparsity = 0.1}));
  const Account a = account(*model, *after);
  EXPECT_EQ(a.total.codes_removed, static_cast<std::uint64_t>(0.1 * static_cast<double>(a.total.weights) + 0.5));
}

}  // namespace
}  // namespace rpt::prune
