// SPDX-License-Identifier: MIT
#include "rpt/generate/prompt.h"

#include <algorithm>

#include "rpt/core/error.h"
#include "rpt/model/token_rows.h"
#include "rpt/text/utf8.h"

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

/// The most that `common`(token) finds of a token; 0 where that is a whole one.
template <typename Common>
std::size_t longest_part(const std::vector<std::string>& tokens, Common&& common) {
  std::size_t longest = 0;
  for (const std::string& token : tokens) {
    const auto found = static_cast<std::size_t>(common(token));
    if (found == token.size()) return 0;
    longest = std::max(longest, found);
  }
  return longest;
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
  model::require_rows(model, prompt.ids);
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
  std::string plain;  // first, so that no token comes about by taking a mark out
  for (std::size_t at = 0; at < content.size();) {
    const std::string_view rest = content.substr(at);
    if (rest.starts_with(kOpen) || rest.starts_with(kClose)) {
      at += kOpen.size();
    } else {
      plain += content[at++];
    }
  }
  std::string out;
  for (std::size_t at = 0; at < plain.size();) {
    const std::string_view rest = std::string_view(plain).substr(at);
    const auto token =
        std::find_if(special_.begin(), special_.end(), [&](const std::string& s) { return rest.starts_with(s); });
    if (token == special_.end()) {
      out += plain[at++];
      continue;
    }
    out.append(kOpen).append(*token).append(kClose);
    at += token->size();
  }
  return out;
}

/// How much of a text behind kOpen is what a message held. A template may cut a message within a special token, so that
/// the mark has no end: then it is as much as begins one. A whole token there is the template's own, for templates
/// split messages at special tokens, and none cuts between a token and the end of its mark.
std::size_t ChatPrompter::marked_size(std::string_view text) const {
  const std::size_t close = text.find(kClose);
  const std::string_view whole = text.substr(0, close);
  const auto is_in = [](std::string_view where) {
    return [where](const std::string& s) { return where.find(s) != std::string_view::npos; };
  };
  const bool closed = close != std::string_view::npos && whole.find(kOpen) == std::string_view::npos;
  // What holds a special token further on goes beyond one mark.
  if (closed && (std::find(special_.begin(), special_.end(), whole) != special_.end() ||
                 std::none_of(special_.begin(), special_.end(), is_in(whole)))) {
    return close;
  }
  return longest_part(special_, [&](const std::string& s) {
    return std::mismatch(text.begin(), text.end(), s.begin(), s.end()).first - text.begin();
  });
}

/// Text of the template's, special tokens recognised. The end of a mark in it is one whose beginning a template cut
/// off: what stands before it and is the end of a special token, not a whole one, is from a message.
void ChatPrompter::append_template_text(std::string_view text, Prompt& prompt) const {
  for (std::size_t close; (close = text.find(kClose)) != std::string_view::npos;) {
    const std::string_view before = text.substr(0, close);
    const std::size_t marked = longest_part(special_, [&](const std::string& s) {
      return std::mismatch(before.rbegin(), before.rend(), s.rbegin(), s.rend()).first - before.rbegin();
    });
    append(model_, before.substr(0, close - marked), true, prompt);
    append(model_, before.substr(close - marked), false, prompt);
    text.remove_prefix(close + kClose.size());
  }
  append(model_, text, true, prompt);
}

Prompt ChatPrompter::encode(std::span<const text::Message> messages, bool add_generation_prompt) const {
  std::vector<text::Message> marked;
  for (const text::Message& message : messages) marked.push_back({message.role, mark(message.content)});
  const std::string rendered = render(marked, add_generation_prompt);
  Prompt prompt;
  std::string_view rest = rendered;
  while (!rest.empty()) {
    const std::size_t open = rest.find(kOpen);
    append_template_text(rest.substr(0, open), prompt);
    if (open == std::string_view::npos) break;
    rest.remove_prefix(open + kOpen.size());
    const std::size_t plain = marked_size(rest);
    append(model_, rest.substr(0, plain), false, prompt);
    rest.remove_prefix(plain);
    if (rest.starts_with(kClose)) rest.remove_prefix(kClose.size());
  }
  put_bos(model_, prompt);
  model::require_rows(model_, prompt.ids);
  return prompt;
}

/// Where the answer to a prompt begins in the ids of the whole conversation.
std::size_t ChatPrompter::answer_begin(std::span<const std::int32_t> prompt,
                                       std::span<const std::int32_t> whole) const {
  const text::Tokenizer& vocabulary = model_.vocabulary();
  const auto parting = std::mismatch(prompt.begin(), prompt.end(), whole.begin(), whole.end());
  const auto begin = static_cast<std::size_t>(parting.first - prompt.begin());
  if (begin == prompt.size()) return begin;
  std::string rest;
  for (const std::int32_t id : prompt.subspan(begin)) rest += vocabulary.piece(id);
  const bool is_space = rest.find_first_not_of(" \t\r\n") == std::string::npos;
  const std::string across = begin < whole.size() ? vocabulary.piece(whole[begin]) : "";
  if (is_space && across.size() > rest.size() && across.starts_with(rest)) return begin;
  const std::size_t shown = std::min<std::size_t>(whole.size() - begin, 16);
  throw ConfigError(fmt::format(
      "the chat template renders what comes before it as no beginning of the whole conversation: \"{}\" becomes \"{}\"",
      text::for_message(rest), text::for_message(vocabulary.decode(whole.subspan(begin, shown)))));
}

/// Behind the first token from `begin` on that ends a generation.
std::size_t ChatPrompter::answer_end(std::span<const std::int32_t> ids, std::size_t begin) const {
  const auto end = std::find_first_of(ids.begin() + static_cast<std::ptrdiff_t>(begin), ids.end(),
                                      model_.end_ids.begin(), model_.end_ids.end());
  if (end == ids.end()) {
    throw ConfigError("the chat template puts no end token behind it: the model could not learn to stop");
  }
  return static_cast<std::size_t>(end - ids.begin()) + 1;
}

text::EncodedConversation ChatPrompter::encode_answers(std::span<const text::Message> messages) const {
  Prompt whole = encode(messages, false);
  text::EncodedConversation out;
  out.is_answer.assign(whole.ids.size(), 0);
  out.dropped_bytes = whole.dropped_bytes;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    if (messages[i].role != "assistant") continue;
    try {
      const std::size_t begin = answer_begin(encode(messages.first(i), true).ids, whole.ids);
      const std::vector<std::int32_t> with_answer = encode(messages.first(i + 1), false).ids;
      const std::size_t end = answer_end(with_answer, std::min(begin, with_answer.size()));
      if (end > whole.ids.size() ||
          !std::equal(with_answer.begin(), with_answer.begin() + static_cast<std::ptrdiff_t>(end), whole.ids.begin())) {
        throw ConfigError("the chat template renders it in another way where the conversation goes on behind it");
      }
      std::fill(out.is_answer.begin() + static_cast<std::ptrdiff_t>(begin),
                out.is_answer.begin() + static_cast<std::ptrdiff_t>(end), std::uint8_t{1});
    } catch (const ConfigError& e) {
      throw ConfigError(fmt::format("message {} (assistant): {}", i + 1, e.what()));
    }
  }
  out.ids = std::move(whole.ids);
  return out;
}

}  // namespace rpt::generate
