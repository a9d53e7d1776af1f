// SPDX-License-Identifier: MIT
#include "rpt/prune/recipe.h"

#include "rpt/core/atomic_file.h"
#include "rpt/model/export.h"
#include "rpt/model/gate.h"
#include "rpt/model/masks.h"
#include "rpt/tensor/ops.h"
#include "tests/unit/cli/cli_testing.h"

namespace rpt::cli {
namespace {

class PruneCommand : public CommandTest {
 protected:
  /// rpt COMMAND …
  Outcome run_words(const std::string& command, std::vector<std::string> words) {
    words.insert(words.begin(), command);
    return rpt(words);
  }
  Json prune(std::vector<std::string> words) {
    words.insert(words.begin(), "prune");
    return json(words);
  }
  Json snap(std::vector<std::string> words) {
    words.insert(words.begin(), "snap");
    return json(words);
  }
  /// A text of some hundred tokens.
  std::string text(const std::string& name, const std::string& more = "") {
    core::write_file_atomic(folder_ / name, "The old house stood at the end of the lane, and nobody knew " + more +
                                                "who had built it, or when, or why the door was never closed.\n");
    return path(name);
  }
  std::string masks_of(const std::string& name) { return core::read_file(path(name) + "/masks.safetensors"); }
  std::string recipe_of(const std::string& name) { return path(name) + "/prune_recipe.json"; }
};

TEST_F(PruneCommand, RemovesExactlyTheDoseAndAccountsForIt) {
  const Json j = prune({seedling_, path("out"), "--sparsity", "0.1"});
  const std::uint64_t n = j["weights"];
  const std::uint64_t tenth = (n + 5) / 10;
  EXPECT_EQ(j["masked"], tenth);
  EXPECT_EQ(j["latents_zeroed"], tenth);
  EXPECT_GE(j["codes_removed"], tenth);
  EXPECT_EQ(j["codes_zero_after"].get<std::uint64_t>(), j["codes_zero_before"].get<std::uint64_t>() +
                                                            j["codes_removed"].get<std::uint64_t>() -
                                                            j["codes_gained"].get<std::uint64_t>());
  EXPECT_GT(j["codes_gained"], 0) << "the scale has shrunk";
  EXPECT_EQ(j["dose_codes"], j["codes_removed"].get<double>() / static_cast<double>(n));
  EXPECT_EQ(j["recipe"]["score"], "magnitude");
  EXPECT_EQ(j["recipe"]["sparsity"], 0.1);
  EXPECT_TRUE(j["recipe"]["calibration"].is_null());
  EXPECT_TRUE(j["recipe"]["percent"].is_null());
  ASSERT_EQ(j["tensors"].size(), 28U);
  std::uint64_t masked = 0;
  for (const Json& t : j["tensors"]) {
    masked += t["masked"].get<std::uint64_t>();
    EXPECT_TRUE(t["scale_after"] < t["scale_before"] || t["masked"] == 0);
  }
  EXPECT_EQ(masked, tenth);

  // The directory opens, is 0 where the masks say, and scores.
  const auto written = model::open_model(path("out"));
  const model::Masks masks = model::read_masks(path("out") + "/masks.safetensors", written->config);
  EXPECT_EQ(masks.pruned(), tenth);
  EXPECT_EQ(model::sha256_of(masks), j["masks_sha256"]);
  EXPECT_EQ(model::nll_sha256(model::gate_nlls(*written)), j["nll_sha256"]);
  const auto values = tensor::widen(written->weights.blocks[1].ffn_up.weight.stored_latents());
  const model::LinearMask& mask = *masks.find("blk.1.ffn_up");
  for (std::size_t i = 0; i < values.size(); ++i) ASSERT_TRUE(mask.keep[i] == 1 || values[i] == 0) << i;
  EXPECT_GT(json({"perplexity", path("out"), "--text", text("t")})["perplexity"], 1);
}

TEST_F(PruneCommand, PrintsTheAccount) {
  const Outcome o = run_words("prune", {seedling_, path("out"), "--sparsity", "0.05", "--dose", "latents", "--scope",
                                        "row", "--protect", ".*attn_.*", "--verbose"});
  EXPECT_EQ(o.code, 0) << o.err;
  for (const std::string word : {"blk.3.ffn_down", "±1 to 0", "0 to ±1", "scale before", "(5.000 %)",
                                 "masks.safetensors", "prune_recipe.json"}) {
    EXPECT_NE(o.out.find(word), std::string::npos) << word << o.out;
  }
  EXPECT_NE(o.err.find("needs 0.0"), std::string::npos) << o.err;
  const auto written = model::open_model(path("out"));
  const model::Masks masks = model::read_masks(path("out") + "/masks.safetensors", written->config);
  EXPECT_EQ(masks.find("blk.0.attn_q")->pruned(), 0U);
  EXPECT_GT(masks.find("blk.0.ffn_up")->pruned(), 0U);
}

TEST_F(PruneCommand, EveryRunCanBeReplayed) {
  const std::string t = text("t");
  const std::vector<std::vector<std::string>> runs{
      {"--sparsity", "0.1", "--score", "code", "--scope", "tensor", "--calibration", t, "--calibration-tokens", "20",
       "--calibration-length", "8"},
      {"--sparsity", "0.2", "--score", "wanda", "--calibration", t},
      {"--sparsity", "0.2", "--score", "random", "--seed", "7"},
      {"--pattern", "2:4"},
      {"--legacy-threshold", "15", "--seed", "3"}};
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const std::string name = "run" + std::to_string(i);
    std::vector<std::string> words = runs[i];
    words.insert(words.begin(), {seedling_, path(name)});
    const Json first = prune(words);
    const Json again = prune({seedling_, path(name + "-again"), "--recipe", recipe_of(name)});
    EXPECT_EQ(again["masks_sha256"], first["masks_sha256"]) << name;
    EXPECT_EQ(again["recipe"], first["recipe"]) << name;
    EXPECT_EQ(masks_of(name), masks_of(name + "-again")) << name;
    EXPECT_EQ(core::read_file(recipe_of(name)), core::read_file(recipe_of(name + "-again"))) << name;
  }
  EXPECT_NE(masks_of("run0"), masks_of("run1"));

