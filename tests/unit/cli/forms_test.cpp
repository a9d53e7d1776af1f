// SPDX-License-Identifier: MIT
// Models that are not BitNet's, and what a file does not say of itself.
#include <fstream>

#include "rpt/model/export.h"
#include "tests/unit/cli/cli_testing.h"

namespace rpt::cli {
namespace {

class Forms : public CommandTest {
 protected:
  std::string dense_model() {
    const auto model = test::TinyModel::make({.hidden = 64, .llama = true, .dense = true, .type = tensor::DType::bf16});
    model::export_gguf(*model, path("dense.gguf"), {}, {});
    return path("dense.gguf");
  }
};

TEST_F(Forms, WhatTrainsRefusesADenseModelInOneLine) {
  const std::string model = dense_model();
  std::ofstream(path("text.txt")) << "A short text.\n";
  const std::vector<std::pair<std::vector<std::string>, std::string>> commands{
      {{"finetune", model, path("out"), "--text", path("text.txt")}, "fine-tuning"},
      {{"prune", model, path("out"), "--sparsity", "0.5"}, "pruning"},
      {{"snap", model, path("out")}, "snapping"},
      {{"gauge", model, path("out"), "--like", "native"}, "a gauge"},
      {{"deploy", model, path("out"), "--text", path("text.txt")}, "deploying"},
      {{"reproduce", path("out"), "--base", model}, "an experiment"}};
  for (const auto& [words, what] : commands) {
    const Outcome o = rpt(words);
    EXPECT_EQ(o.code, 3) << words[0];
    EXPECT_EQ(o.err,
              "rpt: " + model + ": " + what + " needs ternary linear layers, and blk.0.attn_q is dense (bf16)\n");
    EXPECT_FALSE(std::filesystem::exists(path("out")) && !std::filesystem::is_empty(path("out"))) << words[0];
  }
}

TEST_F(Forms, ADenseModelIsInspectedAndExported) {
  const std::string model = dense_model();
  const Json j = json({"inspect", model});
  EXPECT_EQ(j["architecture"], "llama");
  EXPECT_EQ(j["ternary_weights"], 0);
  EXPECT_EQ(j["tensors"][2]["type"], "bf16");
  EXPECT_FALSE(j["tensors"][2].contains("scale"));
  EXPECT_EQ(rpt({"inspect", model}).out.find("all codes"), std::string::npos);
  const Json stored = json({"export", model, path("a.gguf")});
  EXPECT_EQ(stored["form"], "stored");
  EXPECT_TRUE(stored["bit_identical"]);
  const Json hf = json({"export", model, path("hf"), "--to", "hf"});
  EXPECT_EQ(hf["nll_sha256_b"], stored["nll_sha256_a"]);
  EXPECT_EQ(rpt({"export", model, path("b.gguf"), "--type", "i2_s"}).code, 3);
}

// With --force a folder that holds the model would be removed, and the model with it.
TEST_F(Forms, NothingIsWrittenOverTheFolderThatHoldsTheModel) {
  namespace fs = std::filesystem;
  fs::create_directories(path("all"));
  fs::copy(seedling_, path("all/model"));
  const std::string model = path("all/model");
  const std::vector<std::vector<std::string>> commands{{"export", model, path("all"), "--to", "hf", "--force"},
                                                       {"gauge", model, path("all"), "--like", "2b", "--force"},
                                                       {"prune", model, path("all"), "--sparsity", "0.1", "--force"},
                                                       {"snap", model, path("all"), "--force"},
                                                       {"doctor", model, "--fix", path("all"), "--force"},
                                                       {"export", model, path("all/model/.."), "--to", "hf", "--force"},
                                                       {"export", model, path("all") + "/", "--to", "hf", "--force"}};
  for (const auto& words : commands) {
    const Outcome o = rpt(words);
    EXPECT_EQ(o.code, 2) << words[0] << ": " << o.err;
    EXPECT_NE(o.err.find("which is read; write to another name"), std::string::npos) << o.err;
    EXPECT_TRUE(fs::exists(model + "/model.safetensors")) << words[0];
  }
  EXPECT_EQ(rpt({"export", model, path("all/beside"), "--to", "hf"}).code, 0);
}

// What --force replaces is a model as it is written here, and nothing that others have put beside it.
TEST_F(Forms, NoFolderWithOtherThingsIsReplaced) {
  namespace fs = std::filesystem;
  const std::string out = path("out");
  const std::vector<std::vector<std::string>> commands{{"export", seedling_, out, "--to", "hf"},
                                                       {"export", seedling_, out, "--to", "hf-packed"},
                                                       {"gauge", seedling_, out, "--like", "2b"},
                                                       {"prune", seedling_, out, "--sparsity", "0.1"},
                                                       {"snap", seedling_, out},
                                                       {"doctor", seedling_, "--fix", out}};
  const auto refuses = [&](const std::string& name) {
    for (auto words : commands) {
      words.push_back("--force");
      const Outcome o = rpt(words);
      EXPECT_EQ(o.code, 4) << words[0] << ": " << o.err;
      EXPECT_EQ(o.err, "rpt: " + out + ": holds " + name +
                           ", which is not written here and would be lost: move it away, or write to another folder\n");
      EXPECT_TRUE(fs::exists(out + "/" + name)) << words[0];
    }
  };
  fs::create_directories(out);
  std::ofstream(out + "/thesis.txt") << "Years of work.\n";
  refuses("thesis.txt");
  fs::remove_all(out);
  fs::create_directories(out + "/config.json");  // a folder of a file's name
  refuses("config.json");
  fs::remove_all(out);
  ASSERT_EQ(rpt({"prune", seedling_, out, "--sparsity", "0.1"}).code, 0);
  std::ofstream(out + "/LICENSE") << "MIT\n";
  refuses("LICENSE");
  fs::remove(out + "/LICENSE");
  EXPECT_EQ(rpt({"prune", seedling_, out, "--sparsity", "0.2", "--force"}).code, 0) << "its own files";
  EXPECT_EQ(rpt({"snap", seedling_, out, "--force"}).code, 4) << "masks and recipe";
  for (const char* name : {"masks.safetensors", "prune_recipe.json"}) fs::remove(out + "/" + name);
  EXPECT_EQ(rpt({"snap", seedling_, out, "--force"}).code, 0);
}

// The same of everything else that a command reads.
TEST_F(Forms, NothingIsWrittenOverAFolderThatHoldsAnotherInput) {
  namespace fs = std::filesystem;
  fs::create_directories(path("mine"));
  fs::copy(seedling_, path("mine/model"));
  std::ofstream(path("mine/text.txt")) << "Words that somebody has written.\n";
  ASSERT_EQ(rpt({"prune", seedling_, path("pruned"), "--sparsity", "0.1"}).code, 0);
  fs::copy(path("pruned/prune_recipe.json"), path("mine/recipe.json"));
  const std::string text = path("mine/text.txt");
  const std::string out = path("mine");
  const std::vector<std::vector<std::string>> commands{
      {"gauge", seedling_, out, "--like", path("mine/model")},
      {"gauge", seedling_, out, "--like", "2b", "--text", text},
      {"prune", seedling_, out, "--sparsity", "0.1", "--score", "wanda", "--calibration", text},
      {"prune", seedling_, out, "--recipe", path("mine/recipe.json")},
      {"snap", seedling_, out, "--scale", "frozen", "--base", path("mine/model")},
      {"snap", seedling_, out, "--scale", "refit", "--base", seedling_, "--calibration", text},
      {"doctor", seedling_, "--fix", out, "--text", text}};
  for (auto words : commands) {
    words.push_back("--force");
    const Outcome o = rpt(words);
    EXPECT_EQ(o.code, 2) << words[0] << ": " << o.err;
    EXPECT_NE(o.err.find("which is read; write to another name"), std::string::npos) << o.err;
  }
  EXPECT_TRUE(fs::exists(text));
  EXPECT_TRUE(fs::exists(path("mine/model/model.safetensors")));
  EXPECT_EQ(rpt({"doctor", seedling_, "--fix", text, "--text", text, "--force"}).code, 2) << "the text itself";
  EXPECT_EQ(rpt({"perplexity", seedling_, "--text", text, "--save-nll", text}).code, 2);
  EXPECT_EQ(
      rpt({"perplexity", path("mine/model"), "--text", text, "--save-logits", path("mine/model/config.json")}).code, 2);
  // A recipe names the text that it looks at.
  ASSERT_EQ(
      rpt({"prune", seedling_, path("wanda"), "--sparsity", "0.1", "--score", "wanda", "--calibration", text}).code, 0);
  EXPECT_EQ(rpt({"prune", seedling_, out, "--recipe", path("wanda/prune_recipe.json"), "--force"}).code, 2);
  // A GGUF may stand in the folder that it is made of, and is made again.
  for (int i = 0; i < 2; ++i) EXPECT_EQ(rpt({"export", path("mine/model"), path("mine/model/model.gguf")}).code, 0);
  EXPECT_EQ(rpt({"export", path("mine/model"), path("mine/model/model.safetensors")}).code, 2);
}

TEST_F(Forms, ARoundedHeadScoresAsItsFileDoesAndSaysWhatItCosts) {
  const std::string model = seedling_;
  std::ofstream(path("text.txt")) << "A short text, to be scored.\n";
  const auto hash = [&](const std::string& name, const std::string& head) {
    return json({"perplexity", name, "--text", path("text.txt"), "--head", head})["nll_sha256"].get<std::string>();
  };
  const std::string stored = hash(model, "stored");
  for (const std::string head : {"q8_0", "q6_k"}) {
    const Json j = json({"export", model, path(head + ".gguf"), "--head", head});
    EXPECT_EQ(j["head"], head);
    EXPECT_EQ(j["bit_identical"], false);
    EXPECT_LT(j["kl_divergence"].get<double>(), 0.01) << head;
    EXPECT_EQ(json({"inspect", path(head + ".gguf")})["tensors"][0]["type"], head);
    EXPECT_EQ(hash(path(head + ".gguf"), "stored"), hash(model, head));
    EXPECT_NE(hash(model, head), stored);
  }
  EXPECT_EQ(hash(model, "f16"), stored);
  EXPECT_NE(hash(model, "q4"), hash(model, "q8_0"));
  EXPECT_EQ(json({"export", model, path("f16.gguf"), "--head", "f16"})["bit_identical"], true);
  EXPECT_EQ(rpt({"export", model, path("hf"), "--to", "hf-packed", "--head", "q8_0"}).code, 2);
  const Outcome narrow = rpt({"export", dense_model(), path("narrow.gguf"), "--head", "q6_k"});
  EXPECT_EQ(narrow.code, 3);
  EXPECT_NE(narrow.err.find("token_embd.weight: rows of 64 values do not fit q6_k, which takes multiples of 256"),
            std::string::npos)
      << narrow.err;
}

TEST_F(Forms, StoriesTellTheSameInEveryForm) {
  RPT_NEEDS_SHARED("data/models/stories260K/stories260K.bin");
  const std::string checkpoint = test::shared("data/models/stories260K/stories260K.bin").string();
  ASSERT_EQ(rpt({"export", checkpoint, path("stories.gguf")}).code, 0);
  ASSERT_EQ(rpt({"export", checkpoint, path("stories"), "--to", "hf"}).code, 0);
  for (const std::string& form : {checkpoint, test::shared("data/models/stories260K/checkpoint_v1.bin").string(),
                                  path("stories.gguf"), path("stories")}) {
    const Json j = json({"generate", form, "-p", "", "-n", "80"});
    EXPECT_TRUE(j["text"].get<std::string>().starts_with(
        "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she "
        "saw a big, red ball. She wanted to play with it, but it was too high.\nLily's mom said, "))
        << form << ": " << j["text"];
  }
}

TEST_F(Forms, WhatAFileDoesNotSayIsAnOption) {
  model::export_gguf(*test::TinyModel::make(), path("a.gguf"), tensor::DType::i2_s, {});
  const Json x86 = json({"inspect", path("a.gguf")});
  const Json arm = json({"inspect", path("a.gguf"), "--i2s-layout", "arm"});
  EXPECT_EQ(x86["code_zero_share"], arm["code_zero_share"]);
  EXPECT_NE(json({"export", path("a.gguf"), path("x86.gguf")})["nll_sha256_a"],
            json({"export", path("a.gguf"), path("arm.gguf"), "--i2s-layout", "arm"})["nll_sha256_a"]);
  EXPECT_EQ(rpt({"inspect", path("a.gguf"), "--i2s-layout", "left"}).code, 2);
  EXPECT_EQ(rpt({"inspect", path("a.gguf"), "--scale", "sideways"}).code, 2);
  const Outcome latents = rpt({"inspect", seedling_, "--scale", "stored"});
  EXPECT_EQ(latents.code, 3);
  EXPECT_NE(latents.err.find("no stored scale"), std::string::npos);
}

}  // namespace
}  // namespace rpt::cli
