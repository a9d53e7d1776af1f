// SPDX-License-Identifier: MIT
#include "rpt/model/gate.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "rpt/core/error.h"
#include "rpt/core/parallel.h"
#include "rpt/kernels/isa.h"
#include "rpt/model/decoder.h"
#include "rpt/model/export.h"
#include "rpt/ternary/layouts.h"
#include "tests/shared_data.h"
#include "tests/tiny_model.h"

namespace rpt::model {
namespace {

using tensor::DType;
using test::TinyModel;
using test::TinyShape;

std::vector<std::int32_t> some_ids(std::int64_t count, std::int64_t vocabulary) {
  core::Random random(7);
  std::vector<std::int32_t> ids;
  for (std::int64_t i = 0; i < count; ++i) {
    ids.push_back(static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(vocabulary))));
  }
  return ids;
}

/// NLL of every next token when `ids` run in pieces of the given lengths (the last one repeats).
std::string hash_in_pieces(const Model& model, const std::vector<std::int32_t>& ids, std::vector<std::size_t> pieces) {
  Decoder decoder(model.config, model.weights);
  KvCache cache(model.config, static_cast<std::int64_t>(ids.size()));
  std::vector<double> nlls;
  std::size_t at = 0;
  for (std::size_t i = 0; at < ids.size(); ++i) {
    const std::size_t n = std::min(pieces[std::min(i, pieces.size() - 1)], ids.size() - at);
    tensor::Tensor hidden;
    decoder.forward(std::span(ids).subspan(at, n), cache, hidden);
    std::vector<std::int32_t> targets;
    for (std::size_t j = at; j < at + n; ++j) targets.push_back(j + 1 < ids.size() ? ids[j + 1] : 0);
    std::vector<double> part(n);
    decoder.score(hidden.view(), targets, part);
    nlls.insert(nlls.end(), part.begin(), part.end());
    at += n;
  }
  return nll_sha256(nlls);
}

class Gate : public ::testing::TestWithParam<Activation> {
 protected:
  void TearDown() override { core::set_threads(0); }
};