  // Half of all stays under 2:4, and the threshold takes its percentile of the weights.
  const Json half = prune({seedling_, path("half"), "--recipe", recipe_of("run3")});
  EXPECT_EQ(half["masked"].get<std::uint64_t>() * 2, half["weights"].get<std::uint64_t>());
  EXPECT_TRUE(half["recipe"]["sparsity"].is_null());
  const Json legacy = prune({seedling_, path("legacy"), "--recipe", recipe_of("run4")});
  EXPECT_EQ(legacy["recipe"]["percent"], 15);
  EXPECT_EQ(legacy["recipe"]["seed"], "3");
  EXPECT_TRUE(legacy["recipe"]["score"].is_null());
  EXPECT_NEAR(legacy["masked"].get<double>() / legacy["weights"].get<double>(), 0.15, 0.02);

  // Another text by the same name is another calibration.
  text("t", "or cared ");
  const Outcome o = run_words("prune", {seedling_, path("other"), "--recipe", recipe_of("run0")});
  EXPECT_EQ(o.code, 3);
  EXPECT_NE(o.err.find("sha256"), std::string::npos) << o.err;
}

TEST_F(PruneCommand, TheMasksHoldDuringTraining) {
  std::string story;
  for (int i = 0; i < 40; ++i) story += "On the hill stood house " + std::to_string(i * i) + ", and nobody came.\n\n";
  core::write_file_atomic(folder_ / "story", story);
  prune({seedling_, path("out"), "--sparsity", "0.2"});
  json({"finetune", path("out"), path("run"), "--text", path("story"), "--steps", "2", "--batch", "2", "--context",
        "32", "--mask", path("out") + "/masks.safetensors"});
  const auto tuned = model::open_model(path("run") + "/model");
  const model::Masks masks = model::read_masks(path("out") + "/masks.safetensors", tuned->config);
  const auto values = tensor::widen(tuned->weights.blocks[0].attn_v.weight.stored_latents());
  const model::LinearMask& mask = *masks.find("blk.0.attn_v");
  EXPECT_GT(mask.pruned(), 0U);
  for (std::size_t i = 0; i < values.size(); ++i) ASSERT_TRUE(mask.keep[i] == 1 || values[i] == 0) << i;
}

TEST_F(PruneCommand, ReadsLatentsOfAGgufAndRefusesCodes) {
  const auto tiny = test::TinyModel::make({.type = tensor::DType::f16});
  model::export_huggingface(*tiny, folder_ / "tiny", model::HfForm::latents, {});
  model::export_gguf(*tiny, folder_ / "codes.gguf", tensor::DType::i2_s, {});
  EXPECT_EQ(prune({path("tiny"), path("out"), "--sparsity", "0.1"})["weights"],
            2 * (2 * 256 * 256 + 2 * 128 * 256 + 3 * 512 * 256));
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {path("codes.gguf"), path("no"), "--sparsity", "0.1"},
           {path("tiny"), path("no"), "--sparsity", "0.9"},                                // too few alive
           {path("tiny"), path("no"), "--sparsity", "0.1", "--targets", "no such layer"},  //
           {path("tiny"), path("no"), "--sparsity", "0.1", "--score", "wanda", "--calibration", text("t")},
           {path("tiny"), path("no"), "--recipe", path("tiny") + "/config.json"},  // no recipe
           {path("tiny"), path("no"), "--recipe", path("tiny") + "/absent.json"},  //
           {path("tiny"), path("out"), "--sparsity", "0.1"}}) {                    // exists
    const Outcome o = run_words("prune", words);
    EXPECT_TRUE(o.code == 3 || (words[1] == path("out") && o.code == 4)) << o.code << o.err;
    EXPECT_EQ(std::count(o.err.begin(), o.err.end(), '\n'), 1) << o.err;
    EXPECT_FALSE(std::filesystem::exists(path("no")));
  }
  EXPECT_EQ(run_words("prune", {path("tiny"), path("out"), "--sparsity", "0.1", "--force"}).code, 0);
}

