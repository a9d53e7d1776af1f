// SPDX-License-Identifier: MIT
#include "rpt/generate/prompt.h"

#include <algorithm>

#include "rpt/core/error.h"

namespace rpt::generate {
namespace {

// Stand around a special token that a message holds: private-use characters, which are taken out of messages first.
constexpr std::string_view kOpen = "\U0010FFF0";
constexpr std::string_view kClose = "\U0010FFF1";

void put_bos(const model::Model& model, Prompt& prompt) {
  // A prompt that begins with a written BOS has one already.
  const bool written = !prompt.ids.empty() && model.bos_id && prompt.ids.front() == *model.bos_id;
  if (model.adds_bos && model.bos_id && !written) prompt.ids.insert(prompt.ids.begin(), *model.bos_id);
}

void append(const model::Model& model, std::string_view text, bool special, Prompt& prompt) {
  if (text.empty()) return;
  std::uint64_t dropped = 0;
  const auto ids = model.vocabulary().encode(text, {.special = special}, &dropped);
  prompt.ids.insert(prompt.ids.end(), ids.begin(), ids.end());
  prompt.dropped_bytes += dropped;
}

}  // namespace

Prompt encode_prompt(const model::Model& model, std::string_view text, const PromptOptions& options) {
  Prompt prompt;
  append(model, text, options.special, prompt);
  if (options.bos) put_bos(model, prompt);
  return prompt;
}

ChatPrompter::ChatPrompter(const model::Model& model, text::ChatTemplate chat_template)
    : model_(model), template_(std::move(chat_template)) {
  const text::Tokenizer& vocabulary = model.vocabulary();
  for (std::int32_t id = 0; id < vocabulary.vocab_size(); ++id) {
    if (vocabulary.type(id) == text::TokenType::control) special_.emplace_back(vocabulary.token_text(id));
  }
  std::stable_sort(special_.begin(), special_.end(), [](const auto& a, const auto& b) { return a.size() > b.size(); });
}

text::RenderOptions ChatPrompter::render_options(bool add_generation_prompt) const {
  text::RenderOptions options;
  options.add_generation_prompt = add_generation_prompt;
  options.bos_token = model_.chat_bos_token;
  options.eos_token = model_.chat_eos_token;
  return options;
}

std::string ChatPrompter::render(std::span<const text::Message> messages, bool add_generation_prompt) const {
  return template_.render(messages, render_options(add_generation_prompt));
}

/// The content with its special tokens between kOpen and kClose.
std::string ChatPrompter::mark(std::string_view content) const {
  std::string out;
  for (std::size_t at = 0; at < content.size();) {
    const std::string_view rest = content.substr(at);
    if (rest.starts_with(kOpen) || rest.starts_with(kClose)) {
      at += kOpen.size();
      continue;
    }
    const auto token =
        std::find_if(special_.begin(), special_.end(), [&](const std::string& s) { return rest.starts_with(s); });
    if (token == special_.end()) {
      out += content[at++];
      continue;
    }
    out.append(kOpen).append(*token).append(kClose);
    at += token->size();
  }
  return out;
}

Prompt ChatPrompter::encode(std::span<const text::Message> messages, bool add_generation_prompt) const {
  std::vector<text::Message> marked;
  for (const text::Message& message : messages) marked.push_back({message.role, mark(message.content)});
  const std::string rendered = render(marked, add_generation_prompt);
  Prompt prompt;
  std::string_view rest = rendered;
  // A template may cut a text at a mark, which then stands alone: what is behind it is the template's again.
  while (!rest.empty()) {
    const std::size_t open = rest.find(kOpen);
    append(model_, rest.substr(0, open), true, prompt);
    if (open == std::string_view::npos) break;
    rest.remove_prefix(open + kOpen.size());
    const std::size_t close = rest.find(kClose);
    append(model_, rest.substr(0, close), false, prompt);
    if (close == std::string_view::npos) break;
    rest.remove_prefix(close + kClose.size());
  }
  put_bos(model_, prompt);
  return prompt;
}

}  // namespace rpt::generate
