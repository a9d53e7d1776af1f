// SPDX-License-Identifier: MIT
// rpt doctor: the faults that only a trial on a text shows, in a good file made faulty.
#include "rpt/model/export.h"
#include "rpt/model/row_order.h"
#include "rpt/ternary/layouts.h"
#include "tests/unit/cli/doctor_testing.h"

namespace rpt::cli {
namespace {

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

TEST_F(Doctor, AWrongActivationInADirectory) {
  expect_mended(with_config(seedling_, [](Json& c) { c["hidden_act"] = "silu"; }), "wrong_architecture", path("d"));
}

TEST_F(Doctor, TwoFaultsAtOnceAreMendedTogether) {
  const Json j = visit(harmed({.architecture = "llama", .drop_keys = {"tokenizer.ggml.pre"}, .change = to_pairs}),
                       {"--fix", path("a.gguf")});
  for (const char* name : {"wrong_architecture", "missing_pre_tokenizer", "permuted_qk"}) fault(j, name);
  EXPECT_EQ(j["faults"].size(), 3U);
  expect_nothing(path("a.gguf"));
  EXPECT_EQ(j["nll_sha256"], hash_of(seedling_));
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
