// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <cctype>
#include <optional>

#include "rpt/core/error.h"
#include "rpt/text/jinja_syntax.h"
#include "rpt/text/utf8.h"
#include "rpt/text/white_space.h"

namespace rpt::text::jinja {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool begins_name(char c) {
  return std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_';
}

/// Line ends as "\n"; the last one, if the text ends with it, is dropped.
std::string normalize_line_ends(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
      out += '\n';
    } else {
      out += source[i];
    }
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

class Lexer {
 public:
  Lexer(std::string source, const std::string& where) : source_(std::move(source)), where_(where) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) outside();
    emit(Token::Kind::end, "");
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { fail_at(where_, line_, what); }
  char peek(std::size_t ahead = 0) const { return at_ + ahead < source_.size() ? source_[at_ + ahead] : '\0'; }
  bool starts(std::string_view text) const { return std::string_view(source_).substr(at_).starts_with(text); }
  void emit(Token::Kind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }
  void advance(std::size_t to) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(at_),
                                         source_.begin() + static_cast<std::ptrdiff_t>(to), '\n'));
    at_ = to;
  }
  void skip_space() { advance(at_ + leading_white_space(std::string_view(source_).substr(at_))); }

  /// Text up to the next tag, and what opens that.
  void outside() {
    std::size_t tag = at_;
    while ((tag = source_.find('{', tag)) != std::string::npos) {
      const char next = tag + 1 < source_.size() ? source_[tag + 1] : '\0';
      if (next == '{' || next == '%' || next == '#') break;
      ++tag;
    }
    if (tag == std::string::npos) tag = source_.size();
    data(tag);
    if (at_ == source_.size()) return;
    const char kind = peek(1);
    advance(at_ + 2);
    if (peek() == '-' || peek() == '+') advance(at_ + 1);
    if (kind == '#') return comment();
    if (kind == '%' && raw()) return;
    emit(kind == '{' ? Token::Kind::print_begin : Token::Kind::block_begin, "");
    inside(kind == '{' ? "}}" : "%}");
  }

  /// Emits the text up to a tag (or the end), less the white space that the tag takes away.
  void data(std::size_t tag) {
    std::string_view text(source_.data() + at_, tag - at_);
    if (tag < source_.size()) {
      const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
      if (sign == '-') {
        text = without_trailing_white_space(text);
      } else if (sign != '+' && source_[tag + 1] != '{') {
        const std::size_t line = text.rfind('\n') + 1;  // 0 where there is none
        const std::string_view last = text.substr(line);
        if ((line > 0 || line_starts_) && without_trailing_white_space(last).empty()) text = text.substr(0, line);
      }
    }
    if (!text.empty()) emit(Token::Kind::data, std::string(text));
    advance(tag);
  }

  /// Behind a closing tag: a minus takes all white space, a block or comment without sign one line end.
  void close(char sign, bool trims_line_end) {
    const std::size_t begin = at_;
    if (sign == '-') {
      skip_space();
    } else if (sign != '+' && trims_line_end && peek() == '\n') {
      advance(at_ + 1);
    }
    line_starts_ = at_ > begin && source_[at_ - 1] == '\n';
  }

  void comment() {
    const std::size_t end = source_.find("#}", at_);
    if (end == std::string::npos) fail("a comment that does not end");
    const char sign = end > at_ ? source_[end - 1] : '\0';
    advance(end + 2);
    close(sign, true);
  }

  /// The text of {% raw %} … {% endraw %}, if that is what stands here.
  bool raw() {
    const auto word_end = [&](std::size_t at, std::string_view word) -> std::optional<std::size_t> {
      const auto rest = [&] { return std::string_view(source_).substr(at); };
      at += leading_white_space(rest());
      if (!rest().starts_with(word)) return std::nullopt;
      at += word.size();
      at += leading_white_space(rest());
      const bool sign = rest().starts_with("-") || (rest().starts_with("+") && word == "endraw");
      if (!rest().substr(sign ? 1 : 0).starts_with("%}")) return std::nullopt;
      return at + (sign ? 3 : 2);
    };
    const auto begin = word_end(at_, "raw");
    if (!begin) return false;
    const char sign = source_[*begin - 3];
    advance(*begin);
    close(sign, false);
    for (std::size_t tag = at_; (tag = source_.find("{%", tag)) != std::string::npos; ++tag) {
      const bool signed_tag = tag + 2 < source_.size() && (source_[tag + 2] == '-' || source_[tag + 2] == '+');
      const auto end = word_end(tag + (signed_tag ? 3 : 2), "endraw");
      if (!end) continue;
      data(tag);
      const char closing = source_[*end - 3];
      advance(*end);
      close(closing, true);
      return true;
    }
    fail("raw that does not end");
  }

  /// Tokens up to `end`, "}}" or "%}".
  void inside(std::string_view end) {
    std::string open;  // brackets
    while (true) {
      skip_space();
      if (at_ >= source_.size()) fail("a tag that does not end");
      const std::size_t sign = peek() == '-' || (peek() == '+' && end == "%}") ? 1 : 0;
      if (open.empty() && std::string_view(source_).substr(at_ + sign).starts_with(end)) {
        const char closing = sign == 1 ? peek() : '\0';
        emit(end == "}}" ? Token::Kind::print_end : Token::Kind::block_end, "");
        advance(at_ + sign + 2);
        return close(closing, end == "%}");
      }
      token(open);
    }
  }

  void token(std::string& open) {
    const char c = peek();
    if (begins_name(c)) {
      std::size_t end = at_;
      while (end < source_.size() && (begins_name(source_[end]) || is_digit(source_[end]))) ++end;
      emit(Token::Kind::name, source_.substr(at_, end - at_));
      return advance(end);
    }
    if (is_digit(c)) return numeral();
    if (c == '\'' || c == '"') return string(c);
    for (const std::string_view two : {"//", "**", "==", "!=", ">=", "<="}) {
      if (!starts(two)) continue;
      emit(Token::Kind::symbol, std::string(two));
      return advance(at_ + 2);
    }
    if (std::string_view("+-*/%~[](){}><=.:|,;").find(c) == std::string_view::npos || c == '\0') {
      fail(fmt::format("the character '{}' in a tag", for_message(std::string_view(source_).substr(at_, 1))));
    }
    bracket(c, open);
    emit(Token::Kind::symbol, std::string(1, c));
    advance(at_ + 1);
  }

  void bracket(char c, std::string& open) const {
    if (c == '(') open += ')';
    if (c == '[') open += ']';
    if (c == '{') open += '}';
    if (c != ')' && c != ']' && c != '}') return;
    if (open.empty() || open.back() != c) fail(fmt::format("'{}' without the bracket that it closes", c));
    open.pop_back();
  }

  /// Decimal numbers, `_` between digits allowed.
  void numeral() {
    std::size_t end = at_;
    std::string text;
    const auto digits = [&] {
      while (end < source_.size() && (is_digit(source_[end]) || (source_[end] == '_' && end + 1 < source_.size() &&
                                                                 is_digit(source_[end + 1])))) {
        if (source_[end] != '_') text += source_[end];
        ++end;
      }
    };
    const auto digit_at = [&](std::size_t i) { return i < source_.size() && is_digit(source_[i]); };
    digits();
    bool real = false;
    if (end < source_.size() && source_[end] == '.' && digit_at(end + 1)) {
      real = true;
      text += source_[end++];
      digits();
    }
    if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
      const std::size_t sign = end + 1 < source_.size() && (source_[end + 1] == '-' || source_[end + 1] == '+') ? 1 : 0;
      if (digit_at(end + 1 + sign)) {
        real = true;
        text += source_.substr(end, 1 + sign);
        end += 1 + sign;
        digits();
      }
    }
    if (end < source_.size() && begins_name(source_[end])) fail("a number that goes on with a letter");
    if (!real && text.size() > 1 && text.front() == '0' && text.find_first_not_of('0') != std::string::npos) {
      fail(fmt::format("the number {}", text));
    }
    emit(real ? Token::Kind::real : Token::Kind::integer, std::move(text));
    advance(end);
  }

  void string(char quote) {
    std::size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) fail("a string that does not end");
    emit(Token::Kind::string, unescape(std::string_view(source_).substr(at_ + 1, end - at_ - 1)));
    advance(end + 1);
  }

  /// Python's escapes; a backslash before anything else stays.
  std::string unescape(std::string_view text) const {
    constexpr std::string_view kNames = "abfnrtv\\'\"";
    constexpr std::string_view kMeanings = "\a\b\f\n\r\t\v\\'\"";
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '\\') {
        out += text[i];
        continue;
      }
      const char c = text[++i];  // the lexer has seen to it that one follows
      if (const std::size_t known = kNames.find(c); known != std::string_view::npos) {
        out += kMeanings[known];
      } else if (c == '\n') {
        continue;
      } else if (c == 'x' || c == 'u' || c == 'U') {
        const std::size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
        append_code_point(out, text.substr(i + 1, digits), digits, 16);
        i += digits;
      } else if (c >= '0' && c <= '7') {
        std::size_t digits = 1;
        while (digits < 3 && i + digits < text.size() && text[i + digits] >= '0' && text[i + digits] <= '7') ++digits;
        append_code_point(out, text.substr(i, digits), digits, 8);
        i += digits - 1;
      } else if (c == 'N') {
        fail("\\N in a string");
      } else {
        out += '\\';
        out += c;
      }
    }
    return out;
  }

  void append_code_point(std::string& out, std::string_view digits, std::size_t wanted, std::uint32_t base) const {
    std::uint32_t value = 0;
    bool good = digits.size() == wanted;
    for (const char c : digits) {
      const char low = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      const bool is_hex = base == 16 && low >= 'a' && low <= 'f';
      good = good && (is_digit(c) || is_hex) && value <= 0x10FFFF;
      value = value * base + static_cast<std::uint32_t>(is_hex ? low - 'a' + 10 : c - '0');
    }
    if (!good || value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) {
      fail(fmt::format("an escape that is no character, '\\{}'", for_message(digits)));
    }
    append_utf8(out, static_cast<char32_t>(value));
  }

  std::string source_;
  const std::string& where_;
  std::size_t at_ = 0;
  int line_ = 1;
  bool line_starts_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source, const std::string& where) {
  constexpr std::size_t kMostBytes = std::size_t{1} << 20;
  if (source.size() > kMostBytes) {
    fail_at(where, 1, fmt::format("a template of {} bytes; {} can be had", source.size(), kMostBytes));
  }
  return Lexer(normalize_line_ends(source), where).run();
}

void fail_at(const std::string& where, int line, const std::string& what) {
  throw ConfigError(fmt::format("{}: line {}: {}", where, line, what));
}

}  // namespace rpt::text::jinja
