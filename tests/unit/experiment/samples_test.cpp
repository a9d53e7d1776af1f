// SPDX-License-Identifier: MIT
#include "rpt/experiment/samples.h"

#include <gtest/gtest.h>

#include <cmath>
#include <utility>

#include "rpt/core/error.h"
#include "rpt/evaluate/perplexity.h"
#include "rpt/experiment/deploy.h"
#include "rpt/model/model.h"
#include "rpt/text/utf8.h"
#include "tests/shared_data.h"

namespace rpt::experiment {
namespace {

TEST(Samples, ALoopHasAtMostTwoWordsAmongItsLastSix) {
  EXPECT_TRUE(is_loop("It was a day of the the the the the the"));
  EXPECT_TRUE(is_loop("so it and it and it and it and"));
  EXPECT_FALSE(is_loop("one two and one two and one two and"));
  EXPECT_FALSE(is_loop("no no no"));  // three words are too few to tell
  EXPECT_TRUE(is_loop("no no no no"));
  EXPECT_FALSE(is_loop("no no no a b"));
  EXPECT_FALSE(is_loop(""));
}

TEST(Samples, AreGreedyTextsAndTheSentences) {
  const auto model = model::open_model(test::source_dir() / "models/seedling");
  StageFigures f;
  add_samples(f, *model, {});
  EXPECT_FALSE(f.numbers.contains("sentences_nll"));
  EXPECT_TRUE(f.text("sample 1").starts_with(kSamplePrompts[0]));
  EXPECT_GT(f.text("sample 3").size(), kSamplePrompts[2].size());
  EXPECT_EQ(f.text("sample 2"), generated(*model, kSamplePrompts[1], kSampleTokens));
  bool loops = false;
  for (const char* name : {"sample 1", "sample 2", "sample 3"}) loops = loops || is_loop(f.text(name));
  EXPECT_EQ(f.number("coherent"), loops ? 0 : 1);

  const text::Corpus sentences{.documents = {"The house stood alone.", "Nobody knew the hill."}};
  StageFigures again;
  add_samples(again, *model, sentences);
  EXPECT_EQ(again.texts, f.texts);
  EXPECT_EQ(again.number("sentences_nll"), evaluate::perplexity(*model, sentences, {}, 0).mean_nll);
}

TEST(Samples, PromptsMustFit) {
  const auto model = model::open_model(test::source_dir() / "models/seedling");
  EXPECT_NO_THROW(require_prompt(*model, kSamplePrompts[0]));
  std::string text = "winter";
  while (std::cmp_less_equal(model->vocabulary().encode(text).size(), model->config.context)) text += " " + text;
  try {
    require_prompt(*model, text);
    FAIL();
  } catch (const ConfigError& e) {
    const std::string says = e.what();
    EXPECT_NE(says.find("the prompt \"winter winter"), std::string::npos) << says;
    EXPECT_NE(says.find(fmt::format("the model's context is {}", model->config.context)), std::string::npos) << says;
  }
  model->config.context = 16;
  // A text without spaces is one word; what is gone on from is cut to half of the context, between characters.
  std::string word;
  for (int i = 0; i < 500; ++i) word += "冬";
  const auto prompts = default_prompts(*model, {.documents = {word, "The house stood alone."}});
  ASSERT_EQ(prompts.size(), 2U);
  EXPECT_LE(model->vocabulary().encode(prompts[0]).size(), 8U);
  EXPECT_TRUE(!prompts[0].empty() && text::is_valid_utf8(prompts[0]));
  EXPECT_EQ(prompts[1], "The house stood alone.");
}

}  // namespace
}  // namespace rpt::experiment
