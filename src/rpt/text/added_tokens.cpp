// SPDX-License-Identifier: MIT
#include "rpt/text/added_tokens.h"

#include <algorithm>

#include "rpt/text/utf8.h"

namespace rpt::text {

namespace {

bool is_white_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

std::size_t skip_spaces(std::string_view text, std::size_t from) {
  while (from < text.size()) {
    const Utf8Char c = decode_utf8(text.substr(from));
    if (!c.valid || !is_white_space(c.code_point)) break;
    from += c.size;
  }
  return from;
}

/// The start of the white space that ends at `end`, not before `floor`.
std::size_t skip_spaces_back(std::string_view text, std::size_t floor, std::size_t end) {
  while (end > floor) {
    std::size_t begin = end - 1;
    while (begin > floor && end - begin < 4 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
    const Utf8Char c = decode_utf8(text.substr(begin, end - begin));
    if (!c.valid || c.size != end - begin || !is_white_space(c.code_point)) break;
    end = begin;
  }
  return end;
}

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  std::sort(tokens_.begin(), tokens_.end(), [](const auto& a, const auto& b) { return a.text < b.text; });
  for (const AddedToken& token : tokens_) begins_[static_cast<unsigned char>(token.text[0])] = true;
}

/// Narrows the sorted tokens byte by byte to those that begin as the text does.
const AddedToken* AddedTokens::longest_at(std::string_view text, bool special) const {
  const AddedToken* found = nullptr;
  auto first = tokens_.begin(), last = tokens_.end();
  for (std::size_t depth = 0; depth < text.size() && first != last; ++depth) {
    const auto byte = static_cast<unsigned char>(text[depth]);
    const auto at = [depth](const AddedToken& token) { return static_cast<unsigned char>(token.text[depth]); };
    // A token that ends here sorts before all longer ones.
    if (first->text.size() == depth) ++first;
    first = std::lower_bound(first, last, byte, [&](const AddedToken& t, unsigned char b) { return at(t) < b; });
    last = std::upper_bound(first, last, byte, [&](unsigned char b, const AddedToken& t) { return b < at(t); });
    if (first != last && first->text.size() == depth + 1 && (special || !first->only_if_asked)) found = &*first;
  }
  return found;
}

std::optional<AddedTokens::Found> AddedTokens::find(std::string_view text, std::size_t from, bool special) const {
  if (tokens_.empty()) return std::nullopt;
  for (std::size_t i = from; i < text.size(); ++i) {
    if (!begins_[static_cast<unsigned char>(text[i])]) continue;
    const AddedToken* token = longest_at(text.substr(i), special);
    if (token == nullptr) continue;
    const std::size_t end = i + token->text.size();
    return Found{token->strip_left ? skip_spaces_back(text, from, i) : i,
                 token->strip_right ? skip_spaces(text, end) : end, token->id};
  }
  return std::nullopt;
}

std::int32_t AddedTokens::id_of(std::string_view text) const {
  const auto found = std::lower_bound(tokens_.begin(), tokens_.end(), text,
                                      [](const AddedToken& token, std::string_view t) { return token.text < t; });
  return found != tokens_.end() && found->text == text ? found->id : -1;
}

}  // namespace rpt::text
