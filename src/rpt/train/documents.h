// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rpt/text/conversation.h"
#include "rpt/text/corpus.h"

namespace rpt::train {

/// Most times that a stream may hold a document.
inline constexpr std::int64_t kMaxRepeat = 1000;

/// A text to learn from, or to be held out.
struct Document {
  std::string name;             ///< for reports: the source, and the number of the document in it where it has several
  std::string text;             ///< not empty
  std::int64_t repeat = 1;      ///< how often the stream holds it, 1 … kMaxRepeat
  bool is_whole = true;         ///< false where the text went on behind its end: no EOS follows
  bool unk_is_unknown = false;  ///< a literal `<unk>` marks a word that was taken out and gives no loss
  /// A conversation, of which only the assistant's answers give loss; `text` is then its JSON line. Empty for a text.
  std::vector<text::Message> messages = {};
};

inline bool is_conversation(const Document& document) {
  return !document.messages.empty();
}

/// Where documents come from, and how often they count.
struct Source {
  /// An embedded corpus, a file (both as text::resolve_text) or a folder: all regular files *.txt and *.md below it, by
  /// path.
  std::string text;
  std::int64_t repeat = 1;  ///< the weight of the source: how often the stream holds each of its documents
  /// The part of the file that is read, in Unicode characters; where end_character is nothing, to the end. Bytes that
  /// are no UTF-8 count as text::decode_utf8 takes them. Not for folders and JSON lines.
  std::uint64_t first_character = 0;
  std::optional<std::uint64_t> end_character = std::nullopt;
  /// How a file falls into documents; nothing means the corpus' own rule, jsonl for `.jsonl`, else whole.
  std::optional<text::DocumentRule> rule = std::nullopt;
};

/// The documents of the sources, in their order; empty ones are left out. JSON lines hold texts or conversations
/// (text::holds_conversations), which are named by file and line. Throws: ConfigError for a repeat outside its bounds,
/// for what text::split_conversations refuses, where there are both texts and conversations, for a part that the file
/// does not have, a part of a file that is read twice (its weight is `repeat`; and what is held out of one source would
/// be learnt from the other), a folder without texts, and where nothing is left; IoError; FormatError for JSON lines
/// without a text.
std::vector<Document> load_documents(std::span<const Source> sources,
                                     std::span<const std::filesystem::path> data_roots);

/// The documents as the protocols of evaluation take them, each once. `<unk>` counts as unknown where it does in any.
/// Throws: ConfigError for a conversation, which is no text.
text::Corpus corpus_of(std::span<const Document> documents);

}  // namespace rpt::train
