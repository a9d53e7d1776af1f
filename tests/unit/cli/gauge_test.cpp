// SPDX-License-Identifier: MIT
#include <cmath>

#include "rpt/core/atomic_file.h"
#include "rpt/model/export.h"
#include "rpt/model/gate.h"
#include "tests/unit/cli/cli_testing.h"

namespace rpt::cli {
namespace {

class GaugeCommand : public CommandTest {
 protected:
  /// rpt gauge …
  Outcome gauge(std::vector<std::string> words) {
    words.insert(words.begin(), "gauge");
    return rpt(words);
  }
  Json gauge_json(std::vector<std::string> words) {
    words.insert(words.begin(), "gauge");
    return json(words);
  }
};

TEST_F(GaugeCommand, ReportsWhatItWrote) {
  core::write_file_atomic(folder_ / "text", std::string("The old house stood at the end of the lane.\n"));
  const Json j = gauge_json({seedling_, path("2b"), "--like", "2b", "--text", path("text")});
  EXPECT_EQ(j["command"], "gauge");
  EXPECT_EQ(j["output"], path("2b"));
  EXPECT_EQ(j["like"], "2b");
  EXPECT_TRUE(j["scales"].is_null());
  EXPECT_TRUE(j["bit_identical"]);
  EXPECT_GT(j["tokens"], 64 + 8);
  EXPECT_LT(j["tokens"], 64 + 20);
  EXPECT_EQ(j["nll_sha256"].get<std::string>().size(), 64U);
  EXPECT_GT(j["smallest_row_maximum"], 1e-5);
  EXPECT_GT(j["smallest_moved_share"], 0.05);
  ASSERT_EQ(j["tensors"].size(), 28U);
  const auto written = model::open_model(folder_ / "2b");
  for (const Json& t : j["tensors"]) {
    const double before = t["scale_before"];
    EXPECT_EQ(t["scale_after"], std::ldexp(before, t["exponent"].get<int>()));
  }
  EXPECT_EQ(j["tensors"][6]["name"], "blk.0.ffn_down");
  EXPECT_EQ(j["tensors"][6]["gain"], "blk.0.ffn_sub_norm");
  EXPECT_EQ(j["tensors"][6]["scale_after"].get<float>(), written->weights.blocks[0].ffn_down.weight.codes().scale);
  EXPECT_EQ(model::nll_sha256(model::gate_nlls(*written)),
            model::nll_sha256(model::gate_nlls(*model::open_model(seedling_))));
}

TEST_F(GaugeCommand, PrintsATableAndTheHash) {
  const Outcome o = gauge({seedling_, path("inverse"), "--like", "inverse"});
  EXPECT_EQ(o.code, 0) << o.err;
  for (const std::string word : {"blk.3.ffn_down", "blk.3.ffn_sub_norm", "scale before", "nll_sha256 ",
                                 "same output to the last bit over 64 tokens", "not before"}) {
    EXPECT_NE(o.out.find(word), std::string::npos) << word;
  }
  EXPECT_EQ(o.err, "");
}

TEST_F(GaugeCommand, GaugesLeadBackToEachOther) {
  gauge_json({seedling_, path("2b"), "--like", "2b"});
  const Json back = gauge_json({path("2b"), path("back"), "--like", seedling_});
  for (const Json& t : back["tensors"]) EXPECT_LT(t["exponent"], 0);
  const auto original = model::open_model(seedling_);
  const auto again = model::open_model(path("back"));
  const auto bytes = [](const model::Model& m) {
    const auto v = m.weights.blocks[2].attn_output.weight.stored_latents();
    return std::string(reinterpret_cast<const char*>(v.data), v.bytes);
  };
  EXPECT_EQ(bytes(*again), bytes(*original));
  EXPECT_EQ(again->weights.blocks[2].attn_sub_norm.gain, original->weights.blocks[2].attn_sub_norm.gain);

  const Json native = gauge_json({path("2b"), path("native"), "--like", "native"});
  EXPECT_LT(native["tensors"][0]["scale_after"], 0.2);
}

TEST_F(GaugeCommand, ScalesBoundsEveryScale) {
  const Json j = gauge_json({seedling_, path("out"), "--scales", "1:4"});
  EXPECT_EQ(j["scales"], "1:4");
  EXPECT_TRUE(j["like"].is_null());
  for (const Json& t : j["tensors"]) {
    EXPECT_GE(t["scale_after"], 1);
    EXPECT_LT(t["scale_after"], 4);
  }
  // attn_q, attn_k and attn_v share a power of two, and seedling's lie on both sides of one.
  const Outcome narrow = gauge({seedling_, path("narrow"), "--scales", "1:2"});
  EXPECT_EQ(narrow.code, 3);
  EXPECT_NE(narrow.err.find("attn_norm"), std::string::npos) << narrow.err;
  EXPECT_FALSE(std::filesystem::exists(path("narrow")));
}

TEST_F(GaugeCommand, WrongUsageIsTwo) {
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{seedling_},
                                             {seedling_, path("out")},
                                             {seedling_, path("out"), "--like", "2b", "--scales", "1:4"},
                                             {seedling_, path("out"), "--like", ""},
                                             {seedling_, path("out"), "--scales", "1"},
                                             {seedling_, path("out"), "--scales", "1:1.5"},
                                             {seedling_, path("out"), "--scales", "0:4"},
                                             {seedling_, path("out"), "--scales", "1:4x"},
                                             {seedling_, path("out"), "--scales", "nan:4"},
                                             {seedling_, path("out"), "--scales", "1:inf"},
                                             {seedling_, seedling_, "--like", "2b"}}) {
    const Outcome o = gauge(words);
    EXPECT_EQ(o.code, 2) << words.back();
    EXPECT_EQ(o.out, "");
    EXPECT_EQ(std::count(o.err.begin(), o.err.end(), '\n'), 1) << o.err;
  }
}

