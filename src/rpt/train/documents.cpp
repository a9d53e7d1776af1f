// SPDX-License-Identifier: MIT
#include "rpt/train/documents.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <string_view>
#include <system_error>
#include <utility>

#include "rpt/core/error.h"
#include "rpt/text/utf8.h"

namespace rpt::train {
namespace {

namespace fs = std::filesystem;

struct File {
  text::TextSource source;
  std::string name;
};

/// Characters [begin, end) of the lines of a file that begin with number first_line.
struct Part {
  std::uint64_t begin, end;
};
using PartsRead = std::map<std::pair<fs::path, std::uint64_t>, std::vector<Part>>;

std::vector<fs::path> texts_below(const fs::path& folder) {
  std::vector<fs::path> paths;
  std::error_code error;
  for (fs::recursive_directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const fs::path extension = it->path().extension();
    if ((extension == ".txt" || extension == ".md") && it->is_regular_file(error)) paths.push_back(it->path());
    if (error) break;
  }
  if (error) throw IoError(fmt::format("{}: cannot be listed: {}", folder.string(), error.message()));
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::vector<File> files_of(const Source& source, std::span<const fs::path> data_roots) {
  text::TextSource resolved = text::resolve_text(source.text, data_roots);
  std::error_code ignored;
  const bool is_folder = fs::is_directory(resolved.path, ignored);
  if (is_folder) resolved.rule = text::DocumentRule::whole;
  if (source.rule) resolved.rule = *source.rule;
  const bool is_part = source.first_character > 0 || source.end_character.has_value();
  if (is_part && (is_folder || resolved.rule == text::DocumentRule::jsonl)) {
    throw ConfigError(fmt::format("{}: a part by characters can be read of a file of plain text only", source.text));
  }
  if (!is_folder) return {{resolved, source.text}};

  std::vector<File> files;
  for (const fs::path& path : texts_below(resolved.path)) {
    files.push_back({{.path = path, .rule = resolved.rule}, path.string()});
  }
  if (files.empty()) throw ConfigError(fmt::format("{}: no *.txt and no *.md below this folder", source.text));
  return files;
}

/// Notes what is read of a file; nothing may be read twice.
void note_part(PartsRead& read, const File& file, const Source& source) {
  const Part part{source.first_character, source.end_character.value_or(std::numeric_limits<std::uint64_t>::max())};
  std::error_code error;
  fs::path path = fs::canonical(file.source.path, error);
  if (error) throw IoError(fmt::format("{}: {}", file.source.path.string(), error.message()));
  std::vector<Part>& parts = read[{std::move(path), file.source.first_line}];
  for (const Part& other : parts) {
    if (part.begin < other.end && other.begin < part.end) {
      throw ConfigError(
          fmt::format("{}: the same part of it is read twice; a text that shall weigh more takes `repeat`", file.name));
    }
  }
  parts.push_back(part);
}

/// The byte at which character `number` begins, text.size() for the one behind the last; nothing beyond.
std::optional<std::size_t> byte_of_character(std::string_view text, std::uint64_t number) {
  std::size_t at = 0;
  for (; number > 0 && at < text.size(); --number) at += text::decode_utf8(text.substr(at)).size;
  if (number > 0) return std::nullopt;
  return at;
}

std::string_view cut(std::string_view text, const Source& source) {
  const std::optional<std::size_t> begin = byte_of_character(text, source.first_character);
  const std::optional<std::size_t> end =
      source.end_character ? byte_of_character(text, *source.end_character) : std::optional(text.size());
  if (!begin || !end || *begin >= *end) {
    throw ConfigError(fmt::format("{}: has no characters {} to {}", source.text, source.first_character,
                                  source.end_character ? fmt::to_string(*source.end_character) : "the end"));
  }
  return text.substr(*begin, *end - *begin);
}

void append_conversations(std::vector<Document>& documents, std::string_view json_lines, const File& file,
                          const Source& source) {
  for (text::Conversation& conversation : text::split_conversations(json_lines, file.name)) {
    documents.push_back({.name = fmt::format("{}: line {}", file.name, conversation.line),
                         .text = text::to_json_line(conversation.messages),
                         .repeat = source.repeat,
                         .messages = std::move(conversation.messages)});
  }
}

void append_documents(std::vector<Document>& documents, const File& file, const Source& source) {
  const std::string all = text::load_text(file.source);
  if (file.source.rule == text::DocumentRule::jsonl && text::holds_conversations(all)) {
    return append_conversations(documents, all, file, source);
  }
  std::string_view part = all;
  if (source.first_character > 0 || source.end_character) part = cut(all, source);
  const bool unk_is_unknown = text::unk_is_unknown(file.source, all);
  std::vector<std::string> texts = text::split_documents(part, file.source.rule, file.source.path.string());
  const bool goes_on = part.data() + part.size() != all.data() + all.size();
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (texts[i].empty()) continue;
    documents.push_back({.name = texts.size() > 1 ? fmt::format("{}#{}", file.name, i + 1) : file.name,
                         .text = std::move(texts[i]),
                         .repeat = source.repeat,
                         .is_whole = !(goes_on && i + 1 == texts.size()),
                         .unk_is_unknown = unk_is_unknown});
  }
}

}  // namespace

std::vector<Document> load_documents(std::span<const Source> sources, std::span<const fs::path> data_roots) {
  std::vector<Document> documents;
  PartsRead read;
  for (const Source& source : sources) {
    if (source.repeat < 1 || source.repeat > kMaxRepeat) {
      throw ConfigError(fmt::format("{}: repeat {}; 1 to {} can be had", source.text, source.repeat, kMaxRepeat));
    }
    for (const File& file : files_of(source, data_roots)) {
      note_part(read, file, source);
      append_documents(documents, file, source);
    }
  }
  if (documents.empty()) throw ConfigError("the sources hold no text");
  const auto conversations = std::count_if(documents.begin(), documents.end(), is_conversation);
  if (conversations > 0 && conversations < std::ssize(documents)) {
    throw ConfigError("the sources hold texts and conversations: one run learns from either");
  }
  return documents;
}

text::Corpus corpus_of(std::span<const Document> documents) {
  text::Corpus corpus;
  for (const Document& document : documents) {
    if (is_conversation(document)) throw ConfigError(document.name + ": is a conversation; expected a text");
    corpus.documents.push_back(document.text);
    corpus.unk_is_unknown |= document.unk_is_unknown;
  }
  return corpus;
}

}  // namespace rpt::train
