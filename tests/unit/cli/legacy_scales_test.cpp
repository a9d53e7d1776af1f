// SPDX-License-Identifier: MIT
// The reference's figures before and after its snap belong to one model under two scales: docs/experiments.md, "One
// model under three scales".
#include <set>

#include "tests/unit/cli/cli_testing.h"

namespace rpt::cli {
namespace {

class LegacyScales : public CommandTest {
 protected:
  const std::string base_ = (test::source_dir() / "models/tiny").string();

  Json snap(const std::string& rule) {
    std::vector<std::string> words{"snap", path("pruned"), path(rule), "--scale", rule};
    if (rule != "online") words.insert(words.end(), {"--base", base_});
    return json(words);
  }
  Json score(const std::string& model) { return json({"perplexity", model, "--text", "facts:test"}); }
};

TEST_F(LegacyScales, OneModelIsThree) {
  const Json pruned = json({"prune", base_, path("pruned"), "--legacy-threshold", "10"});
  const Json latents = score(path("pruned"));
  const Json online = snap("online");
  const Json frozen = snap("frozen");
  const Json twice = snap("legacy-double");
  EXPECT_EQ(score(path("online"))["nll_sha256"], latents["nll_sha256"]);
  std::set<std::string> hashes;
  for (const char* model : {"pruned", "frozen", "legacy-double"}) hashes.insert(score(path(model))["nll_sha256"]);
  EXPECT_EQ(hashes.size(), 3U);
  // Snapped to {0, ±s0} and quantised again, a tensor has s0 times the density of its codes.
  for (std::size_t i = 0; i < frozen["tensors"].size(); ++i) {
    const Json& tensor = frozen["tensors"][i];
    EXPECT_EQ(twice["tensors"][i]["scale"], tensor["scale_read_again"]) << tensor["name"];
    const double density = 1 - tensor["codes_zero"].get<double>() / tensor["weights"].get<double>();
    EXPECT_NEAR(tensor["scale_read_again"].get<double>() / tensor["scale"].get<double>(), density, 0.01);
  }
  // The page's table, which has four digits. These codes were trained with scales near the first two.
  constexpr double kPrinted = 5e-4;
  EXPECT_NEAR(latents["mean_nll"].get<double>(), 5.1207, kPrinted);
  EXPECT_NEAR(score(path("frozen"))["mean_nll"].get<double>(), 5.1263, kPrinted);
  EXPECT_NEAR(score(path("legacy-double"))["mean_nll"].get<double>(), 5.1936, kPrinted);
  // And what it says of the threshold: a tenth of the latents, not one code, so that only scales differ.
  const auto weights = pruned["weights"].get<double>();
  EXPECT_NEAR(pruned["latents_zeroed"].get<double>() / weights, 0.104, 5e-4);
  EXPECT_EQ(pruned["codes_removed"], 0);
  EXPECT_EQ(score(path("frozen"))["nll_sha256"], score(base_)["nll_sha256"]);
}

}  // namespace
}  // namespace rpt::cli
