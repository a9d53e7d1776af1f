// SPDX-License-Identifier: MIT
#include <fmt/format.h>

#include <cmath>

#include "rpt/core/atomic_file.h"
#include "tests/unit/cli/cli_testing.h"
#include "tests/unit/cli/program_testing.h"

namespace rpt::cli {
namespace {

struct TrainingShape {
  std::int64_t hidden, layers, batch, context;
  bool checkpoint_activations;
};

class TrainMemory : public CommandTest, public ::testing::WithParamInterface<TrainingShape> {};

/// docs/training.md, "Memory": the formula against the real program.
TEST_P(TrainMemory, IsPredictedWithinATenth) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "sanitizers take memory of their own";
#endif
  const auto [hidden, layers, batch, context, checkpoint_activations] = GetParam();
  const Json config = {
      {"model",
       {{"hidden", hidden}, {"feed_forward", 3 * hidden}, {"layers", layers}, {"heads", hidden / 64}, {"kv_heads", 2}}},
      {"tokenizer", seedling_},
      {"data", {{{"text", "sotu:test"}}}},
      {"steps", 3},
      {"batch", batch},
      {"context", context},
      {"checkpoint_activations", checkpoint_activations}};
  core::write_file_atomic(path("config.json"), config.dump());
  const Json predicted = json({"train", path("config.json"), path("run"), "--dry-run", "--threads", "2"});
  const Ended run = wait_for(start_program(kProgramFolder + "/rpt",
                                           {"train", path("config.json"), path("run"), "--threads", "2"}, path("log")));
  ASSERT_EQ(run.status, 0) << core::read_file(path("log"));
  const double share = predicted["memory_bytes"].get<double>() / static_cast<double>(run.peak_bytes);
  EXPECT_LE(std::abs(share - 1), 0.1) << predicted << " measured " << run.peak_bytes;
}

std::string name_of(const ::testing::TestParamInfo<TrainingShape>& info) {
  const TrainingShape& s = info.param;
  return fmt::format("hidden{}_layers{}_batch{}_context{}{}", s.hidden, s.layers, s.batch, s.context,
                     s.checkpoint_activations ? "_checkpointed" : "");
}

INSTANTIATE_TEST_SUITE_P(SlowShapes, TrainMemory,
                         ::testing::Values(TrainingShape{256, 4, 16, 256, false}, TrainingShape{256, 4, 16, 256, true},
                                           TrainingShape{512, 5, 8, 128, false}, TrainingShape{512, 5, 8, 128, true}),
                         name_of);

}  // namespace
}  // namespace rpt::cli
