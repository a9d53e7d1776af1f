// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include "rpt/core/atomic_file.h"
#include "rpt/core/error.h"
#include "rpt/core/float16.h"
#include "rpt/core/timer.h"
#include "rpt/io/gguf.h"
#include "rpt/io/gguf_writer.h"
#include "rpt/model/decoder.h"
#include "rpt/model/export.h"
#include "rpt/model/gate.h"
#include "tests/message_of.h"
#include "tests/shared_data.h"
#include "tests/tiny_model.h"

namespace rpt::model {
namespace {

using tensor::DType;
using test::message_of;
using test::TinyModel;

/// Copies a GGUF file key by key and tensor by tensor, with a chance to change both.
struct Edit {
  std::string drop_key, drop_tensor, add_tensor, set_string_key, set_string_value, set_u32_key;
  std::uint32_t set_u32_value = 0;
  std::string add_f32_key;
  float add_f32_value = 0;
  std::string add_string_key, add_string_value;
};

void copy_gguf(const std::filesystem::path& from, const std::filesystem::path& to, const Edit& edit) {
  const auto in = io::GgufFile::open(from);
  io::GgufWriter out(to);
  for (const io::GgufEntry& e : in.entries()) {
    if (e.key == edit.drop_key) continue;
    if (e.key == edit.set_string_key) {
      out.set_string(e.key, edit.set_string_value);
    } else if (e.key == edit.set_u32_key) {
      out.set_u32(e.key, edit.set_u32_value);
    } else if (e.type == io::GgufValueType::string) {
      out.set_string(e.key, in.get_string(e.key));
    } else if (e.type == io::GgufValueType::u32) {
      out.set_u32(e.key, in.get_u32(e.key));
    } else if (e.type == io::GgufValueType::f32) {
      out.set_f32(e.key, in.get_f32(e.key));
    }
  }
  if (!edit.add_f32_key.empty()) out.set_f32(edit.add_f32_key, edit.add_f32_value);
  if (!edit.add_string_key.empty()) out.set_string(edit.add_string_key, edit.add_string_value);
  for (const auto& t : in.tensors()) {
    if (t.name != edit.drop_tensor) out.declare(t.name, t.type, t.ne);
  }
  if (!edit.add_tensor.empty()) out.declare(edit.add_tensor, DType::f32, {1});
  for (const auto& t : in.tensors()) {
    if (t.name == edit.drop_tensor) continue;
    out.begin_tensor(t.name);
    out.write(t.type == DType::i2_s ? t.data.first(t.data.size() - 28) : t.data);
  }
  if (!edit.add_tensor.empty()) {
    const float value = 2.0F;
    out.begin_tensor(edit.add_tensor);
    out.write(&value, sizeof value);
  }
  out.commit();
}

class OpenGguf : public ::testing::Test {
 protected:
  void SetUp() override { export_gguf(*TinyModel::make(), folder_ / "good.gguf", DType::i2_s, {}); }
  std::string edited(const Edit& edit) {
    copy_gguf(folder_ / "good.gguf", folder_ / "edited.gguf", edit);
    return message_of([&] { open_gguf(folder_ / "edited.gguf"); });
  }
  test::ScratchFolder folder_;
};

TEST_F(OpenGguf, SaysWhatIsMissingOrWrong) {
  EXPECT_EQ(edited({}), "no error");
  EXPECT_NE(edited({.drop_key = "bitnet-b1.58.block_count"}).find("bitnet-b1.58.block_count"), std::string::npos);
  EXPECT_NE(edited({.drop_tensor = "blk.1.ffn_sub_norm.weight"}).find("blk.1.ffn_sub_norm.weight"), std::string::npos);
  EXPECT_NE(edited({.add_tensor = "blk.0.attn_q.bias"}).find("blk.0.attn_q.bias"), std::string::npos);
  EXPECT_NE(
      edited({.set_string_key = "general.architecture", .set_string_value = "gpt2"}).find("\"gpt2\" is not supported"),
      std::string::npos);
  EXPECT_NE(edited({.set_u32_key = "bitnet-b1.58.embedding_length", .set_u32_value = 512}).find("expected"),
            std::string::npos);
  EXPECT_NE(edited({.set_u32_key = "bitnet-b1.58.attention.head_count", .set_u32_value = 0}).find("head_count"),
            std::string::npos);
  EXPECT_NE(edited({.set_u32_key = "bitnet-b1.58.rope.dimension_count", .set_u32_value = 32}).find("head size 64"),
            std::string::npos);
  EXPECT_NE(edited({.set_u32_key = "bitnet-b1.58.vocab_size", .set_u32_value = 299}).find("300 rows"),
            std::string::npos);
}

TEST_F(OpenGguf, ScaledRopesAreRefused) {
  const std::string prefix = "bitnet-b1.58.rope.";
  for (const std::string& key : {prefix + "scaling.factor", prefix + "scale_linear"}) {
    EXPECT_NE(edited({.add_f32_key = key, .add_f32_value = 4}).find(key), std::string::npos);
    for (const float factor : {0.0F, 1.0F}) {
      EXPECT_EQ(edited({.add_f32_key = key, .add_f32_value = factor}), "no error");
    }
    EXPECT_EQ(edited({.add_f32_key = key,
                      .add_f32_value = 4,
                      .add_string_key = prefix + "scaling.type",
                      .add_string_value = "none"}),
              "no error");
  }
  EXPECT_NE(edited({.add_string_key = prefix + "scaling.type", .add_string_value = "linear"}).find("linear"),
            std::string::npos);
}

TEST_F(OpenGguf, DefaultsOfOptionalKeys) {
  EXPECT_EQ(edited({.drop_key = "bitnet-b1.58.rope.dimension_count"}), "no error");
  EXPECT_EQ(edited({.drop_key = "bitnet-b1.58.rope.freq_base"}), "no error");
  EXPECT_EQ(open_gguf(folder_ / "edited.gguf")->config.rope_theta, 10000.0);
}

TEST_F(OpenGguf, OutputScalesAreReadAndWrittenAgain) {
  EXPECT_EQ(edited({.add_tensor = "blk.0.ffn_down.scale"}), "no error");
  const auto model = open_gguf(folder_ / "edited.gguf");
  EXPECT_EQ(model->weights.blocks[0].ffn_down.output_scale, 2.0F);
  EXPECT_NE(nll_sha256(gate_nlls(*model)), nll_sha256(gate_nlls(*TinyModel::make())));
  export_gguf(*model, folder_ / "again.gguf", DType::tq2_0, {});
  EXPECT_NO_THROW(expect_identical(*model, *open_gguf(folder_ / "again.gguf")));
  EXPECT_NE(message_of([&] { export_huggingface(*model, folder_ / "hf", HfForm::packed, {}); }).find("blk.0.ffn_down"),
            std::string::npos);
}

TEST_F(OpenGguf, OldArchitectureNameIsTheSameNetwork) {
  const auto in = io::GgufFile::open(folder_ / "good.gguf");
  // bitnet-25 has its own key prefix.
  io::GgufWriter out(folder_ / "old.gguf");
  for (const io::GgufEntry& e : in.entries()) {
    std::string key(e.key);
    if (key.starts_with("bitnet-b1.58.")) key.replace(0, 12, "bitnet-25");
    if (key == "general.architecture") {
      out.set_string(key, "bitnet-25");
    } else if (e.type == io::GgufValueType::string) {
      out.set_string(key, in.get_string(e.key));
    } else if (e.type == io::GgufValueType::u32) {
      out.set_u32(key, in.get_u32(e.key));
    } else {
      out.set_f32(key, in.get_f32(e.key));
    }
  }
  for (const auto& t : in.tensors()) out.declare(t.name, t.type, t.ne);
  for (const auto& t : in.tensors()) {
    out.begin_tensor(t.name);
    out.write(t.type == DType::i2_s ? t.data.first(t.data.size() - 28) : t.data);
  }
  out.commit();
  EXPECT_NO_THROW(expect_identical(*open_gguf(folder_ / "good.gguf"), *open_gguf(folder_ / "old.gguf")));
}

TEST(Export, AnUntiedHeadKeepsItsOwnWeights) {
  const auto model = TinyModel::make({.tied_head = false});
  const test::ScratchFolder folder;
  export_gguf(*model, folder / "a.gguf", DType::i2_s, {});
  const auto again = open_gguf(folder / "a.gguf");
  EXPECT_FALSE(again->config.tied_head);
  EXPECT_FALSE(again->warnings.empty());  // bitnet.cpp would read it otherwise
  export_huggingface(*model, folder / "hf", HfForm::packed, {});
  EXPECT_NO_THROW(expect_identical(*model, *open_huggingface(folder / "hf")));
}

TEST(Export, LossyIsRefusedByNameUnlessAskedFor) {
  const auto model = TinyModel::make({.type = DType::f32});
  const test::ScratchFolder folder;
  EXPECT_NE(
      message_of([&] { export_gguf(*model, folder / "a.gguf", DType::tq2_0, {}); }).find("blk.0.attn_q: the scale"),
      std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(folder / "a.gguf"));
  export_gguf(*model, folder / "a.gguf", DType::tq2_0, {.lossy = true});
  EXPECT_NE(nll_sha256(gate_nlls(*open_gguf(folder / "a.gguf"))), nll_sha256(gate_nlls(*model)));
  EXPECT_NE(message_of([&] { export_huggingface(*model, folder / "p", HfForm::packed, {}); }).find("not exact in bf16"),
            std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(folder / "p"));
  // An embedding in f32 that f16 cannot hold stays f32.
  export_gguf(*model, folder / "b.gguf", DType::i2_s, {});
  EXPECT_EQ(open_gguf(folder / "b.gguf")->weights.token_embd.unchecked().type, DType::f32);
}

TEST(Export, RowsThatDoNotFitAreRefusedByName) {
  const auto model = TinyModel::make({.hidden = 192, .feed_forward = 320, .heads = 3, .kv_heads = 1});
  const test::ScratchFolder folder;
  EXPECT_NE(message_of([&] { export_gguf(*model, folder / "a.gguf", DType::i2_s, {}); }).find("multiples of 128"),
            std::string::npos);
  export_gguf(*model, folder / "a.gguf", DType::bf16, {});  // any width
  export_huggingface(*model, folder / "hf", HfForm::packed, {});
  EXPECT_NO_THROW(expect_identical(*model, *open_huggingface(folder / "hf")));
}

TEST(Export, AFolderThatHoldsSomethingIsReplacedOnlyOnRequest) {
  const auto model = TinyModel::make();
  const test::ScratchFolder folder;
  std::filesystem::create_directory(folder / "out");
  export_huggingface(*model, folder / "out", HfForm::packed, {});  // empty: may be used
  EXPECT_THROW(export_huggingface(*model, folder / "out", HfForm::latents, {}), IoError);
  EXPECT_EQ(open_huggingface(folder / "out")->weights.blocks[0].attn_q.weight.stored_type(), DType::hf_packed);
  export_huggingface(*model, folder / "out", HfForm::latents, {.replace_folder = true});
  EXPECT_EQ(open_huggingface(folder / "out")->weights.blocks[0].attn_q.weight.stored_type(), DType::bf16);
}

TEST(OpenModel, MissingAndForeignPathsAreNamed) {
  const test::ScratchFolder folder;
  EXPECT_NE(message_of([&] { open_model(folder / "none"); }).find("no such file"), std::string::npos);
  EXPECT_NE(message_of([&] { open_model(folder.path()); }).find("config.json"), std::string::npos);
}

TEST(OpenModel, BlockedEmbeddingsAreReadInPlaceAndKept) {
  // A q8_0 embedding made of small integers and d = 1/64, all exact.
  const auto model = TinyModel::make();
  const test::ScratchFolder folder;
  auto bytes = std::make_shared<core::AlignedBuffer<std::byte>>(300 * 256 / 32 * 34);
  core::Random random(4);
  for (std::size_t block = 0; block < 300 * 256 / 32; ++block) {
    const std::uint16_t d = core::float_to_f16(1.0F / 64);
    std::memcpy(bytes->data() + block * 34, &d, 2);
    for (std::size_t i = 0; i < 32; ++i) (*bytes)[block * 34 + 2 + i] = static_cast<std::byte>(random.below(256));
  }
  model->weights.token_embd =
      EmbeddingWeight({"q8", "token_embd", 0}, {bytes->data(), bytes->size(), DType::q8_0, 300, 256});
  model->storage.push_back(bytes);
  export_gguf(*model, folder / "a.gguf", DType::i2_s, {});
  const auto again = open_gguf(folder / "a.gguf");
  EXPECT_EQ(again->weights.token_embd.unchecked().type, DType::q8_0);
  EXPECT_NO_THROW(expect_identical(*model, *again));
  // A directory cannot hold q8_0: these values are exact in f16.
  export_huggingface(*model, folder / "hf", HfForm::packed, {});
  EXPECT_EQ(open_huggingface(folder / "hf")->weights.token_embd.unchecked().type, DType::f16);
}

/// A file with the vocabulary of Llama 3 (128,256 tokens, 280,147 merges) opens and encodes a word in under 150 ms.
TEST(SlowOpen, ALlama3VocabularyCostsLittle) {
  RPT_NEEDS_SHARED("data/tokenizers/llama3/tokenizer.model");
  if (test::kSanitized) GTEST_SKIP() << "built with a sanitizer";
  const auto model = TinyModel::make({.hidden = 128, .feed_forward = 128, .layers = 1, .vocabulary = 128256});
  const auto path = test::shared("data/tokenizers/llama3/tokenizer.model");
  model->tokenizer = text::Tokenizer::from_tiktoken(core::read_file(path), {}, path.string());
  model->adds_bos = true;
  model->bos_id = model->tokenizer->bos_id();
  model->end_ids = model->tokenizer->end_ids();
  const test::ScratchFolder folder;
  export_gguf(*model, folder / "llama3.gguf", DType::i2_s, {});
  double best = 1e9;
  for (int i = 0; i < 5; ++i) {
    const core::Stopwatch watch;
    const auto opened = open_model(folder / "llama3.gguf");
    EXPECT_EQ(opened->vocabulary().encode(" house"), model->tokenizer->encode(" house"));
    best = std::min(best, watch.seconds());
    EXPECT_EQ(opened->end_ids, (std::vector<std::int32_t>{128001, 128009, 128008}));  // eos, eot, eom
    EXPECT_EQ(opened->vocabulary().gguf_pre(), "llama-bpe");
    EXPECT_EQ(opened->vocabulary().merges().size(), 280147U);
  }
  EXPECT_LT(best, 0.150);
}

}  // namespace
}  // namespace rpt::model
