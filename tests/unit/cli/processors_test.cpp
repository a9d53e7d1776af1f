// SPDX-License-Identifier: MIT
// Training on processors without bf16 or int8 products, which oneDNN is made to believe in; and older processors, by
// emulation.
#include "rpt/core/atomic_file.h"
#include "rpt/tensor/product.h"
#include "tests/unit/cli/cli_testing.h"
#include "tests/unit/cli/program_testing.h"

namespace rpt::cli {
namespace {

class Processors : public CommandTest {
 protected:
  /// Trains two steps as a processor that has AVX2, or `sets` of oneDNN, and no more; the exit code. What it says is in
  /// said().
  int train(const std::string& run, const std::string& backward, const std::string& head,
            const std::vector<std::string>& more = {}, const std::string& sets = "AVX2") {
    const Json config = {
        {"model", {{"hidden", 64}, {"feed_forward", 128}, {"layers", 1}, {"heads", 2}, {"kv_heads", 1}}},
        {"tokenizer", seedling_},
        {"data", {{{"text", "sotu:test"}}}},
        {"steps", 2},
        {"batch", 2},
        {"context", 32},
        {"warmup", 1},
        {"backward", backward},
        {"train_head", head}};
    core::write_file_atomic(path("config.json"), config.dump());
    std::vector<std::string> words{"DNNL_MAX_CPU_ISA=" + sets, kProgramFolder + "/rpt", "train", path("config.json"),
                                   path(run)};
    words.insert(words.end(), more.begin(), more.end());
    return WEXITSTATUS(wait_for(start_program("/usr/bin/env", words, path("said"))).status);
  }
  std::string said() { return core::read_file(path("said")); }
  std::string weights(const std::string& run) { return core::read_file(path(run + "/model/model.safetensors")); }
};

TEST_F(Processors, FloatStandsInForBf16) {
  ASSERT_EQ(train("bf16", "bf16", "bf16"), 0) << said();
  ASSERT_EQ(train("f32", "f32", "f32"), 0) << said();
  EXPECT_EQ(weights("bf16"), weights("f32"));
  EXPECT_EQ(train("dry", "bf16", "bf16", {"--dry-run"}), 0) << said();
}

TEST_F(Processors, Int8IsRefusedWhereThereIsNone) {
  for (const std::vector<std::string>& more : {std::vector<std::string>{}, {"--dry-run"}}) {
    EXPECT_EQ(train("int8", "int8", "bf16", more), 4);
    EXPECT_NE(said().find("rpt: a backward pass in int8 needs a processor with AVX-512 VNNI or AMX"), std::string::npos)
        << said();
    EXPECT_FALSE(std::filesystem::exists(path("int8/training.json")));
  }
}

TEST_F(Processors, Int8HeadsDoWithoutBf16) {
  if (!tensor::multiplies_int8()) {
    EXPECT_EQ(train("int8", "int8", "int8"), 4) << said();
    return;
  }
  ASSERT_EQ(train("int8", "int8", "int8", {}, "AVX512_CORE_VNNI"), 0) << said();
  ASSERT_EQ(train("f32", "int8", "f32", {}, "AVX512_CORE_VNNI"), 0) << said();
  const auto loss = [&](const std::string& run) {
    const std::string lines = core::read_file(path(run + "/metrics.jsonl"));
    return Json::parse(lines.substr(0, lines.find('\n')))["loss"].get<double>();
  };
  EXPECT_EQ(loss("int8"), loss("f32"));  // logits are the float ones
  EXPECT_NE(weights("int8"), weights("f32"));
}

class SlowProcessors : public CommandTest {};

TEST_F(SlowProcessors, WithoutTheHigherSetsWriteTheSame) {
  const std::string emulator = "/usr/bin/qemu-x86_64";
  ASSERT_TRUE(std::filesystem::exists(emulator)) << "./test installs it, with the package qemu-user";
  const std::vector<std::string> command{
      kProgramFolder + "/rpt", "generate", seedling_, "-p", "The old house", "-n", "6", "--quiet", "--json"};
  const auto run = [&](std::string program, std::vector<std::string> words, const std::string& json) {
    words.push_back(path(json));
    const int code = WEXITSTATUS(wait_for(start_program(std::move(program), words, path("said"))).status);
    EXPECT_EQ(code, 0) << core::read_file(path("said"));
    return code == 0 ? Json::parse(core::read_file(path(json))) : Json();
  };
  const Json here = run("/usr/bin/env", command, "here.json");
  // Haswell has AVX2 and no AVX-512, Nehalem neither.
  for (const auto& [processor, set] :
       {std::pair<std::string, std::string>{"Haswell", "avx2"}, {"Nehalem", "reference"}}) {
    std::vector<std::string> words{"-cpu", processor};
    words.insert(words.end(), command.begin(), command.end());
    const Json there = run(emulator, words, processor + ".json");
    if (there.is_null()) continue;
    EXPECT_EQ(there["environment"]["instruction_set"], set);
    EXPECT_EQ(there["token_ids"], here["token_ids"]);
  }
}

}  // namespace
}  // namespace rpt::cli
