// SPDX-License-Identifier: MIT
// docs/training.md, "Memory": what --dry-run says against the largest resident set of the real program.
#include <cmath>
#include <vector>

#include "rpt/core/atomic_file.h"
#include "rpt/tensor/product.h"
#include "tests/shared_data.h"
#include "tests/unit/cli/cli_testing.h"
#include "tests/unit/cli/program_testing.h"

namespace rpt::cli {
namespace {

struct Run {
  std::string name;
  std::string changes;  // members of the configuration, in JSON
};

void PrintTo(const Run& run, std::ostream* out) {
  *out << run.name;
}

class TrainMemory : public CommandTest {
 protected:
  void SetUp() override {
    if (test::kSanitized) GTEST_SKIP() << "sanitizers take memory of their own";
  }

  /// Runs the program; the peak of its memory in bytes.
  std::uint64_t run_program(std::vector<std::string> words) {
    words.insert(words.end(), {"--threads", "2"});
    const Ended ended = wait_for(start_program(kProgramFolder + "/rpt", words, path("log")));
    EXPECT_EQ(ended.status, 0) << core::read_file(path("log"));
    return ended.peak_bytes;
  }

  /// Expects a command to need what it predicts, within a tenth.
  void expect_predicted(std::vector<std::string> words) {
    std::vector<std::string> dry = words;
    dry.insert(dry.end(), {"--dry-run", "--json", path("predicted.json")});
    run_program(dry);
    const Json predicted = Json::parse(core::read_file(path("predicted.json")));
    const auto measured = static_cast<double>(run_program(words));
    const double ratio = predicted["memory_bytes"].get<double>() / measured;
    RecordProperty("ratio", std::to_string(ratio));
    EXPECT_LE(std::abs(ratio - 1), 0.1) << "measured " << measured << ", predicted " << predicted.dump(1);
  }

  std::string config(const std::string& changes) {
    Json j = {{"model", {{"hidden", 384}, {"feed_forward", 1024}, {"layers", 4}, {"heads", 6}, {"kv_heads", 2}}},
              {"tokenizer", seedling_},
              {"data", {{{"text", "sotu:test"}, {"end_character", 300000}}}},
              {"steps", 2},
              {"batch", 8},
              {"context", 128}};
    j.merge_patch(Json::parse(changes));
    core::write_file_atomic(path("config.json"), j.dump());
    return path("config.json");
  }
};

class SlowTrainMemory : public TrainMemory, public ::testing::WithParamInterface<Run> {};

TEST_P(SlowTrainMemory, IsPredictedWithinATenth) {
  expect_predicted({"train", config(GetParam().changes), path("run")});
}

// What takes most of the memory differs: activations, weights, moments, logits, texts.
const Run kRuns[] = {
    {"plain", "{}"},
    {"many_tokens", R"({"batch": 16, "context": 256, "model": {"hidden": 256, "feed_forward": 768, "heads": 4}})"},
    {"checkpointed", R"({"checkpoint_activations": true, "batch": 16})"},
    {"accumulated", R"({"accumulation": 4, "batch": 2, "context": 256})"},
    {"bf16_moments", R"({"optimiser": {"state": "bf16"}, "model": {"hidden": 512, "heads": 8}})"},
    {"int8_moments_bf16_masters",
     R"({"optimiser": {"state": "int8"}, "masters": "bf16-stochastic", "model": {"hidden": 512, "heads": 8}})"},
    {"floats", R"({"backward": "f32", "train_head": "f32"})"},
    {"revived_groups", R"({"revive": {}, "optimiser": {"state": "int8"}, "model": {"hidden": 512, "heads": 8}})"},
    {"revived_tensors", R"({"revive": {"scope": "tensor"}, "model": {"hidden": 512, "heads": 8}, "batch": 2})"},
    {"best_model_saved", R"({"evaluate_every": 1, "stop_on_overfitting": true, "hold_out": 0.2})"},
    {"warm_up", R"({"quantisation_warmup": 2, "model": {"activation": "silu"}})"},
    {"small_model_large_text",
     R"({"model": {"hidden": 128, "feed_forward": 384, "layers": 2, "heads": 2, "kv_heads": 1},
         "batch": 2, "context": 64, "also_evaluate": ["wikitext-2:validation"]})"},
    {"small_model_two_texts",
     R"({"model": {"hidden": 128, "feed_forward": 384, "layers": 2, "heads": 2, "kv_heads": 1},
         "batch": 2, "context": 64, "also_evaluate": ["wikitext-2:validation", "wikitext-2:test"]})"},
};

const Run kInt8Runs[] = {
    {"int8_head",
     R"({"backward": "int8", "train_head": "int8", "model": {"hidden": 256, "feed_forward": 768, "heads": 4}})"},
    {"int8_head_warm_up", R"({"backward": "int8", "train_head": "int8", "quantisation_warmup": 2})"},
};

/// What this processor trains; that it refuses int8 where it has no such products, processors_test.cpp shows.
std::vector<Run> runs() {
  std::vector<Run> all(std::begin(kRuns), std::end(kRuns));
  if (tensor::multiplies_int8()) all.insert(all.end(), std::begin(kInt8Runs), std::end(kInt8Runs));
  return all;
}

INSTANTIATE_TEST_SUITE_P(SlowRuns, SlowTrainMemory, ::testing::ValuesIn(runs()),
                         [](const auto& one) { return one.param.name; });

class SlowFinetuneMemory : public TrainMemory {};

TEST_F(SlowFinetuneMemory, IsPredictedWithinATenth) {
  run_program({"train", config(R"({"steps": 1, "batch": 1, "context": 32, "hold_out": 0})"), path("run")});
  std::filesystem::rename(path("run/model"), path("model"));
  std::string text;
  for (int i = 0; i < 500; ++i) text += "On the hill stood house " + std::to_string(i * i) + ", and nobody came.\n\n";
  core::write_file_atomic(path("text.txt"), text);
  expect_predicted({"finetune", path("model"), path("tuned"), "--text", path("text.txt"), "--steps", "2", "--batch",
                    "4", "--evaluate-every", "1"});
}

}  // namespace
}  // namespace rpt::cli
