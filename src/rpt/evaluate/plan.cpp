// SPDX-License-Identifier: MIT
#include "rpt/evaluate/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "rpt/core/checked.h"
#include "rpt/core/error.h"
#include "rpt/evaluate/wikitext.h"
#include "rpt/evaluate/windows.h"
#include "rpt/model/token_rows.h"

namespace rpt::evaluate {
namespace {

constexpr std::int64_t kMinContext = 4;
constexpr std::int64_t kFullContext = 2048;
constexpr std::int64_t kLlamaCppContext = 512;

constexpr std::array<std::pair<Protocol, std::string_view>, 4> kNames = {{{Protocol::full, "full"},
                                                                          {Protocol::llama_cpp, "llama.cpp"},
                                                                          {Protocol::legacy, "legacy"},
                                                                          {Protocol::lm_eval, "lm-eval"}}};

struct StreamToken {
  std::int32_t id = 0;
  std::int32_t document = 0;
  std::uint32_t bytes = 0;
  bool read_only = false;  ///< never scored
  bool scored = false;
};

/// Tokens that follow each other; a window lies within one stream.
using Stream = std::vector<StreamToken>;

StreamToken special_token(std::int32_t id, std::int32_t document) {
  return {.id = id, .document = document};
}

void append(Stream& stream, const text::EncodedText& encoded, std::int32_t document) {
  std::uint64_t begin = 0;
  for (std::size_t i = 0; i < encoded.ids.size(); ++i) {
    const auto bytes = core::narrow<std::uint32_t>(encoded.ends[i] - begin);
    stream.push_back({.id = encoded.ids[i], .document = document, .bytes = bytes});
    begin = encoded.ends[i];
  }
}

/// Lays `range` out as a window and marks its tokens as scored. A `first_token` replaces what the window would read
/// first.
void add_window(ScoringPlan& plan, Stream& stream, const WindowRange& range,
                std::optional<std::int32_t> first_token = std::nullopt) {
  Window window;
  bool any = false;
  for (std::int64_t i = range.begin; i + 1 < range.score_end; ++i) {
    StreamToken& next = stream[static_cast<std::size_t>(i + 1)];
    const bool scored = i + 1 >= range.score_begin && !next.read_only;
    window.tokens.push_back(stream[static_cast<std::size_t>(i)].id);
    window.targets.push_back(scored ? next.id : -1);
    if (!scored) continue;
    any = next.scored = true;
    plan.scored.push_back({next.id, next.document, next.bytes});
  }
  if (first_token) window.tokens.front() = *first_token;
  if (any) plan.windows.push_back(std::move(window));
}

/// Words of `text` whose first byte a scored token covers. `stream` holds the text's tokens from `first_token` on.
std::uint64_t count_scored_words(std::string_view text, const Stream& stream, std::size_t first_token) {
  std::uint64_t count = 0;
  std::size_t token = first_token;
  std::uint64_t begin = 0;  // of the bytes that `token` covers
  for (const std::uint64_t start : word_starts(text)) {
    while (token < stream.size() && begin + stream[token].bytes <= start) begin += stream[token++].bytes;
    if (token == stream.size()) break;
    if (stream[token].scored) ++count;
  }
  return count;
}

/// The options with every default in place.
struct Settled {
  std::int64_t context = 0;
  std::int64_t stride = 0;
  bool bos = false;
};

Settled settle(const TextModel& model, const ProtocolOptions& options) {
  const auto refuse = [&](const std::string& why) {
    throw ConfigError(fmt::format("protocol {}: {}", name(options.protocol), why));
  };
  const Protocol protocol = options.protocol;
  Settled settled;
  settled.context = options.context == 0 ? default_context(protocol, model.context) : options.context;
  if (protocol == Protocol::legacy && settled.context != kLegacyChunk) refuse("its context is 128");
  if (settled.context < kMinContext || settled.context > model.context) {
    refuse(fmt::format("a context of {} tokens; {} to the model's {} can be had", settled.context, kMinContext,
                       model.context));
  }
  if (protocol != Protocol::full && options.stride != 0) refuse("it has no stride");
  settled.stride = options.stride == 0 ? settled.context / 2 : options.stride;
  if (settled.stride < 1 || settled.stride >= settled.context) {
    refuse(fmt::format("a stride of {} tokens; 1 to {} (the context less one) can be had", settled.stride,
                       settled.context - 1));
  }
  const bool by_vocabulary = protocol == Protocol::full || protocol == Protocol::llama_cpp;
  settled.bos = options.bos.value_or(by_vocabulary && model.adds_bos);
  if (settled.bos && protocol == Protocol::legacy) refuse("it takes no BOS");
  if (settled.bos && !model.bos_id) refuse("the model has no BOS token");
  return settled;
}

/// What is said where no token is scored.
struct Tokens {
  std::size_t total = 0;
  std::int64_t least = 2;
};

Tokens plan_full(ScoringPlan& plan, const text::Corpus& corpus, const TextModel& model, const Settled& settled) {
  Tokens tokens;
  for (std::size_t d = 0; d < corpus.documents.size(); ++d) {
    const std::string& document = corpus.documents[d];
    const auto number = static_cast<std::int32_t>(d);
    const text::EncodedText encoded = model.encode(document);
    Stream stream;
    if (settled.bos) stream.push_back(special_token(*model.bos_id, number));
    const std::size_t first = stream.size();
    append(stream, encoded, number);
    if (corpus.unk_is_unknown) {
      const auto unknown = text::tokens_overlapping(encoded.ends, text::unk_ranges(document));
      for (std::size_t i = 0; i < unknown.size(); ++i) stream[first + i].read_only = unknown[i] != 0;
    }
    for (const WindowRange& range : full_windows(std::ssize(stream), settled.context, settled.stride)) {
      add_window(plan, stream, range);
    }
    plan.words += count_scored_words(document, stream, first);
    tokens.total += stream.size();
  }
  return tokens;
}

Tokens plan_llama_cpp(ScoringPlan& plan, const text::Corpus& corpus, const TextModel& model, const Settled& settled) {
  std::string whole;
  std::vector<std::uint64_t> document_ends;
  for (const std::string& document : corpus.documents) {
    if (!whole.empty() && !whole.ends_with('\n')) whole += '\n';
    whole += document;
    document_ends.push_back(whole.size());
  }
  Stream stream;
  if (settled.bos) stream.push_back(special_token(*model.bos_id, 0));
  const std::size_t first = stream.size();
  append(stream, model.encode(whole), 0);
  std::uint64_t begin = 0;
  std::size_t document = 0;
  for (std::size_t i = first; i < stream.size(); ++i) {
    while (document + 1 < document_ends.size() && document_ends[document] <= begin) ++document;
    stream[i].document = static_cast<std::int32_t>(document);
    begin += stream[i].bytes;
  }
  for (const WindowRange& range : llama_cpp_windows(std::ssize(stream), settled.context)) {
    add_window(plan, stream, range, settled.bos ? model.bos_id : std::nullopt);
  }
  plan.words = count_scored_words(whole, stream, first);
  return {stream.size(), settled.context};
}

Tokens plan_legacy(ScoringPlan& plan, const text::Corpus& corpus, const TextModel& model) {
  // Chunks run across lines, so that words can be counted only when all lines are there.
  struct Line {
    std::string_view text;
    std::size_t first_token;
  };
  Stream stream;
  std::vector<Line> lines;
  for (std::size_t d = 0; d < corpus.documents.size(); ++d) {
    for (const std::string_view line : legacy_lines(corpus.documents[d])) {
      lines.push_back({line, stream.size()});
      append(stream, model.encode(line), static_cast<std::int32_t>(d));
    }
  }
  for (const WindowRange& range : legacy_windows(std::ssize(stream))) add_window(plan, stream, range);
  for (const Line& line : lines) plan.words += count_scored_words(line.text, stream, line.first_token);
  return {stream.size(), kLegacyChunk + 1};
}

Tokens plan_lm_eval(ScoringPlan& plan, const text::Corpus& corpus, const TextModel& model, const Settled& settled) {
  const std::optional<std::int32_t> prefix = model.bos_id ? model.bos_id : model.eos_id;
  if (!prefix) throw ConfigError("protocol lm-eval: the model has neither a BOS nor an end token to begin a page with");
  Tokens tokens;
  const std::vector<std::string> pages = lm_eval_pages(corpus.documents);
  for (std::size_t d = 0; d < pages.size(); ++d) {
    const auto number = static_cast<std::int32_t>(d);
    Stream stream = {special_token(*prefix, number)};
    if (settled.bos) stream.push_back(special_token(*model.bos_id, number));
    append(stream, model.encode(lm_eval_detokenise(pages[d])), number);
    for (const WindowRange& range : lm_eval_windows(std::ssize(stream), settled.context)) {
      add_window(plan, stream, range);
    }
    plan.words += count_split(pages[d]);
    plan.bytes += pages[d].size();
    tokens.total += stream.size();
  }
  return tokens;
}

}  // namespace

std::string_view name(Protocol protocol) {
  for (const auto& [value, text] : kNames) {
    if (value == protocol) return text;
  }
  RPT_CHECK(false, "protocol {}", static_cast<int>(protocol));
}

Protocol parse_protocol(std::string_view protocol_name) {
  for (const auto& [value, text] : kNames) {
    if (text == protocol_name) return value;
  }
  throw ConfigError(
      fmt::format("unknown protocol \"{}\"; there are full, llama.cpp, legacy and lm-eval", protocol_name));
}

std::int64_t default_context(Protocol protocol, std::int64_t model_context) {
  switch (protocol) {
    case Protocol::full:
      return std::min(kFullContext, model_context);
    case Protocol::llama_cpp:
      return std::min(kLlamaCppContext, model_context);
    case Protocol::legacy:
      return kLegacyChunk;
    case Protocol::lm_eval:
      return model_context;
  }
  RPT_CHECK(false, "protocol {}", static_cast<int>(protocol));
}

TextModel text_model(const model::Model& model) {
  const text::Tokenizer& vocabulary = model.vocabulary();
  TextModel result;
  result.encode = [&model, &vocabulary](std::string_view text) {
    text::EncodedText encoded = vocabulary.encode_with_offsets(text);
    model::require_rows(model, encoded.ids);
    return encoded;
  };
  result.adds_bos = model.adds_bos;
  result.bos_id = model.bos_id;
  if (!model.end_ids.empty()) result.eos_id = model.end_ids.front();
  result.context = model.config.context;
  return result;
}

std::int64_t ScoringPlan::tokens_read() const {
  std::int64_t tokens = 0;
  for (const Window& window : windows) tokens += std::ssize(window.tokens);
  return tokens;
}

ScoringPlan plan_scoring(const text::Corpus& corpus, const TextModel& model, const ProtocolOptions& options) {
  const Settled settled = settle(model, options);
  ScoringPlan plan;
  plan.documents = std::ssize(corpus.documents);
  Tokens tokens;
  switch (options.protocol) {
    case Protocol::full:
      tokens = plan_full(plan, corpus, model, settled);
      break;
    case Protocol::llama_cpp:
      tokens = plan_llama_cpp(plan, corpus, model, settled);
      break;
    case Protocol::legacy:
      tokens = plan_legacy(plan, corpus, model);
      break;
    case Protocol::lm_eval:
      tokens = plan_lm_eval(plan, corpus, model, settled);
      break;
  }
  if (plan.scored.empty()) {
    throw ConfigError(fmt::format("protocol {}: the text has {} tokens and none can be scored (it takes at least {})",
                                  name(options.protocol), tokens.total, tokens.least));
  }
  if (options.protocol != Protocol::lm_eval) {
    for (const ScoredToken& token : plan.scored) plan.bytes += token.bytes;
  }
  return plan;
}

ScoringPlan plan_conversations(std::span<const text::EncodedConversation> conversations, const model::Model& model) {
  const text::Tokenizer& vocabulary = model.vocabulary();
  const std::int64_t context = std::min(kFullContext, model.config.context);
  ScoringPlan plan;
  plan.documents = std::ssize(conversations);
  for (std::size_t d = 0; d < conversations.size(); ++d) {
    const text::EncodedConversation& conversation = conversations[d];
    Stream stream;
    for (std::size_t i = 0; i < conversation.ids.size(); ++i) {
      StreamToken token = special_token(conversation.ids[i], static_cast<std::int32_t>(d));
      token.read_only = conversation.is_answer[i] == 0;
      if (!token.read_only && !vocabulary.is_special(token.id)) {
        token.bytes = core::narrow<std::uint32_t>(vocabulary.piece(token.id).size());
      }
      stream.push_back(token);
    }
    for (const WindowRange& range : full_windows(std::ssize(stream), context, context / 2)) {
      add_window(plan, stream, range);
    }
  }
  if (plan.scored.empty()) throw ConfigError("the conversations have no answer that can be scored");
  for (const ScoredToken& token : plan.scored) plan.bytes += token.bytes;
  return plan;
}

}  // namespace rpt::evaluate
