// SPDX-License-Identifier: MIT
#include "rpt/text/corpus.h"

#include <algorithm>
#include <array>

#include "rpt/core/atomic_file.h"
#include "rpt/core/error.h"
#include "rpt/text/jsonl.h"
#include "rpt/text/utf8.h"

namespace rpt::text {

namespace {

constexpr std::array<std::pair<std::string_view, DocumentRule>, 4> kRules = {{{"whole", DocumentRule::whole},
                                                                              {"wikitext", DocumentRule::wikitext},
                                                                              {"lines", DocumentRule::lines},
                                                                              {"jsonl", DocumentRule::jsonl}}};

/// A corpus that has a name; `file` is relative to a data root.
struct EmbeddedCorpus {
  std::string_view name, part, file;
  DocumentRule rule;
  std::uint64_t first_line = 1, last_line = 0;
  bool unk_is_unknown = false;
};

constexpr std::array<EmbeddedCorpus, 8> kEmbedded = {{
    {"wikitext-2", "train", "wikitext-2/train.txt", DocumentRule::wikitext, 1, 0, true},
    {"wikitext-2", "validation", "wikitext-2/valid.txt", DocumentRule::wikitext, 1, 0, true},
    {"wikitext-2", "test", "wikitext-2/test.txt", DocumentRule::wikitext, 1, 0, true},
    {"wikitext-2-raw", "validation", "wikitext-2-raw/wiki.valid.raw", DocumentRule::wikitext},
    {"wikitext-2-raw", "test", "wikitext-2-raw/wiki.test.raw", DocumentRule::wikitext},
    // The lines between the two are left out, so that the test stays apart from what was trained on.
    {"sotu", "train", "sotu/sotu.txt", DocumentRule::lines, 1, 185},
    {"sotu", "test", "sotu/sotu.txt", DocumentRule::lines, 191, 211},
    {"facts", "test", "facts/facts.txt", DocumentRule::lines},
}};

/// Calls `use` with the begin of each line, its end without and its end with the line feed.
template <typename Use>
void for_each_line(std::string_view text, const Use& use) {
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::size_t next = std::min(end + 1, text.size());
    use(begin, end, next);
    begin = next;
  }
}

/// `^ = [^=]+ = *$`
bool begins_article(std::string_view line) {
  if (!line.starts_with(" = ")) return false;
  const std::size_t equals = line.find('=', 3);
  if (equals == std::string_view::npos || equals < 5 || line[equals - 1] != ' ') return false;
  return line.find_first_not_of(' ', equals + 1) == std::string_view::npos;
}

std::vector<std::string> split_articles(std::string_view text) {
  std::vector<std::size_t> begins;
  for_each_line(text, [&](std::size_t begin, std::size_t end, std::size_t) {
    if (begins_article(text.substr(begin, end - begin))) begins.push_back(begin);
  });
  if (begins.empty() && !text.empty()) begins.push_back(0);
  if (!begins.empty()) begins.front() = 0;
  std::vector<std::string> out;
  for (std::size_t i = 0; i < begins.size(); ++i) {
    const std::size_t end = i + 1 < begins.size() ? begins[i + 1] : text.size();
    out.emplace_back(text.substr(begins[i], end - begins[i]));
  }
  return out;
}

TextSource resolve_embedded(const EmbeddedCorpus& corpus, std::span<const std::filesystem::path> data_roots) {
  std::string places;
  for (const std::filesystem::path& root : data_roots) {
    const std::filesystem::path path = root / corpus.file;
    std::error_code ignored;
    if (std::filesystem::is_regular_file(path, ignored)) {
      return {path, corpus.rule, corpus.first_line, corpus.last_line, corpus.unk_is_unknown};
    }
    places += (places.empty() ? "" : ", ");
    places += path.string();
  }
  throw IoError(fmt::format("{}:{} is in none of these places: {}", corpus.name, corpus.part,
                            places.empty() ? "(no data folder is known)" : places));
}

}  // namespace

std::string_view name(DocumentRule rule) {
  for (const auto& [known, value] : kRules) {
    if (value == rule) return known;
  }
  RPT_CHECK(false, "rule {}", static_cast<int>(rule));
  return {};
}

DocumentRule parse_document_rule(std::string_view rule_name) {
  std::string names;
  for (const auto& [known, value] : kRules) {
    if (known == rule_name) return value;
    names += names.empty() ? "" : ", ";
    names += known;
  }
  throw ConfigError(fmt::format("unknown document rule '{}' (known: {})", for_message(rule_name), names));
}

