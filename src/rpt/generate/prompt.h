// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rpt/model/model.h"
#include "rpt/text/chat_template.h"
#include "rpt/text/conversation.h"

namespace rpt::generate {

/// A text as tokens to go on from.
struct Prompt {
  std::vector<std::int32_t> ids;
  std::uint64_t dropped_bytes = 0;  ///< bytes that the vocabulary cannot hold
};

struct PromptOptions {
  bool special = true;  ///< recognise special tokens written in the text
  bool bos = true;      ///< begin with BOS where the model's rule asks for it and the text does not
};

/// The ids of a prompt. Throws: ConfigError for a model without a vocabulary.
Prompt encode_prompt(const model::Model& model, std::string_view text, const PromptOptions& options = {});

/// Conversations as tokens, by a chat template.
///
/// Special tokens are recognised in what the template writes; where a message holds the text of one, that is encoded as
/// plain text, as transformers does with sanitize_control_tokens: nobody can end a turn or begin another role's by
/// typing. A conversation without such texts has the ids of its rendered text, whatever merges across the borders of
/// its messages.
class ChatPrompter {
 public:
  /// The model must outlive it. Throws ConfigError for a model without a vocabulary.
  ChatPrompter(const model::Model& model, text::ChatTemplate chat_template);

  /// The rendered text; special tokens in messages stand in it as they were typed.
  std::string render(std::span<const text::Message> messages, bool add_generation_prompt) const;
  /// Its ids, with BOS as encode_prompt puts it. Throws as ChatTemplate::render.
  Prompt encode(std::span<const text::Message> messages, bool add_generation_prompt) const;

  /// The ids of a whole conversation with the assistant's answers marked, each from what the generation prompt before
  /// it leaves to be said up to the first token that ends a generation, which is marked too. What a token holds from
  /// both sides of that border belongs to the answer where the prompt's side is white space ("Assistant: " and "Yes"
  /// make " Yes").
  /// Throws: as ChatTemplate::render; ConfigError naming the message where the template does not render the
  /// conversation up to an answer, or with it, as a beginning of the whole, and where it puts no end token behind one.
  text::EncodedConversation encode_answers(std::span<const text::Message> messages) const;

 private:
  std::size_t answer_begin(std::span<const std::int32_t> prompt, std::span<const std::int32_t> whole) const;
  std::size_t answer_end(std::span<const std::int32_t> ids, std::size_t begin) const;
  text::RenderOptions render_options(bool add_generation_prompt) const;
  std::string mark(std::string_view content) const;
  std::size_t marked_size(std::string_view text) const;
  void append_template_text(std::string_view text, Prompt& prompt) const;

  const model::Model& model_;
  text::ChatTemplate template_;
  std::vector<std::string> special_;  ///< texts of the control tokens, longest first
};

}  // namespace rpt::generate
