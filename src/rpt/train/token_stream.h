// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rpt/text/tokenizer.h"
#include "rpt/train/documents.h"

namespace rpt::train {

/// The tokens that stand before and behind a document, where there are any.
struct Separators {
  std::optional<std::int32_t> bos;
  std::optional<std::int32_t> eos;
};

/// The vocabulary's own.
Separators separators_of(const text::Tokenizer& tokenizer);

/// Documents as one sequence of n tokens, packed without gaps.
struct TokenStream {
  std::vector<std::int32_t> tokens;     ///< [n]
  std::vector<std::uint8_t> is_target;  ///< [n] 0 where predicting this token gives no loss, else 1
  std::uint64_t targets = 0;            ///< ones in is_target
  std::uint64_t documents = 0;          ///< a document counts as often as it is repeated, here and in the bytes
  std::uint64_t bytes = 0;              ///< of the documents' texts
  std::uint64_t dropped_bytes = 0;      ///< of those, bytes that the vocabulary cannot hold
  /// Of the tokens as little-endian int32; where there are conversations, of is_target behind them.
  std::string sha256;
};

/// Encodes a conversation by a chat template; called from several threads. train may not see generate, so that the
/// caller connects them (generate::ChatPrompter::encode_answers).
using ConversationEncoder = std::function<text::EncodedConversation(std::span<const text::Message>)>;

/// Encodes documents: `bos text eos` each, control tokens written in a text not recognised. Documents that repeat come
/// again behind all others, so that no window shows a short one twice. Where bos and eos are the same token, one stands
/// between two documents. No loss give bos, which nobody asks a model for, and the tokens of a literal `<unk>` where
/// the document says so. A conversation stands as `encode_conversation` gives it, without separators: of it the
/// answers give loss. The same for any number of threads.
/// Throws: ConfigError beyond 2^32 tokens, and for conversations without an encoder or one that refuses them, naming
/// the document. Cost: one core per document, at the tokenizer's speed.
TokenStream encode_documents(std::span<const Document> documents, const text::Tokenizer& tokenizer,
                             const Separators& separators, const ConversationEncoder& encode_conversation = {});

/// The conversation of a document. Throws as encode_documents.
text::EncodedConversation encode_conversation_of(const Document& document, const ConversationEncoder& encoder);

}  // namespace rpt::train
