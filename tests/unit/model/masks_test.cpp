// SPDX-License-Identifier: MIT
#include "rpt/model/masks.h"

#include <gtest/gtest.h>

#include <fstream>

#include "rpt/core/atomic_file.h"
#include "rpt/io/safetensors_writer.h"
#include "rpt/model/weights.h"
#include "tests/tiny_model.h"

namespace rpt::model {
namespace {

class MaskFiles : public ::testing::Test {
 protected:
  Mask mask_of(const std::string& name) const {
    const auto [rows, columns] = expected_shape(name, model_->config);
    Mask mask{rows, columns, {}};
    for (std::int64_t i = 0; i < rows * columns; ++i) mask.keep.push_back(i % 3 == 0 ? 0 : 1);
    return mask;
  }
  /// A file with one tensor.
  void write(const std::string& name, tensor::DType type, const std::vector<std::int64_t>& shape,
             const std::vector<std::uint8_t>& bytes) const {
    io::SafetensorsWriter writer(file_);
    writer.declare(name, type, shape);
    writer.begin_tensor(name);
    writer.write(bytes.data(), bytes.size());
    writer.commit();
  }

  std::unique_ptr<Model> model_ = test::TinyModel::make();
  test::ScratchFolder folder_;
  std::filesystem::path file_ = folder_ / "masks.safetensors";
};

TEST_F(MaskFiles, AreReadAsTheyWereWritten) {
  Masks masks;
  for (const char* name : {"blk.0.attn_k", "blk.1.ffn_down", "blk.1.ffn_gate"}) masks[name] = mask_of(name);
  save_masks(file_, masks);
  const Masks read = load_masks(file_, model_->config);
  ASSERT_EQ(read.size(), masks.size());
  for (const auto& [name, mask] : masks) {
    EXPECT_EQ(read.at(name).rows, mask.rows);
    EXPECT_EQ(read.at(name).columns, mask.columns);
    EXPECT_EQ(read.at(name).keep, mask.keep);
  }
  EXPECT_EQ(sha256_of(read), sha256_of(masks));
  masks["blk.0.attn_k"].keep[5] ^= 1U;
  EXPECT_NE(sha256_of(read), sha256_of(masks));
}

TEST_F(MaskFiles, WhatDoesNotFitTheModelIsNamed) {
  const auto expect = [&](const Masks& masks, const std::string& what) {
    save_masks(file_, masks);
    try {
      load_masks(file_, model_->config);
      ADD_FAILURE() << what;
    } catch (const ConfigError& e) {
      EXPECT_NE(std::string(e.what()).find(what), std::string::npos) << e.what();
    }
  };
  expect({}, "holds no masks");
  expect({{"blk.7.attn_k", mask_of("blk.0.attn_k")}}, "no linear \"blk.7.attn_k\"");
  expect({{"token_embd", {300, 256, std::vector<std::uint8_t>(300 * 256, 1)}}}, "no linear \"token_embd\"");
  expect({{"blk.0.attn_q", mask_of("blk.0.attn_k")}}, "the mask of blk.0.attn_q is [128, 256], the linear [256, 256]");
  Masks torn{{"blk.0.attn_q", mask_of("blk.0.attn_q")}};
  torn["blk.0.attn_q"].keep.pop_back();
  EXPECT_THROW(validate(torn, model_->config, "test"), ConfigError);
}

TEST_F(MaskFiles, OtherBytesAreFormatErrors) {
  const std::vector<std::uint8_t> ones(256 * 256, 1);
  write("blk.0.attn_q", tensor::DType::i8, {256, 256}, ones);
  EXPECT_THROW(load_masks(file_, model_->config), FormatError);
  write("blk.0.attn_q", tensor::DType::u8, {256 * 256}, ones);
  EXPECT_THROW(load_masks(file_, model_->config), FormatError);
  std::vector<std::uint8_t> two = ones;
  two[1000] = 2;
  write("blk.0.attn_q", tensor::DType::u8, {256, 256}, two);
  try {
    load_masks(file_, model_->config);
    ADD_FAILURE() << "a 2 was read";
  } catch (const FormatError& e) {
    const std::string bytes = core::read_file(file_);
    EXPECT_EQ(bytes[static_cast<std::size_t>(e.offset())], 2);
  }
  core::write_file_atomic(file_, std::string("no safetensors"));
  EXPECT_THROW(load_masks(file_, model_->config), FormatError);
  EXPECT_THROW(load_masks(folder_ / "nothing", model_->config), IoError);
}

}  // namespace
}  // namespace rpt::model