TextSource resolve_text(std::string_view text_name, std::span<const std::filesystem::path> data_roots) {
  const std::size_t colon = text_name.find(':');
  const std::string_view corpus_name = text_name.substr(0, colon);
  std::string parts;
  for (const EmbeddedCorpus& corpus : kEmbedded) {
    if (corpus.name != corpus_name) continue;
    if (colon != std::string_view::npos && corpus.part == text_name.substr(colon + 1)) {
      return resolve_embedded(corpus, data_roots);
    }
    parts += parts.empty() ? "" : ", ";
    parts += fmt::format("{}:{}", corpus.name, corpus.part);
  }
  const std::filesystem::path path(text_name);
  std::error_code ignored;
  if (std::filesystem::exists(path, ignored)) {
    return {path, path.extension() == ".jsonl" ? DocumentRule::jsonl : DocumentRule::whole};
  }
  if (!parts.empty()) throw ConfigError(fmt::format("no corpus '{}' (known: {})", for_message(text_name), parts));
  throw IoError(fmt::format("{}: no such file, and no embedded corpus of that name", for_message(text_name)));
}

std::vector<TextSource> resolve_texts(std::string_view text_name, std::span<const std::filesystem::path> data_roots) {
  const TextSource source = resolve_text(text_name, data_roots);
  std::error_code error;
  if (!std::filesystem::is_directory(source.path, error)) return {source};
  std::vector<TextSource> out;
  std::filesystem::recursive_directory_iterator entry(source.path, error);
  for (const std::filesystem::recursive_directory_iterator end; !error && entry != end; entry.increment(error)) {
    const std::filesystem::path extension = entry->path().extension();
    std::error_code broken_link;
    if ((extension == ".txt" || extension == ".md") && entry->is_regular_file(broken_link)) {
      out.push_back({entry->path()});
    }
  }
  if (error) throw IoError(fmt::format("{}: {}", source.path.string(), error.message()));
  if (out.empty()) throw IoError(fmt::format("{}: no *.txt and no *.md below this folder", source.path.string()));
  std::sort(out.begin(), out.end(), [](const TextSource& a, const TextSource& b) { return a.path < b.path; });
  return out;
}

std::string load_text(const TextSource& source) {
  std::string text = core::read_file(source.path);
  if (source.first_line <= 1 && source.last_line == 0) return text;
  std::uint64_t line = 0;
  std::size_t begin = text.size(), end = text.size();
  for_each_line(text, [&](std::size_t line_begin, std::size_t, std::size_t next) {
    ++line;
    if (line == source.first_line) begin = line_begin;
    if (line == source.last_line) end = next;
  });
  return begin < end ? text.substr(begin, end - begin) : std::string();
}

std::vector<std::string> split_documents(std::string_view text, DocumentRule rule, const std::string& file_name) {
  std::vector<std::string> out;
  switch (rule) {
    case DocumentRule::whole:
      if (!text.empty()) out.emplace_back(text);
      break;
    case DocumentRule::wikitext:
      return split_articles(text);
    case DocumentRule::lines:
      for_each_line(text, [&](std::size_t begin, std::size_t end, std::size_t) {
        if (end > begin) out.emplace_back(text.substr(begin, end - begin));
      });
      break;
    case DocumentRule::jsonl:
      for_each_line(text, [&](std::size_t begin, std::size_t end, std::size_t) {
        const std::string_view line = text.substr(begin, end - begin);
        if (line.find_first_not_of(" \t\r") != std::string_view::npos) {
          out.push_back(text_of_json_line(line, begin, file_name));
        }
      });
  }
  return out;
}

bool unk_is_unknown(const TextSource& source, std::string_view text) {
  if (source.rule != DocumentRule::jsonl || text.find(kUnkMark) == std::string_view::npos) return source.unk_is_unknown;
  bool found = false;
  for_each_line(text, [&](std::size_t begin, std::size_t end, std::size_t) {
    const std::string_view line = text.substr(begin, end - begin);
    if (line.find(kUnkMark) != std::string_view::npos) {
      found |= json_line_says(line, kUnkMark, begin, source.path.string());
    }
  });
  return found;
}

Corpus load_corpus(const TextSource& source) {
  const std::string text = load_text(source);
  return {split_documents(text, source.rule, source.path.string()), unk_is_unknown(source, text)};
}

std::vector<ByteRange> unk_ranges(std::string_view text) {
  constexpr std::string_view kUnk = "<unk>";
  std::vector<ByteRange> out;
  for (std::size_t at = text.find(kUnk); at != std::string_view::npos; at = text.find(kUnk, at + kUnk.size())) {
    out.push_back({at, at + kUnk.size()});
  }
  return out;
}

std::vector<std::uint8_t> tokens_overlapping(std::span<const std::uint64_t> ends, std::span<const ByteRange> ranges) {
  std::vector<std::uint8_t> out(ends.size(), 0);
  std::uint64_t begin = 0;
  std::size_t range = 0;
  for (std::size_t i = 0; i < ends.size(); ++i) {
    while (range < ranges.size() && ranges[range].end <= begin) ++range;
    out[i] = range < ranges.size() && ranges[range].begin < ends[i] && ends[i] > begin ? 1 : 0;
    begin = ends[i];
  }
  return out;
}

}  // namespace rpt::text
