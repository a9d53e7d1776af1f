// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rpt/core/progress.h"
#include "rpt/core/timer.h"
#include "rpt/generate/sampler.h"
#include "rpt/model/decoder.h"
#include "rpt/model/model.h"
#include "rpt/text/utf8.h"

namespace rpt::generate {

/// One text in the making: a decoder, its cache, and a sampler.
class Session {
 public:
  /// Room for `capacity` tokens, prompt included; at most the model's context. The model must outlive the session.
  /// Throws: ConfigError for a capacity or sampling option that makes no sense.
  Session(const model::Model& model, std::int64_t capacity, const SamplingOptions& sampling);

  /// Appends tokens (a prompt); they run at the next call of next_token().
  void append(std::span<const std::int32_t> tokens);

  /// Begins another text. Of what stands there already, the start that both have in common is kept, and only the rest
  /// of `tokens` (not empty) runs at the next call of next_token(); the sampler begins anew, so that the same tokens
  /// follow as in a new session. Returns the number of tokens that need not run again.
  std::int64_t restart(std::span<const std::int32_t> tokens);

  /// Where a long prompt reports how far it is; null_progress() unless set. The sink must outlive the session.
  void set_progress(core::ProgressSink& progress) { progress_ = &progress; }

  /// Runs what was appended. `interrupted` is asked between blocks of it; returns false where it says so, and what has
  /// run by then need not run again. Throws: as Decoder::forward; ShapeError for more tokens than there is room for.
  bool read(const std::function<bool()>& interrupted = {});

  /// Runs what was appended, chooses the next token and appends it. Nothing when no position is left for it to be
  /// chosen after. Throws: as Decoder::forward; ShapeError where nothing was appended before the first call.
  std::optional<std::int32_t> next_token();

  /// Everything appended so far, chosen tokens included.
  std::span<const std::int32_t> tokens() const { return tokens_; }
  /// Logits [V] that the last token was chosen from.
  std::span<const float> logits() const { return {logits_.data(), static_cast<std::size_t>(logits_.columns())}; }

 private:
  model::Decoder decoder_;
  model::KvCache cache_;
  core::ProgressSink* progress_ = &core::null_progress();
  SamplingOptions sampling_;
  Sampler sampler_;
  std::vector<std::int32_t> tokens_;
  tensor::Tensor hidden_;
  tensor::Tensor logits_;
};

/// Why a text ended.
enum class FinishReason : std::uint8_t {
  end_of_text,   ///< the model chose one of its end ids
  stop,          ///< a stop text appeared
  length,        ///< as many tokens as wanted
  context_full,  ///< no position is left
};

/// "end_of_text", "stop", "length", "context_full".
std::string_view name(FinishReason reason);

struct GenerationOptions {
  std::int64_t max_tokens = 128;
  std::vector<std::string> stop;  ///< texts that end the generation; they are not given out
  SamplingOptions sampling;
  bool at_start =
      false;  ///< nothing stands before but BOS: the space that SentencePiece puts before a text is left out
};

struct Generation {
  std::string text;                     ///< whole characters, without a stop text
  std::vector<std::int32_t> token_ids;  ///< chosen tokens, without the end id
  FinishReason reason = FinishReason::length;
  double prompt_seconds = 0;      ///< until the first token was chosen
  double generation_seconds = 0;  ///< for the tokens after the first
  std::int64_t timed_tokens = 0;  ///< tokens chosen within generation_seconds
};

/// What becomes of chosen tokens: whole characters of text, until a stop rule ends it.
///
///     Session session(model, room_for(model, prompt.size(), options), options.sampling);
///     session.append(prompt);
///     TextWriter writer(model, options, stream);
///     while (writer.wants_more() && writer.accept(session.next_token())) {}
///     const Generation result = writer.finish();
class TextWriter {
 public:
  /// `stream` receives the text in whole UTF-8 characters as it is made; what might begin a stop text is held back
  /// until that is known. Throws: ConfigError for options that make no sense or a model without a vocabulary.
  TextWriter(const model::Model& model, const GenerationOptions& options, std::function<void(std::string_view)> stream);

  /// False once as many tokens were accepted as wanted.
  bool wants_more() const { return std::cmp_less(result_.token_ids.size(), options_.max_tokens); }
  /// Takes a token, or nothing where the context is full. Returns false where the text ends with it.
  bool accept(std::optional<std::int32_t> token);
  /// Gives out what was held back. Call once.
  Generation finish();

 private:
  bool settle();
  std::size_t possible_start() const;
  void give(std::size_t count);

  const model::Model& model_;
  const text::Tokenizer& vocabulary_;
  const GenerationOptions options_;
  std::function<void(std::string_view)> stream_;
  text::Utf8Stream utf8_;
  std::string held_;
  Generation result_;
  core::Stopwatch watch_;
  bool first_ = true;
};

/// Positions that a session needs to go on from `prompt_tokens` tokens under `options`.
/// Throws: ConfigError for an empty prompt, or one that is longer than the context.
std::int64_t room_for(const model::Model& model, std::int64_t prompt_tokens, const GenerationOptions& options);

}  // namespace rpt::generate
