// SPDX-License-Identifier: MIT
#include "rpt/prune/mask.h"

#include <gtest/gtest.h>

#include "prune_test_support.h"
#include "rpt/core/atomic_file.h"
#include "rpt/io/safetensors.h"
#include "rpt/io/safetensors_writer.h"

namespace rpt::prune {
namespace {

Masks random_masks(const model::Config& config) {
  Masks masks = full_masks(config);
  core::Random random(4);
  for (LinearMask& mask : masks.linears) {
    for (std::uint8_t& keep : mask.keep) keep = static_cast<std::uint8_t>(random.below(2));
  }
  return masks;
}

TEST(Mask, FullMasksFollowTheVisitor) {
  const auto model = test::TinyModel::make(kSmall);
  const Masks masks = full_masks(model->config);
  const std::vector<Linear> linears = linear_layers(*model);
  ASSERT_EQ(masks.linears.size(), 14U);
  ASSERT_EQ(linears.size(), 14U);
  std::size_t i = 0;
  model::visit_weights(model->weights, [&](const std::string& name, auto& weight) {
    if constexpr (std::is_same_v<std::decay_t<decltype(weight)>, model::LinearWeight>) {
      EXPECT_EQ(masks.linears[i].name, name);
      EXPECT_EQ(linears[i].name, name);
      EXPECT_EQ(linears[i].weight, &weight.weight);
      EXPECT_EQ(masks.linears[i].rows, weight.weight.rows());
      EXPECT_EQ(masks.linears[i].columns, weight.weight.columns());
      ++i;
    }
  });
  EXPECT_EQ(masks.pruned(), 0U);
  require_masks_of(masks, model->config);
}

TEST(Mask, OtherShapesAreRefused) {
  const auto model = test::TinyModel::make(kSmall);
  const Masks masks = full_masks(model->config);
  Masks fewer = masks;
  fewer.linears.pop_back();
  EXPECT_THROW(require_masks_of(fewer, model->config), ConfigError);
  Masks renamed = masks;
  renamed.linears[3].name = "blk.0.attn_v";
  EXPECT_THROW(require_masks_of(renamed, model->config), ConfigError);
  Masks turned = masks;
  std::swap(turned.linears[1].rows, turned.linears[1].columns);
  EXPECT_THROW(require_masks_of(turned, model->config), ConfigError);
  Masks cut = masks;
  cut.linears[1].keep.pop_back();
  EXPECT_THROW(require_masks_of(cut, model->config), ConfigError);
}

TEST(Mask, FileHoldsWhatWasWritten) {
  const auto model = test::TinyModel::make(kSmall);
  const test::ScratchFolder folder;
  const Masks masks = random_masks(model->config);
  write_masks(folder / "m.safetensors", masks);
  EXPECT_EQ(read_masks(folder / "m.safetensors", model->config), masks);
  write_masks(folder / "again.safetensors", masks);
  EXPECT_EQ(core::read_file(folder / "m.safetensors"), core::read_file(folder / "again.safetensors"));

  const auto file = io::SafetensorsFile::open(folder / "m.safetensors");
  EXPECT_EQ(file.metadata(), (std::map<std::string, std::string>{{"format", "rpt-mask-1"}}));
  const auto* tensor = file.find("blk.1.attn_k");
  ASSERT_NE(tensor, nullptr);
  EXPECT_EQ(tensor->type, tensor::DType::u8);
  EXPECT_EQ(tensor->shape, (std::vector<std::int64_t>{32, 64}));
  EXPECT_EQ(std::to_integer<int>(tensor->data[65]), masks.linears[8].row(1)[1]);
}

/// Writes masks with one thing wrong and expects the file to be refused.
TEST(Mask, DamagedFilesAreRefused) {
  const auto model = test::TinyModel::make(kSmall);
  const test::ScratchFolder folder;
  const std::filesystem::path path = folder / "m.safetensors";
  const auto write = [&](const std::string& format, const Masks& masks, tensor::DType type) {
    io::SafetensorsWriter writer(path);
    writer.set_metadata("format", format);
    for (const LinearMask& m : masks.linears) writer.declare(m.name, type, {m.rows, m.columns});
    for (const LinearMask& m : masks.linears) {
      writer.begin_tensor(m.name);
      writer.write(m.keep.data(), m.keep.size());
    }
    writer.commit();
  };
  const auto expect_damage = [&](const std::string& word) {
    try {
      read_masks(path, model->config);
      FAIL() << word;
    } catch (const FormatError& e) {
      EXPECT_NE(std::string(e.what()).find(word), std::string::npos) << e.what();
    }
  };
  const Masks masks = full_masks(model->config);
  write("rpt-mask-1", masks, tensor::DType::u8);
  EXPECT_NO_THROW(read_masks(path, model->config));
  write("pt", masks, tensor::DType::u8);
  expect_damage("rpt-mask-1");
  write("rpt-mask-1", masks, tensor::DType::i8);
  expect_damage("u8 [64, 64]");

  Masks bad = masks;
  bad.linears[5].keep[17] = 2;
  write("rpt-mask-1", bad, tensor::DType::u8);
  expect_damage("tensor blk.0.ffn_up): expected 0 or 1, found 2");
  bad = masks;
  bad.linears.pop_back();
  write("rpt-mask-1", bad, tensor::DType::u8);
  expect_damage("blk.1.ffn_down");
  bad = masks;
  std::swap(bad.linears[4].rows, bad.linears[4].columns);
  write("rpt-mask-1", bad, tensor::DType::u8);
  expect_damage("blk.0.ffn_gate");
  bad = masks;
  bad.linears.push_back({"token_embd", 1, 1, {1}});
  write("rpt-mask-1", bad, tensor::DType::u8);
  expect_damage("token_embd");
  EXPECT_THROW(read_masks(folder / "absent", model->config), IoError);
}

}  // namespace
}  // namespace rpt::prune
