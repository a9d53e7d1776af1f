// SPDX-License-Identifier: MIT
#include "rpt/evaluate/wikitext.h"

#include <utility>

#include "rpt/text/utf8.h"

namespace rpt::evaluate {
namespace {

/// Calls visit(offset, size, is_space) for each character.
template <typename Visit>
void for_each_character(std::string_view text, Visit&& visit) {
  for (std::size_t at = 0; at < text.size();) {
    const text::Utf8Char c = text::decode_utf8(text.substr(at));
    visit(at, static_cast<std::size_t>(c.size), c.valid && is_python_space(c.code_point));
    at += c.size;
  }
}

/// Every occurrence of `from`, left to right and without overlap.
void replace_all(std::string& text, std::string_view from, std::string_view to) {
  std::string out;
  std::size_t done = 0;
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, done)) {
    out.append(text, done, at - done).append(to);
    done = at + from.size();
  }
  out.append(text, done);
  text = std::move(out);
}

/// White space inside of both ends of each `open` … `close` goes; what stands between holds no `close`.
void trim_inside(std::string& text, char open, char close) {
  std::string out;
  std::size_t done = 0;
  for (std::size_t at = text.find(open); at != std::string::npos; at = text.find(open, done)) {
    const std::size_t end = text.find(close, at + 1);
    if (end == std::string::npos) break;
    out.append(text, done, at + 1 - done).append(strip(std::string_view(text).substr(at + 1, end - at - 1))) += close;
    done = end + 1;
  }
  out.append(text, done);
  text = std::move(out);
}

/// The rule re.sub(r"/' [0-9]/", r"/'[0-9]/", …): its replacement stands there as it is written.
void replace_slashed_digits(std::string& text) {
  for (std::size_t at = text.find("/' "); at != std::string::npos; at = text.find("/' ", at + 1)) {
    if (at + 4 < text.size() && text[at + 3] >= '0' && text[at + 3] <= '9' && text[at + 4] == '/') {
      text.replace(at, 5, "/'[0-9]/");
      at += 7;  // on the last slash, which the next find steps over: a match does not overlap the one before
    }
  }
}

}  // namespace

bool is_python_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

std::string_view strip(std::string_view text) {
  std::size_t begin = text.size();
  std::size_t end = 0;
  for_each_character(text, [&](std::size_t at, std::size_t size, bool space) {
    if (space) return;
    if (begin == text.size()) begin = at;
    end = at + size;
  });
  return end == 0 ? std::string_view{} : text.substr(begin, end - begin);
}

std::vector<std::string_view> legacy_lines(std::string_view text) {
  constexpr std::int64_t kMinCharacters = 20;
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t size = std::min(text.find('\n'), text.size());
    const std::string_view line = strip(text.substr(0, size));
    text.remove_prefix(std::min(size + 1, text.size()));
    if (count_characters(line) >= kMinCharacters) lines.push_back(line);
  }
  return lines;
}

std::int64_t count_characters(std::string_view text) {
  std::int64_t count = 0;
  for_each_character(text, [&](std::size_t, std::size_t, bool) { ++count; });
  return count;
}

std::uint64_t count_split(std::string_view text) {
  std::uint64_t runs = 0;
  bool in_run = false;
  for_each_character(text, [&](std::size_t, std::size_t, bool space) {
    if (space && !in_run) ++runs;
    in_run = space;
  });
  return runs + 1;
}

std::vector<std::uint64_t> word_starts(std::string_view text) {
  std::vector<std::uint64_t> starts;
  bool in_word = false;
  for_each_character(text, [&](std::size_t at, std::size_t, bool space) {
    if (!space && !in_word) starts.push_back(at);
    in_word = !space;
  });
  return starts;
}

std::vector<std::string> lm_eval_pages(const std::vector<std::string>& documents) {
  std::vector<std::string> pages = documents;
  if (pages.empty()) return pages;
  std::string& first = pages.front();
  for (std::size_t end = first.find('\n'); end != std::string::npos; end = first.find('\n')) {
    if (!strip(std::string_view(first).substr(0, end)).empty()) break;
    first.erase(0, end + 1);
  }
  for (std::size_t i = 0; i + 1 < pages.size(); ++i) {
    if (pages[i].ends_with('\n')) pages[i].pop_back();
  }
  return pages;
}

std::string lm_eval_detokenise(std::string_view page) {
  std::string text(page);
  replace_all(text, "s '", "s'");
  replace_slashed_digits(text);
  for (const auto& [from, to] : {std::pair{" @-@ ", "-"},
                                 {" @,@ ", ","},
                                 {" @.@ ", "."},
                                 {" : ", ": "},
                                 {" ; ", "; "},
                                 {" . ", ". "},
                                 {" ! ", "! "},
                                 {" ? ", "? "},
                                 {" , ", ", "}}) {
    replace_all(text, from, to);
  }
  trim_inside(text, '(', ')');
  trim_inside(text, '[', ']');
  trim_inside(text, '{', '}');
  trim_inside(text, '"', '"');
  trim_inside(text, '\'', '\'');
  for (const auto& [from, to] : {std::pair{"= = = =", "===="},
                                 {"= = =", "==="},
                                 {"= =", "=="},
                                 {" \u00B0 ", "\u00B0"},
                                 {" \n", "\n"},
                                 {"\n ", "\n"},
                                 {" N ", " 1 "},
                                 {" 's", "'s"}}) {
    replace_all(text, from, to);
  }
  return text;
}

}  // namespace rpt::evaluate
