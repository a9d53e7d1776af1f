// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "rpt/generate/prompt.h"
#include "rpt/generate/session.h"

namespace rpt::generate {

struct ChatOptions {
  std::string system;        ///< a system message before everything; empty for none
  std::int64_t context = 0;  ///< tokens of conversation and answer together; 0: the model's context
  GenerationOptions generation;
};

/// An answer, and what it took.
struct Answer {
  Generation generation;
  std::int64_t prompt_tokens = 0;     ///< of the whole conversation
  std::int64_t reused_tokens = 0;     ///< of those, tokens that had run for an earlier answer
  std::int64_t dropped_messages = 0;  ///< oldest ones that were dropped to make room
  std::uint64_t dropped_bytes = 0;    ///< bytes of the conversation that have no token
  bool interrupted = false;
};

/// A conversation with a model. Every answer is, token for token, what a new session gives for the rendered
/// conversation; keys and values of what two renderings have in common are kept.
class Chat {
 public:
  /// The model must outlive it. Throws ConfigError for a context or options that make no sense, and for a model without
  /// a vocabulary.
  Chat(const model::Model& model, text::ChatTemplate chat_template, const ChatOptions& options);

  /// Asks, and streams the answer in whole characters. Where conversation and a quarter of the context (or the most
  /// tokens wanted, if that is less) do not fit the context, the oldest turns are dropped, never the system message.
  /// `interrupted` is asked after each block of the prompt, where the conversation is then what it was before, and
  /// after each token, where the answer is kept as far as it came. Throws ConfigError where the template refuses the
  /// conversation or the question alone does not fit; the conversation is then what it was before.
  Answer ask(std::string_view question, const std::function<void(std::string_view)>& stream,
             const std::function<bool()>& interrupted);

  /// Forgets everything but the system message.
  void clear();
  const std::vector<text::Message>& messages() const { return messages_; }
  void set_progress(core::ProgressSink& progress) { session_.set_progress(progress); }

 private:
  Prompt fit(std::vector<text::Message>& messages) const;

  const model::Model& model_;
  ChatPrompter prompter_;
  ChatOptions options_;
  std::int64_t capacity_;
  Session session_;
  std::vector<text::Message> messages_;
};

}  // namespace rpt::generate
