// SPDX-License-Identifier: MIT
// rpt finetune and rpt perplexity on conversations.
#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "rpt/core/atomic_file.h"
#include "rpt/core/random.h"
#include "tests/unit/cli/cli_testing.h"
#include "tests/unit/cli/program_testing.h"

namespace rpt::cli {
namespace {

class ChatTuning : public CommandTest {
 protected:
  void SetUp() override {
    core::write_file_atomic(template_,
                            "{% for m in messages %}{{ m.role | capitalize }}: {{ m.content | trim }}"
                            "<|end_of_text|>{% endfor %}{{ 'Assistant:' if add_generation_prompt }}");
    std::string lines;
    for (int i = 0; i < 30; ++i) {
      lines += fmt::format(
          R"({{"messages": [{{"role": "user", "content": "Who lives in house {}?"}},)"
          R"( {{"role": "assistant", "content": " The cat of number {}."}},)"
          R"( {{"role": "user", "content": "Why?"}}, {{"role": "assistant", "content": " Because it rains."}}]}})"
          "\n",
          i, i);
    }
    core::write_file_atomic(chat_, lines);
  }
  std::vector<std::string> finetune(const std::string& out, const std::vector<std::string>& more = {},
                                    const std::string& steps = "8") const {
    std::vector<std::string> words{"finetune", seedling_, path(out), "--text",     chat_, "--template",
                                   template_,  "--batch", "2",       "--steps",    steps, "--context",
                                   "64",       "--lr",    "2e-3",    "--hold-out", "0.2", "--evaluate-every",
                                   "4"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  /// Expects a refusal in one line that holds `what`.
  void expect_refusal(const std::vector<std::string>& words, const std::string& what, int code = 3) {
    const Outcome o = rpt(words);
    EXPECT_EQ(o.code, code);
    EXPECT_NE(o.err.find(what), std::string::npos) << o.err;
    EXPECT_EQ(std::count(o.err.begin(), o.err.end(), '\n'), 1) << o.err;
  }
  const std::string template_ = path("template.jinja");
  const std::string chat_ = path("chat.jsonl");
};

TEST_F(ChatTuning, LearnsAnswersAndScoresThemAsPerplexityDoes) {
  const Json tuned = json(finetune("run", {"--also-evaluate", chat_}));
  const Json held_out = tuned["evaluations"][0];
  EXPECT_EQ(held_out["text"], "held out (answers)");
  EXPECT_EQ(tuned["evaluations"][1]["text"], chat_ + " (answers)");
  const auto score = [&](const std::string& model) {
    return json({"perplexity", model, "--text", path("run/held_out.jsonl"), "--template", template_});
  };
  const Json before = score(seedling_), after = score(path("run/model"));
  EXPECT_EQ(after["nll_sha256"], held_out["nll_sha256"]);
  EXPECT_EQ(after["scored_tokens"], held_out["tokens"]);
  EXPECT_EQ(after["documents"], 6);
  EXPECT_LT(after["mean_nll"].get<double>(), before["mean_nll"].get<double>() - 1);
}

TEST_F(ChatTuning, TheModelsOwnTemplateStaysWithIt) {
  std::filesystem::copy(seedling_, path("m"));
  std::filesystem::copy(template_, path("m/chat_template.jinja"));
  const auto with = [&](const std::string& model, const std::string& out, const std::string& chat_template) {
    std::vector<std::string> words{"finetune", model, path(out),   "--text", chat_,        "--batch", "2",
                                   "--steps",  "2",   "--context", "64",     "--hold-out", "0.2"};
    if (!chat_template.empty()) words.insert(words.end(), {"--template", chat_template});
    return json(words)["evaluations"][0]["nll_sha256"];
  };
  EXPECT_EQ(with(path("m"), "a", ""), with(seedling_, "b", template_));
  EXPECT_TRUE(std::filesystem::exists(path("a/model/chat_template.jinja")));
}

TEST_F(ChatTuning, DryRunCountsTargetsAndWritesNothing) {
  const Json r = json(finetune("run", {"--dry-run"}));
  EXPECT_GT(r["training_targets"].get<int>(), 24 * 8);
  EXPECT_LT(r["training_targets"], r["training_tokens"]);
  EXPECT_FALSE(std::filesystem::exists(path("run")));
}

TEST_F(ChatTuning, RefusalsAreOneLine) {
  const auto lines = core::read_file(chat_);
  core::write_file_atomic(chat_, lines + R"({"messages": [{"role": "user", "content": "Hm"}]})"
                                         "\n");
  expect_refusal(finetune("run"), chat_ + ": line 31: has no message of the assistant");
  core::write_file_atomic(chat_, lines);
  expect_refusal({"finetune", seedling_, path("run"), "--text", chat_}, "no chat template; --template FILE");
  expect_refusal(finetune("run", {"--text", "sotu:test"}), "texts and conversations");
  expect_refusal({"finetune", seedling_, path("run"), "--text", "sotu:test", "--template", template_},
                 "no conversations");
  expect_refusal({"perplexity", seedling_, "--text", chat_, "--template", template_, "--context", "64"}, "own context",
                 2);
  expect_refusal({"perplexity", seedling_, "--text", "sotu:test", "--template", template_}, "no conversations", 2);
  core::write_file_atomic(template_, "{% for m in messages %}{{ m.content }}\n{% endfor %}");
  expect_refusal(finetune("run"), "no end token behind it");
  EXPECT_FALSE(std::filesystem::exists(path("run")));
}

TEST_F(ChatTuning, ResumesOnlyUnderTheSameTemplate) {
  json(finetune("run"));
  EXPECT_EQ(rpt(finetune("run", {"--resume"})).code, 0);  // nothing is left to do
  core::write_file_atomic(template_,
                          "{% for m in messages %}{{ m.role }}: {{ m.content | trim }}<|end_of_text|>{% endfor %}"
                          "{{ 'assistant:' if add_generation_prompt }}");
  const Outcome o = rpt(finetune("run", {"--resume"}));
  EXPECT_EQ(o.code, 3);
  EXPECT_NE(o.err.find("another text"), std::string::npos) << o.err;
}

class SlowChatTuning : public ChatTuning {};

TEST_F(SlowChatTuning, KilledAtRandomStepsEndsWithTheSameBits) {
  const std::string program = kProgramFolder + "/rpt";
  const auto words = [&](const std::string& out) {
    return finetune(out, {"--checkpoint-every", "3", "--resume"}, "40");
  };
  ASSERT_EQ(wait_for(start_program(program, words("whole"))).status, 0);
  core::Random random(20261122);
  int kills = 0;
  for (int attempt = 0; attempt < 60; ++attempt) {
    const pid_t child = start_program(program, words("cut"));
    if (kills < 5) {
      std::this_thread::sleep_for(std::chrono::milliseconds(300 + random.below(1500)));
      kill(child, SIGKILL);
    }
    const int status = wait_for(child).status;
    if (WIFSIGNALED(status)) ++kills;
    if (WIFEXITED(status)) {
      ASSERT_EQ(WEXITSTATUS(status), 0);
      if (kills >= 5) break;
      std::filesystem::remove_all(path("cut"));
    }
  }
  EXPECT_EQ(kills, 5);
  const auto bytes = [&](const std::string& run) { return core::read_file(path(run + "/model/model.safetensors")); };
  EXPECT_EQ(bytes("cut"), bytes("whole"));
}

}  // namespace
}  // namespace rpt::cli
