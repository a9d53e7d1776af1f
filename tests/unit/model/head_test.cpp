// SPDX-License-Identifier: MIT
#include "rpt/model/head.h"

#include <gtest/gtest.h>

#include "rpt/model/export.h"
#include "rpt/model/gate.h"
#include "rpt/tensor/ops.h"
#include "tests/message_of.h"
#include "tests/tiny_model.h"

namespace rpt::model {
namespace {

using tensor::DType;
using test::TinyModel;

TEST(RoundHead, ATiedOneIsTheEmbeddingToo) {
  const auto model = TinyModel::make();
  const auto before = TinyModel::make();
  round_head(*model, DType::q8_0, core::null_progress());
  EXPECT_FALSE(model->weights.head);
  const auto& rounded = model->weights.token_embd.values();
  EXPECT_EQ(rounded.type, DType::q8_0);
  const auto& stored = before->weights.token_embd;
  std::vector<float> a(static_cast<std::size_t>(rounded.columns)), b(a.size());
  for (std::int64_t r = 0; r < rounded.rows; ++r) {
    tensor::read_row(rounded, r, a);
    tensor::read_row(stored.values(), r, b, stored.bf16());
    float most = 0;
    for (const float v : b) most = std::max(most, std::abs(v));
    for (std::size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], most / 200) << r;
  }
  const test::ScratchFolder folder;
  export_gguf(*model, folder / "a.gguf", {}, {});
  EXPECT_NO_THROW(expect_identical(*model, *open_gguf(folder / "a.gguf")));
}

TEST(RoundHead, AnUntiedOneLeavesTheEmbedding) {
  const auto model = TinyModel::make({.tied_head = false});
  const DType embedding = model->weights.token_embd.values().type;
  round_head(*model, DType::q4_0, core::null_progress());
  EXPECT_EQ(model->weights.token_embd.values().type, embedding);
  EXPECT_EQ(model->weights.head->values().type, DType::q4_0);
}

TEST(RoundHead, RowsThatDoNotDivideAreRefusedByName) {
  const auto model = TinyModel::make({.hidden = 128});
  const std::string message = test::message_of([&] { round_head(*model, DType::q6_k, core::null_progress()); });
  EXPECT_NE(message.find("rows of 128 values do not fit q6_k, which takes multiples of 256"), std::string::npos)
      << message;
}

}  // namespace
}  // namespace rpt::model
