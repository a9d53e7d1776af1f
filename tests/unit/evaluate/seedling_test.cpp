// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "rpt/core/atomic_file.h"
#include "rpt/core/error.h"
#include "rpt/core/parallel.h"
#include "rpt/core/sha256.h"
#include "rpt/evaluate/compare.h"
#include "rpt/evaluate/perplexity.h"
#include "tests/shared_data.h"

namespace rpt::evaluate {
namespace {

const model::Model& seedling() {
  static const auto model = model::open_model(test::source_dir() / "models/seedling");
  return *model;
}

nlohmann::json golden() {
  return nlohmann::json::parse(core::read_file(test::source_dir() / "models/seedling/golden.json"));
}

std::string sha256_of_ids(const std::vector<std::int32_t>& ids) {
  return core::sha256_hex(std::as_bytes(std::span(ids)));
}

/// The first bytes of a text of the golden file: ids as they were hashed there, number of scored tokens, mean NLL
/// within 3e-4 of the float64 run.
void expect_golden(const std::string& name) {
  core::set_threads(1);  // many small products: threads that share cores with other tests would mostly wait
  const nlohmann::json expected = golden()["texts"][name];
  const std::string text =
      core::read_file(test::shared("data/text/" + name)).substr(0, expected["bytes"].get<std::size_t>());
  const model::Model& model = seedling();
  std::vector<std::int32_t> ids = model.vocabulary().encode(text);
  EXPECT_EQ(ids.size(), expected["tokens"].get<std::size_t>());
  EXPECT_EQ(sha256_of_ids(ids), expected["ids_sha256"].get<std::string>());

  const ProtocolOptions options{.protocol = Protocol::llama_cpp, .context = 256, .bos = true};
  const PerplexityResult result = perplexity(model, {{text}, false}, options, 0);
  EXPECT_EQ(result.scored_tokens, expected["scored"].get<std::int64_t>());
  EXPECT_NEAR(result.mean_nll, expected["mean_nll"]["float64"].get<double>(), 3e-4);
}

TEST(Seedling, ScoresShakespeareAsTheGoldenRunDid) {
  RPT_NEEDS_SHARED("data/text/shakespeare/tinyshakespeare.txt");
  expect_golden("shakespeare/tinyshakespeare.txt");
}

TEST(Seedling, ScoresTreasureIslandAsTheGoldenRunDid) {
  RPT_NEEDS_SHARED("data/text/classic-books/Robert_Louis_Stevenson_Treasure_Island.txt");
  expect_golden("classic-books/Robert_Louis_Stevenson_Treasure_Island.txt");
}

const char* const kText =
    "The old house stood at the end of the lane, and nobody had lived in it for many years. "
    "The children of the village said that a light was sometimes seen in its windows at night.\n";

TEST(Seedling, TakesEveryProtocol) {
  std::string text;
  for (int i = 0; i < 8; ++i) text += kText;
  const text::Corpus corpus{{text}, false};
  for (const Protocol protocol : {Protocol::full, Protocol::llama_cpp, Protocol::legacy, Protocol::lm_eval}) {
    const ProtocolOptions options{.protocol = protocol, .context = protocol == Protocol::legacy ? 0 : 64};
    const PerplexityResult result = perplexity(seedling(), corpus, options, 0);
    EXPECT_GT(result.scored_tokens, 100) << name(protocol);
    EXPECT_GT(result.perplexity, 1.0) << name(protocol);
    EXPECT_LT(result.perplexity, 200.0) << name(protocol);  // repeated text of the kind it was trained on
    ASSERT_TRUE(result.bits_per_byte);
    EXPECT_LT(*result.bits_per_byte, 3.0) << name(protocol);
    EXPECT_FALSE(result.interval) << name(protocol);
  }
}

TEST(Seedling, GivesItsRulesToPlans) {
  const TextModel rules = text_model(seedling());
  EXPECT_TRUE(rules.adds_bos);
  EXPECT_EQ(rules.bos_id, 0);
  EXPECT_EQ(rules.eos_id, 1);
  EXPECT_EQ(rules.context, 1024);
  const text::EncodedText encoded = rules.encode("The old house");
  EXPECT_EQ(encoded.ids, (std::vector<std::int32_t>{495, 673, 853}));
  EXPECT_EQ(encoded.ends, (std::vector<std::uint64_t>{3, 7, 13}));
}

TEST(Seedling, CannotBeComparedOnOtherTokens) {
  const auto other = model::open_model(test::source_dir() / "models/seedling");
  other->adds_bos = false;
  EXPECT_THROW(compare(seedling(), *other, {{kText}, false}, {}, 0), ConfigError);
  EXPECT_TRUE(compare(seedling(), *other, {{kText}, false}, {.bos = true}, 0).bit_identical);
}

TEST(Seedling, ComparedWithItselfIsIdentical) {
  const text::Corpus corpus{{kText}, false};
  const CompareResult result = compare(seedling(), seedling(), corpus, {}, 0);
  EXPECT_TRUE(result.bit_identical);
  EXPECT_EQ(result.kl_divergence, 0.0);
  EXPECT_EQ(result.nll_sha256_a, perplexity(seedling(), corpus, {}, 0).nll_sha256);
}

}  // namespace
}  // namespace rpt::evaluate
