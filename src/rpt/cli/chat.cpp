// SPDX-License-Identifier: MIT
#include <fmt/format.h>
#include <unistd.h>

#include <iostream>
#include <optional>

#include "rpt/cli/context.h"
#include "rpt/cli/conversations.h"
#include "rpt/cli/sampling_options.h"
#include "rpt/cli/stop_signals.h"
#include "rpt/core/error.h"
#include "rpt/generate/chat.h"
#include "rpt/text/utf8.h"

namespace rpt::cli {
namespace {

constexpr std::string_view kHelp =
    "/clear forgets the conversation, /exit ends, /help says this; everything else is a question\n";

/// Bytes of a line that a terminal in canonical mode passes on: those of N_TTY_BUF_SIZE but for the line feed. It drops
/// the rest and says nothing.
constexpr std::size_t kTerminalLine = 4095;

struct ChatCommand {
  std::string model;
  std::string question;
  std::string template_file;
  generate::ChatOptions chat;
};

/// A conversation at a terminal, or with whoever else writes lines.
class Talk {
 public:
  Talk(const ChatCommand& options, Context& context)
      : options_(options),
        context_(context),
        model_(open_model(options.model, context)),
        chat_(*model_, open_chat_template(*model_, options.template_file), options.chat),
        at_terminal_(&context.in() == &std::cin && isatty(STDIN_FILENO) == 1) {
    chat_.set_progress(context.progress());
  }

  int run() {
    if (!options_.question.empty()) {
      ask(options_.question);
    } else {
      if (at_terminal_) context_.say("/help says what there is besides questions");
      std::string line;
      while (read(line) && take(line)) {
      }
    }
    write_json();
    // Nobody sees a message in a pipe.
    constexpr int kBadInput = 3;
    return all_asked_ || at_terminal_ ? 0 : kBadInput;
  }

 private:
  bool read(std::string& line) {
    if (at_terminal_) context_.out() << "> " << std::flush;
    if (std::getline(context_.in(), line)) {
      if (at_terminal_ && line.size() >= kTerminalLine) {
        context_.say_always(fmt::format(
            "warning: a terminal passes on {} bytes of a line, the rest was lost; -p or a pipe takes longer questions",
            kTerminalLine));
      }
      if (line.ends_with('\r')) line.pop_back();  // lines of Windows
      return true;
    }
    if (at_terminal_) context_.out() << '\n';
    return false;
  }

  /// False where the conversation ends.
  bool take(const std::string& line) {
    if (line == "/exit") return false;
    if (line == "/clear") {
      chat_.clear();
    } else if (line == "/help") {
      context_.out() << kHelp;
    } else if (line.starts_with('/')) {
      context_.say(fmt::format("no command {}; {}", text::for_message(line), kHelp.substr(0, kHelp.size() - 1)));
    } else if (!line.empty()) {
      try {
        ask(line);
      } catch (const ConfigError& e) {
        context_.say_always(one_line(fmt::format("not asked: {}", e.what())));
        record_not_asked(e.what());
      }
    }
    return true;
  }

  void ask(const std::string& question) {
    const StopSignals signals(StopSignals::Of::interrupt);
    const generate::Answer answer = chat_.ask(
        question, [&](std::string_view text) { context_.out() << text << std::flush; }, StopSignals::asked);
    context_.out() << std::endl;
    report(answer);
  }

  void report(const generate::Answer& answer) {
    const generate::Generation& g = answer.generation;
    if (answer.dropped_messages > 0) {
      context_.say(fmt::format("the context is full: the {} oldest messages were dropped", answer.dropped_messages));
    }
    if (answer.dropped_bytes > 0) {
      context_.say(
          fmt::format("warning: {} bytes of the conversation have no token and were dropped", answer.dropped_bytes));
    }
    if (answer.interrupted) {
      context_.say("interrupted");
    } else if (g.reason == generate::FinishReason::context_full) {
      context_.say("the context is full: the answer ends here");
    } else if (g.reason == generate::FinishReason::length) {
      context_.say(fmt::format("the answer ends after {} tokens (-n)", g.token_ids.size()));
    }
    const auto generation_rate = rate(g.timed_tokens, g.generation_seconds);
    context_.detail(fmt::format("{} tokens, {} of them from before, {} generated{}", answer.prompt_tokens,
                                answer.reused_tokens, g.token_ids.size(),
                                generation_rate ? fmt::format(" at {:.1f}/s", *generation_rate) : ""));
    answers_.push_back(record_of(answer, answer.interrupted ? "interrupted" : generate::name(g.reason)));
  }

  void record_not_asked(const std::string& why) {
    all_asked_ = false;
    report::Record r = record_of({}, "not_asked");
    r.set("refused", why);
    answers_.push_back(std::move(r));
  }

  static report::Record record_of(const generate::Answer& answer, std::string_view reason) {
    const generate::Generation& g = answer.generation;
    report::Record r;
    r.set("text", g.text);
    r.set("prompt_tokens", answer.prompt_tokens);
    r.set("reused_tokens", answer.reused_tokens);
    r.set("generated_tokens", g.token_ids.size());
    r.set("token_ids", std::vector<std::int64_t>(g.token_ids.begin(), g.token_ids.end()));
    r.set("finish_reason", reason);
    r.set("dropped_messages", answer.dropped_messages);
    r.set("prompt_tokens_per_second", rate(answer.prompt_tokens - answer.reused_tokens, g.prompt_seconds));
    r.set("generation_tokens_per_second", rate(g.timed_tokens, g.generation_seconds));
    return r;
  }

  void write_json() const {
    std::vector<report::Record> messages;
    for (const text::Message& m : chat_.messages()) {
      report::Record r;
      r.set("role", m.role);
      r.set("content", m.content);
      messages.push_back(std::move(r));
    }
    report::Record figures;
    figures.set("messages", std::move(messages));
    figures.set("answers", answers_);
    context_.write_json("chat", options_.model, figures);
  }

  const ChatCommand& options_;
  Context& context_;
  std::unique_ptr<model::Model> model_;
  generate::Chat chat_;
  bool at_terminal_;
  bool all_asked_ = true;
  std::vector<report::Record> answers_;
};

int run_chat(ChatCommand options, Context& context) {
  options.chat.generation.sampling.seed = context.common.seed;
  return Talk(options, context).run();
}

}  // namespace

Command add_chat(CLI::App& program) {
  auto options = std::make_shared<ChatCommand>();
  CLI::App* app = program.add_subcommand("chat", "Talk with a model, by its own chat template");
  auto& chat = options->chat;
  chat.generation.max_tokens = 512;
  app->add_option("MODEL", options->model, "Hugging Face directory, .gguf file, or name of an embedded model")
      ->required();
  app->add_option("-p,--prompt", options->question, "One question; without it, questions are lines of standard input")
      ->check(check_not_empty);
  app->add_option("--template", options->template_file, "Chat template (Jinja) in place of the model's own")
      ->check(check_not_empty)
      ->type_name("FILE");
  app->add_option("--system", chat.system, "System message before the conversation");
  app->add_option("--context", chat.context, "Tokens of conversation and answer together (0: the model's context)")
      ->check(check_whole_number)
      ->capture_default_str();
  add_sampling_options(*app, chat.generation);
  app->footer(
      "Ctrl-C stops an answer. Special tokens written in a message are read as plain text.\n"
      "Example:\n  rpt chat model.gguf --system \"Answer briefly\" -p \"Who was Archimedes?\"");
  return {app, [options](Context& context) { return run_chat(*options, context); }};
}

}  // namespace rpt::cli
