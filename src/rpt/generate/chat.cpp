// SPDX-License-Identifier: MIT
#include "rpt/generate/chat.h"

#include <algorithm>

#include "rpt/core/error.h"

namespace rpt::generate {
namespace {

std::int64_t capacity_of(const model::Model& model, const ChatOptions& options) {
  const std::int64_t most = model.config.context;
  if (options.context < 0 || options.context > most) {
    throw ConfigError(fmt::format("a context of {} tokens; the model has {}", options.context, most));
  }
  return options.context == 0 ? most : options.context;
}

}  // namespace

Chat::Chat(const model::Model& model, text::ChatTemplate chat_template, const ChatOptions& options)
    : model_(model),
      prompter_(model, std::move(chat_template)),
      options_(options),
      capacity_(capacity_of(model, options)),
      session_(model, capacity_, options.generation.sampling) {
  clear();
}

void Chat::clear() {
  messages_.clear();
  if (!options_.system.empty()) messages_.push_back({"system", options_.system});
}

/// Drops the oldest turns, a question with its answer, until the conversation fits.
Prompt Chat::fit(std::vector<text::Message>& messages) const {
  const std::int64_t room = std::min(options_.generation.max_tokens, std::max<std::int64_t>(capacity_ / 4, 1));
  const std::ptrdiff_t first = options_.system.empty() ? 0 : 1;
  while (true) {
    Prompt prompt = prompter_.encode(messages, true);
    if (prompt.ids.empty()) throw ConfigError("the chat template makes an empty text of this conversation");
    if (std::ssize(prompt.ids) + room <= capacity_) return prompt;
    if (std::ssize(messages) < first + 3) {  // only the question is left
      if (std::ssize(prompt.ids) <= capacity_) return prompt;
      throw ConfigError(
          fmt::format("the question makes a prompt of {} tokens, the context has {}", prompt.ids.size(), capacity_));
    }
    messages.erase(messages.begin() + first, messages.begin() + first + 2);
  }
}

Answer Chat::ask(std::string_view question, const std::function<void(std::string_view)>& stream,
                 const std::function<bool()>& interrupted) {
  std::vector<text::Message> messages = messages_;
  messages.push_back({"user", std::string(question)});
  const std::size_t before = messages.size();
  const Prompt prompt = fit(messages);
  Answer answer;
  answer.prompt_tokens = std::ssize(prompt.ids);
  answer.dropped_messages = static_cast<std::int64_t>(before - messages.size());
  answer.dropped_bytes = prompt.dropped_bytes;

  TextWriter writer(model_, options_.generation, stream);
  answer.reused_tokens = session_.restart(prompt.ids);
  answer.interrupted = !session_.read(interrupted);
  if (answer.interrupted) return answer;
  while (writer.wants_more() && writer.accept(session_.next_token())) {
    answer.interrupted = interrupted && interrupted();
    if (answer.interrupted) break;
  }
  answer.generation = writer.finish();
  messages.push_back({"assistant", answer.generation.text});
  messages_ = std::move(messages);
  return answer;
}

}  // namespace rpt::generate
