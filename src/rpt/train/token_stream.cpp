// SPDX-License-Identifier: MIT
#include "rpt/train/token_stream.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "rpt/core/checked.h"
#include "rpt/core/error.h"
#include "rpt/core/parallel.h"
#include "rpt/core/sha256.h"

namespace rpt::train {
namespace {

constexpr std::uint64_t kMaxTokens = std::uint64_t{1} << 32;

struct EncodedDocument {
  std::vector<std::int32_t> ids;
  std::vector<std::uint8_t> is_target;  ///< per token; empty: all are
  std::uint64_t dropped_bytes = 0;
};

EncodedDocument encode(const Document& document, const text::Tokenizer& tokenizer, const ConversationEncoder& encoder) {
  if (is_conversation(document)) {
    text::EncodedConversation encoded = encode_conversation_of(document, encoder);
    return {std::move(encoded.ids), std::move(encoded.is_answer), encoded.dropped_bytes};
  }
  EncodedDocument out;
  const std::vector<text::ByteRange> unknown =
      document.unk_is_unknown ? text::unk_ranges(document.text) : std::vector<text::ByteRange>();
  if (unknown.empty()) {
    out.ids = tokenizer.encode(document.text, {}, &out.dropped_bytes);
  } else {
    text::EncodedText encoded = tokenizer.encode_with_offsets(document.text);
    out.is_target = text::tokens_overlapping(encoded.ends, unknown);
    for (std::uint8_t& mark : out.is_target) mark = mark == 0 ? 1 : 0;
    out.ids = std::move(encoded.ids);
    out.dropped_bytes = encoded.dropped_bytes;
  }
  return out;
}

/// An upper bound of the stream's length. Throws ConfigError where that is too long.
std::uint64_t count_tokens(std::span<const Document> documents, std::span<const EncodedDocument> encoded) {
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < documents.size(); ++i) {
    RPT_CHECK(documents[i].repeat >= 1 && documents[i].repeat <= kMaxRepeat, "repeat {}", documents[i].repeat);
    const auto repeat = static_cast<std::uint64_t>(documents[i].repeat);
    const std::optional<std::uint64_t> tokens = core::multiply(encoded[i].ids.size() + 2, repeat);
    if (!tokens || *tokens > kMaxTokens - total) {
      throw ConfigError(fmt::format("the documents, repeated, make more than {} tokens", kMaxTokens));
    }
    total += *tokens;
  }
  return total;
}

/// Puts documents one behind the other.
class Packer {
 public:
  Packer(TokenStream& stream, const Separators& separators) : stream_(stream), separators_(separators) {}

  void append(const Document& document, const EncodedDocument& encoded) {
    const bool bos_is_there = after_eos_ && separators_.bos == separators_.eos;
    const bool separated = !is_conversation(document);  // its template says what stands around it
    if (separated && separators_.bos && !bos_is_there) put(*separators_.bos, false);
    for (std::size_t i = 0; i < encoded.ids.size(); ++i) {
      put(encoded.ids[i], encoded.is_target.empty() || encoded.is_target[i] != 0);
    }
    after_eos_ = separated && separators_.eos && document.is_whole;
    if (after_eos_) put(*separators_.eos, true);
    ++stream_.documents;
    stream_.bytes += document.text.size();
    stream_.dropped_bytes += encoded.dropped_bytes;
  }

 private:
  void put(std::int32_t id, bool is_target) {
    stream_.tokens.push_back(id);
    stream_.is_target.push_back(is_target ? 1 : 0);
    if (is_target) ++stream_.targets;
  }

  TokenStream& stream_;
  const Separators& separators_;
  bool after_eos_ = false;
};

std::string sha256_of(const TokenStream& stream, bool with_targets) {
  static_assert(std::endian::native == std::endian::little);
  core::Sha256 sha256;
  sha256.update(std::as_bytes(std::span(stream.tokens)));
  if (with_targets) sha256.update(std::as_bytes(std::span(stream.is_target)));
  return sha256.hex_digest();
}

}  // namespace

Separators separators_of(const text::Tokenizer& tokenizer) {
  return {tokenizer.bos_id(), tokenizer.eos_id()};
}

text::EncodedConversation encode_conversation_of(const Document& document, const ConversationEncoder& encoder) {
  if (!encoder) throw ConfigError(document.name + ": is a conversation; expected a text");
  try {
    text::EncodedConversation encoded = encoder(document.messages);
    RPT_CHECK(encoded.ids.size() == encoded.is_answer.size(), "{} tokens, {} marks", encoded.ids.size(),
              encoded.is_answer.size());
    return encoded;
  } catch (const ConfigError& e) {
    throw ConfigError(fmt::format("{}: {}", document.name, e.what()));
  }
}

TokenStream encode_documents(std::span<const Document> documents, const text::Tokenizer& tokenizer,
                             const Separators& separators, const ConversationEncoder& encode_conversation) {
  std::vector<EncodedDocument> encoded(documents.size());
  core::parallel_for(std::ssize(documents), 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
      encoded[i] = encode(documents[i], tokenizer, encode_conversation);
    }
  });

  TokenStream stream;
  const std::uint64_t capacity = count_tokens(documents, encoded);
  stream.tokens.reserve(capacity);
  stream.is_target.reserve(capacity);
  Packer packer(stream, separators);
  std::int64_t rounds = 0;
  for (const Document& document : documents) rounds = std::max(rounds, document.repeat);
  for (std::int64_t round = 0; round < rounds; ++round) {
    for (std::size_t i = 0; i < documents.size(); ++i) {
      if (round < documents[i].repeat) packer.append(documents[i], encoded[i]);
    }
  }
  stream.sha256 = sha256_of(stream, std::any_of(documents.begin(), documents.end(), is_conversation));
  return stream;
}

}  // namespace rpt::train
