// SPDX-License-Identifier: MIT
// rpt doctor: the faults that records and weights show, in a good file made faulty, and none in the good ones.
#include <cmath>

#include "rpt/core/error.h"
#include "rpt/core/float16.h"
#include "rpt/model/export.h"
#include "tests/unit/cli/doctor_testing.h"

namespace rpt::cli {
namespace {

/// Latents of a bf16 linear layer, {0, ±s} for s their absmean, moved by `noise` · s.
std::optional<Bytes> snapped(const io::SafetensorsTensor& t, float noise) {
  if (!t.name.ends_with("_proj.weight")) return std::nullopt;
  std::vector<float> w(static_cast<std::size_t>(t.elements()));
  double sum = 0;
  for (std::size_t i = 0; i < w.size(); ++i) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, t.data.data() + 2 * i, 2);
    w[i] = core::bf16_to_float(bits);
    sum += std::abs(static_cast<double>(w[i]));
  }
  const float inv = 1.0F / static_cast<float>(sum / static_cast<double>(w.size()));
  const float s = core::bf16_to_float(core::float_to_bf16(1.0F / inv));
  Bytes bytes(2 * w.size());
  for (std::size_t i = 0; i < w.size(); ++i) {
    const float code = std::clamp(std::nearbyint(w[i] * inv), -1.0F, 1.0F);
    const std::uint16_t bits = core::float_to_bf16(code * s * (1 + (i % 2 == 0 ? noise : -noise)));
    std::memcpy(bytes.data() + 2 * i, &bits, 2);
  }
  return bytes;
}

TEST_F(Doctor, FindsNothingInGoodFiles) {
  expect_nothing(seedling_);
  for (int i = 1; i <= 5; ++i) expect_nothing((test::source_dir() / fmt::format("models/micro-{}", i)).string());
  expect_nothing(good());
  expect_nothing(packed());
  for (const char* type : {"tq1_0", "tq2_0", "f16", "bf16", "f32"}) {
    const std::string file = path(std::string(type) + ".gguf");
    ASSERT_EQ(rpt({"export", seedling_, file, "--type", type}).code, 0);
    expect_nothing(file);
  }
  const Outcome o = rpt({"doctor", seedling_});
  EXPECT_EQ(o.code, 0);
  EXPECT_EQ(o.out, "nothing found\n");
}

TEST_F(Doctor, FindsNothingInTheGoldenModelsAndRoundedHeads) {
  int models = 0;
  for (const fs::directory_entry& golden : fs::directory_iterator(test::source_dir() / "tests/golden")) {
    if (!fs::exists(golden.path() / "config.json")) continue;
    expect_nothing(golden.path().string());
    ++models;
  }
  EXPECT_GE(models, 6);
  for (const std::string head : {"q8_0", "q6_k"}) {
    ASSERT_EQ(rpt({"export", seedling_, path(head + ".gguf"), "--head", head}).code, 0);
    expect_nothing(path(head + ".gguf"));
  }
}

// Trials run, on weights that no reading makes better than guessing.
TEST_F(Doctor, FindsNothingInATernaryLlamaWithAVocabulary) {
  const auto model = test::TinyModel::make({.vocabulary = 4096, .llama = true});
  const auto seedling = model::open_model(seedling_);
  model->tokenizer = seedling->tokenizer;
  model->adds_bos = seedling->adds_bos;
  model->bos_id = seedling->bos_id;
  model->end_ids = seedling->end_ids;
  model->chat_bos_token = seedling->chat_bos_token;
  model->chat_eos_token = seedling->chat_eos_token;
  model::export_gguf(*model, path("llama.gguf"), DType::i2_s, {});
  const Json j = visit(path("llama.gguf"));
  EXPECT_EQ(j["faults"], Json::array());
  EXPECT_FALSE(j["tried"].empty());
}

TEST_F(Doctor, FindsNothingInGoodLlamaFiles) {
  RPT_NEEDS_SHARED("data/models/stories260K");
  const std::string folder = test::shared("data/models/stories260K").string();
  for (const char* name : {"stories260K.bin", "checkpoint_v1.bin"}) expect_nothing(folder + "/" + name);
  ASSERT_EQ(rpt({"export", folder + "/stories260K.bin", path("s.gguf")}).code, 0);
  expect_nothing(path("s.gguf"));
  ASSERT_EQ(rpt({"export", folder + "/stories260K.bin", path("s"), "--to", "hf"}).code, 0);
  expect_nothing(path("s"));
}

TEST_F(Doctor, SlowFindsNothingInSmolLm2) {
  RPT_NEEDS_SHARED("data/models/smollm2");
  expect_nothing(test::shared("data/models/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf").string());
}

TEST_F(Doctor, TheFixturesAreNoModels) {
  RPT_NEEDS_SHARED("data/gguf-fixtures");
  fault(visit(test::shared("data/gguf-fixtures/ggml-vocab-gpt-2.gguf").string()), "no_weights");
  const Json tiny = visit(test::shared("data/gguf-fixtures/tritium-bitnet_tiny.gguf").string());
  fault(tiny, "missing_tensors");
  fault(tiny, "missing_sub_norms");
}