TEST_F(PruneCommand, SaysTheNeedAndRefusesBeyondTheLimit) {
  const std::vector<std::string> words{seedling_,       path("out"), "--sparsity",     "0.1", "--score", "code",
                                       "--calibration", text("t"),   "--memory-limit", "0.01"};
  const Outcome o = run_words("prune", words);
  EXPECT_EQ(o.code, 4) << o.err;
  EXPECT_NE(o.err.find("the limit is 0.01 GB (--scope tensor or row"), std::string::npos) << o.err;
  EXPECT_FALSE(std::filesystem::exists(path("out")));
}

TEST_F(PruneCommand, WrongUsageIsTwo) {
  const std::string t = text("t");
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{seedling_},
                                             {seedling_, path("out")},
                                             {seedling_, path("out"), "--sparsity", "1.5"},
                                             {seedling_, path("out"), "--sparsity", "nan"},
                                             {seedling_, path("out"), "--sparsity", "0.1", "--score", "hessian"},
                                             {seedling_, path("out"), "--sparsity", "0.1", "--score", "wanda"},
                                             {seedling_, path("out"), "--sparsity", "0.1", "--calibration", t},
                                             {seedling_, path("out"), "--sparsity", "0.1", "--pattern", "2:4"},
                                             {seedling_, path("out"), "--pattern", "4:2"},
                                             {seedling_, path("out"), "--pattern", "2:4", "--scope", "row"},
                                             {seedling_, path("out"), "--sparsity", "0.1", "--targets", "("},
                                             {seedling_, path("out"), "--legacy-threshold", "101"},
                                             {seedling_, path("out"), "--legacy-threshold", "10", "--sparsity", "0.1"},
                                             {seedling_, path("out"), "--recipe", "r.json", "--scope", "row"},
                                             {seedling_, path("out"), "--recipe", "r.json", "--seed", "1"},
                                             {seedling_, path("out"), "--recipe", "r.json", "--legacy-threshold", "10"},
                                             {seedling_, path("out"), "--sparsity", "0.1", "--memory-limit", "0"},
                                             {seedling_, seedling_, "--sparsity", "0.1"}}) {
    const Outcome o = run_words("prune", words);
    EXPECT_EQ(o.code, 2) << o.err << words.back();
    EXPECT_EQ(o.out, "");
    EXPECT_EQ(std::count(o.err.begin(), o.err.end(), '\n'), 1) << o.err;
  }
}

TEST_F(PruneCommand, SnapsInEveryForm) {
  for (const std::string name : {"packed", "file.gguf"}) {
    const Json j = snap({seedling_, path(name)});
    EXPECT_EQ(j["scale"], "online");
    EXPECT_TRUE(j["bit_identical"]);
    EXPECT_EQ(j["codes_changed"], 0);
    EXPECT_EQ(j["nll_sha256_a"], j["nll_sha256_b"]);
    ASSERT_EQ(j["tensors"].size(), 28U);
    for (const Json& t : j["tensors"]) {
      EXPECT_EQ(t["scale"], t["scale_online"]);
      EXPECT_LT(t["scale_read_again"], t["scale"]);
      EXPECT_LT(t["ternary_latents"], t["weights"]);
    }
    const Json scored = json({"perplexity", path(name), "--text", text("t")});
    EXPECT_EQ(scored["nll_sha256"], json({"perplexity", seedling_, "--text", text("t")})["nll_sha256"]);
  }
  const Outcome o = run_words("snap", {seedling_, path("table")});
  EXPECT_EQ(o.code, 0) << o.err;
  for (const std::string word : {"blk.3.ffn_down", "max|w|", "read again", "same output to the last bit"}) {
    EXPECT_NE(o.out.find(word), std::string::npos) << word;
  }
}

