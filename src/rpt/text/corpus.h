// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rpt::text {

/// How a text falls into documents.
enum class DocumentRule {
  whole,     ///< one document
  wikitext,  ///< from a line matching `^ = [^=]+ = *$` to the next; what stands before the first joins it
  lines,     ///< a line each (without its line feed); empty lines are none
  jsonl,     ///< the member `text` of the object on each line; empty lines are none
};

/// The rule's name on the command line: "whole", "wikitext", "lines", "jsonl".
std::string_view name(DocumentRule rule);
/// The rule of a name. Throws ConfigError.
DocumentRule parse_document_rule(std::string_view rule_name);

/// Half-open range of bytes.
struct ByteRange {
  std::uint64_t begin, end;
  bool operator==(const ByteRange&) const = default;
};

/// A text that can be loaded: a file and how to take it apart.
struct TextSource {
  std::filesystem::path path;
  DocumentRule rule = DocumentRule::whole;
  std::uint64_t first_line = 1;  ///< of the lines to be read, counted from 1
  std::uint64_t last_line = 0;   ///< inclusive; 0 means to the end
  bool unk_is_unknown = false;   ///< a literal `<unk>` marks a word that was taken out (tokenised WikiText)
};

/// A loaded text. For jsonl, `documents` holds the unescaped texts; for the other rules the documents in order.
struct Corpus {
  std::vector<std::string> documents;
  bool unk_is_unknown = false;
};

/// Finds what `TEXT` on a command line means: the name of an embedded corpus (`wikitext-2:train|validation|test`,
/// `wikitext-2-raw:validation|test`, `sotu:train|test`, `facts:test`), looked for in each of `data_roots` in turn, else
/// a file's path (rule jsonl for `.jsonl`, else whole). Throws ConfigError for an unknown part of an embedded corpus,
/// IoError where no root holds the file or the path does not exist; the message lists the places.
TextSource resolve_text(std::string_view text_name, std::span<const std::filesystem::path> data_roots);

/// What `TEXT` means to a command that takes many texts: as resolve_text, but a folder is every regular file `*.txt`
/// and
/// `*.md` below it, sorted by path (links to files count, links to folders are not followed). Throws as resolve_text,
/// and IoError for a folder that cannot be read or holds no such file.
std::vector<TextSource> resolve_texts(std::string_view text_name, std::span<const std::filesystem::path> data_roots);

/// The bytes of the source, its range of lines only. Throws IoError.
std::string load_text(const TextSource& source);

/// Takes a text apart. `file_name` is named in errors. Throws FormatError for a jsonl line that is no object with a
/// string `text`.
std::vector<std::string> split_documents(std::string_view text, DocumentRule rule, const std::string& file_name);

/// The member of a jsonl line that says, with true, what TextSource::unk_is_unknown says of a file.
inline constexpr const char* kUnkMark = "unk_is_unknown";

/// Whether a `<unk>` in `text`, which was loaded from `source`, marks a word that was taken out: of jsonl, where a line
/// says so. Throws as split_documents.
bool unk_is_unknown(const TextSource& source, std::string_view text);

/// load_text and split_documents. Throws as they do.
Corpus load_corpus(const TextSource& source);

/// The places of a literal `<unk>`, ascending.
std::vector<ByteRange> unk_ranges(std::string_view text);

/// For each token 1 where it overlaps one of `ranges` (ascending, disjoint), else 0. Sizes: ends [T] as
/// EncodedText::ends gives them, result [T].
std::vector<std::uint8_t> tokens_overlapping(std::span<const std::uint64_t> ends, std::span<const ByteRange> ranges);

}  // namespace rpt::text
