// SPDX-License-Identifier: MIT
#include "rpt/model/treatment.h"

#include <gtest/gtest.h>

#include "rpt/model/gate.h"
#include "tests/tiny_model.h"

namespace rpt::model {
namespace {

using test::TinyModel;

std::string hash_of(const Model& model) {
  return nll_sha256(gate_nlls(model));
}

/// A treatment and the one that takes it back.
struct Pair {
  Treatment there, back;
};

// Six rows of keys are no multiple of four.
TEST(Treatment, TakenBackGivesTheSameBitsWhateverTheShape) {
  const test::ScratchFolder folder;
  for (const bool llama : {false, true}) {
    const auto model =
        TinyModel::make({.hidden = 384, .feed_forward = 384, .layers = 1, .heads = 64, .kv_heads = 1, .llama = llama});
    export_gguf(*model, folder / "a.gguf", tensor::DType::i2_s, {});
    const std::string good = hash_of(*model);
    for (const Pair& p : {Pair{{.rows = RowChange::to_pairs}, {.rows = RowChange::to_halves}},
                          Pair{{.rows = RowChange::to_halves}, {.rows = RowChange::to_pairs}},
                          Pair{{.scale = ScaleChange::doubled}, {.scale = ScaleChange::halved}},
                          Pair{{.scale = ScaleChange::doubled, .rows = RowChange::to_pairs},
                               {.scale = ScaleChange::halved, .rows = RowChange::to_halves}}}) {
      write_treated(folder / "a.gguf", p.there, folder / "b.gguf", {});
      EXPECT_NE(hash_of(*open_model(folder / "b.gguf")), good);
      EXPECT_EQ(hash_of(*open_treated(folder / "b.gguf", p.back)), good);
      write_treated(folder / "b.gguf", p.back, folder / "c.gguf", {});
      EXPECT_EQ(hash_of(*open_model(folder / "c.gguf")), good);
    }
  }
}

TEST(Treatment, OfRowsThatFillNoBlock) {
  const test::ScratchFolder folder;
  const auto model = TinyModel::make({.hidden = 96, .feed_forward = 160, .heads = 16, .kv_heads = 1});
  export_gguf(*model, folder / "a.gguf", tensor::DType::f16, {.lossy = true});
  const std::string good = hash_of(*open_model(folder / "a.gguf"));
  write_treated(folder / "a.gguf", {.scale = ScaleChange::doubled, .rows = RowChange::to_pairs}, folder / "b.gguf", {});
  EXPECT_NE(hash_of(*open_model(folder / "b.gguf")), good);
  EXPECT_EQ(hash_of(*open_treated(folder / "b.gguf", {.scale = ScaleChange::halved, .rows = RowChange::to_halves})),
            good);
}

}  // namespace
}  // namespace rpt::model
