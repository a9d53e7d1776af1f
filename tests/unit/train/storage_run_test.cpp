// SPDX-License-Identifier: MIT
// Whole runs with every way to store masters and moments: what they need, what they leave, how they go on.
#include <gtest/gtest.h>

#include "rpt/core/atomic_file.h"
#include "rpt/io/safetensors.h"
#include "rpt/tensor/product.h"
#include "rpt/train/cost.h"
#include "rpt/train/run.h"
#include "tests/unit/train/optimiser_test_support.h"

namespace rpt::train {
namespace {

namespace fs = std::filesystem;

class StorageRun : public ::testing::Test {
 protected:
  StorageRun() {
    core::Random random(3);
    for (int i = 0; i < 500; ++i) stream_.tokens.push_back(static_cast<std::int32_t>(random.below(301)));
    stream_.is_target.assign(500, 1);
    stream_.targets = 500;
    stream_.sha256 = "text";
  }

  TrainConfig config(const test::Storage& storage) const {
    TrainConfig c;
    c.data.emplace_back();
    c.steps = 5;
    c.batch = 2;
    c.context = 16;
    c.seed = 8;
    c.masters = storage.masters;
    c.optimiser.state = storage.state;
    return c;
  }

  /// Runs until the end or for `steps` steps; the published weights, and masters where there are any.
  std::string run(const TrainConfig& c, const std::string& folder, bool resume, std::int64_t steps) {
    const auto parameters = Parameters::random(test::TinyModel::make(test::small_shape()), 0.02, 1, c.masters);
    RunHooks hooks;
    hooks.interrupted = [&] { return --steps == 0; };
    run_training(c, *parameters, stream_, folder_ / folder, resume, "machine", hooks);
    std::string bytes;
    for (const Parameter& p : parameters->all()) {
      bytes.append(reinterpret_cast<const char*>(p.rounded.data()), p.rounded.size() * 2);
      bytes.append(reinterpret_cast<const char*>(p.master.data()), p.master.size() * 4);
    }
    return bytes;
  }

  std::string checkpoint_file(const std::string& folder, const std::string& file) const {
    return core::read_file(*newest_checkpoint(folder_ / folder / "checkpoints") / file);
  }