TEST_F(GaugeCommand, BadInputIsThreeAndLeavesNothing) {
  const auto tiny = test::TinyModel::make({.type = tensor::DType::f16});
  model::export_huggingface(*tiny, folder_ / "tiny", model::HfForm::latents, {});
  model::export_gguf(*tiny, folder_ / "tiny.gguf", tensor::DType::i2_s, {});
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {path("tiny.gguf"), path("out"), "--like", "2b"},                       // codes
           {path("tiny"), path("out"), "--like", seedling_},                       // another shape
           {path("tiny"), path("out"), "--like", "no-such-model"},                 //
           {path("tiny"), path("out"), "--scales", "0.0001:0.0002"},               // f16 latents would lose bits
           {path("tiny"), path("out"), "--like", "2b", "--text", "sotu:test"}}) {  // it has no vocabulary
    const Outcome o = gauge(words);
    EXPECT_EQ(o.code, 3) << o.err;
    EXPECT_EQ(std::count(o.err.begin(), o.err.end(), '\n'), 1) << o.err;
    EXPECT_FALSE(std::filesystem::exists(path("out")));
  }
}

TEST_F(GaugeCommand, ReplacesAFolderOnlyWhenTold) {
  gauge_json({seedling_, path("out"), "--like", "2b"});
  EXPECT_NE(gauge({seedling_, path("out"), "--like", "inverse"}).code, 0);
  EXPECT_EQ(gauge({seedling_, path("out"), "--like", "inverse", "--force"}).code, 0);
}

class SlowGauge : public GaugeCommand {};

TEST_F(SlowGauge, EveryEmbeddedModelSaysTheSameInEveryGauge) {
  core::write_file_atomic(path("text.txt"), core::read_file(test::source_dir() / "data/sotu/sotu.txt").substr(0, 9000));
  const auto hash_of = [&](const std::string& model) {
    return json({"perplexity", model, "--text", path("text.txt")})["nll_sha256"].get<std::string>();
  };
  int models = 0;
  for (const auto& entry : std::filesystem::directory_iterator(test::source_dir() / "models")) {
    if (!std::filesystem::exists(entry.path() / "model.safetensors")) continue;
    const std::string name = entry.path().filename().string();
    const std::string expected = hash_of(name);
    for (const char* like : {"2b", "inverse", "native"}) {
      const std::string out = path(name + "-" + like);
      gauge_json({name, out, "--like", like});
      EXPECT_EQ(hash_of(out), expected) << name << ' ' << like;
      std::filesystem::remove_all(out);
    }
    ++models;
  }
  EXPECT_GE(models, 7);
}

}  // namespace
}  // namespace rpt::cli
