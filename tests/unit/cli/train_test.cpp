// SPDX-License-Identifier: MIT
#include <signal.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "rpt/core/atomic_file.h"
#include "rpt/core/random.h"
#include "rpt/model/masks.h"
#include "rpt/model/model.h"
#include "rpt/tensor/ops.h"
#include "tests/unit/cli/cli_testing.h"
#include "tests/unit/cli/program_testing.h"

namespace rpt::cli {
namespace {

class Train : public CommandTest {
 protected:
  /// A small configuration over the embedded addresses, with members replaced or added.
  std::string config(const Json& changes = Json::object()) {
    Json j = {{"model", {{"hidden", 64}, {"feed_forward", 128}, {"layers", 2}, {"heads", 2}, {"kv_heads", 1}}},
              {"tokenizer", seedling_},
              {"data", {{{"text", "sotu:test"}}}},
              {"steps", 6},
              {"batch", 4},
              {"context", 32},
              {"warmup", 2},
              {"hold_out", 0.05},
              {"evaluate_every", 3},
              {"evaluate_tokens", 200},
              {"checkpoint_every", 2}};
    j.update(changes);
    const std::string file = path("config.json");
    core::write_file_atomic(file, j.dump());
    return file;
  }

  /// The members `key` of metrics.jsonl, line by line where there are any.
  std::vector<Json> metrics(const std::string& run, const std::string& key) {
    std::ifstream file(run + "/metrics.jsonl");
    std::vector<Json> values;
    for (std::string line; std::getline(file, line);) {
      const Json j = Json::parse(line);
      if (j.contains(key)) values.push_back(j[key]);
    }
    return values;
  }
};

TEST_F(Train, LearnsAndLeavesAModelThatScoresAsItDid) {
  const Json r = json({"train", config({{"steps", 30}, {"optimiser", {{"lr", 5e-3}}}}), path("run")});
  EXPECT_EQ(r["steps"], 30);
  const auto losses = metrics(path("run"), "loss");
  ASSERT_EQ(losses.size(), 30U);
  EXPECT_LT(losses.back().get<double>(), losses.front().get<double>() - 0.5);
  // The gate between the trainer and its files: the same per-token likelihoods, to the last bit.
  const Json scored = json({"perplexity", path("run/model"), "--text", path("run/held_out.jsonl")});
  EXPECT_EQ(scored["nll_sha256"], r["evaluations"][0]["nll_sha256"]);
  EXPECT_EQ(scored["mean_nll"], r["evaluations"][0]["mean_nll"]);
}

// Words that were taken out of a text give no loss in its held-out part either, wherever that is read.
TEST_F(Train, HeldOutWikiTextScoresAsItDid) {
  const Json r = json({"finetune", seedling_, path("run"), "--text", "wikitext-2:validation", "--hold-out", "0.01",
                       "--steps", "1", "--batch", "1", "--context", "16"});
  EXPECT_NE(core::read_file(path("run/held_out.jsonl")).find("<unk>"), std::string::npos);
  const Json scored = json({"perplexity", path("run/model"), "--text", path("run/held_out.jsonl")});
  EXPECT_EQ(scored["nll_sha256"], r["evaluations"][0]["nll_sha256"]);
  EXPECT_EQ(scored["scored_tokens"], r["evaluations"][0]["tokens"]);
}

TEST_F(Train, ThreadsAndCheckpointedActivationsReachTheSameLoss) {
  json({"train", config(), path("a"), "--threads", "1"});
  json({"train", config({{"checkpoint_activations", true}}), path("b"), "--threads", "1"});
  EXPECT_EQ(metrics(path("a"), "loss"), metrics(path("b"), "loss"));  // what is run again gives the same bits
}

TEST_F(Train, FinetunesAndReportsForgetting) {
  std::string text;
  for (int i = 0; i < 40; ++i)
    text += "The old house stood on hill " + std::to_string(i * i) + ", and nobody came.\n\n";
  core::write_file_atomic(path("house.txt"), text);
  core::write_file_atomic(path("other.txt"), std::string("The state of the union is as it was.\n"));
  const Json r = json({"finetune", seedling_, path("run"), "--text", path("house.txt"), "--steps", "6", "--batch", "2",
                       "--context", "64", "--also-evaluate", path("other.txt"), "--evaluate-every", "3"});
  ASSERT_EQ(r["evaluations"].size(), 2U);
  EXPECT_EQ(r["evaluations"][1]["text"], path("other.txt"));
  const Json scored = json({"perplexity", path("run/model"), "--text", path("other.txt")});
  EXPECT_EQ(scored["nll_sha256"], r["evaluations"][1]["nll_sha256"]);
}

TEST_F(Train, FinetunesInLittleMemory) {
  core::write_file_atomic(path("text.txt"), std::string(4000, 'a') + " and so on, and so on.\n");
  std::vector<std::string> words{
      "finetune",  seedling_, path("run"),  "--text", path("text.txt"),  "--steps",       "3", "--batch", "2",
      "--context", "16",      "--hold-out", "0",      "--also-evaluate", path("text.txt")};
  const auto with = [&](const std::vector<std::string>& more) {
    std::vector<std::string> all = words;
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  const std::vector<std::string> narrow{"--state", "int8", "--masters", "bf16-stochastic"};
  const Json floats = json(with({"--dry-run"}));
  words = with(narrow);
  const Json bytes = json(with({"--dry-run"}));
  const auto parameters = floats["parameters"].get<double>();
  EXPECT_NEAR((floats["memory_bytes"].get<double>() - bytes["memory_bytes"].get<double>()) / parameters, 9.97, 0.01);
  EXPECT_LT(bytes["disk_bytes"].get<double>(), 0.45 * floats["disk_bytes"].get<double>());
  const Json r = json(words);
  const Json scored = json({"perplexity", path("run/model"), "--text", path("text.txt")});
  EXPECT_EQ(scored["nll_sha256"], r["evaluations"][0]["nll_sha256"]);
  EXPECT_EQ(rpt(with({"--resume"})).code, 0);
  words[words.size() - 1] = "bf16-nearest";
  EXPECT_EQ(rpt(with({"--resume"})).code, 3);
  words[words.size() - 1] = "f16";
  EXPECT_EQ(rpt(with({"--resume"})).code, 2);
}

TEST_F(Train, AWarmedUpModelScoresAsTheTrainerScoredIt) {
  const Json r =
      json({"train", config({{"quantisation_warmup", 4}, {"quantisation_warmup_shape", "linear"}}), path("run")});
  EXPECT_EQ(metrics(path("run"), "ternary_share"), (std::vector<Json>{0.0, 0.25, 0.5, 0.75}));
  const Json scored = json({"perplexity", path("run/model"), "--text", path("run/held_out.jsonl")});
  EXPECT_EQ(scored["nll_sha256"], r["evaluations"][0]["nll_sha256"]);
}

TEST_F(Train, FinetunesUnderAMask) {
  std::string text;
  for (int i = 0; i < 40; ++i) text += "On the hill stood house " + std::to_string(i * i) + ", and nobody came.\n\n";
  core::write_file_atomic(path("house.txt"), text);
  const auto base = model::open_model(seedling_);
  model::Masks masks = model::full_masks(base->config);
  const auto mask = std::find_if(masks.linears.begin(), masks.linears.end(),
                                 [](const model::LinearMask& m) { return m.name == "blk.0.ffn_up"; });
  for (std::size_t i = 0; i < mask->keep.size(); i += 3) mask->keep[i] = 0;
  model::write_masks(path("masks.safetensors"), masks);
  const std::vector<std::string> words = {
      "finetune", seedling_,   path("run"), "--text", path("house.txt"),        "--steps", "3", "--batch",
      "2",        "--context", "64",        "--mask", path("masks.safetensors")};
  json(words);
  const auto tuned = model::open_model(path("run/model"));
  const tensor::StoredView latents = tuned->weights.blocks[0].ffn_up.weight.stored_latents();
  const std::vector<float> values = tensor::widen(latents);
  for (std::size_t i = 0; i < values.size(); i += 3) ASSERT_EQ(values[i], 0) << i;
  EXPECT_LT(std::count(values.begin(), values.end(), 0.0F), mask->rows * mask->columns / 2);

  const Outcome without = rpt({words.begin(), words.end() - 2});
  EXPECT_EQ(without.code, 3);  // the folder holds a run
  std::vector<std::string> unmasked(words.begin(), words.end() - 2);
  unmasked.push_back("--resume");
  const Outcome other = rpt(unmasked);
  EXPECT_EQ(other.code, 3);
  EXPECT_NE(other.err.find("the run was started under mask "), std::string::npos) << other.err;

  mask->name = "blk.99.ffn_up";
  model::write_masks(path("wrong.safetensors"), masks);
  const Outcome wrong =
      rpt({"finetune", seedling_, path("run2"), "--text", path("house.txt"), "--mask", path("wrong.safetensors")});
  EXPECT_EQ(wrong.code, 3);
  EXPECT_NE(wrong.err.find("expected a tensor blk.0.ffn_up, found none"), std::string::npos) << wrong.err;
}

TEST_F(Train, FinetunesLatentsDensely) {
  std::string text;
  for (int i = 0; i < 40; ++i) text += "In the house on hill " + std::to_string(i * i) + " nobody was.\n\n";
  core::write_file_atomic(path("house.txt"), text);
  const auto run = [&](const std::string& qat) {
    json({"finetune", seedling_, path(qat), "--text", path("house.txt"), "--steps", "3", "--batch", "2", "--context",
          "64", "--qat", qat});
    return metrics(path(qat), "loss").front().get<double>();
  };
  EXPECT_NE(run("none"), run("ste"));  // the same batch and weights, another forward
  EXPECT_EQ(metrics(path("none"), "ternary_share"), std::vector<Json>(3, 0.0));
  EXPECT_TRUE(metrics(path("ste"), "ternary_share").empty());
  EXPECT_EQ(rpt({"finetune", seedling_, path("x"), "--text", path("house.txt"), "--qat", "both"}).code, 2);
}

TEST_F(Train, ResumesOnlyTheSameRun) {
  json({"train", config(), path("run")});
  const Outcome again = rpt({"train", config(), path("run")});
  EXPECT_EQ(again.code, 3);
  EXPECT_NE(again.err.find("--resume"), std::string::npos);
  const Outcome other = rpt({"train", config({{"seed", 9}}), path("run"), "--resume"});
  EXPECT_EQ(other.code, 3);
  EXPECT_NE(other.err.find("another configuration"), std::string::npos);
  EXPECT_EQ(rpt({"train", config(), path("run"), "--resume"}).code, 0);  // nothing is left to do
}

TEST_F(Train, DryRunEstimatesAndWritesNothing) {
  const Json r = json({"train", config(), path("run"), "--dry-run"});
  EXPECT_GT(r["memory_bytes"], 0);
  EXPECT_GT(r["seconds"], 0.0);
  EXPECT_GT(r["disk_bytes"], 0);
  EXPECT_FALSE(std::filesystem::exists(path("run")));
}

TEST_F(Train, SaysWhereItDiverged) {
  const Outcome o = rpt({"train", config({{"optimiser", {{"lr", 1e30}}}}), path("run"), "--quiet"});
  EXPECT_EQ(o.code, 3);
  EXPECT_NE(o.err.find("step 2: the model in training"), std::string::npos) << o.err;
  EXPECT_NE(o.err.find("the training has diverged: lower the learning rate"), std::string::npos) << o.err;
}

TEST_F(Train, WrongConfigurationsAreNamed) {
  const auto expect = [&](const Json& changes, const std::string& what) {
    const Outcome o = rpt({"train", config(changes), path("run")});
    EXPECT_EQ(o.code, 3) << changes;
    EXPECT_NE(o.err.find(what), std::string::npos) << o.err;
    EXPECT_FALSE(std::filesystem::exists(path("run")));
  };
  expect({{"stepz", 3}}, "unknown member \"stepz\"");
  expect({{"steps", 0}}, "steps: expected 1 or more");
  expect({{"steps", "many"}}, "steps cannot be \"many\"");
  expect({{"schedule", "wave"}}, "unknown schedule \"wave\"");
  expect({{"optimiser", {{"lr", -1}}}}, "lr is -1");
  expect({{"optimiser", {{"state", "int4"}}}}, "unknown state \"int4\"");
  expect({{"masters", "bf16"}}, "unknown masters \"bf16\"");
  expect({{"context", 4096}}, "training context 4096");
  expect({{"data", Json::array()}}, "data: expected at least one text");
  expect({{"data", {{{"text", "no/such/file"}}}}}, "no/such/file");
  expect({{"model", {{"hidden", 63}, {"feed_forward", 128}, {"layers", 2}, {"heads", 2}}}}, "head");
  core::write_file_atomic(path("config.json"), "{\"steps\": ");
  EXPECT_EQ(rpt({"train", path("config.json"), path("run")}).code, 3);
}

class SlowTrain : public Train {};

TEST_F(SlowTrain, KilledAtRandomStepsEndsWithTheSameBits) {
  const std::string program = kProgramFolder + "/rpt";
  const std::string file = config({{"steps", 60}, {"checkpoint_every", 3}, {"evaluate_every", 20}});
  ASSERT_EQ(wait_for(start_program(program, {"train", file, path("whole")})).status, 0);
  core::Random random(20261122);
  int kills = 0;
  for (int attempt = 0; attempt < 200; ++attempt) {
    const pid_t child = start_program(program, {"train", file, path("cut"), "--resume"});
    if (kills < 10) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100 + random.below(700)));
      kill(child, SIGKILL);
    }
    const int status = wait_for(child).status;
    if (WIFSIGNALED(status)) ++kills;
    if (WIFEXITED(status)) {
      ASSERT_EQ(WEXITSTATUS(status), 0);
      if (kills >= 10) break;
      std::filesystem::remove_all(path("cut"));  // it was done before the tenth kill: once more from the start
    }
  }
  EXPECT_EQ(kills, 10);
  const auto bytes = [&](const std::string& run) { return core::read_file(path(run + "/model/model.safetensors")); };
  EXPECT_EQ(bytes("cut"), bytes("whole"));
  EXPECT_EQ(metrics(path("cut"), "loss"), metrics(path("whole"), "loss"));
}

}  // namespace
}  // namespace rpt::cli
