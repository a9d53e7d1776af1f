// SPDX-License-Identifier: MIT
#include "rpt/prune/select.h"

#include <gtest/gtest.h>

#include <map>
#include <tuple>

#include "prune_test_support.h"
#include "rpt/prune/account.h"
#include "rpt/prune/apply.h"

namespace rpt::prune {
namespace {

using test::TinyModel;

/// Every weight is worth the same.
class EqualSaliency final : public Saliency {
 public:
  void row(std::size_t, std::int64_t, std::span<double> scores) const override {
    std::fill(scores.begin(), scores.end(), 1.0);
  }
};

/// Linear layer and flat index of a live weight, with its score.
struct Entry {
  double score;
  std::string name;
  std::size_t index;
  std::size_t linear;
  bool operator<(const Entry& o) const { return std::tie(score, name, index) < std::tie(o.score, o.name, o.index); }
};

/// All live weights whose name passes, sorted as they go.
std::vector<Entry> sorted_entries(const model::Model& model, const Saliency& saliency, Dose dose,
                                  const std::function<bool(const std::string&)>& passes) {
  const std::vector<PlainLayer> layers = plain_layers(model);
  const auto scores = all_scores(model, saliency);
  std::vector<Entry> entries;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (!passes(layers[i].name)) continue;
    for (std::size_t j = 0; j < layers[i].codes.size(); ++j) {
      const bool live = dose == Dose::codes ? layers[i].codes[j] != 0 : layers[i].latents[j] != 0;
      if (live) entries.push_back({scores[i][j], layers[i].name, j, i});
    }
  }
  std::sort(entries.begin(), entries.end());
  return entries;
}

bool everything(const std::string&) {
  return true;
}

model::Masks without(const model::Model& model, std::span<const Entry> entries) {
  model::Masks masks = model::full_masks(model.config);
  for (const Entry& e : entries) masks.linears[e.linear].keep[e.index] = 0;
  return masks;
}

TEST(Linears, AreInTheOrderOfTheMasks) {
  const auto model = TinyModel::make(kSmall);
  const model::Masks masks = model::full_masks(model->config);
  const std::vector<Linear> linears = linear_layers(*model);
  ASSERT_EQ(linears.size(), masks.linears.size());
  for (std::size_t i = 0; i < linears.size(); ++i) EXPECT_EQ(linears[i].name, masks.linears[i].name);
  EXPECT_EQ(linears[13].weight, &model->weights.blocks[1].ffn_down.weight);
}

TEST(Select, GlobalTakesTheSmallestOfAll) {
  const auto model = TinyModel::make(kSmall);
  const auto n = static_cast<double>(ternary_weights(linear_layers(*model)));
  for (const Dose dose : {Dose::codes, Dose::latents}) {
    for (const Score score : {Score::magnitude, Score::random}) {
      const auto saliency = make_saliency(score, *model, 5, nullptr);
      const std::vector<Entry> entries = sorted_entries(*model, *saliency, dose, everything);
      for (const double share : {0.0, 0.01, 0.1, 0.4}) {
        const auto count = static_cast<std::size_t>(share * n + 0.5);
        const model::Masks masks = select(*model, *saliency, {.sparsity = share, .dose = dose});
        EXPECT_EQ(masks, without(*model, std::span(entries).first(count))) << name(score) << " " << share;
        EXPECT_EQ(masks.pruned(), count);
      }
    }
  }
}

TEST(Select, TensorTakesTheSameShareOfEachTensor) {
  const auto model = TinyModel::make(kSmall);
  const auto saliency = magnitude_saliency(*model);
  const model::Masks masks = select(*model, *saliency, {.sparsity = 0.2, .scope = Scope::tensor});
  const double n = static_cast<double>(ternary_weights(linear_layers(*model)));
  EXPECT_EQ(masks.pruned(), static_cast<std::uint64_t>(0.2 * n + 0.5));
  const double live = static_cast<double>(sorted_entries(*model, *saliency, Dose::codes, everything).size());
  for (const model::LinearMask& mask : masks.linears) {
    const auto own =
        sorted_entries(*model, *saliency, Dose::codes, [&](const std::string& s) { return s == mask.name; });
    const double share = 0.2 * n / live * static_cast<double>(own.size());
    EXPECT_NEAR(static_cast<double>(mask.pruned()), share, 1.0) << mask.name;
    const model::Masks alone = without(*model, std::span(own).first(mask.pruned()));
    for (const model::LinearMask& other : alone.linears) {
      if (other.name == mask.name) {
        EXPECT_EQ(other, mask);
      }
    }
  }
}

TEST(Select, RowTakesTheSameShareOfEachRow) {
  const auto model = TinyModel::make(kSmall);
  for (std::uint16_t& w : bf16_latents(model->weights.blocks[0].ffn_up).first(64)) w = 0;  // a dead row
  const auto saliency = magnitude_saliency(*model);
  const model::Masks masks = select(*model, *saliency, {.sparsity = 0.25, .scope = Scope::row});
  const auto n = static_cast<double>(ternary_weights(linear_layers(*model)));
  EXPECT_EQ(masks.pruned(), static_cast<std::uint64_t>(0.25 * n + 0.5));
  const auto live = static_cast<double>(sorted_entries(*model, *saliency, Dose::codes, everything).size());
  const std::vector<PlainLayer> layers = plain_layers(*model);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    for (std::size_t row = 0; row < layers[i].rows; ++row) {
      double alive = 0, gone = 0;
      float largest_gone = 0, smallest_kept = 1e30F;
      for (std::size_t k = 0; k < layers[i].columns; ++k) {
        const std::size_t j = row * layers[i].columns + k;
        if (layers[i].codes[j] == 0) {
          EXPECT_EQ(masks.linears[i].keep[j], 1);
          continue;
        }
        ++alive;
        const float w = std::fabs(layers[i].latents[j]);
        if (masks.linears[i].keep[j] == 0) {
          ++gone;
          largest_gone = std::max(largest_gone, w);
        } else {
          smallest_kept = std::min(smallest_kept, w);
        }
      }
      EXPECT_LT(std::fabs(gone - 0.25 * n / live * alive), 1.0 + 1e-9) << layers[i].name << " " << row;
      EXPECT_LE(largest_gone, smallest_kept);
    }
  }
}

