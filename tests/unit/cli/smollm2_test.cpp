// SPDX-License-Identifier: MIT
// A model of another family as its users know it: against transformers in float32 on the same weights, dequantised
// (tests/golden/make_llama_goldens.py, smollm2-chat).
#include <cmath>

#include "rpt/core/atomic_file.h"
#include "tests/unit/cli/cli_testing.h"

namespace rpt::cli {
namespace {

class SlowSmolLm2 : public CommandTest {
 protected:
  const Json golden_ = Json::parse(core::read_file(test::source_dir() / "tests/golden/smollm2-chat.json"));
  static std::string model() { return test::shared("data/models/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf").string(); }
};

TEST_F(SlowSmolLm2, ScoresAsTransformersDoes) {
  RPT_NEEDS_SHARED("data/models/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf");
  RPT_NEEDS_SHARED("data/wikitext-2-raw/wiki.test.raw");
  const std::string text = core::read_file(test::shared("data/wikitext-2-raw/wiki.test.raw"));
  core::write_file_atomic(path("begin.txt"), text.substr(0, golden_["bytes"].get<std::size_t>()));
  const Json r = json({"perplexity", model(), "--text", path("begin.txt"), "--protocol", "llama.cpp"});
  EXPECT_EQ(r["scored_tokens"], golden_["scored"]);
  const double expected = std::exp(golden_["mean_nll"].get<double>());
  EXPECT_NEAR(r["perplexity"].get<double>() / expected, 1, 5e-4);
}

TEST_F(SlowSmolLm2, AnswersAsTransformersDoes) {
  RPT_NEEDS_SHARED("data/models/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf");
  constexpr double kExcused = 0.01;  // two logits so near may change places by rounding
  ASSERT_EQ(golden_["chats"].size(), 10U);
  std::size_t compared = 0;
  for (const Json& chat : golden_["chats"]) {
    const Json r = json({"chat", model(), "-p", chat["question"], "-n", "48"})["answers"][0];
    const auto answer = r["token_ids"].get<std::vector<std::int32_t>>();
    const auto expected = chat["answer_ids"].get<std::vector<std::int32_t>>();
    const auto gaps = chat["gaps"].get<std::vector<double>>();
    for (std::size_t i = 0; i < std::max(answer.size(), expected.size()); ++i) {
      if (i < answer.size() && i < expected.size() && answer[i] == expected[i]) {
        ++compared;
        continue;
      }
      ASSERT_LT(i, gaps.size());
      EXPECT_LT(gaps[i], kExcused) << chat["question"] << " token " << i << ": " << r["text"] << " for "
                                   << chat["answer"];
      break;
    }
  }
  EXPECT_GT(compared, 200U);
}

}  // namespace
}  // namespace rpt::cli