TEST_P(Gate, EveryFormOfAModelGivesTheSameBits) {
  for (const DType type : {DType::bf16, DType::f32}) {
    const auto model = TinyModel::make({.activation = GetParam(), .type = type});
    const std::string hash = nll_sha256(gate_nlls(*model));
    const test::ScratchFolder folder;
    // An f32 scale need not be exact in f16 or bf16: those forms must be refused by name then.
    const bool narrow = type == DType::bf16;
    for (const DType form : {DType::i2_s, DType::tq1_0, DType::tq2_0, DType::f16, DType::bf16, DType::f32}) {
      const auto path = folder / (std::string(tensor::name(form)) + ".gguf");
      if (!narrow && form != DType::i2_s && form != DType::f32) {
        EXPECT_THROW(export_gguf(*model, path, form, {}), ConfigError) << tensor::name(form);
        EXPECT_FALSE(std::filesystem::exists(path));
        continue;
      }
      export_gguf(*model, path, form, {});
      EXPECT_EQ(nll_sha256(gate_nlls(*open_gguf(path))), hash) << tensor::name(form);
    }
    export_huggingface(*model, folder / "online", HfForm::latents, {});
    EXPECT_EQ(nll_sha256(gate_nlls(*open_huggingface(folder / "online"))), hash);
    if (narrow) {
      export_huggingface(*model, folder / "packed", HfForm::packed, {});
      const auto packed = open_huggingface(folder / "packed");
      EXPECT_EQ(nll_sha256(gate_nlls(*packed)), hash);
      // Once packed, the latents are gone; writing them online would have every reader quantise again.
      EXPECT_THROW(export_huggingface(*packed, folder / "again", HfForm::latents, {}), ConfigError);
      export_gguf(*packed, folder / "again.gguf", DType::i2_s, {});
      EXPECT_EQ(nll_sha256(gate_nlls(*open_gguf(folder / "again.gguf"))), hash);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Activations, Gate, ::testing::Values(Activation::relu2, Activation::silu),
                         [](const auto& i) { return i.param == Activation::relu2 ? "relu2" : "silu"; });

TEST_F(Gate, BlocksSplitsAndBatchesChangeNoBit) {
  const auto model = TinyModel::make({});
  const auto ids = some_ids(150, model->config.vocabulary);
  const std::string whole = hash_in_pieces(*model, ids, {150});
  EXPECT_EQ(hash_in_pieces(*model, ids, {1}), whole);
  EXPECT_EQ(hash_in_pieces(*model, ids, {64}), whole);
  EXPECT_EQ(hash_in_pieces(*model, ids, {63, 2, 1}), whole);
  for (const std::size_t split : {1U, 2U, 3U, 5U, 63U, 65U, 100U, 149U}) {
    EXPECT_EQ(hash_in_pieces(*model, ids, {split, 150}), whole) << "split at " << split;
  }
}

TEST_F(Gate, SequencesOfABatchDoNotSeeEachOther) {
  const auto model = TinyModel::make({});
  const auto a = some_ids(40, model->config.vocabulary);
  const std::vector<std::int32_t> b(a.rbegin(), a.rbegin() + 23);
  Decoder decoder(model->config, model->weights);
  tensor::Tensor alone_a, alone_b, together;
  KvCache cache_a(model->config, 64), cache_b(model->config, 64);
  decoder.forward(a, cache_a, alone_a);
  decoder.forward(b, cache_b, alone_b);
  cache_a.truncate(0);
  cache_b.truncate(0);
  const std::vector<Segment> segments{{b, &cache_b}, {a, &cache_a}};
  decoder.forward(segments, together);
  ASSERT_EQ(together.rows(), 63);
  EXPECT_EQ(std::memcmp(together.view().row(0), alone_b.data(), sizeof(float) * 23 * 256), 0);
  EXPECT_EQ(std::memcmp(together.view().row(23), alone_a.data(), sizeof(float) * 40 * 256), 0);
}

TEST_F(Gate, ThreadsChangeNoBit) {
  const auto model = TinyModel::make({});
  core::set_threads(1);
  const auto nlls = gate_nlls(*model);
  for (const int threads : {2, 3}) {
    core::set_threads(threads);
    EXPECT_EQ(nll_sha256(gate_nlls(*TinyModel::make({}))), nll_sha256(nlls)) << threads << " threads";
  }
}

TEST_F(Gate, InstructionSetsChangeNoBit) {
  const std::string before = kernels::active().name;
  for (const Activation activation : {Activation::relu2, Activation::silu}) {
    kernels::force_isa("reference");
    const std::string hash = nll_sha256(gate_nlls(*TinyModel::make({.activation = activation})));
    for (const auto& isa : kernels::list_isas()) {
      if (!isa.supported) continue;
      kernels::force_isa(isa.name);
      EXPECT_EQ(nll_sha256(gate_nlls(*TinyModel::make({.activation = activation}))), hash) << isa.name;
    }
  }
  kernels::force_isa(before);
}

/// Widths that are no multiples of 128 and round up to the same one: hidden 192, heads 256, feed-forward 200.
TEST_F(Gate, OddWidthsChangeNoBitEither) {
  const test::TinyShape shape{.hidden = 192, .feed_forward = 200, .heads = 4, .kv_heads = 2, .head_size = 64};
  const std::string before = kernels::active().name;
  kernels::force_isa("reference");
  const std::string hash = nll_sha256(gate_nlls(*TinyModel::make(shape)));
  for (const auto& isa : kernels::list_isas()) {
    if (!isa.supported) continue;
    kernels::force_isa(isa.name);
    EXPECT_EQ(nll_sha256(gate_nlls(*TinyModel::make(shape))), hash) << isa.name;
  }
  kernels::force_isa(before);
  const test::ScratchFolder folder;
  const auto model = TinyModel::make(shape);
  export_huggingface(*model, folder / "packed", HfForm::packed, {});
  EXPECT_EQ(nll_sha256(gate_nlls(*open_huggingface(folder / "packed"))), hash);
}

/// The same model with the scale of one tensor of one block one ulp larger. (attn_v is none of them: its output passes
/// through f16, which takes no notice of an ulp.)
TEST_F(Gate, OneUlpInOneScaleFails) {
  const auto model = TinyModel::make({});
  for (auto member : {&BlockWeights::attn_output, &BlockWeights::ffn_up, &BlockWeights::ffn_down}) {
    const auto broken = TinyModel::make({});
    auto& linear = broken->weights.blocks[1].*member;
    const auto codes = ternary::repack(linear.weight.codes(), DType::i2_s);
    auto buffer = std::make_shared<core::AlignedBuffer<std::byte>>(codes.view().bytes + 32);
    std::memcpy(buffer->data(), codes.view().data, codes.view().bytes);
    const float scale = std::nextafter(codes.view().scale, HUGE_VALF);
    std::memcpy(buffer->data() + codes.view().bytes, &scale, sizeof scale);
    tensor::PackedTernaryView view = codes.view();
    view.data = reinterpret_cast<const std::uint8_t*>(buffer->data());
    view.bytes = buffer->size();
    broken->storage.push_back(buffer);
    linear.weight = TernaryWeight::stored({"broken", "tensor", 0}, view);
    EXPECT_THROW(expect_identical(*model, *broken), CheckError);
  }
  EXPECT_NO_THROW(expect_identical(*model, *TinyModel::make({})));
}

/// In every packed form: one tensor with its own scale passes, with the next scale that the form can hold it fails.
TEST_F(Gate, EveryFormFailsOnTheNextScaleItCanHold) {
  const auto model = TinyModel::make({});
  const tensor::PackedTernaryView codes = model->weights.blocks[1].ffn_down.weight.codes();
  const float f32_next = std::nextafter(codes.scale, HUGE_VALF);
  const float f16_next = core::f16_to_float(static_cast<std::uint16_t>(core::float_to_f16(codes.scale) + 1));
  const float bf16_next = core::bf16_to_float(static_cast<std::uint16_t>(core::float_to_bf16(codes.scale) + 1));
  const std::vector<std::pair<DType, float>> forms{
      {DType::i2_s, f32_next}, {DType::tq1_0, f16_next}, {DType::tq2_0, f16_next}, {DType::hf_packed, bf16_next}};
  for (const auto& [form, next] : forms) {
    for (const float scale : {codes.scale, next}) {
      const auto other = TinyModel::make({});
      tensor::PackedTernaryView source = codes;
      source.scale = scale;
      const auto packed = ternary::repack(source, form);
      auto bytes = std::make_shared<core::AlignedBuffer<std::byte>>(packed.view().bytes + ternary::kI2sTailBytes);
      std::memcpy(bytes->data(), packed.view().data, packed.view().bytes);
      std::memcpy(bytes->data() + packed.view().bytes, &scale, sizeof scale);  // where a file of i2_s has it
      tensor::PackedTernaryView view = packed.view();
      view.data = reinterpret_cast<const std::uint8_t*>(bytes->data());
      if (form == DType::i2_s) view.bytes = bytes->size();
      other->storage.push_back(bytes);
      other->weights.blocks[1].ffn_down.weight = TernaryWeight::stored({"other", "tensor", 0}, view);
      if (scale == codes.scale) {
        EXPECT_NO_THROW(expect_identical(*model, *other)) << tensor::name(form);
      } else {
        EXPECT_THROW(expect_identical(*model, *other), CheckError) << tensor::name(form);
      }
    }
  }
}

/// Latents: moving one so that the mean, and with it the scale, changes by a step of bf16 must fail too.
TEST_F(Gate, LatentsWithAnotherMeanFail) {
  const auto model = TinyModel::make({});
  const auto other = TinyModel::make({});
  const auto latents = other->weights.blocks[1].ffn_down.weight.stored_latents();
  auto* values = reinterpret_cast<std::uint16_t*>(const_cast<std::byte*>(latents.data));
  float largest = 0;
  for (std::int64_t i = 0; i < latents.rows * latents.columns; ++i) {
    largest = std::max(largest, std::fabs(core::bf16_to_float(values[i])));
  }
  for (std::int64_t i = 0; i < 2000; ++i) {  // codes of ±1 stay what they are
    const float w = core::bf16_to_float(values[i]);
    if (std::fabs(w) > 0.06F) values[i] = core::float_to_bf16(w > 0 ? 2 * largest : -2 * largest);
  }
  EXPECT_THROW(expect_identical(*model, *other), CheckError);
}

TEST_F(Gate, HashIsOfLittleEndianDoublesInOrder) {
  // printf of the two doubles 1.0 and 2.0 as bytes through sha256sum.
  EXPECT_EQ(nll_sha256({}), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_NE(nll_sha256({1.0, 2.0}), nll_sha256({2.0, 1.0}));
}

}  // namespace
}  // namespace rpt::model