TEST(Select, EqualScoresGoByNameThenByIndex) {
  const auto model = TinyModel::make({.hidden = 32, .feed_forward = 32, .layers = 11, .vocabulary = 50});
  const EqualSaliency equal;
  const auto entries = sorted_entries(*model, equal, Dose::codes, everything);
  EXPECT_EQ(entries[0].name, "blk.0.attn_k");
  const auto n = static_cast<double>(ternary_weights(linear_layers(*model)));
  // Block 10 stands before block 2.
  const model::Masks masks = select(*model, equal, {.sparsity = 0.18});
  EXPECT_EQ(masks, without(*model, std::span(entries).first(static_cast<std::size_t>(0.18 * n + 0.5))));
  std::map<std::string, std::uint64_t> gone;
  for (const model::LinearMask& mask : masks.linears) gone[mask.name] = mask.pruned();
  EXPECT_GT(gone["blk.10.ffn_up"], 0U);
  EXPECT_EQ(gone["blk.2.attn_k"], 0U);
}

TEST(Select, TargetsAndProtectedAreWholeNames) {
  const auto model = TinyModel::make(kSmall);
  const auto saliency = magnitude_saliency(*model);
  const auto passes = [](const std::string& s) { return s.find("ffn") != std::string::npos && s != "blk.1.ffn_down"; };
  const auto entries = sorted_entries(*model, *saliency, Dose::codes, passes);
  const Selection selection{.sparsity = 0.1, .targets = R"(blk\.\d+\.ffn_.*)", .protect = R"(blk\.1\.ffn_down)"};
  const auto n = static_cast<double>(ternary_weights(linear_layers(*model)));
  EXPECT_EQ(select(*model, *saliency, selection),
            without(*model, std::span(entries).first(static_cast<std::size_t>(0.1 * n + 0.5))));
  // A part of a name is not the name.
  expect_refusal([&] { select(*model, *saliency, {.sparsity = 0.1, .targets = "ffn"}); }, "only 0 are alive");
  EXPECT_EQ(select(*model, *saliency, {.sparsity = 0.1, .protect = "ffn"}),
            select(*model, *saliency, {.sparsity = 0.1}));
  expect_refusal([&] { select(*model, *saliency, {.targets = "("}); }, "targets");
  expect_refusal([&] { select(*model, *saliency, {.protect = "["}); }, "protect");
}

