// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "rpt/model/model.h"
#include "rpt/text/conversation.h"
#include "rpt/text/corpus.h"
#include "rpt/text/tokenizer.h"

namespace rpt::evaluate {

/// How a text is read and which of its tokens are scored; docs/cli.md defines each.
enum class Protocol : std::uint8_t { full, llama_cpp, legacy, lm_eval };

/// The name on the command line: "full", "llama.cpp", "legacy", "lm-eval".
std::string_view name(Protocol protocol);
/// The protocol of a name. Throws ConfigError.
Protocol parse_protocol(std::string_view protocol_name);

/// Tokens of a protocol's own window for a model of this context: full min(2048, context), llama.cpp min(512, context),
/// legacy 128, lm-eval the context.
std::int64_t default_context(Protocol protocol, std::int64_t model_context);

struct ProtocolOptions {
  Protocol protocol = Protocol::full;
  /// Tokens of a window, 4 … the model's context; 0 means default_context(). legacy has 128 and takes no other.
  std::int64_t context = 0;
  /// full only: 1 … context − 1; 0 means context / 2.
  std::int64_t stride = 0;
  /// Whether BOS stands before a text; nothing means the vocabulary's rule for full and llama.cpp, no for the others.
  /// legacy refuses it. In lm-eval it would stand, and be scored, behind the prefix token: lm-eval's
  /// add_bos_token=True.
  std::optional<bool> bos = std::nullopt;
};

/// What a plan needs to know of a model.
struct TextModel {
  std::function<text::EncodedText(std::string_view)> encode;  ///< without BOS, special tokens not recognised
  bool adds_bos = false;
  std::optional<std::int32_t> bos_id;
  std::optional<std::int32_t> eos_id;
  std::int64_t context = 0;
};

/// The model's vocabulary and rules; `model` must outlive the result. Throws ConfigError where it has no vocabulary.
TextModel text_model(const model::Model& model);

/// Tokens to be read from position 0 of an empty cache, and what is to be scored: targets[i] is the token whose
/// likelihood after tokens[0 … i] is wanted, −1 where none is. Both [T].
struct Window {
  std::vector<std::int32_t> tokens;
  std::vector<std::int32_t> targets;
  bool operator==(const Window&) const = default;
};

/// A scored token: which document it belongs to, and how many bytes of the text it covers.
struct ScoredToken {
  std::int32_t id = 0;
  std::int32_t document = 0;
  std::uint32_t bytes = 0;
  bool operator==(const ScoredToken&) const = default;
};

/// All that is to be computed on a text.
struct ScoringPlan {
  std::vector<Window> windows;
  std::vector<ScoredToken> scored;  ///< in text order, which is the order of the windows and their targets
  std::int64_t documents = 0;       ///< of the text, scored or not
  /// What word and byte figures are divided by. lm-eval: words len(re.split("\s+", page)) and bytes of the pages as
  /// stored. Otherwise a word is a longest run of characters that are no white space, and counts where the token that
  /// covers its first byte is scored; bytes are those of the scored tokens.
  std::uint64_t words = 0;
  std::uint64_t bytes = 0;

  /// Tokens that the windows read.
  std::int64_t tokens_read() const;
};

/// Encodes a text and lays out its windows. llama.cpp reads the documents joined, with a line feed between two where
/// the first does not end with one; only full leaves `<unk>` unscored. Throws: ConfigError for options that do not fit
/// protocol or model, and where no token would be scored (saying how many tokens there are).
ScoringPlan plan_scoring(const text::Corpus& corpus, const TextModel& model, const ProtocolOptions& options);

/// Lays out the windows of conversations as protocol full does, a document each; only the assistant's answers are
/// scored, all else is read. Bytes are those of the scored tokens, of which special ones have none; words are not
/// counted. Throws ConfigError where no token would be scored.
ScoringPlan plan_conversations(std::span<const text::EncodedConversation> conversations, const model::Model& model);

}  // namespace rpt::evaluate