  test::ScratchFolder folder_;
  TokenStream stream_;
};

TEST_F(StorageRun, InterruptedAndWholeRunsEndWithTheSameBits) {
  for (const test::Storage& storage : test::every_storage()) {
    const TrainConfig c = config(storage);
    const std::string name =
        std::to_string(static_cast<int>(storage.masters)) + "-" + std::to_string(static_cast<int>(storage.state));
    const std::string whole = run(c, "whole" + name, false, 99);
    run(c, "cut" + name, false, 2);
    EXPECT_TRUE(run(c, "cut" + name, true, 99) == whole) << storage.text();
    EXPECT_TRUE(checkpoint_file("cut" + name, "state.safetensors") ==
                checkpoint_file("whole" + name, "state.safetensors"))
        << storage.text();
  }
}

TEST_F(StorageRun, Int8BackwardGoesOnWithTheSameBits) {
  if (!tensor::multiplies_int8()) GTEST_SKIP() << "no exact int8 products here";
  TrainConfig c = config({});
  c.step.backward = model::BackwardType::int8;
  c.accumulation = 2;
  c.quantisation.warmup = 2;  // bf16 while it warms up
  const std::string whole = run(c, "whole", false, 99);
  run(c, "cut", false, 3);
  EXPECT_TRUE(run(c, "cut", true, 99) == whole);
  c.step.head = model::BackwardType::int8;
  const std::string with_head = run(c, "head", false, 99);
  EXPECT_FALSE(with_head == whole);
  run(c, "head-cut", false, 3);
  EXPECT_TRUE(run(c, "head-cut", true, 99) == with_head);
  c.step.backward = model::BackwardType::bf16;
  EXPECT_THROW(run(c, "refused", false, 1), ConfigError);
}

TEST_F(StorageRun, OtherTypesAreRefused) {
  const test::Storage begun{MasterType::bf16_nearest, StateType::int8};
  run(config(begun), "run", false, 2);
  for (const test::Storage& other : test::every_storage()) {
    if (other.text() == begun.text()) continue;
    EXPECT_THROW(run(config(other), "run", true, 1), ConfigError) << other.text();
  }
  EXPECT_NO_THROW(run(config(begun), "run", true, 1));
}

TEST_F(StorageRun, MemoryAndCheckpointsAreWhatCostSays) {
  for (const test::Storage& storage : test::every_storage()) {
    const TrainConfig c = config(storage);
    const auto parameters = Parameters::random(test::TinyModel::make(test::small_shape()), 0.02, 1, storage.masters);
    Adamw optimiser(*parameters, c.optimiser);
    std::uint64_t held = 0;
    for (const auto& [name, bytes] : test::contents(*parameters, optimiser)) held += bytes.size();
    for (const Parameter& p : parameters->all()) held += p.gradient.size() * 4;
    const model::Config& shape = parameters->model().config;
    // Two blocks; rows of codes are padded to 128: q, k, v, output, gate, up, down.
    const std::uint64_t codes = 2 * 128 * (64 + 32 + 32 + 64 + 128 + 128 + 64) / 4;
    // A scale for the broken last block of every tensor is what cost does not see.
    const std::uint64_t slack = parameters->all().size() * 2 * 4;
    const std::uint64_t said = run_memory(shape, c, {}).weights;
    EXPECT_GE(held + codes, said) << storage.text();
    EXPECT_LE(held + codes, said + slack) << storage.text();

    save_checkpoint(folder_ / "checkpoints", *parameters, optimiser, {}, 1);
    const auto file = io::SafetensorsFile::open(*newest_checkpoint(folder_ / "checkpoints") / "state.safetensors");
    std::uint64_t stored = 0;
    for (const io::SafetensorsTensor& t : file.tensors()) stored += t.data.size();
    EXPECT_GE(stored, checkpoint_bytes(shape, c));
    EXPECT_LE(stored, checkpoint_bytes(shape, c) + slack);
    fs::remove_all(folder_ / "checkpoints");
  }
  TrainConfig revived = config({});
  revived.revive.emplace();
  run(revived, "revived", false, 1);
  const fs::path checkpoint = *newest_checkpoint(folder_ / "revived" / "checkpoints");
  const auto parameters = Parameters::random(test::TinyModel::make(test::small_shape()), 0.02, 1);
  EXPECT_NEAR(static_cast<double>(fs::file_size(checkpoint / "state.safetensors")),
              static_cast<double>(checkpoint_bytes(parameters->model().config, revived)), 20'000);  // names, padding
  const TrainConfig floats = config({});
  const TrainConfig bytes = config({MasterType::bf16_stochastic, StateType::int8});
  const model::Config shape = test::TinyModel::make(test::small_shape())->config;
  const auto values = static_cast<double>(parameter_count(shape));
  const auto difference =
      static_cast<double>(run_memory(shape, floats, {}).weights - run_memory(shape, bytes, {}).weights);
  EXPECT_NEAR(difference / values, 18 - (2 + 4 + 2 + 8.0 / 256), 1e-3);
}

TEST_F(StorageRun, ConfigurationsOfFloatsReadAsTheyAlwaysDid) {
  // A run goes on only where this text is the same: it may not learn new members where they say nothing new.
  const std::string plain = to_json(config({}));
  EXPECT_EQ(plain.find("masters"), std::string::npos);
  EXPECT_EQ(plain.find("\"state\""), std::string::npos);
  for (const test::Storage& storage : test::every_storage()) {
    TrainConfig c = config(storage);
    c.data[0].text = "a.txt";
    const TrainConfig again = parse_train_config(to_json(c), "test");
    EXPECT_EQ(again.masters, storage.masters);
    EXPECT_EQ(again.optimiser.state, storage.state);
    EXPECT_EQ(to_json(again), to_json(c));
  }
}

TEST_F(StorageRun, CheckpointsBeginWithMastersAndMoments) {
  const TrainConfig c = config({});
  run(c, "run", false, 2);
  const fs::path checkpoint = *newest_checkpoint(folder_ / "run" / "checkpoints");
  const auto file = io::SafetensorsFile::open(checkpoint / "state.safetensors");
  EXPECT_EQ(file.tensors()[0].name, "master.token_embd");
  EXPECT_EQ(file.tensors()[1].name, "adam_m.token_embd");
  EXPECT_EQ(file.tensors()[2].name, "adam_v.token_embd");
}

}  // namespace
}  // namespace rpt::train