TEST(Select, RefusesADoseThatIsNotThere) {
  const auto model = TinyModel::make(kSmall);
  const auto saliency = magnitude_saliency(*model);
  expect_refusal([&] { select(*model, *saliency, {.sparsity = 0.9}); }, "are alive");
  EXPECT_NO_THROW(select(*model, *saliency, {.sparsity = 0.9, .dose = Dose::latents}));
  for (const double bad : {-0.1, 1.1, std::nan("")}) {
    expect_refusal([&] { select(*model, *saliency, {.sparsity = bad}); }, "sparsity");
  }
}

TEST(Select, SaysBeforehandHowMuchIsThere) {
  const auto model = TinyModel::make(kSmall);
  const auto saliency = magnitude_saliency(*model);
  double alive = 0;
  for (const auto& layer : plain_layers(*model)) {
    alive += static_cast<double>(std::count_if(layer.codes.begin(), layer.codes.end(), [](int c) { return c != 0; }));
  }
  const double most = alive / static_cast<double>(ternary_weights(linear_layers(*model)));
  const double offered = std::floor(1e4 * most) / 1e4;
  EXPECT_NO_THROW(require_alive(*model, {.sparsity = most}, "it"));
  EXPECT_NO_THROW(select(*model, *saliency, {.sparsity = offered}));
  expect_refusal([&] { require_alive(*model, {.sparsity = 0.9}, "it"); },
                 fmt::format("it: a sparsity of 0.9 is asked for, at most {:g} is possible: no more of all ternary "
                             "weights have a code other than 0",
                             offered));
  EXPECT_NO_THROW(require_alive(*model, {.sparsity = 1, .dose = Dose::latents}, "it"));
  EXPECT_NO_THROW(require_alive(*model, {.pattern = {2, 4}}, "it"));
  const Selection some{.sparsity = 0.5, .targets = R"(blk\.0\.attn_q)"};
  expect_refusal([&] { require_alive(*model, some, "it"); }, "in the layers that may lose any");
}

TEST(Select, PatternLeavesAtMostNOfM) {
  const auto model = TinyModel::make(kSmall);
  const Calibration calibration = calibrate(*model, some_tokens(*model), Moments::inputs);
  for (const Score score : {Score::magnitude, Score::random, Score::wanda, Score::code}) {
    const auto saliency = make_saliency(score, *model, 1, &calibration);
    for (const Pattern& pattern : {Pattern{2, 4}, Pattern{1, 4}, Pattern{5, 7}}) {
      const auto after = apply_masks(*model, select(*model, *saliency, {.pattern = pattern}));
      const std::vector<PlainLayer> before = plain_layers(*model);
      const std::vector<PlainLayer> layers = plain_layers(*after);
      const auto of = static_cast<std::size_t>(pattern.of);
      const auto keep = static_cast<std::size_t>(pattern.keep);
      for (std::size_t i = 0; i < layers.size(); ++i) {
        const PlainLayer& layer = layers[i];
        for (std::size_t row = 0; row < layer.rows; ++row) {
          for (std::size_t first = 0; first < layer.columns; first += of) {
            std::size_t had = 0, has = 0;
            for (std::size_t k = first; k < std::min(first + of, layer.columns); ++k) {
              had += before[i].codes[row * layer.columns + k] != 0 ? 1U : 0U;
              has += layer.codes[row * layer.columns + k] != 0 ? 1U : 0U;
            }
            EXPECT_LE(has, keep);
            EXPECT_GE(has, std::min(had, keep)) << "live weights stay before others";
          }
        }
      }
    }
  }
}

TEST(Select, PatternGoesWithoutDoseAndScope) {
  const auto model = TinyModel::make(kSmall);
  const auto saliency = magnitude_saliency(*model);
  expect_refusal([&] { select(*model, *saliency, {.sparsity = 0.1, .pattern = {2, 4}}); }, "sparsity");
  expect_refusal([&] { select(*model, *saliency, {.scope = Scope::row, .pattern = {2, 4}}); }, "scope");
  EXPECT_EQ(parse_pattern("unstructured"), Pattern{});
  EXPECT_EQ(parse_pattern("2:4"), (Pattern{2, 4}));
  EXPECT_EQ(name(Pattern{2, 4}), "2:4");
  for (const char* bad : {"", "4", "4:", ":4", "4:4", "0:4", "5:4", "-1:4", "2:4 ", "2:2000", "2:4:8"}) {
    EXPECT_THROW(parse_pattern(bad), ConfigError) << bad;
  }
}

