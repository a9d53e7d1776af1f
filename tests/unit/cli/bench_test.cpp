// SPDX-License-Identifier: MIT
#include <cmath>
#include <cstdlib>
#include <fstream>

#include "rpt/core/atomic_file.h"
#include "rpt/tensor/product.h"
#include "rpt/train/cost.h"
#include "tests/unit/cli/cli_testing.h"

namespace rpt::cli {
namespace {

class Bench : public CommandTest {
 protected:
  const std::string shape_ = "64,160,2,4,2,300";
  std::vector<std::string> small(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> words{"bench", "train",     "--shape", shape_,      "--batch",
                                   "2",     "--context", "32",      "--seconds", "0.2"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
};

/// Compares times with each other: nothing else may run meanwhile.
class TimedBench : public Bench {};

TEST_F(TimedBench, TrainTellsSpeedLimitAndMemory) {
  const Json r = json(small());
  EXPECT_EQ(r["command"], "bench train");
  EXPECT_EQ(r["model"], shape_);
  const std::int64_t ternary = 2 * (64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 160);
  EXPECT_EQ(r["parameters"], ternary + 300 * 64 + 2 * (3 * 64 + 160) + 64);
  EXPECT_GE(r["steps"], 6);
  EXPECT_NEAR(r["first_loss"].get<double>(), std::log(300.0), 0.5);
  const auto speed = r["tokens_per_second"].get<double>();
  EXPECT_GT(speed, 0);
  EXPECT_GE(r["best_tokens_per_second"], speed);
  const double operations = 6.0 * (static_cast<double>(ternary) + 300 * 64) + 6.0 * 2 * 64 * 32;
  EXPECT_NEAR(r["gflops"].get<double>(), speed * operations / 1e9, 1e-6);
  const auto share = r["share_of_limit"].get<double>();
  EXPECT_GT(share, 0);
  EXPECT_LT(share, 1.5);
  EXPECT_NEAR(share, speed / r["limit_tokens_per_second"].get<double>(), 1e-9);
  const double limit = r["limit_product_seconds"].get<double>() + r["limit_optimiser_seconds"].get<double>();
  EXPECT_NEAR(64 / limit, r["limit_tokens_per_second"].get<double>(), 1e-6 * 64 / limit);
  EXPECT_EQ(r["optimiser_bytes"], 34.0 * r["parameters"].get<double>());
  EXPECT_GT(r["peak_resident_bytes"], 0);
  EXPECT_GT(r["predicted_bytes"], r["predicted_weight_bytes"]);
  for (const char* part : {"forward_seconds", "loss_seconds", "backward_seconds", "optimiser_seconds"}) {
    EXPECT_GT(r[part], 0.0) << part;
  }
  ASSERT_EQ(r["products"].size(), 30U);
  for (const Json& p : r["products"]) EXPECT_GT(p["gflops"], 0.0) << p;
}

TEST_F(Bench, TrainTakesItsOptions) {
  const Json r = json(small({"--backward", "f32", "--train-head", "f32", "--checkpoint-activations"}));
  EXPECT_EQ(r["backward"], "f32");
  EXPECT_EQ(r["train_head"], "f32");
  EXPECT_EQ(r["checkpoint_activations"], true);
  EXPECT_EQ(r["products"][0]["type"], "ternary");
  EXPECT_EQ(r["products"][0]["count"], 4);
  EXPECT_EQ(r["products"][1]["type"], "f32");
  EXPECT_EQ(r["products"][23]["type"], "f32");
}

TEST_F(Bench, TrainSpeaksToPeople) {
  const Outcome o = rpt(small({"--verbose"}));
  EXPECT_EQ(o.code, 0) << o.err;
  for (const char* word : {"speed", "limit", "step", "memory"}) EXPECT_NE(o.out.find(word), std::string::npos) << word;
  EXPECT_NE(o.err.find("attn_q dW"), std::string::npos) << o.err;
}

TEST_F(Bench, TrainRefusesWhatCannotBeRun) {
  const auto expect = [&](const std::vector<std::string>& words, int code, const std::string& what) {
    const Outcome o = rpt(words);
    EXPECT_EQ(o.code, code) << o.err;
    EXPECT_NE(o.err.find(what), std::string::npos) << o.err;
  };
  for (const char* shape : {"", "small", "64,160,2,4,2", "64,160,2,4,2,300,", "64,160,2,4,2,300,1", "64,160,2,4,2,x",
                            "64,160,2,4,2,-300", "64,160,2,4,2,99999999999999999999", "64,160,2,5,1,300", ",,,,,"}) {
    expect({"bench", "train", "--shape", shape}, 2, "--shape");
  }
  expect({"bench", "train", "--shape", "64,160,2,4,3,300"}, 2, "key/value heads");
  expect({"bench", "train", "--batch", "0"}, 2, "--batch");
  expect({"bench", "train", "--backward", "f16"}, 2, "--backward");
  if (tensor::multiplies_int8()) expect({"bench", "train", "--train-head", "int8"}, 2, "--backward int8");
  expect({"bench"}, 2, "subcommand");
  expect({"bench", "train", "--shape", "65536,131072,100,64,8,128000"}, 4, "the machine has");
}

TEST_F(Bench, ScriptPrintsARowOfEachTypeWithoutThePeer) {
  const std::string program = std::string(RPT_BINARY_DIR) + "/rpt";
  ASSERT_TRUE(std::filesystem::exists(program)) << program;
  const std::string command = fmt::format(
      "PYTHON=/nonexistent '{}/bench/train_step.sh' --rpt '{}' --runs 3 --seconds 0.1 --backward 'f32 bf16' --rows "
      "'{}:2:16' --json '{}' > "
      "'{}' "
      "2> '{}'",
      RPT_SOURCE_DIR, program, shape_, path("rows.json"), path("table"), path("messages"));
  ASSERT_EQ(std::system(command.c_str()), 0) << core::read_file(path("messages"));
  EXPECT_NE(core::read_file(path("table")).find(shape_), std::string::npos);
  const Json rows = Json::parse(core::read_file(path("rows.json")));
  ASSERT_EQ(rows["rows"].size(), 2U);
  EXPECT_EQ(rows["rows"][0]["backward"], "f32");
  const Json& row = rows["rows"][1];
  EXPECT_EQ(row["backward"], "bf16");
  EXPECT_EQ(row["shape"], shape_);
  EXPECT_EQ(row["batch"], 2);
  EXPECT_EQ(row["context"], 16);
  EXPECT_EQ(row["runs"], 3);
  EXPECT_GT(row["tokens_per_second"], 0);
  EXPECT_GT(row["limit_tokens_per_second"], 0);
  EXPECT_GT(row["peak_resident_bytes"], 0);
  EXPECT_TRUE(row["peer"].is_null());
}

}  // namespace
}  // namespace rpt::cli
