// SPDX-License-Identifier: MIT
#include "rpt/generate/session.h"

#include <algorithm>

#include "rpt/core/error.h"
#include "rpt/core/trace.h"

namespace rpt::generate {
Session::Session(const model::Model& model, std::int64_t capacity, const SamplingOptions& sampling)
    : decoder_(model.config, model.weights), cache_(model.config, capacity), sampling_(sampling), sampler_(sampling) {}

void Session::append(std::span<const std::int32_t> tokens) {
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
}

std::int64_t Session::restart(std::span<const std::int32_t> tokens) {
  if (tokens.empty()) throw ShapeError("restart: no token to go on from");
  const auto known = std::span(tokens_).first(std::min(tokens_.size(), static_cast<std::size_t>(cache_.size())));
  const auto kept = std::mismatch(known.begin(), known.end(), tokens.begin(), tokens.end()).first - known.begin();
  // The last token runs again: the logits behind it are what the next one is chosen from.
  cache_.truncate(std::min<std::int64_t>(kept, std::ssize(tokens) - 1));
  tokens_.assign(tokens.begin(), tokens.end());
  sampler_ = Sampler(sampling_);
  return cache_.size();
}

/// Feeds the decoder block by block; hidden_ ends with the state of the last token.
bool Session::read(const std::function<bool()>& interrupted) {
  const auto pending = std::span(tokens_).subspan(static_cast<std::size_t>(cache_.size()));
  constexpr auto kBlock = static_cast<std::size_t>(model::Decoder::kBlockRows);
  const bool report = pending.size() > kBlock;
  bool stopped = false;
  if (report) progress_->begin(pending.size(), "tokens", "reading the prompt");
  for (std::size_t begin = 0; begin < pending.size() && !stopped; begin += kBlock) {
    const auto block = pending.subspan(begin, std::min(kBlock, pending.size() - begin));
    decoder_.forward(block, cache_, hidden_);
    if (report) progress_->advance(block.size());
    stopped = begin + kBlock < pending.size() && interrupted && interrupted();
  }
  if (report) progress_->finish();
  return !stopped;
}

std::optional<std::int32_t> Session::next_token() {
  const core::ScopedTrace trace("generate::Session::next_token");
  if (tokens_.empty()) throw ShapeError("next_token: no token to go on from");
  if (std::cmp_greater(tokens_.size(), cache_.capacity())) return std::nullopt;
  read();
  logits_.reshape(1, decoder_.config().vocabulary);
  decoder_.logits(hidden_.view().slice(hidden_.rows() - 1, hidden_.rows()), logits_.view());
  const std::int32_t token = sampler_.sample(logits(), tokens_);
  tokens_.push_back(token);
  return token;
}

std::string_view name(FinishReason reason) {
  switch (reason) {
    case FinishReason::end_of_text:
      return "end_of_text";
    case FinishReason::stop:
      return "stop";
    case FinishReason::length:
      return "length";
    case FinishReason::context_full:
      return "context_full";
  }
  return "?";
}

TextWriter::TextWriter(const model::Model& model, const GenerationOptions& options,
                       std::function<void(std::string_view)> stream)
    : model_(model), vocabulary_(model.vocabulary()), options_(options), stream_(std::move(stream)) {
  if (options.max_tokens < 0)
    throw ConfigError(fmt::format("{} tokens to generate, expected at least 0", options.max_tokens));
  for (const std::string& stop : options.stop) {
    if (stop.empty()) throw ConfigError("a stop text is empty");
  }
}

bool TextWriter::accept(std::optional<std::int32_t> token) {
  if (first_) {
    result_.prompt_seconds = watch_.seconds();
    first_ = false;
  } else if (token) {
    ++result_.timed_tokens;
  }
  if (!token) {
    result_.reason = FinishReason::context_full;
    return false;
  }
  if (std::find(model_.end_ids.begin(), model_.end_ids.end(), *token) != model_.end_ids.end()) {
    result_.reason = FinishReason::end_of_text;
    return false;
  }
  result_.token_ids.push_back(*token);
  // A row of the embedding that no token of the vocabulary names has no text.
  if (*token < vocabulary_.vocab_size()) {
    const bool starts = options_.at_start && result_.token_ids.size() == 1;
    held_ += utf8_.push(starts ? vocabulary_.decode({&*token, 1}) : vocabulary_.piece(*token));
  }
  return !settle();
}

Generation TextWriter::finish() {
  result_.generation_seconds = first_ ? 0 : watch_.seconds() - result_.prompt_seconds;
  if (result_.reason != FinishReason::stop) {
    held_ += utf8_.finish();
    if (!settle()) give(held_.size());
  }
  return std::move(result_);
}

/// Gives out what cannot belong to a stop text. Returns true once one has appeared; it and what follows are dropped.
bool TextWriter::settle() {
  std::size_t first = std::string::npos;
  for (const std::string& stop : options_.stop) first = std::min(first, held_.find(stop));
  if (first != std::string::npos) {
    give(first);
    held_.clear();
    result_.reason = FinishReason::stop;
    return true;
  }
  give(held_.size() - possible_start());
  return false;
}

/// Length of the longest end of held_ that begins a stop text.
std::size_t TextWriter::possible_start() const {
  std::size_t longest = 0;
  for (const std::string& stop : options_.stop) {
    for (std::size_t n = std::min(stop.size() - 1, held_.size()); n > longest; --n) {
      if (std::string_view(held_).ends_with(std::string_view(stop).substr(0, n))) longest = n;
    }
  }
  return longest;
}

void TextWriter::give(std::size_t count) {
  if (count == 0) return;
  if (stream_) stream_(std::string_view(held_).substr(0, count));
  result_.text.append(held_, 0, count);
  held_.erase(0, count);
}

std::int64_t room_for(const model::Model& model, std::int64_t prompt_tokens, const GenerationOptions& options) {
  const std::int64_t context = model.config.context;
  if (prompt_tokens < 1) throw ConfigError("the prompt is empty and the model puts no BOS before it");
  if (prompt_tokens > context) {
    throw ConfigError(fmt::format("the prompt of {} tokens is longer than the context of {}", prompt_tokens, context));
  }
  return prompt_tokens + std::min(context - prompt_tokens, options.max_tokens);
}

}  // namespace rpt::generate