TEST_F(Doctor, WhatCannotBeReadAtAllIsBadInput) {
  core::write_file_atomic(path("a.gguf"), "GGUF and then nothing");
  EXPECT_EQ(rpt({"doctor", path("a.gguf")}).code, 3);
  EXPECT_EQ(rpt({"doctor", path("absent.gguf")}).code, 3);
  EXPECT_EQ(rpt({"doctor", folder_.path().string()}).code, 3);  // no config.json
  core::write_file_atomic(path("config.json"), "{}");
  EXPECT_EQ(rpt({"doctor", folder_.path().string()}).code, 3);  // no weights
  core::write_file_atomic(path("config.json"), "{\"a\":" + std::string(100000, '[') + std::string(100000, ']') + "}");
  EXPECT_EQ(rpt({"doctor", folder_.path().string()}).code, 3);
}

TEST_F(Doctor, SaysHowManyBytesATruncatedFileLacks) {
  const std::string text = core::read_file(good());
  core::write_file_atomic(path("cut.gguf"), text.substr(0, text.size() - 1000));
  const auto end = io::GgufFile::open(good()).tensors().back();
  const std::size_t missing = end.offset + end.data.size() - (text.size() - 1000);
  const Json j = visit(path("cut.gguf"), {"--fix", path("out.gguf")});
  EXPECT_NE(fault(j, "truncated")["cause"].get<std::string>().find(std::to_string(missing) + " bytes"),
            std::string::npos);
  EXPECT_FALSE(fs::exists(path("out.gguf")));
  EXPECT_NE(j["refused"].get<std::string>().find("truncated"), std::string::npos);

  fs::copy(seedling_, path("dir"));
  const std::string weights = core::read_file(seedling_ + "/model.safetensors");
  fs::remove(path("dir") + "/model.safetensors");
  core::write_file_atomic(path("dir") + "/model.safetensors", weights.substr(0, weights.size() - 77));
  EXPECT_NE(fault(visit(path("dir")), "truncated")["cause"].get<std::string>().find(" 77 bytes"), std::string::npos);
}

TEST_F(Doctor, WrongArchitectureNames) {
  // As read, `bitnet` runs SiLU: only a trial tells. `llama` does not read the sub-norms: the records tell.
  expect_mended(harmed({.architecture = "bitnet"}), "wrong_architecture", path("a.gguf"));
  expect_mended(harmed({.architecture = "llama"}), "wrong_architecture", path("b.gguf"));
  expect_mended(harmed({.architecture = "qwen3"}), "wrong_architecture", path("c.gguf"));
  expect_mended(with_config(seedling_, [](Json& c) { c["model_type"] = "llama"; }), "wrong_architecture", path("d"));
}

TEST_F(Doctor, MissingPreTokenizer) {
  const std::string file = harmed({.drop_keys = {"tokenizer.ggml.pre"}});
  expect_mended(file, "missing_pre_tokenizer", path("a.gguf"));
  EXPECT_EQ(io::GgufFile::open(path("a.gguf")).get_string("tokenizer.ggml.pre"),
            io::GgufFile::open(good()).get_string("tokenizer.ggml.pre"));
}

TEST_F(Doctor, LatentsWrittenAsCodes) {
  const Json j =
      visit(harmed({.change =
                        [](const io::GgufTensor& t, Bytes& bytes) {
                          if (t.type != DType::i2_s) return;
                          for (std::size_t i = 0; i + 32 < bytes.size(); ++i) {  // 0 becomes +1 or −1: no zero is left
                            auto byte = static_cast<unsigned>(bytes[i]);
                            for (unsigned shift = 0; shift < 8; shift += 2) {
                              if (((byte >> shift) & 3U) == 1) byte ^= ((i + shift / 2) % 2 == 0 ? 1U : 3U) << shift;
                            }
                            bytes[i] = static_cast<std::byte>(byte);
                          }
                        }}),
            {"--fix", path("a.gguf")});
  EXPECT_FALSE(fault(j, "latents_as_codes")["mechanical"]);
  EXPECT_FALSE(fs::exists(path("a.gguf")));
}

TEST_F(Doctor, AnInvalidCode) {
  const Json j = visit(harmed({.change = [](const io::GgufTensor& t, Bytes& bytes) {
    if (t.name == "blk.1.ffn_up.weight") bytes[5] = std::byte{0xff};
  }}));
  EXPECT_NE(fault(j, "damaged_weights")["cause"].get<std::string>().find("blk.1.ffn_up"), std::string::npos);
}

TEST_F(Doctor, MissingSubNorms) {
  const Json j =
      visit(harmed({.drop = [](const std::string& t) { return t.find("ffn_sub_norm") != std::string::npos; }}));
  EXPECT_FALSE(fault(j, "missing_sub_norms")["mechanical"]);
  EXPECT_EQ(j["faults"].size(), 1U);
  const Json other = visit(harmed({.drop = [](const std::string& t) { return t == "blk.2.attn_q.weight"; }}));
  EXPECT_EQ(fault(other, "missing_tensors")["place"], "blk.2.attn_q");
}