/// Whoever prunes, trains at one scale, evaluates latents and exports by max|w| deals with three models.
TEST_F(PruneCommand, SnapsAPrunedModelAtTheScaleOfItsBase) {
  prune({seedling_, path("pruned"), "--sparsity", "0.2"});
  const auto rule = [&](const std::string& name) {
    return snap({path("pruned"), path(name), "--scale", name, "--base", seedling_});
  };
  const Json frozen = rule("frozen");
  EXPECT_FALSE(frozen["bit_identical"]);
  EXPECT_EQ(frozen["base"], seedling_);
  const Json online = snap({path("pruned"), path("online")});
  const Json twice = rule("legacy-double");
  const Json refit = snap({path("pruned"), path("refit"), "--scale", "refit", "--base", seedling_, "--calibration",
                           text("t"), "--calibration-tokens", "20"});
  EXPECT_EQ(refit["calibration"], path("t"));
  EXPECT_EQ(refit["codes_zero"], frozen["codes_zero"]);
  const auto base = model::open_model(seedling_);
  EXPECT_EQ(frozen["tensors"][0]["scale"].get<float>(), base->weights.blocks[0].attn_q.weight.codes().scale);
  for (std::size_t i = 0; i < 28; ++i) {
    EXPECT_EQ(online["tensors"][i]["scale"], frozen["tensors"][i]["scale_online"]);
    EXPECT_LT(online["tensors"][i]["scale"], frozen["tensors"][i]["scale"]);
    EXPECT_LT(twice["tensors"][i]["scale"], frozen["tensors"][i]["scale"]);
    EXPECT_EQ(twice["tensors"][i]["scale"], frozen["tensors"][i]["scale_read_again"]);
    EXPECT_NE(refit["tensors"][i]["scale"], online["tensors"][i]["scale"]);
  }

  // A directory of 0 and ±s that declares online: read as such its scale shrinks, `stored` reads what stands there.
  run_words("export", {path("frozen"), path("frozen.gguf"), "--type", "bf16"});
  const Json stored = snap({path("frozen.gguf"), path("stored"), "--scale", "stored"});
  EXPECT_EQ(stored["ternary_latents"], stored["weights"]);
  EXPECT_TRUE(stored["bit_identical"]);
  EXPECT_EQ(stored["nll_sha256_b"], frozen["nll_sha256_b"]);
  EXPECT_EQ(snap({path("frozen.gguf"), path("max"), "--scale", "max"})["nll_sha256_b"], frozen["nll_sha256_b"]);
}

TEST_F(PruneCommand, SnapRefusals) {
  model::export_gguf(*test::TinyModel::make(), folder_ / "codes.gguf", tensor::DType::i2_s, {});
  for (const auto& [words, code] : std::vector<std::pair<std::vector<std::string>, int>>{
           {{seedling_}, 2},
           {{seedling_, seedling_}, 2},
           {{seedling_, path("out"), "--scale", "learned"}, 2},
           {{seedling_, path("out"), "--scale", "frozen"}, 2},
           {{seedling_, path("out"), "--base", seedling_}, 2},
           {{seedling_, path("out"), "--calibration", text("t")}, 2},
           {{seedling_, path("out"), "--scale", "stored"}, 3},
           {{path("codes.gguf"), path("out")}, 3},
           {{seedling_, path("out"), "--scale", "frozen", "--base", path("codes.gguf")}, 3}}) {
    const Outcome o = run_words("snap", words);
    EXPECT_EQ(o.code, code) << o.err << words.back();
    EXPECT_EQ(o.out, "");
    EXPECT_EQ(std::count(o.err.begin(), o.err.end(), '\n'), 1) << o.err;
    EXPECT_FALSE(std::filesystem::exists(path("out")));
  }
  const Outcome o = run_words("snap", {seedling_, path("max"), "--scale", "max"});
  EXPECT_EQ(o.code, 0);
  EXPECT_NE(o.err.find("warning: "), std::string::npos);
}

TEST_F(PruneCommand, SnapSaysWhichRulesThereAreAndWhyNoOthers) {
  const std::string help = rpt({"snap", "--help"}).out;
  for (const char* rule : {"online", "stored", "max", "frozen", "refit", "legacy-double"}) {
    EXPECT_NE(help.find(rule), std::string::npos) << rule;
  }
  EXPECT_NE(help.find("(online_dense) is frozen with the unpruned model as --base"), std::string::npos) << help;
  EXPECT_NE(help.find("a learned scale would have to be trained"), std::string::npos) << help;
  for (const char* rule : {"online_dense", "learned"}) {
    EXPECT_EQ(rpt({"snap", seedling_, path("out"), "--scale", rule}).code, 2) << rule;
  }
}

}  // namespace
}  // namespace rpt::cli