TEST(Select, LevelsAreCumulative) {
  const auto base = TinyModel::make(kSmall);
  const auto n = static_cast<double>(ternary_weights(linear_layers(*base)));
  for (const Dose dose : {Dose::codes, Dose::latents}) {
    model::Masks masks = model::full_masks(base->config);
    auto model = apply_masks(*base, masks);
    for (const double level : {0.05, 0.05, 0.2}) {
      const Progress progress{base.get(), &masks};
      const model::Masks next =
          select(*model, *random_saliency(*model, 3), {.sparsity = level, .dose = dose}, &progress);
      for (std::size_t i = 0; i < next.linears.size(); ++i) {
        for (std::size_t j = 0; j < next.linears[i].keep.size(); ++j) {
          EXPECT_LE(next.linears[i].keep[j], masks.linears[i].keep[j]) << "what went stays away";
        }
      }
      masks = next;
      model = apply_masks(*base, masks);
      const Account a = account(*base, *model);
      EXPECT_EQ(dose == Dose::codes ? a.total.codes_removed : a.total.latents_zeroed,
                static_cast<std::uint64_t>(level * n + 0.5));
    }
    const Progress progress{base.get(), &masks};
    // More than that is gone already: nothing goes.
    const model::Masks same = select(*model, *random_saliency(*model, 3), {.sparsity = 0.1, .dose = dose}, &progress);
    for (std::size_t i = 0; i < same.linears.size(); ++i) EXPECT_EQ(same.linears[i].keep, masks.linears[i].keep);
  }
  const auto other = TinyModel::make({.hidden = 32, .feed_forward = 32, .vocabulary = 50});
  const model::Masks masks = model::full_masks(other->config);
  const Progress wrong{other.get(), &masks};
  EXPECT_THROW(select(*base, *magnitude_saliency(*base), {}, &wrong), ConfigError);
  const model::Masks right = model::full_masks(base->config);
  const Progress half{other.get(), &right};
  expect_refusal([&] { select(*base, *magnitude_saliency(*base), {}, &half); }, "other shapes");
}

TEST(Select, MatchedLosesAsMuchOfEveryTensor) {
  const auto model = TinyModel::make(kSmall);
  for (const Dose dose : {Dose::codes, Dose::latents}) {
    const model::Masks masks = select(*model, *magnitude_saliency(*model), {.sparsity = 0.15, .dose = dose});
    const model::Masks control = select_matched(*model, *random_saliency(*model, 9), dose, masks);
    EXPECT_NE(control, masks);
    const auto live = sorted_entries(*model, EqualSaliency(), dose, everything);
    std::vector<std::int64_t> difference(masks.linears.size());
    for (const Entry& e : live) {
      difference[e.linear] += masks.linears[e.linear].keep[e.index] - control.linears[e.linear].keep[e.index];
    }
    EXPECT_EQ(difference, std::vector<std::int64_t>(masks.linears.size()));
    EXPECT_EQ(control.pruned(), masks.pruned());
    EXPECT_EQ(select_matched(*model, *magnitude_saliency(*model), dose, masks), masks);
  }
}

TEST(Select, PlaceboTouchesNoCode) {
  const auto model = TinyModel::make(kSmall);
  const model::Masks masks = zero_code_masks(*model);
  const std::vector<PlainLayer> layers = plain_layers(*model);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    for (std::size_t j = 0; j < layers[i].codes.size(); ++j) {
      ASSERT_EQ(masks.linears[i].keep[j], layers[i].codes[j] != 0 ? 1 : 0);
    }
  }
  const Account a = account(*model, *apply_masks(*model, masks));
  EXPECT_EQ(a.total.codes_removed + a.total.codes_gained + a.total.codes_turned, 0U);
  EXPECT_EQ(a.total.latents_zeroed + a.total.latents_zero_before, a.total.codes_zero_before);
  for (const TensorAccount& t : a.tensors) EXPECT_LT(t.scale_after, t.scale_before);
}

TEST(Select, ThreadsChangeNothing) {
  const auto model = TinyModel::make(kSmall);
  std::vector<model::Masks> all;
  for (const int threads : {1, 2, 5}) {
    const WithThreads with(threads);
    for (const Scope scope : {Scope::global, Scope::tensor, Scope::row}) {
      all.push_back(select(*model, *magnitude_saliency(*model), {.sparsity = 0.3, .scope = scope}));
    }
    all.push_back(select(*model, *magnitude_saliency(*model), {.pattern = {2, 4}}));
  }
  for (std::size_t i = 4; i < all.size(); ++i) EXPECT_EQ(all[i], all[i - 4]);
}

}  // namespace
}  // namespace rpt::prune
