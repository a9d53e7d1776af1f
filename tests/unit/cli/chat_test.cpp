// SPDX-License-Identifier: MIT
#include <termios.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>

#include "rpt/core/atomic_file.h"
#include "tests/unit/cli/cli_testing.h"
#include "tests/unit/cli/program_testing.h"

namespace rpt::cli {
namespace {

class ChatCommandTest : public CommandTest {
 protected:
  void SetUp() override {
    core::write_file_atomic(template_,
                            "{% for m in messages %}{{ m.role | capitalize }}: {{ m.content | trim }}"
                            "<|end_of_text|>{% endfor %}{{ 'Assistant:' if add_generation_prompt }}");
  }
  std::vector<std::string> chat(std::vector<std::string> more = {}) const {
    std::vector<std::string> words{"chat", seedling_, "--template", template_, "-n", "12"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  const std::string template_ = path("template.jinja");
};

TEST_F(ChatCommandTest, AnswersAsGenerateDoesOnTheRenderedPrompt) {
  for (const std::vector<std::string>& sampling :
       {std::vector<std::string>{}, std::vector<std::string>{"--temperature", "0.8", "--seed", "4", "--top-k", "40"}}) {
    auto words = chat({"-p", "Where is the old house? ", "--system", "Tell a story"});
    words.insert(words.end(), sampling.begin(), sampling.end());
    const Json j = json(words);
    std::vector<std::string> plain{
        "generate", seedling_,
        "-n",       "12",
        "-p",       "System: Tell a story<|end_of_text|>User: Where is the old house?<|end_of_text|>Assistant:"};
    plain.insert(plain.end(), sampling.begin(), sampling.end());
    const Json g = json(plain);
    EXPECT_EQ(j["answers"][0]["token_ids"], g["token_ids"]);
    EXPECT_EQ(j["answers"][0]["prompt_tokens"], g["prompt_tokens"]);
    EXPECT_EQ(j["answers"][0]["finish_reason"], g["finish_reason"]);
    EXPECT_EQ(j["messages"].size(), 3U);
    EXPECT_EQ(j["messages"][2]["content"], g["text"]);
  }
}

TEST_F(ChatCommandTest, GoesOnByLinesAndTakesCommands) {
  const Json j = json(chat(), "The old house\n\nAnd then?\n/clear\n/help\n/nonsense\nThe old house\n/exit\nnever\n");
  ASSERT_EQ(j["answers"].size(), 3U);
  EXPECT_EQ(j["answers"][0]["text"], j["answers"][2]["text"]);  // as if nothing had been said
  EXPECT_GT(j["answers"][1]["reused_tokens"], 0);
  EXPECT_EQ(j["messages"].size(), 2U);
  const std::string second =
      "User: The old house<|end_of_text|>Assistant: " + j["answers"][0]["text"].get<std::string>() + "<|end_of_text|>";
  EXPECT_GT(second.size(), 40U);

  const Outcome o = rpt(chat(), "/help\n/x\nThe old house\n");
  EXPECT_EQ(o.code, 0);
  EXPECT_EQ(o.out.find("/clear"), 0U);
  EXPECT_EQ(o.out.find("> "), std::string::npos);  // no terminal
  EXPECT_NE(o.err.find("no command /x"), std::string::npos);
}

TEST_F(ChatCommandTest, AModelWithoutATemplateIsRefusedWithTheMend) {
  const Outcome o = rpt({"chat", seedling_, "-p", "Hello"});
  EXPECT_EQ(o.code, 3);
  EXPECT_NE(o.err.find("no chat template; --template FILE"), std::string::npos);
  EXPECT_EQ(std::count(o.err.begin(), o.err.end(), '\n'), 1);
  EXPECT_EQ(rpt({"chat", seedling_, "-p", ""}).code, 2);
  EXPECT_EQ(rpt(chat({"--context", "5000", "-p", "Hello"})).code, 3);
}

TEST_F(ChatCommandTest, DamagedAndRefusingTemplatesAreOneLine) {
  core::write_file_atomic(template_, "a\n{% if %}");
  const Outcome damaged = rpt(chat({"-p", "Hello"}));
  EXPECT_EQ(damaged.code, 3);
  EXPECT_NE(damaged.err.find(template_ + ": line 2: "), std::string::npos) << damaged.err;
  core::write_file_atomic(template_, "{{ raise_exception('Only even days') if messages | length == 1 }}x");
  EXPECT_EQ(rpt(chat({"-p", "Hello"})).code, 3);
  const Outcome talk = rpt(chat(), "Hello\nHello\n");  // a conversation outlives a refused question
  EXPECT_EQ(talk.code, 3);
  EXPECT_NE(talk.err.find("Only even days"), std::string::npos);
}

TEST_F(ChatCommandTest, TemplatesAreFoundWhereTransformersLooks) {
  std::filesystem::copy(seedling_, path("m"));
  const auto answer = [&] { return rpt({"chat", path("m"), "-p", "The", "-n", "3"}); };
  const std::string config = core::read_file(path("m/tokenizer_config.json"));
  const auto with = [&](const Json& chat_template) {
    Json j = Json::parse(config);
    j["chat_template"] = chat_template;
    core::write_file_atomic(path("m/tokenizer_config.json"), j.dump());
  };
  EXPECT_EQ(answer().code, 3);
  with(Json::array({{{"name", "tool_use"}, {"template", "{{ raise_exception('tools') }}"}},
                    {{"name", "default"}, {"template", "{{ raise_exception('list') }}"}}}));
  EXPECT_NE(answer().err.find("conversation: list"), std::string::npos);
  with("{{ raise_exception('text ' ~ bos_token ~ eos_token) }}");
  EXPECT_NE(answer().err.find("conversation: text <|begin_of_text|><|end_of_text|>"), std::string::npos)
      << answer().err;
  core::write_file_atomic(path("m/chat_template.json"), R"({"chat_template": "{{ raise_exception('json') }}"})");
  EXPECT_NE(answer().err.find("conversation: json"), std::string::npos);
  core::write_file_atomic(path("m/chat_template.jinja"), "{{ raise_exception('jinja') }}");
  EXPECT_NE(answer().err.find("conversation: jinja"), std::string::npos);
}

TEST_F(ChatCommandTest, AQuestionThatDoesNotFitIsSaidAndRecorded) {
  const std::string input = "The old house\n" + std::string(400, '?') + "\nThe old house\n";
  const Outcome o = rpt(chat({"--context", "80", "--quiet", "--json", "-"}), input);
  EXPECT_EQ(o.code, 3);
  EXPECT_NE(o.err.find("not asked: the question makes a prompt of"), std::string::npos) << o.err;
  const Json j = Json::parse(o.out);
  ASSERT_EQ(j["answers"].size(), 3U);
  EXPECT_EQ(j["answers"][1]["finish_reason"], "not_asked");
  EXPECT_NE(j["answers"][1]["refused"].get<std::string>().find("the context has 80"), std::string::npos);
  EXPECT_EQ(j["answers"][1]["token_ids"], Json::array());
  EXPECT_EQ(j["answers"][2]["finish_reason"], "length");
  EXPECT_EQ(j["messages"].size(), 4U);
}

TEST_F(ChatCommandTest, LinesOfWindowsAreTheSameQuestions) {
  const Json unix = json(chat(), "The old house\n\n/clear\nAnd then?\n");
  const Json windows = json(chat(), "The old house\r\n\r\n/clear\r\nAnd then?\r\n");
  EXPECT_EQ(windows["messages"], unix["messages"]);
  EXPECT_EQ(windows["answers"].size(), unix["answers"].size());
}

/// The program with lines of text waiting for it, from a file; where it ends by itself, with code 0.
TEST_F(ChatCommandTest, ASignalToEndEndsTheProgramWithinAnAnswer) {
  std::string questions;
  for (int i = 0; i < 2000; ++i) questions += "The old house stood by the sea\n/clear\n";
  core::write_file_atomic(path("questions.txt"), questions);
  const int in = open(path("questions.txt").c_str(), O_RDONLY);
  const pid_t child = start_program(kProgramFolder + "/rpt", {"chat", seedling_, "--template", template_, "-n", "100"},
                                    path("out.txt"), in);
  close(in);
  std::error_code none;
  for (int i = 0; i < 3000; ++i) {
    if (std::filesystem::exists(path("out.txt")) && std::filesystem::file_size(path("out.txt"), none) > 500) break;
    usleep(10'000);
  }
  kill(child, SIGTERM);
  const int status = wait_for(child).status;
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM) << status;
}

TEST_F(ChatCommandTest, SaysThatATerminalCutALine) {
  const int terminal = posix_openpt(O_RDWR | O_NOCTTY);
  ASSERT_GE(terminal, 0) << "a pseudo-terminal is needed: is /dev/pts mounted?";
  ASSERT_EQ(grantpt(terminal), 0);
  ASSERT_EQ(unlockpt(terminal), 0);
  const int in = open(ptsname(terminal), O_RDWR | O_NOCTTY);
  ASSERT_GE(in, 0);
  struct termios quiet {};
  tcgetattr(in, &quiet);
  quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);  // nobody reads it
  tcsetattr(in, TCSANOW, &quiet);
  const pid_t child = start_program(kProgramFolder + "/rpt", chat({"--quiet"}), path("out.txt"), in);
  const std::string input = "/" + std::string(6000, 'x') + "\n/exit\n";
  for (std::size_t at = 0; at < input.size();) {
    const auto written = write(terminal, input.data() + at, std::min<std::size_t>(input.size() - at, 500));
    ASSERT_GT(written, 0);
    at += static_cast<std::size_t>(written);
  }
  EXPECT_EQ(wait_for(child).status, 0);
  close(in);
  close(terminal);
  const std::string out = core::read_file(path("out.txt"));
  EXPECT_NE(out.find("warning: a terminal passes on 4095 bytes of a line"), std::string::npos) << out;
}

TEST_F(ChatCommandTest, ContextOverflowIsSaid) {
  const std::string question = "The old house stood by the sea and nobody had lived there for years";
  const Outcome o = rpt(chat({"--context", "80"}), question + "\n" + question + "\n" + question + "\n");
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_NE(o.err.find("oldest messages were dropped"), std::string::npos) << o.err;
}

}  // namespace
}  // namespace rpt::cli