TEST_F(Doctor, ASecondHead) {
  expect_mended(harmed({.repeat_embedding = true}), "second_head", path("a.gguf"));
  EXPECT_EQ(io::GgufFile::open(path("a.gguf")).find_tensor("output.weight"), nullptr);
  harm_safetensors(seedling_, path("dir"), {}, true);
  expect_mended(path("dir"), "second_head", path("b"));
}

TEST_F(Doctor, AHeadWithAnInfinity) {
  const Json j = visit(harmed({.repeat_embedding = true, .change_head = [](Bytes& head) {
                                 head[20] = std::byte{0};
                                 head[21] = std::byte{0x7c};
                               }}));
  EXPECT_NE(fault(j, "damaged_weights")["cause"].get<std::string>().find("output.weight"), std::string::npos);
}

TEST_F(Doctor, AHeadThatIsTheEmbeddingInOtherBits) {
  const Json j = visit(harmed({.repeat_embedding = true, .round_head = true}), {"--fix", path("a.gguf")});
  EXPECT_EQ(j["faults"].size(), 1U) << j.dump();
  EXPECT_FALSE(fault(j, "second_head")["mechanical"]);
  EXPECT_FALSE(fs::exists(path("a.gguf")));
}

// A head of the embedding's own type is no rounding of it, however near: it may have been trained from there.
TEST_F(Doctor, AHeadNearTheEmbeddingIsAHeadOfItsOwn) {
  const Json j = visit(harmed({.repeat_embedding = true, .change_head = [](Bytes& head) {
                                 for (std::size_t i = 0; i < head.size(); i += 6) head[i] ^= std::byte{1};
                               }}));
  EXPECT_EQ(j["faults"], Json::array());
}

TEST_F(Doctor, ReplacesNothingUnasked) {
  const std::string file = harmed({.architecture = "llama"});
  const std::string before = core::read_file(file);
  for (const std::vector<std::string>& more : {std::vector<std::string>{}, {"--force"}}) {
    std::vector<std::string> words{"doctor", file, "--fix", folder_.path().string() + "/./harmed.gguf"};
    words.insert(words.end(), more.begin(), more.end());
    const Outcome o = rpt(words);
    EXPECT_EQ(o.code, 2);
    EXPECT_NE(o.err.find("is an input; write to another name"), std::string::npos) << o.err;
  }
  EXPECT_EQ(core::read_file(file), before);
  core::write_file_atomic(path("precious.gguf"), "precious");
  const Outcome o = rpt({"doctor", file, "--fix", path("precious.gguf")});
  EXPECT_EQ(o.code, 4);
  EXPECT_NE(o.err.find("exists; --force replaces it"), std::string::npos) << o.err;
  EXPECT_EQ(core::read_file(path("precious.gguf")), "precious");
  visit(file, {"--fix", path("precious.gguf"), "--force"});
  expect_nothing(path("precious.gguf"));

  const std::string dir = with_config(seedling_, [](Json& c) { c["model_type"] = "llama"; });
  fs::copy(seedling_, path("precious"));
  EXPECT_EQ(rpt({"doctor", dir, "--fix", dir, "--force"}).code, 2);
  EXPECT_EQ(rpt({"doctor", dir, "--fix", path("precious")}).code, 4);
  const Outcome lost = rpt({"doctor", dir, "--fix", path("precious"), "--force"});
  EXPECT_EQ(lost.code, 4);
  EXPECT_NE(lost.err.find("holds golden.json, which is not written here"), std::string::npos) << lost.err;
  fs::remove(path("precious/golden.json"));
  visit(dir, {"--fix", path("precious"), "--force"});
  expect_nothing(path("precious"));
}

TEST_F(Doctor, AnUntiedModelHasNoFault) {
  model::export_gguf(*test::TinyModel::make({.tied_head = false}), path("untied.gguf"), DType::i2_s, {});
  const Json j = visit(path("untied.gguf"));
  EXPECT_TRUE(j["faults"].empty());
  EXPECT_NE(j["notes"][0].get<std::string>().find("no vocabulary"), std::string::npos);
}

TEST_F(Doctor, ADroppedQuantisationConfig) {
  const auto drop = [](Json& c) { c.erase("quantization_config"); };
  expect_mended(with_config(seedling_, drop), "missing_quantization_config", path("a"));
  fs::remove_all(path("dir"));
  const std::string dir = with_config(packed(), drop);
  expect_mended(dir, "missing_quantization_config", path("b"));
}

TEST_F(Doctor, ASnappedDirectoryThatDeclaresOnline) {
  harm_safetensors(seedling_, path("dir"), [](const auto& t) { return snapped(t, 0); });
  expect_mended(path("dir"), "snapped_online", path("a"));
}

TEST_F(Doctor, LatentsThatClusterWereSnappedBefore) {
  harm_safetensors(seedling_, path("dir"), [](const auto& t) { return snapped(t, 0.004F); });
  EXPECT_FALSE(fault(visit(path("dir")), "snapped_twice")["mechanical"]);
}

}  // namespace
}  // namespace rpt::cli
