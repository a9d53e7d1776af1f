// SPDX-License-Identifier: MIT
#include "rpt/prune/recipe.h"

#include <gtest/gtest.h>

#include "prune_test_support.h"
#include "rpt/prune/legacy.h"

namespace rpt::prune {
namespace {

using test::TinyModel;

std::vector<Recipe> samples() {
  Recipe plain;
  plain.selection.sparsity = 0.1;
  Recipe code;
  code.seed = 0xffffffffffffffffULL;
  code.score = Score::code;
  code.selection = {.sparsity = 1.0 / 3,
                    .dose = Dose::latents,
                    .scope = Scope::row,
                    .targets = R"(blk\.\d+\.ffn_.*)",
                    .protect = "\"quoted\""};
  code.calibration = {"sotu:train", std::string(64, 'a'), 256, 4096};
  Recipe pattern;
  pattern.score = Score::random;
  pattern.seed = 3;
  pattern.selection.pattern = {2, 4};
  Recipe legacy;
  legacy.protocol = Protocol::legacy;
  legacy.percent = 15.5;
  legacy.seed = 9;
  return {plain, code, pattern, legacy};
}

TEST(Recipe, IsReadAsItWasWritten) {
  for (const Recipe& recipe : samples()) {
    const std::string json = to_json(recipe);
    EXPECT_EQ(parse_recipe(json, "r.json"), recipe) << json;
    EXPECT_EQ(to_json(parse_recipe(json, "r.json")), json);
  }
  EXPECT_EQ(to_json(samples()[3]),
            "{\n  \"format\": \"rpt-prune-1\",\n  \"protocol\": \"legacy\",\n  \"seed\": 9,\n  \"percent\": 15.5\n}\n");
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const auto at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(Recipe, IsReadStrictly) {
  const std::vector<Recipe> all = samples();
  const std::string plain = to_json(all[0]);
  const std::string code = to_json(all[1]);
  const std::string pattern = to_json(all[2]);
  const std::string legacy = to_json(all[3]);
  const std::vector<std::pair<std::string, std::string>> bad{
      {replaced(plain, "\"seed\": 0", "\"seed\": 0, \"sede\": 0"), "sede"},
      {replaced(plain, "\"seed\": 0", "\"seed\": 0, \"seed\": 1"), "twice"},
      {replaced(plain, "\"seed\": 0,", ""), "seed"},
      {replaced(plain, "\"seed\": 0", "\"seed\": -1"), "seed"},
      {replaced(plain, "\"seed\": 0", "\"seed\": 0.5"), "seed"},
      {replaced(plain, "\"seed\": 0", "\"seed\": \"0\""), "seed"},
      {replaced(plain, "rpt-prune-1", "rpt-prune-2"), "format"},
      {replaced(plain, "sound", "loud"), "protocol"},
      {replaced(plain, "magnitude", "size"), "score"},
      {replaced(plain, "magnitude", "wanda"), "calibration"},
      {replaced(plain, "\"sparsity\": 0.1", "\"sparsity\": 1.5"), "sparsity"},
      {replaced(plain, "\"sparsity\": 0.1", "\"sparsity\": true"), "sparsity"},
      {replaced(plain, "\"targets\": \".*\"", "\"targets\": \"(\""), "targets"},
      {replaced(code, "\"score\": \"code\"", "\"score\": \"random\""), "calibration"},
      {replaced(code, "\"length\": 256", "\"length\": 0"), "length"},
      {replaced(code, "\"tokens\": 4096", "\"tokens\": 18446744073709551615"), "tokens"},
      {replaced(code, "\"length\": 256", "\"width\": 256"), "length"},
      {replaced(code, "aaaa", "aaaA"), "sha256"},
      {replaced(pattern, "2:4", "4:2"), "pattern"},
      {replaced(pattern, "\"pattern\": \"2:4\"", "\"pattern\": \"2:4\", \"sparsity\": 0.5"), "sparsity"},
      {replaced(pattern, "\"pattern\": \"2:4\"", "\"pattern\": \"2:4\", \"scope\": \"row\""), "scope"},
      {replaced(legacy, "15.5", "105"), "percent"},
      {replaced(legacy, "\"seed\": 9", "\"seed\": 9, \"score\": \"magnitude\""), "score"},
      {"[]", "object"},
  };
  for (const auto& [json, word] : bad) {
    expect_refusal([&, &text = json] { parse_recipe(text, "r.json"); }, word);
    expect_refusal([&, &text = json] { parse_recipe(text, "r.json"); }, "r.json");
  }
  for (const char* json : {"", "{", "{} {}", "{\"seed\": 1e999}", "\xff"}) {
    EXPECT_THROW(parse_recipe(json, "r.json"), FormatError) << json;
  }
}

TEST(Recipe, ContradictionsAreRefused) {
  Recipe r = samples()[0];
  r.percent = 5;
  expect_refusal([&] { validate(r, "x"); }, "percent");
  r = samples()[3];
  r.score = Score::random;
  expect_refusal([&] { validate(r, "x"); }, "legacy");
  r = samples()[3];
  r.selection.sparsity = 0.1;
  expect_refusal([&] { validate(r, "x"); }, "legacy");
  r = samples()[1];
  r.calibration->text.clear();
  expect_refusal([&] { validate(r, "x"); }, "text");
  r = samples()[1];
  r.selection.targets = "\xff";
  EXPECT_THROW(to_json(r), ConfigError) << "no UTF-8";
}

TEST(Recipe, ReplayedGivesTheSameMasks) {
  const auto model = TinyModel::make(kSmall);
  const Calibration calibration = calibrate(*model, some_tokens(*model), Moments::inputs);
  for (Recipe recipe : samples()) {
    recipe.selection.protect = "";
    const Calibration* seen = recipe.calibration ? &calibration : nullptr;
    const model::Masks masks = make_masks(*model, recipe, seen);
    EXPECT_EQ(make_masks(*model, parse_recipe(to_json(recipe), "r.json"), seen), masks);
    EXPECT_GT(masks.pruned(), 0U);
  }
  const Recipe plain = samples()[0];
  EXPECT_EQ(make_masks(*model, plain), select(*model, *magnitude_saliency(*model), plain.selection));
  const Recipe legacy = samples()[3];
  EXPECT_EQ(make_masks(*model, legacy),
            select_above(*model, legacy_threshold(legacy_pool(*model, legacy.seed), legacy.percent)));
  const model::Masks none = model::full_masks(model->config);
  const Progress progress{model.get(), &none};
  EXPECT_EQ(make_masks(*model, plain, nullptr, &progress), make_masks(*model, plain));
  expect_refusal([&] { make_masks(*model, legacy, nullptr, &progress); }, "base");
  expect_refusal([&] { make_masks(*model, samples()[1]); }, "calibration");
}

}  // namespace
}  // namespace rpt::prune
