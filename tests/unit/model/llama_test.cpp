// SPDX-License-Identifier: MIT
// Dense linear layers and architecture llama, in every form in which it comes.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "rpt/core/atomic_file.h"
#include "rpt/core/error.h"
#include "rpt/core/parallel.h"
#include "rpt/io/gguf.h"
#include "rpt/io/gguf_writer.h"
#include "rpt/io/safetensors.h"
#include "rpt/kernels/isa.h"
#include "rpt/model/decoder.h"
#include "rpt/model/export.h"
#include "rpt/model/gate.h"
#include "rpt/model/memory.h"
#include "rpt/model/row_order.h"
#include "rpt/ternary/layouts.h"
#include "tests/message_of.h"
#include "tests/shared_data.h"
#include "tests/tiny_model.h"

namespace rpt::model {
namespace {

using tensor::DType;
using test::message_of;
using test::TinyModel;
using test::TinyShape;

std::string hash_of(const Model& model) {
  return nll_sha256(gate_nlls(model));
}

TinyShape dense(DType type, bool tied = true) {
  return {.hidden = 128, .feed_forward = 192, .tied_head = tied, .llama = true, .dense = true, .type = type};
}

TinyShape ternary_llama() {
  return {.feed_forward = 256, .llama = true};
}

/// Replaces every linear layer by random blocks of a blocked type with small factors.
void make_blocked(Model& model, DType type) {
  core::Random random(9);
  const std::size_t block = type == DType::q8_0 ? 34 : type == DType::q4_0 ? 18 : 20;
  visit_weights(model.weights, [&](const std::string& name, auto& weight) {
    if constexpr (std::is_same_v<std::decay_t<decltype(weight)>, LinearWeight>) {
      const auto values = static_cast<std::size_t>(weight.rows() * weight.columns());
      auto bytes = std::make_shared<core::AlignedBuffer<std::byte>>(values / 32 * block);
      for (std::size_t i = 0; i < bytes->size(); ++i) (*bytes)[i] = static_cast<std::byte>(random.below(256));
      for (std::size_t at = 0; at < bytes->size(); at += block) {
        const std::uint16_t d = core::float_to_f16(type == DType::q8_0 ? 0.001F : 0.01F);
        const std::uint16_t m = core::float_to_f16(-0.075F);
        std::memcpy(bytes->data() + at, &d, 2);
        if (type == DType::q4_1) std::memcpy(bytes->data() + at + 2, &m, 2);
      }
      const tensor::StoredView view{bytes->data(), bytes->size(), type, weight.rows(), weight.columns()};
      weight.dense.emplace(Origin{"tiny", name, 0}, view);
      model.storage.push_back(std::move(bytes));
    }
  });
}

class Llama : public ::testing::Test {
 protected:
  void TearDown() override { core::set_threads(0); }
  test::ScratchFolder folder_;
};

TEST(RowOrder, PairsAndHalvesAreInverses) {
  for (const std::int64_t d : {2, 4, 6, 64}) {
    for (std::int64_t n = 0; n < 3 * d; ++n) {
      EXPECT_EQ(row_in_halves(row_in_pairs(n, d), d), n);
      EXPECT_EQ(row_in_pairs(n, d) / d, n / d);
    }
  }
  // Heads of 6: elements 0 and 3 are turned together, and stand side by side in a file with pairs.
  EXPECT_EQ(row_in_pairs(0, 6), 0);
  EXPECT_EQ(row_in_pairs(3, 6), 1);
  EXPECT_EQ(row_in_pairs(6 + 5, 6), 6 + 5);
  const char* rows = "aabbccdd";
  std::string out(8, '.');
  copy_in_halves(reinterpret_cast<const std::byte*>(rows), 4, 2, 4, reinterpret_cast<std::byte*>(out.data()));
  EXPECT_EQ(out, "aaccbbdd");
  EXPECT_THROW(copy_in_halves(nullptr, 5, 2, 4, nullptr), LogicError);
}

TEST_F(Llama, EveryFormOfADenseModelGivesTheSameBits) {
  for (const DType type : {DType::f32, DType::f16, DType::bf16}) {
    for (const bool tied : {true, false}) {
      const auto model = TinyModel::make(dense(type, tied));
      const std::string hash = hash_of(*model);
      EXPECT_EQ(export_gguf(*model, folder_ / "stored.gguf", {}, {}), hash);
      EXPECT_EQ(open_gguf(folder_ / "stored.gguf")->weights.blocks[0].attn_q.stored_type(), type);
      EXPECT_EQ(export_gguf(*model, folder_ / "f32.gguf", DType::f32, {}), hash);
      EXPECT_EQ(export_huggingface(*model, folder_ / "hf", HfForm::latents, {.replace_folder = true}), hash);
      // From a form in rope pairs, in both directions.
      const auto again = open_model(folder_ / "stored.gguf");
      EXPECT_TRUE(again->warnings.empty());
      EXPECT_EQ(export_huggingface(*again, folder_ / "hf2", HfForm::latents, {.replace_folder = true}), hash);
      export_gguf(*again, folder_ / "again.gguf", {}, {});
      EXPECT_EQ(core::read_file(folder_ / "again.gguf"), core::read_file(folder_ / "stored.gguf"));
    }
  }
}

TEST_F(Llama, RowsOfQueriesAndKeysStandInPairsInAGguf) {
  const auto model = TinyModel::make(dense(DType::f32));
  export_gguf(*model, folder_ / "a.gguf", {}, {});
  const auto file = io::GgufFile::open(folder_ / "a.gguf");
  const std::int64_t d = model->config.head_size;
  const auto row_of = [&](const LinearWeight& weight, std::int64_t n) {
    return weight.dense->values().data + n * 128 * 4;
  };
  const auto& block = model->weights.blocks[1];
  const auto& q = file.find_tensor("blk.1.attn_q.weight")->data;
  const auto& k = file.find_tensor("blk.1.attn_k.weight")->data;
  const auto& v = file.find_tensor("blk.1.attn_v.weight")->data;
  EXPECT_EQ(std::memcmp(q.data() + (d + 1) * 512, row_of(block.attn_q, d + d / 2), 512), 0);
  EXPECT_EQ(std::memcmp(k.data() + 2 * 512, row_of(block.attn_k, 1), 512), 0);
  EXPECT_EQ(std::memcmp(v.data() + 2 * 512, row_of(block.attn_v, 2), 512), 0);
  EXPECT_EQ(file.get_string("general.architecture"), "llama");
  EXPECT_EQ(file.find_tensor("blk.0.attn_sub_norm.weight"), nullptr);
}

TEST_F(Llama, BlockedTypesAreReadKeptAndWidened) {
  for (const DType type : {DType::q8_0, DType::q4_0, DType::q4_1}) {
    const auto model = TinyModel::make(dense(DType::f16));
    make_blocked(*model, type);
    const std::string hash = hash_of(*model);
    EXPECT_EQ(export_gguf(*model, folder_ / "stored.gguf", {}, {}), hash);
    const auto again = open_gguf(folder_ / "stored.gguf");
    EXPECT_EQ(again->weights.blocks[0].attn_q.stored_type(), type);
    EXPECT_EQ(export_gguf(*again, folder_ / "f32.gguf", DType::f32, {}), hash);
    EXPECT_EQ(export_huggingface(*again, folder_ / "hf", HfForm::latents, {.replace_folder = true}), hash);
    EXPECT_NE(message_of([&] { export_gguf(*again, folder_ / "f16.gguf", DType::bf16, {}); }).find("not exact in bf16"),
              std::string::npos);
    export_gguf(*again, folder_ / "bf16.gguf", DType::bf16, {.lossy = true});
    EXPECT_NE(hash_of(*open_gguf(folder_ / "bf16.gguf")), hash);
    EXPECT_GT(bytes_per_token(*again), model->weights.blocks[0].ffn_up.stored_bytes());
    EXPECT_EQ(count_parameters(*again).ternary, 0);
  }
}

TEST_F(Llama, EveryFormOfATernaryModelGivesTheSameBits) {
  const auto model = TinyModel::make(ternary_llama());
  const std::string hash = hash_of(*model);
  for (const DType type : {DType::i2_s, DType::tq1_0, DType::tq2_0}) {
    EXPECT_EQ(export_gguf(*model, folder_ / "a.gguf", type, {}), hash);
    const auto again = open_gguf(folder_ / "a.gguf");
    EXPECT_EQ(again->config.architecture, "llama");
    export_gguf(*again, folder_ / "b.gguf", type, {});
    EXPECT_EQ(core::read_file(folder_ / "a.gguf"), core::read_file(folder_ / "b.gguf"));
    // In the file the rows are in pairs: those of the model would not do.
    const auto file = io::GgufFile::open(folder_ / "a.gguf");
    EXPECT_NE(std::memcmp(file.find_tensor("blk.0.attn_q.weight")->data.data(),
                          again->weights.blocks[0].attn_q.weight.codes().data, 64 * 64),
              0);
  }
  EXPECT_EQ(export_huggingface(*model, folder_ / "packed", HfForm::packed, {}), hash);
  EXPECT_EQ(export_huggingface(*model, folder_ / "online", HfForm::latents, {}), hash);
  EXPECT_NE(message_of([&] { export_gguf(*model, folder_ / "f.gguf", DType::f16, {}); }).find("blk.0.attn_q"),
            std::string::npos);
}

/// A packed directory whose scales divide: 1/s is a bf16 number, s is none.
TEST_F(Llama, ScalesThatDivideAreWrittenAsDivisors) {
  const auto model = TinyModel::make(ternary_llama());
  const float scale = 1.0F / 23.125F;
  visit_weights(model->weights, [&](const std::string& name, auto& weight) {
    if constexpr (std::is_same_v<std::decay_t<decltype(weight)>, LinearWeight>) {
      auto codes = weight.weight.codes();
      codes.scale = scale;
      const auto packed = ternary::repack(codes, DType::hf_packed);
      auto bytes = std::make_shared<core::AlignedBuffer<std::uint8_t>>(packed.view().bytes);
      std::memcpy(bytes->data(), packed.view().data, packed.view().bytes);
      auto view = packed.view();
      view.data = bytes->data();
      model->storage.push_back(bytes);
      weight.weight = TernaryWeight::stored({"tiny", name, 0}, view);
    }
  });
  export_huggingface(*model, folder_ / "hf", HfForm::packed, {});
  EXPECT_NE(core::read_file(folder_ / "hf/config.json").find("\"bitlinear\""), std::string::npos);
  const auto file = io::SafetensorsFile::open(folder_ / "hf/model.safetensors");
  std::uint16_t stored = 0;
  std::memcpy(&stored, file.find("model.layers.0.self_attn.q_proj.weight_scale")->data.data(), 2);
  EXPECT_EQ(core::bf16_to_float(stored), 23.125F);
  EXPECT_EQ(open_huggingface(folder_ / "hf")->weights.blocks[0].attn_q.weight.codes().scale, scale);
}

TEST_F(Llama, SetsThreadsAndSplitsChangeNoBit) {
  const std::string before = kernels::active().name;
  for (const DType type : {DType::bf16, DType::q4_1}) {
    const auto model = TinyModel::make(dense(DType::bf16));
    if (type == DType::q4_1) make_blocked(*model, type);
    const std::vector<std::int32_t> ids = gate_ids(model->config, 70);
    const auto hash_in_pieces = [&](std::size_t piece) {
      Decoder decoder(model->config, model->weights);
      KvCache cache(model->config, 70);
      std::vector<double> nlls(70);
      for (std::size_t at = 0; at < 70; at += piece) {
        const std::size_t n = std::min<std::size_t>(piece, 70 - at);
        tensor::Tensor hidden;
        decoder.forward(std::span(ids).subspan(at, n), cache, hidden);
        const std::vector<std::int32_t> targets(n, 5);
        decoder.score(hidden.view(), targets, std::span(nlls).subspan(at, n));
      }
      return nll_sha256(nlls);
    };
    kernels::force_isa("reference");
    core::set_threads(1);
    const std::string hash = hash_in_pieces(70);
    for (const auto& isa : kernels::list_isas()) {
      if (!isa.supported) continue;
      kernels::force_isa(isa.name);
      for (const int threads : {1, 2, 3}) {
        core::set_threads(threads);
        for (const std::size_t piece : {1U, 3U, 64U, 70U}) {
          EXPECT_EQ(hash_in_pieces(piece), hash) << isa.name << " " << threads << " " << piece;
        }
      }
    }
  }
  kernels::force_isa(before);
}

TEST_F(Llama, DenseAndTernaryLayersMayStandSideBySide) {
  const auto model = TinyModel::make({.feed_forward = 256, .llama = true, .type = DType::f32});
  const auto other = TinyModel::make({.feed_forward = 256, .llama = true, .dense = true, .type = DType::f32});
  model->weights.blocks[0].attn_k.weight = {};
  model->weights.blocks[0].attn_k.dense.emplace(Origin{"tiny", "k", 0},
                                                other->weights.blocks[0].attn_k.dense->unchecked());
  const std::string hash = export_gguf(*model, folder_ / "mixed.gguf", {}, {});
  EXPECT_EQ(hash, hash_of(*model));
  EXPECT_NE(message_of([&] { export_huggingface(*model, folder_ / "hf", HfForm::latents, {}); }).find("blk.0.attn_k"),
            std::string::npos);
  EXPECT_NE(message_of([&] { require_bitnet_blocks(*model, "pruning"); })
                .find("pruning needs ternary linear layers, "
                      "and blk.0.attn_k is dense (f32)"),
            std::string::npos);
}

TEST_F(Llama, WhatNeedsBitnetBlocksSaysSo) {
  EXPECT_NO_THROW(require_bitnet_blocks(*TinyModel::make(), "pruning"));
  EXPECT_NE(message_of([&] {
              require_bitnet_blocks(*TinyModel::make(ternary_llama()), "pruning");
            }).find("architecture llama have no attn_sub_norm"),
            std::string::npos);
}

TEST_F(Llama, FormsThatCannotHoldItAreRefusedByName) {
  const auto model = TinyModel::make(dense(DType::bf16));
  EXPECT_NE(
      message_of([&] { export_gguf(*model, folder_ / "a.gguf", DType::i2_s, {}); }).find("blk.0.attn_q: is dense"),
      std::string::npos);
  EXPECT_NE(message_of([&] { export_huggingface(*model, folder_ / "p", HfForm::packed, {}); }).find("no codes to pack"),
            std::string::npos);
}

TEST_F(Llama, AnInfinityIsNamedByTheLayerThatReadsIt) {
  const auto model = TinyModel::make(dense(DType::f32));
  for (float& g : model->weights.blocks[1].attn_norm.gain) g = 3e38F;
  const std::string message = message_of([&] { gate_nlls(*model); });
  EXPECT_NE(message.find("blk.1.attn_q: the input of row 0"), std::string::npos) << message;
}

TEST_F(Llama, AValueThatIsNotFiniteIsNamed) {
  const auto model = TinyModel::make(dense(DType::bf16));
  export_gguf(*model, folder_ / "a.gguf", {}, {});
  std::uint64_t offset = io::GgufFile::open(folder_ / "a.gguf").find_tensor("blk.0.attn_k.weight")->offset;
  std::fstream file(folder_ / "a.gguf", std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(offset + 2 * (128 * 3 + 5)));
  file.write("\x80\x7f", 2);  // +infinity
  file.close();
  const auto again = open_gguf(folder_ / "a.gguf");
  const std::string message = message_of([&] { again->weights.blocks[0].attn_k.dense->values(); });
  EXPECT_NE(message.find("blk.0.attn_k.weight"), std::string::npos) << message;
  EXPECT_NE(message.find("row 3, column 5"), std::string::npos) << message;
  EXPECT_NE(message.find(fmt::format("offset {}", offset + 2 * (128 * 3 + 5))), std::string::npos) << message;
}

/// Copies a GGUF file with one more tensor and one more key.
void add_to_gguf(const std::filesystem::path& from, const std::filesystem::path& to, const std::string& tensor,
                 const std::vector<float>& values, const std::function<void(io::GgufWriter&)>& keys) {
  const auto in = io::GgufFile::open(from);
  io::GgufWriter out(to);
  for (const io::GgufEntry& e : in.entries()) {
    if (e.type == io::GgufValueType::string) out.set_string(e.key, in.get_string(e.key));
    if (e.type == io::GgufValueType::u32) out.set_u32(e.key, in.get_u32(e.key));
    if (e.type == io::GgufValueType::f32) out.set_f32(e.key, in.get_f32(e.key));
  }
  keys(out);
  for (const auto& t : in.tensors()) out.declare(t.name, t.type, t.ne);
  if (!tensor.empty()) out.declare(tensor, DType::f32, {static_cast<std::int64_t>(values.size())});
  for (const auto& t : in.tensors()) {
    out.begin_tensor(t.name);
    out.write(t.data);
  }
  if (!tensor.empty()) {
    out.begin_tensor(tensor);
    out.write(std::as_bytes(std::span(values)));
  }
  out.commit();
}

TEST_F(Llama, WhatTheForwardHasNotIsRefusedByName) {
  const auto model = TinyModel::make(dense(DType::f32));
  export_gguf(*model, folder_ / "a.gguf", {}, {});
  const auto opened = [&](const std::string& tensor, const std::vector<float>& values,
                          const std::function<void(io::GgufWriter&)>& keys) {
    add_to_gguf(folder_ / "a.gguf", folder_ / "b.gguf", tensor, values, keys);
    return message_of([&] { expect_identical(*model, *open_gguf(folder_ / "b.gguf")); });
  };
  const auto nothing = [](io::GgufWriter&) {};
  EXPECT_EQ(opened("", {}, nothing), "no error");
  EXPECT_EQ(opened("rope_freqs.weight", std::vector<float>(16, 1.0F), nothing), "no error");
  EXPECT_NE(opened("rope_freqs.weight", std::vector<float>(16, 8.0F), nothing).find("tensor rope_freqs.weight"),
            std::string::npos);
  EXPECT_NE(opened("blk.0.attn_q.bias", std::vector<float>(128, 0.0F), nothing).find("blk.0.attn_q.bias"),
            std::string::npos);
  EXPECT_NE(
      opened("", {}, [](auto& w) { w.set_string("llama.rope.scaling.type", "linear"); }).find("rope.scaling.type"),
      std::string::npos);
  EXPECT_NE(opened("", {}, [](auto& w) { w.set_f32("llama.rope.scale_linear", 4.0F); }).find("rope.scale_linear"),
            std::string::npos);
  EXPECT_NE(opened("", {}, [](auto& w) { w.set_u32("llama.expert_count", 8); }).find("expert_count"),
            std::string::npos);
}

TEST_F(Llama, ArmLayoutIsReadOnRequest) {
  std::vector<std::uint8_t> arm(32, 0);
  // Weight 70 of a block of 128 is weight 6 of the second block of 64: byte 16 + 6, highest bits.
  arm[16 + 6] = 2 << 6;
  std::vector<std::uint8_t> x86(32);
  ternary::i2s_from_arm(arm.data(), 32, x86.data());
  std::vector<std::uint8_t> expected(32, 0);
  expected[70 % 32] = 2 << (6 - 2 * (70 / 32));
  EXPECT_EQ(x86, expected);

  for (const TinyShape& shape : {TinyShape{}, ternary_llama()}) {
    const auto model = TinyModel::make(shape);
    const std::string hash = export_gguf(*model, folder_ / "x86.gguf", DType::i2_s, {});
    // The same file with the codes of every tensor as bitnet.cpp packs them on Arm.
    std::string bytes = core::read_file(folder_ / "x86.gguf");
    const auto file = io::GgufFile::open(folder_ / "x86.gguf");
    for (const auto& t : file.tensors()) {
      if (t.type != DType::i2_s) continue;
      auto* codes = reinterpret_cast<std::uint8_t*>(bytes.data() + t.offset);
      const std::vector<std::uint8_t> before(codes, codes + t.elements() / 4);
      std::fill_n(codes, before.size(), std::uint8_t{0});
      for (std::size_t i = 0; i < before.size() * 4; ++i) {
        const unsigned code = (before[i / 128 * 32 + i % 32] >> (6 - 2 * (i % 128 / 32))) & 3U;
        codes[i / 64 * 16 + i % 16] |= static_cast<std::uint8_t>(code << (6 - 2 * (i % 64 / 16)));
      }
    }
    core::write_file_atomic(folder_ / "arm.gguf", bytes);
    EXPECT_EQ(hash_of(*open_model(folder_ / "arm.gguf", {.i2_s = ternary::I2sLayout::arm})), hash);
    EXPECT_NE(hash_of(*open_model(folder_ / "arm.gguf")), hash);
  }
}

TEST_F(Llama, SnappedLatentsAreReadAsDeclaredOrAsStored) {
  // Latents of codes · s, saved as what they are: latents that declare online.
  const auto model = TinyModel::make(ternary_llama());
  const float s = 0.5F;
  visit_weights(model->weights, [&](const std::string& name, auto& weight) {
    if constexpr (std::is_same_v<std::decay_t<decltype(weight)>, LinearWeight>) {
      const auto codes = ternary::unpack(weight.weight.codes());
      auto bytes = std::make_shared<core::AlignedBuffer<std::byte>>(codes.size() * 2);
      for (std::size_t i = 0; i < codes.size(); ++i) {
        const std::uint16_t bits = core::float_to_bf16(s * static_cast<float>(codes[i]));
        std::memcpy(bytes->data() + 2 * i, &bits, 2);
      }
      const tensor::StoredView view{bytes->data(), bytes->size(), DType::bf16, weight.rows(), weight.columns()};
      model->storage.push_back(bytes);
      weight.weight = TernaryWeight::latent({"tiny", name, 0}, view, false);
    }
  });
  export_huggingface(*model, folder_ / "snapped", HfForm::latents, {});
  const auto declared = open_model(folder_ / "snapped");
  ASSERT_EQ(declared->warnings.size(), 1U);
  EXPECT_NE(declared->warnings[0].find("shrinks the scale"), std::string::npos);
  EXPECT_NE(declared->warnings[0].find("--scale stored reads 0.5"), std::string::npos);
  EXPECT_LT(declared->weights.blocks[0].attn_q.weight.codes().scale, s);
  const auto stored = open_model(folder_ / "snapped", {.scale = ScaleReading::stored});
  EXPECT_TRUE(stored->warnings.empty());
  EXPECT_EQ(stored->weights.blocks[0].attn_q.weight.codes().scale, s);
  EXPECT_EQ(stored->weights.blocks[1].ffn_down.weight.rule(), ternary::ScaleRule::stored);
  export_huggingface(*TinyModel::make(ternary_llama()), folder_ / "latents", HfForm::latents, {});
  EXPECT_NE(
      message_of([&] { open_model(folder_ / "latents", {.scale = ScaleReading::stored}); }).find("no stored scale"),
      std::string::npos);
}

}  // namespace
}  // namespace rpt::model
