// SPDX-License-Identifier: MIT
#include "rpt/prune/calibration.h"

#include <gtest/gtest.h>

#include <array>
#include <map>

#include "prune_test_support.h"
#include "rpt/model/decoder.h"
#include "rpt/tensor/ops.h"
#include "tests/shared_data.h"

namespace rpt::prune {
namespace {

using test::TinyModel;

constexpr std::array<const char*, 4> kNorms{"attn_norm", "attn_sub_norm", "ffn_norm", "ffn_sub_norm"};

/// Keeps every row that a norm gave.
class Recorder final : public model::LayerObserver {
 public:
  void activation(std::string_view name, std::int64_t layer, tensor::MatrixView values) override {
    for (std::int64_t t = 0; t < values.rows; ++t) {
      rows[{layer, std::string(name)}].emplace_back(values.row(t), values.row(t) + values.columns);
    }
  }
  std::map<std::pair<std::int64_t, std::string>, std::vector<std::vector<float>>> rows;
};

/// A row as the forward contract quantises it: q · a/127.
std::vector<double> quantised(const std::vector<float>& x) {
  float a = 1e-5F;
  for (const float v : x) a = std::max(a, std::fabs(v));
  std::vector<double> out;
  for (const float v : x) {
    const double q = std::clamp(std::nearbyint(static_cast<double>(v * (127.0F / a))), -128.0, 127.0);
    out.push_back(q * static_cast<double>(a) / 127.0);
  }
  return out;
}

TEST(Calibration, SumsUpWhatTheLayersAreGiven) {
  test::TinyShape shape = kSmall;
  shape.context = 400;
  const auto model = TinyModel::make(shape);
  // Longer than the rows that run together, and a second sequence.
  const Sequences sequences{model::gate_ids(model->config, 300), model::gate_ids(model->config, 7)};
  Recorder recorder;
  model::sequence_nlls(*model, sequences, &recorder);
  const Calibration c = calibrate(*model, sequences, Moments::inputs);
  EXPECT_EQ(c.tokens, 307U);
  for (std::size_t b = 0; b < 2; ++b) {
    for (std::size_t g = 0; g < kNorms.size(); ++g) {
      const auto& rows = recorder.rows.at({static_cast<std::int64_t>(b), kNorms[g]});
      ASSERT_EQ(rows.size(), 307U);
      const std::size_t columns = rows[0].size();
      std::vector<double> expected(columns * columns);
      for (const std::vector<float>& row : rows) {
        const std::vector<double> x = quantised(row);
        for (std::size_t i = 0; i < expected.size(); ++i) expected[i] += x[i / columns] * x[i % columns];
      }
      const InputMoments& moments = c.blocks[b][g];
      const std::vector<double> products = input_products(moments);
      ASSERT_EQ(products.size(), expected.size());
      ASSERT_EQ(moments.squares.size(), columns);
      for (std::size_t i = 0; i < expected.size(); ++i) {
        const double bound = 1e-12 * std::sqrt(moments.squares[i / columns] * moments.squares[i % columns]);
        ASSERT_NEAR(products[i], expected[i], bound);
        ASSERT_EQ(products[i], products[i % columns * columns + i / columns]);
      }
      for (std::size_t k = 0; k < columns; ++k) ASSERT_EQ(moments.squares[k], products[k * (columns + 1)]);
    }
  }
}

TEST(Calibration, ThreadsChangeNoBit) {
  const auto model = TinyModel::make(kSmall);
  const Sequences tokens = some_tokens(*model);
  const auto run = [&](int threads) {
    const WithThreads with(threads);
    const Calibration c = calibrate(*model, tokens, Moments::inputs);
    return std::pair(input_products(c.blocks[1][3]), all_scores(*model, *code_saliency(*model, c)));
  };
  const auto one = run(1);
  EXPECT_EQ(run(2), one);
  EXPECT_EQ(run(5), one);
}

TEST(Calibration, SquaresAloneAreTheSame) {
  const auto model = TinyModel::make(kSmall);
  const Calibration few = calibrate(*model, some_tokens(*model), Moments::squares);
  const Calibration all = calibrate(*model, some_tokens(*model), Moments::inputs);
  for (std::size_t g = 0; g < 4; ++g) {
    EXPECT_EQ(few.blocks[0][g].squares, all.blocks[0][g].squares);
    EXPECT_TRUE(few.blocks[0][g].inputs.empty());
  }
}

TEST(Calibration, RefusesSequencesThatDoNotFit) {
  const auto model = TinyModel::make(kSmall);
  EXPECT_THROW(calibrate(*model, Sequences{}, Moments::squares), ConfigError);
  EXPECT_THROW(calibrate(*model, Sequences{{}}, Moments::squares), ConfigError);
  EXPECT_THROW(calibrate(*model, Sequences{std::vector<std::int32_t>(257, 1)}, Moments::squares), ConfigError);
  expect_refusal([&] { calibration_sequences(*model, std::vector<std::string>{"text"}, 16, 16); }, "tiny");
}

TEST(Calibration, CutsTextsIntoSequences) {
  const auto model = model::open_model(test::source_dir() / "models/seedling");
  const std::string text = "The people of the United States have chosen, and the Congress will act upon it this year.";
  const std::vector<std::string> documents{text, "No more."};
  std::vector<std::int32_t> ids = model->vocabulary().encode(text);
  ASSERT_GT(ids.size(), 12U);
  const std::vector<std::int32_t> more = model->vocabulary().encode(documents[1]);
  ids.insert(ids.end(), more.begin(), more.end());
  for (const bool bos : {false, true}) {
    model->adds_bos = bos;
    model->bos_id = 0;
    const std::size_t own = bos ? 4 : 5;
    for (const std::size_t tokens : {std::size_t{12}, std::size_t{1000}}) {
      std::vector<std::int32_t> joined;
      const Sequences sequences = calibration_sequences(*model, documents, 5, static_cast<std::int64_t>(tokens));
      for (std::size_t i = 0; i < sequences.size(); ++i) {
        if (i + 1 < sequences.size()) {
          EXPECT_EQ(sequences[i].size(), 5U);
        }
        EXPECT_GT(sequences[i].size(), bos ? 1U : 0U);
        if (bos) {
          EXPECT_EQ(sequences[i][0], 0);
        }
        joined.insert(joined.end(), sequences[i].begin() + (bos ? 1 : 0), sequences[i].end());
      }
      const std::size_t used = std::min(tokens, ids.size());
      EXPECT_EQ(sequences.size(), (used + own - 1) / own);
      EXPECT_EQ(joined, std::vector<std::int32_t>(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(used)));
    }
    EXPECT_THROW(calibration_sequences(*model, documents, bos ? 1 : 0, 10), ConfigError);
    EXPECT_THROW(calibration_sequences(*model, documents, 5, 0), ConfigError);
  }
}

}  // namespace
}  // namespace rpt::prune
