// SPDX-License-Identifier: MIT
#include "rpt/model/decoder.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "rpt/core/error.h"
#include "rpt/model/memory.h"
#include "tests/message_of.h"
#include "tests/tiny_model.h"

namespace rpt::model {
namespace {

using test::message_of;
using test::TinyModel;

tensor::Tensor run(const Model& model, const std::vector<std::int32_t>& ids, LayerObserver* observer = nullptr) {
  Decoder decoder(model.config, model.weights);
  decoder.set_observer(observer);
  KvCache cache(model.config, static_cast<std::int64_t>(ids.size()));
  tensor::Tensor hidden;
  decoder.forward(ids, cache, hidden);
  return hidden;
}

TEST(Decoder, RefusesWhatDoesNotFit) {
  const auto model = TinyModel::make();
  Decoder decoder(model->config, model->weights);
  KvCache cache(model->config, 4);
  tensor::Tensor hidden;
  EXPECT_THROW(decoder.forward(std::vector<std::int32_t>{300}, cache, hidden), ShapeError);
  EXPECT_THROW(decoder.forward(std::vector<std::int32_t>{-1}, cache, hidden), ShapeError);
  EXPECT_THROW(decoder.forward(std::vector<std::int32_t>(5, 1), cache, hidden), ShapeError);
  EXPECT_EQ(cache.size(), 0);
  decoder.forward(std::vector<std::int32_t>(4, 1), cache, hidden);
  EXPECT_EQ(cache.size(), 4);
  EXPECT_THROW(decoder.forward(std::vector<std::int32_t>{1}, cache, hidden), ShapeError);
  std::vector<double> nll(3);
  EXPECT_THROW(decoder.score(hidden.view(), std::vector<std::int32_t>(4, 1), nll), ShapeError);
  EXPECT_THROW(KvCache(model->config, 0), ConfigError);
  EXPECT_THROW(KvCache(model->config, 257), ConfigError);
}

TEST(Decoder, ScoresAFewMegabytesOfLogitsAtOnce) {
  EXPECT_EQ(Decoder::score_rows(128256), 32);
  EXPECT_EQ(Decoder::score_rows(16384), 64);
  EXPECT_EQ(Decoder::score_rows(256), 128);
}

TEST(Decoder, UnscoredTargetsAreZeroAndChangeNothing) {
  const auto model = TinyModel::make();
  const auto hidden = run(*model, std::vector<std::int32_t>(50, 7));
  Decoder decoder(model->config, model->weights);
  std::vector<std::int32_t> all(50, 3), some = all;
  for (std::size_t i = 0; i < 50; i += 3) some[i] = -1;
  std::vector<double> a(50), b(50);
  decoder.score(hidden.view(), all, a);
  decoder.score(hidden.view(), some, b);
  for (std::size_t i = 0; i < 50; ++i) EXPECT_EQ(b[i], some[i] < 0 ? 0.0 : a[i]);
}

TEST(Decoder, AnInfinityNamesLayerTokenAndPosition) {
  const auto model = TinyModel::make();
  model->weights.blocks[1].ffn_norm.gain[5] = HUGE_VALF;
  const std::string message = message_of([&] { run(*model, {11, 12}); });
  EXPECT_NE(message.find("blk.1.ffn_gate"), std::string::npos) << message;
  EXPECT_NE(message.find("token 11 at position 0"), std::string::npos) << message;
  const auto large = TinyModel::make();
  for (float& g : large->weights.blocks[0].attn_sub_norm.gain) g = 1e25F;
  const std::string overflow = message_of([&] { run(*large, {11, 12}); });
  EXPECT_NE(overflow.find("blk.0.ffn_norm: the sum of squares of row 0 is not finite"), std::string::npos) << overflow;
  const auto beyond = TinyModel::make();
  for (float& g : beyond->weights.blocks[0].attn_norm.gain) g *= 1e6F;
  const std::string f16 = message_of([&] { run(*beyond, {11, 12}); });
  EXPECT_NE(f16.find("blk.0.attn_k or attn_v"), std::string::npos) << f16;
  const auto last = TinyModel::make();
  last->weights.output_norm.gain[5] = std::nanf("");
  EXPECT_NE(message_of([&] { run(*last, {11, 12}); }).find("output_norm"), std::string::npos);
}

TEST(Decoder, ObserverSeesEveryPartOnce) {
  class Names final : public LayerObserver {
   public:
    void activation(std::string_view name, std::int64_t layer, tensor::MatrixView values) override {
      EXPECT_EQ(values.rows, 3);
      EXPECT_TRUE(seen.insert(std::string(name) + "@" + std::to_string(layer)).second) << name;
    }
    std::set<std::string> seen;
  } names;
  run(*TinyModel::make(), {1, 2, 3}, &names);
  EXPECT_EQ(names.seen.size(), 2U + 2 * 14);
  for (const std::string part : {"attn_norm", "attn_q", "attn_k", "attn_v", "attention", "attn_sub_norm", "attn_output",
                                 "ffn_norm", "ffn_gate", "ffn_up", "ffn_act", "ffn_sub_norm", "ffn_down", "block"}) {
    EXPECT_TRUE(names.seen.contains(part + "@1")) << part;
  }
}

TEST(Decoder, OutputScaleMultipliesLast) {
  // A power of two on attn_v's output is undone by the sub-norm; on ffn_down's it is not.
  const auto model = TinyModel::make();
  const auto scaled = TinyModel::make();
  scaled->weights.blocks[0].ffn_down.output_scale = 2.0F;
  const auto a = run(*model, {5, 6, 7});
  const auto b = run(*scaled, {5, 6, 7});
  EXPECT_NE(std::memcmp(a.data(), b.data(), sizeof(float) * 3 * 256), 0);
  scaled->weights.blocks[0].ffn_down.output_scale = 1.0F;
  const auto c = run(*scaled, {5, 6, 7});
  EXPECT_EQ(std::memcmp(a.data(), c.data(), sizeof(float) * 3 * 256), 0);
}

/// I2_S bytes in a file's form: codes, scale, tail.
TernaryWeight stored_weight(std::shared_ptr<core::AlignedBuffer<std::byte>> bytes, float scale) {
  std::memcpy(bytes->data() + 128 * 128 / 4, &scale, 4);
  return TernaryWeight::stored(
      {"file.gguf", "blk.0.attn_k.weight", 1000},
      {reinterpret_cast<const std::uint8_t*>(bytes->data()), bytes->size(), tensor::DType::i2_s, 128, 128, 0});
}

TEST(TernaryWeight, DamageIsFoundAtFirstUseWithItsPlace) {
  auto bytes = std::make_shared<core::AlignedBuffer<std::byte>>(128 * 128 / 4 + 32);
  std::memset(bytes->data(), 0x55, 128 * 128 / 4);
  EXPECT_EQ(stored_weight(bytes, 0.5F).codes().scale, 0.5F);
  EXPECT_EQ(stored_weight(bytes, 0.5F).rule(), ternary::ScaleRule::stored);
  EXPECT_FALSE(stored_weight(bytes, 0.5F).latents());
  const std::string nan = message_of([&] { stored_weight(bytes, std::nanf("")).codes(); });
  EXPECT_NE(nan.find("file.gguf: at offset 5096"), std::string::npos) << nan;
  (*bytes)[70] = std::byte{0x5d};
  const std::string code = message_of([&] { stored_weight(bytes, 0.5F).codes(); });
  EXPECT_NE(code.find("at offset 1070 (tensor blk.0.attn_k.weight)"), std::string::npos) << code;
  EXPECT_NE(code.find("expected codes 0, 1 or 2, found 3 at row 2"), std::string::npos) << code;
}

TEST(TernaryWeight, FloatsOfZeroAndOneMagnitudeAreStoredOnlyWhereAFileMaySaySo) {
  const std::vector<float> values{0.5F, -0.5F, 0.0F, 0.5F};
  const tensor::StoredView view{reinterpret_cast<const std::byte*>(values.data()), 16, tensor::DType::f32, 2, 2};
  const auto gguf = TernaryWeight::latent({"a", "b", 0}, view, true);
  EXPECT_EQ(gguf.rule(), ternary::ScaleRule::stored);
  EXPECT_EQ(gguf.codes().scale, 0.5F);
  EXPECT_FALSE(gguf.latents());
  const auto online = TernaryWeight::latent({"a", "b", 0}, view, false);
  EXPECT_EQ(online.rule(), ternary::ScaleRule::online_absmean);
  EXPECT_EQ(online.codes().scale, 1.0F / (1.0F / 0.375F));  // the scale shrinks: what snapped directories suffer
  EXPECT_TRUE(online.latents());
}

TEST(TernaryWeight, LatentsThatAreNotFiniteAreRefused) {
  const std::vector<float> values{0.5F, HUGE_VALF, 0.0F, 0.5F};
  const tensor::StoredView view{reinterpret_cast<const std::byte*>(values.data()), 16, tensor::DType::f32, 2, 2};
  EXPECT_THROW(TernaryWeight::latent({"a", "b", 0}, view, false).codes(), FormatError);
}

TEST(EmbeddingWeight, ChecksItsValuesOnce) {
  const auto check = [](tensor::DType type, std::vector<std::uint16_t> bits) {
    const EmbeddingWeight w({"f", "token_embd.weight", 64},
                            {reinterpret_cast<const std::byte*>(bits.data()), bits.size() * 2, type, 2,
                             static_cast<std::int64_t>(bits.size()) / 2});
    return message_of([&] { w.values(); });
  };
  EXPECT_EQ(check(tensor::DType::bf16, {0x477f, 0xc77f, 0, 0}), "no error");  // ±65,280
  EXPECT_NE(check(tensor::DType::bf16, {0, 0, 0x4780, 0}).find("at offset 68 (tensor token_embd.weight)"),
            std::string::npos);
  EXPECT_NE(check(tensor::DType::bf16, {0, 0, 0, 0xff80}).find("row 1, column 1"), std::string::npos);
  EXPECT_EQ(check(tensor::DType::f16, {0x7bff, 0xfbff, 0, 0}), "no error");
  EXPECT_NE(check(tensor::DType::f16, {0x7c00, 0, 0, 0}).find("finite"), std::string::npos);
}

TEST(Names, MapBothWays) {
  const auto model = TinyModel::make({.tied_head = false});
  std::set<std::string> gguf, hf;
  visit_weights(model->weights, [&](const std::string& name, const auto&) {
    gguf.insert(name);
    hf.insert(hf_tensor_name(name));
  });
  EXPECT_EQ(gguf.size(), 3U + 2 * 11);
  EXPECT_EQ(hf.size(), gguf.size());
  EXPECT_TRUE(hf.contains("model.layers.1.self_attn.attn_sub_norm.weight"));
  EXPECT_TRUE(hf.contains("lm_head.weight"));
  EXPECT_EQ(expected_shape("blk.0.ffn_down", model->config), std::make_pair(std::int64_t{256}, std::int64_t{512}));
  EXPECT_EQ(expected_shape("blk.0.attn_k", model->config), std::make_pair(std::int64_t{128}, std::int64_t{256}));
  EXPECT_THROW(expected_shape("blk.0.attn_z", model->config), LogicError);
  EXPECT_THROW(hf_tensor_name("block.0.attn_q"), LogicError);
}

TEST(Memory, CountsWhatATokenReads) {
  const auto model = TinyModel::make();
  const ParameterCount count = count_parameters(*model);
  EXPECT_EQ(count.ternary, 2 * (2 * 256 * 256 + 2 * 128 * 256 + 3 * 512 * 256));
  EXPECT_EQ(count.total, count.ternary + 300 * 256 + 2 * (3 * 256 + 512) + 256);
  EXPECT_EQ(bytes_per_token(*model),
            static_cast<std::uint64_t>(count.ternary / 4 + 300 * 256 * 2 + 4 * (2 * (3 * 256 + 512) + 256)));
}

TEST(Rope, TableIsCosAndSinOfTheAngle) {
  RopeTable table(500000.0, 128);
  table.reserve(4096);
  table.reserve(10);
  for (const std::int64_t position : {0, 1, 63, 64, 1000, 4095}) {
    for (std::int64_t i = 0; i < 64; ++i) {
      const double angle = static_cast<double>(position) * std::pow(500000.0, -2.0 * static_cast<double>(i) / 128.0);
      ASSERT_NEAR(static_cast<double>(table.cos(position)[i]), std::cos(angle), 6e-8);
      ASSERT_NEAR(static_cast<double>(table.sin(position)[i]), std::sin(angle), 6e-8);
    }
  }
}

}  // namespace
}  // namespace rpt::model
