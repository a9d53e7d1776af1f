// SPDX-License-Identifier: MIT
// rpt doctor: every fault it knows, in a good file made faulty, and none in the good ones.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <map>
#include <set>

#include "rpt/core/atomic_file.h"
#include "rpt/core/error.h"
#include "rpt/core/float16.h"
#include "rpt/io/gguf.h"
#include "rpt/io/gguf_writer.h"
#include "rpt/io/safetensors.h"
#include "rpt/io/safetensors_writer.h"
#include "rpt/model/doctor.h"
#include "rpt/model/export.h"
#include "rpt/model/gate.h"
#include "rpt/model/row_order.h"
#include "rpt/ternary/layouts.h"
#include "tests/unit/cli/cli_testing.h"

namespace rpt::cli {
namespace {

namespace fs = std::filesystem;
using Bytes = std::vector<std::byte>;
using tensor::DType;

/// How a copy of a GGUF file differs from it.
struct Harm {
  std::string architecture = {};  ///< with the prefix of its keys
  std::set<std::string> drop_keys = {};
  std::function<bool(const std::string& tensor)> drop = {};
  std::function<void(const io::GgufTensor& tensor, Bytes& bytes)> change = {};
  bool repeat_embedding = false;                      ///< as output.weight
  std::function<void(Bytes& head)> change_head = {};  ///< of the repeated one
};

void copy_key(const io::GgufFile& in, const io::GgufEntry& e, const std::string& key, io::GgufWriter& out) {
  using Type = io::GgufValueType;
  if (e.type == Type::string) return out.set_string(key, in.get_string(e.key));
  if (e.type == Type::u32) return out.set_u32(key, in.get_u32(e.key));
  if (e.type == Type::f32) return out.set_f32(key, in.get_f32(e.key));
  if (e.type == Type::boolean) return out.set_bool(key, in.get_bool(e.key));
  ASSERT_EQ(e.type, Type::array) << key;
  if (e.element_type == Type::string) return out.set_strings(key, in.get_strings(e.key));
  if (e.element_type == Type::f32) return out.set_f32s(key, in.get_f32s(e.key));
  out.set_i32s(key, in.get_i32s(e.key));
}

void harm_gguf(const fs::path& from, const fs::path& to, const Harm& harm) {
  const auto in = io::GgufFile::open(from);
  const std::string arch(in.get_string("general.architecture"));
  io::GgufWriter out(to);
  for (const io::GgufEntry& e : in.entries()) {
    std::string key(e.key);
    if (harm.drop_keys.contains(key)) continue;
    if (!harm.architecture.empty() && key == "general.architecture") {
      out.set_string(key, harm.architecture);
      continue;
    }
    if (!harm.architecture.empty() && key.starts_with(arch + ".")) key.replace(0, arch.size(), harm.architecture);
    copy_key(in, e, key, out);
  }
  std::vector<const io::GgufTensor*> kept;
  for (const io::GgufTensor& t : in.tensors()) {
    if (harm.drop && harm.drop(t.name)) continue;
    kept.push_back(&t);
    out.declare(t.name, t.type, t.ne);
  }
  const io::GgufTensor* embedding = in.find_tensor("token_embd.weight");
  if (harm.repeat_embedding) out.declare("output.weight", embedding->type, embedding->ne);
  for (const io::GgufTensor* t : kept) {
    Bytes bytes(t->data.begin(), t->data.end());
    if (harm.change) harm.change(*t, bytes);
    if (t->type == DType::i2_s) bytes.resize(bytes.size() - 28);
    out.begin_tensor(t->name);
    out.write(bytes);
  }
  if (harm.repeat_embedding) {
    Bytes head(embedding->data.begin(), embedding->data.end());
    if (harm.change_head) harm.change_head(head);
    out.begin_tensor("output.weight");
    out.write(head);
  }
  out.commit();
}

/// Changes the sign of every second value of `size` bytes.
void flip_odd(Bytes& bytes, std::size_t size) {
  for (std::size_t last = 2 * size - 1; last < bytes.size(); last += 2 * size) bytes[last] ^= std::byte{0x80};
}

/// Seedling with a head of its own, and the same output to the last bit: every second column of the head has the other
/// sign, and so has the gain before it. Tied, it would babble.
Harm untied(std::function<void(const io::GgufTensor&, Bytes&)> change = {}) {
  return {.change =
              [change](const io::GgufTensor& t, Bytes& bytes) {
                if (t.name == "output_norm.weight") flip_odd(bytes, sizeof(float));
                if (change) change(t, bytes);
              },
          .repeat_embedding = true,
          .change_head = [](Bytes& head) { flip_odd(head, 2); }};
}

/// Multiplies or replaces the scale of an i2_s tensor.
std::function<void(const io::GgufTensor&, Bytes&)> change_scale(std::function<float(float, double density)> change) {
  return [change](const io::GgufTensor& t, Bytes& bytes) {
    if (t.type != DType::i2_s) return;
    const std::size_t codes = bytes.size() - 32;
    float scale = 0;
    std::memcpy(&scale, bytes.data() + codes, sizeof scale);
    double zeros = 0;
    for (std::size_t i = 0; i < codes; ++i) {
      const auto byte = static_cast<unsigned>(bytes[i]);
      for (unsigned shift = 0; shift < 8; shift += 2) zeros += ((byte >> shift) & 3U) == 1 ? 1 : 0;
    }
    scale = change(scale, 1 - zeros / (4 * static_cast<double>(codes)));
    std::memcpy(bytes.data() + codes, &scale, sizeof scale);
  };
}

/// The order that bitnet.cpp writes on Arm: blocks of 64 weights in 16 bytes.
void to_arm(const io::GgufTensor& t, Bytes& bytes) {
  if (t.type != DType::i2_s) return;
  const std::size_t blocks = (bytes.size() - 32) / 32;
  for (std::size_t b = 0; b < blocks; ++b) {
    unsigned codes[128];
    std::byte* const block = bytes.data() + 32 * b;
    for (unsigned j = 0; j < 128; ++j) codes[j] = (static_cast<unsigned>(block[j % 32]) >> (6 - 2 * (j / 32))) & 3U;
    std::memset(block, 0, 32);
    for (unsigned j = 0; j < 128; ++j) {
      std::byte& byte = block[16 * (j / 64) + j % 16];
      byte |= static_cast<std::byte>(codes[j] << (6 - 2 * (j % 64 / 16)));
    }
  }
}

/// The rows of queries and keys in another order: row n is what stood at source(n).
template <typename Source>
void reorder_rows(const io::GgufTensor& t, Bytes& bytes, Source&& source) {
  if (!t.name.ends_with("attn_q.weight") && !t.name.ends_with("attn_k.weight")) return;
  const Bytes before = bytes;
  const std::size_t row = (bytes.size() - (t.type == DType::i2_s ? 32 : 0)) / static_cast<std::size_t>(t.rows());
  for (std::int64_t n = 0; n < t.rows(); ++n) {
    const auto from = static_cast<std::size_t>(source(n));
    std::memcpy(bytes.data() + static_cast<std::size_t>(n) * row, before.data() + from * row, row);
  }
}

/// In pairs, as converters of architecture llama write them; heads of 64.
void to_pairs(const io::GgufTensor& t, Bytes& bytes) {
  reorder_rows(t, bytes, [](std::int64_t n) { return model::row_in_halves(n, 64); });
}

/// A model with four times as many rows between gate, up and down, all new ones 0: the same network (a gain of the
/// sub-norm is halved, as the rms is over four times as many), with a quarter of the density there.
std::unique_ptr<model::Model> with_dead_rows(const fs::path& path) {
  auto model = model::open_model(path);
  const std::int64_t n = model->config.feed_forward;
  model->config.feed_forward = 4 * n;
  const auto widen = [&](model::LinearWeight& linear, std::int64_t rows, std::int64_t columns) {
    const auto& codes = linear.weight.codes();
    auto wide = std::make_shared<ternary::PackedTernary>(
        ternary::pack(DType::hf_packed, rows, columns, codes.scale, [&](std::int64_t r, std::span<std::int8_t> row) {
          std::fill(row.begin(), row.end(), std::int8_t{0});
          if (r < codes.rows) ternary::unpack_row(codes, r, row.first(static_cast<std::size_t>(codes.columns)));
        }));
    linear.weight = model::TernaryWeight::stored(linear.weight.origin(), wide->view());
    model->storage.push_back(wide);
  };
  for (auto& block : model->weights.blocks) {
    widen(block.ffn_gate, 4 * n, model->config.hidden);
    widen(block.ffn_up, 4 * n, model->config.hidden);
    widen(block.ffn_down, model->config.hidden, 4 * n);
    for (float& gain : block.ffn_sub_norm.gain) gain /= 2;
    block.ffn_sub_norm.gain.resize(static_cast<std::size_t>(4 * n), 1.0F);
  }
  return model;
}

class Doctor : public CommandTest {
 protected:
  /// Runs the doctor; the figures and the exit code, which must agree.
  Json visit(const std::string& file, const std::vector<std::string>& more = {}) {
    std::vector<std::string> words{"doctor", file, "--json", "-"};
    words.insert(words.end(), more.begin(), more.end());
    if (short_text_ && std::find(more.begin(), more.end(), "--text") == more.end()) {
      core::write_file_atomic(path("short.txt"), model::kTrialText.substr(0, 600));  // enough to tell, and quicker
      words.insert(words.end(), {"--text", path("short.txt")});
    }
    const Outcome o = rpt(words);
    EXPECT_LE(o.code, 1) << o.err;
    if (o.code > 1) return {};
    Json j = Json::parse(o.out);
    EXPECT_EQ(o.code, j["faults"].empty() ? 0 : 1);
    return j;
  }
  bool short_text_ = true;
  void expect_nothing(const std::string& file) { EXPECT_EQ(visit(file)["faults"], Json::array()) << file; }
  /// The one fault of that name.
  Json fault(const Json& j, const std::string& name) {
    for (const Json& f : j["faults"]) {
      if (f["fault"] == name) return f;
    }
    ADD_FAILURE() << "no " << name << " in " << j.dump();
    return Json::object();
  }
  /// Expects exactly this fault, then mends it and expects the bits of the good file `of` (seedling).
  void expect_mended(const std::string& file, const std::string& name, const std::string& mended,
                     const std::string& of = "", const std::vector<std::string>& more = {}) {
    std::vector<std::string> words{"--fix", mended};
    words.insert(words.end(), more.begin(), more.end());
    const Json j = visit(file, words);
    ASSERT_EQ(j["faults"].size(), 1U) << j.dump();
    EXPECT_EQ(j["faults"][0]["fault"], name);
    EXPECT_TRUE(j["faults"][0]["mechanical"]);
    ASSERT_TRUE(fs::exists(mended)) << j.dump();
    expect_nothing(mended);
    const std::string hash = hash_of(mended);
    EXPECT_EQ(j["nll_sha256"], hash);
    EXPECT_EQ(hash, hash_of(of.empty() ? seedling_ : of));
  }
  /// Seedling as i2_s.
  std::string good() {
    if (!fs::exists(path("good.gguf"))) {
      EXPECT_EQ(rpt({"export", seedling_, path("good.gguf")}).code, 0);
    }
    return path("good.gguf");
  }
  static std::string hash_of(const std::string& model) {
    return model::nll_sha256(model::gate_nlls(*model::open_model(model)));
  }
  std::string harmed(const Harm& harm) {
    harm_gguf(good(), path("harmed.gguf"), harm);
    return path("harmed.gguf");
  }
  /// A copy of a directory with another config.json.
  std::string with_config(const std::string& folder, const std::function<void(Json&)>& change) {
    fs::copy(folder, path("dir"));
    Json config = Json::parse(core::read_file(path("dir") + "/config.json"));
    change(config);
    fs::permissions(path("dir") + "/config.json", fs::perms::owner_write, fs::perm_options::add);
    core::write_file_atomic(path("dir") + "/config.json", config.dump());
    return path("dir");
  }
  std::string packed() {
    EXPECT_EQ(rpt({"export", seedling_, path("packed"), "--to", "hf-packed"}).code, 0);
    return path("packed");
  }
  /// A copy of a directory with tensors changed: a new type and bytes where `change` gives some.
  using Replaced = std::optional<Bytes>;
  void harm_safetensors(const std::string& from, const std::string& to,
                        const std::function<Replaced(const io::SafetensorsTensor&)>& change,
                        bool repeat_embedding = false) {
    fs::copy(from, to);
    fs::remove(to + "/model.safetensors");
    const auto in = io::SafetensorsFile::open(from + "/model.safetensors");
    io::SafetensorsWriter out(to + "/model.safetensors");
    const io::SafetensorsTensor* embedding = in.find("model.embed_tokens.weight");
    for (const auto& t : in.tensors()) out.declare(t.name, t.type, t.shape);
    if (repeat_embedding) out.declare("lm_head.weight", embedding->type, embedding->shape);
    for (const auto& t : in.tensors()) {
      out.begin_tensor(t.name);
      const Replaced bytes = change ? change(t) : std::nullopt;
      out.write(bytes ? std::span<const std::byte>(*bytes) : t.data);
    }
    if (repeat_embedding) {
      out.begin_tensor("lm_head.weight");
      out.write(embedding->data);
    }
    out.commit();
  }
};

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
  expect_nothing((test::source_dir() / "models/micro-1").string());
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

TEST_F(Doctor, AWrongActivationInADirectory) {
  expect_mended(with_config(seedling_, [](Json& c) { c["hidden_act"] = "silu"; }), "wrong_architecture", path("d"));
}

TEST_F(Doctor, MissingPreTokenizer) {
  const std::string file = harmed({.drop_keys = {"tokenizer.ggml.pre"}});
  expect_mended(file, "missing_pre_tokenizer", path("a.gguf"));
  EXPECT_EQ(io::GgufFile::open(path("a.gguf")).get_string("tokenizer.ggml.pre"),
            io::GgufFile::open(good()).get_string("tokenizer.ggml.pre"));
}

TEST_F(Doctor, TwoFaultsAtOnceAreMendedTogether) {
  const Json j = visit(harmed({.architecture = "llama", .drop_keys = {"tokenizer.ggml.pre"}, .change = to_pairs}),
                       {"--fix", path("a.gguf")});
  for (const char* name : {"wrong_architecture", "missing_pre_tokenizer", "permuted_qk"}) fault(j, name);
  EXPECT_EQ(j["faults"].size(), 3U);
  expect_nothing(path("a.gguf"));
  EXPECT_EQ(j["nll_sha256"], hash_of(seedling_));
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

TEST_F(Doctor, AHeadOfItsOwnIsKeptWhereScalesAreWrong) {
  short_text_ = false;
  harm_gguf(good(), path("untied.gguf"), untied());
  expect_nothing(path("untied.gguf"));
  const auto expect_scales_mended = [&](const std::string& fault, float (*change)(float)) {
    const Harm harm = untied(change_scale([change](float s, double) { return change(s); }));
    expect_mended(harmed(harm), fault, path(fault + ".gguf"), path("untied.gguf"));
    EXPECT_NE(io::GgufFile::open(path(fault + ".gguf")).find_tensor("output.weight"), nullptr);
  };
  expect_scales_mended("inverted_scale", [](float s) { return 1 / s; });
  expect_scales_mended("halved_scale", [](float s) { return s / 2; });
}

TEST_F(Doctor, AHeadThatLosesAgainstTheEmbedding) {
  const auto reverse = [](Bytes& head) {  // rows and all
    std::reverse(head.begin(), head.end());
    for (std::size_t i = 0; i + 1 < head.size(); i += 2) std::swap(head[i], head[i + 1]);
  };
  expect_mended(harmed({.repeat_embedding = true, .change_head = reverse}), "second_head", path("a.gguf"));
  // One with which a wrong reading does a little better than the right one.
  const auto noise = [](Bytes& head) {
    std::uint32_t state = 1;
    for (std::size_t i = 0; i < head.size(); i += 2) {
      state = state * 1664525U + 1013904223U;
      head[i] = static_cast<std::byte>(state >> 24);
      head[i + 1] = static_cast<std::byte>(0x20 | ((state >> 16) & 0x87));  // ±0.008 to ±0.06
    }
  };
  expect_mended(harmed({.repeat_embedding = true, .change_head = noise}), "second_head", path("c.gguf"));
  const Json j = visit(harmed({.change = change_scale([](float s, double) { return 1 / s; }),
                               .repeat_embedding = true,
                               .change_head = reverse}),
                       {"--fix", path("b.gguf")});
  EXPECT_EQ(j["faults"].size(), 2U) << j.dump();
  fault(j, "inverted_scale");
  EXPECT_LT(fault(j, "second_head")["nll_after"], fault(j, "second_head")["nll_before"]);
  EXPECT_EQ(j["nll_sha256"], hash_of(seedling_));
}

TEST_F(Doctor, AHeadWithAnInfinity) {
  const Json j = visit(harmed({.repeat_embedding = true, .change_head = [](Bytes& head) {
                                 head[20] = std::byte{0};
                                 head[21] = std::byte{0x7c};
                               }}));
  EXPECT_NE(fault(j, "damaged_weights")["cause"].get<std::string>().find("output.weight"), std::string::npos);
}

TEST_F(Doctor, AHeadThatIsTheEmbeddingInOtherBits) {
  const Json j = visit(harmed({.repeat_embedding = true,
                               .change_head =
                                   [](Bytes& head) {
                                     for (std::size_t i = 0; i < head.size(); i += 6) head[i] ^= std::byte{1};
                                   }}),
                       {"--fix", path("a.gguf")});
  EXPECT_EQ(j["faults"].size(), 1U) << j.dump();
  EXPECT_FALSE(fault(j, "second_head")["mechanical"]);
  EXPECT_FALSE(fs::exists(path("a.gguf")));
}

TEST_F(Doctor, ReplacesNothingUnasked) {
  const std::string file = harmed({.architecture = "llama"});
  const std::string before = core::read_file(file);
  for (const std::vector<std::string>& more : {std::vector<std::string>{}, {"--force"}}) {
    std::vector<std::string> words{"doctor", file, "--fix", folder_.path().string() + "/./harmed.gguf"};
    words.insert(words.end(), more.begin(), more.end());
    const Outcome o = rpt(words);
    EXPECT_EQ(o.code, 2);
    EXPECT_NE(o.err.find("is the model itself; write to another name"), std::string::npos) << o.err;
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

TEST_F(Doctor, WrongScales) {
  short_text_ = false;  // some cost little more than the margin
  expect_mended(harmed({.change = change_scale([](float s, double) { return 2 * s; })}), "doubled_scale",
                path("a.gguf"));
  expect_mended(harmed({.change = change_scale([](float s, double) { return s / 2; })}), "halved_scale",
                path("b.gguf"));
  expect_mended(harmed({.change = change_scale([](float s, double) { return 1 / s; })}), "inverted_scale",
                path("c.gguf"));
}

TEST_F(Doctor, AScaleOffByTheDensity) {
  const auto by = change_scale([](float s, double density) { return s * static_cast<float>(density); });
  const Json shrunk = visit(harmed({.change = by}), {"--fix", path("a.gguf")});
  EXPECT_TRUE(fault(shrunk, "scale_quantised_twice")["mechanical"]);
  expect_nothing(path("a.gguf"));
}

// Seedling's own density is 0.66, and scales of s / 0.66 cost it less than the margin; with dead rows it is 0.16
// between gate, up and down.
TEST_F(Doctor, AScaleWithoutItsDensity) {
  model::export_gguf(*with_dead_rows(seedling_), path("good.gguf"), DType::i2_s, {});
  expect_nothing(good());
  const auto over = change_scale([](float s, double density) { return s / static_cast<float>(density); });
  const Json grown = visit(harmed({.change = over}), {"--fix", path("a.gguf")});
  EXPECT_TRUE(fault(grown, "scale_without_density")["mechanical"]);
  EXPECT_EQ(grown["faults"].size(), 1U) << grown.dump();
  expect_nothing(path("a.gguf"));
}

TEST_F(Doctor, AScaleThatDividesInADirectory) {
  const std::string dir =
      with_config(packed(), [](Json& c) { c["quantization_config"]["linear_class"] = "bitlinear"; });
  expect_mended(dir, "inverted_scale", path("a"));
}

TEST_F(Doctor, QueriesAndKeysInPairs) {
  expect_mended(harmed({.change = to_pairs}), "permuted_qk", path("a.gguf"));
}

// What a converter writes that forgets to put Llama's rows in pairs.
TEST_F(Doctor, QueriesAndKeysInHalvesInALlamaFile) {
  RPT_NEEDS_SHARED("data/models/stories260K");
  const std::string stories = test::shared("data/models/stories260K/stories260K.bin").string();
  ASSERT_EQ(rpt({"export", stories, path("good.gguf")}).code, 0);
  const auto to_halves = [](const io::GgufTensor& t, Bytes& bytes) {
    reorder_rows(t, bytes, [](std::int64_t n) { return model::row_in_pairs(n, 8); });
  };
  core::write_file_atomic(path("story.txt"),
                          "Once upon a time, there was a little girl named Lily. She loved to play "
                          "outside in the park. One day, she saw a big, red ball.");
  expect_mended(harmed({.change = to_halves}), "unpermuted_qk", path("a.gguf"), good(), {"--text", path("story.txt")});
}

TEST_F(Doctor, ArmLayout) {
  expect_mended(harmed({.change = to_arm}), "arm_layout", path("a.gguf"));
}

TEST_F(Doctor, TakesAnotherTextAndSaysWhatItTried) {
  core::write_file_atomic(path("text.txt"), "The president of the state was born in the city in 1902.\n");
  const Json j = visit(good(), {"--text", path("text.txt"), "--fix", path("a.gguf")});
  EXPECT_TRUE(j["faults"].empty());
  EXPECT_LT(j["tokens"], 100);
  EXPECT_GT(j["tokens"], 5);
  EXPECT_EQ(j["tried"].size(), 9U);
  EXPECT_FALSE(fs::exists(path("a.gguf")));
}

}  // namespace
}  // namespace rpt::cli
