// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <cctype>

#include "rpt/core/error.h"
#include "rpt/text/pattern.h"
#include "rpt/text/utf8.h"

namespace rpt::text {

namespace {

// Unicode's White_Space and everything else, as members of a class. PCRE2's own \s also takes U+180E.
constexpr std::string_view kSpaces =
    R"(\x09-\x0d\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr std::string_view kNonSpaces =
    R"(\x00-\x08\x0e-\x1f\x21-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027}\x{202a}-\x{202e})"
    R"(\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{d7ff}\x{e000}-\x{10ffff})";
// Oniguruma's \w: Alphabetic, marks, decimal digits and connectors.
constexpr std::string_view kWord =
    R"(\p{L}\p{M}\p{Nl}\p{Nd}\p{Pc}\x{24b6}-\x{24e9}\x{1f130}-\x{1f149}\x{1f150}-\x{1f169}\x{1f170}-\x{1f189})";

class Translator {
 public:
  Translator(std::string_view expression, const std::string& place) : in_(expression), place_(place) {}

  std::string run() {
    if (in_.starts_with("(*")) refuse("a verb");
    while (i_ < in_.size()) {
      switch (in_[i_]) {
        case '\\':
          escape();
          break;
        case '[':
          character_class();
          break;
        case '(':
          group();
          break;
        case '{':
          interval();
          break;
        default:
          out_ += in_[i_++];
      }
    }
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw ConfigError(fmt::format("{}: {} in the expression {} is not supported", place_, what, for_message(in_)));
  }
  char at(std::size_t i) const { return i < in_.size() ? in_[i] : '\0'; }
  void copy(std::size_t count) {
    out_ += in_.substr(i_, count);
    i_ += count;
  }

  void group() {
    if (at(i_ + 1) == '*') refuse("a verb");
    if (at(i_ + 1) != '?') return copy(1);
    constexpr std::array<std::string_view, 7> kKnown = {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:"};
    for (const std::string_view opening : kKnown) {
      if (in_.substr(i_).starts_with(opening)) return copy(opening.size());
    }
    // In the middle of an alternation Oniguruma ends the branch here, PCRE2 does not.
    if (i_ == 0 && in_.starts_with("(?i)")) return copy(4);
    refuse(fmt::format("the group '{}'", for_message(in_.substr(i_, 4))));
  }

  /// `{n,m}` is an interval in both; `{,m}` only in Oniguruma, `{n,m}+` is possessive and `{n}?` is `{n}` only in
  /// PCRE2.
  void interval() {
    std::size_t end = i_ + 1;
    while (std::isdigit(static_cast<unsigned char>(at(end))) != 0 || at(end) == ',') ++end;
    if (at(end) != '}' || end == i_ + 1) return copy(1);
    if (at(i_ + 1) == ',') refuse("an interval without a lower bound");
    if (at(end + 1) == '+') refuse("'+' behind an interval");
    if (at(end + 1) == '?' && in_.substr(i_, end - i_).find(',') == std::string_view::npos) {
      refuse("'?' behind a fixed interval");
    }
    copy(end + 1 - i_);
  }

  void escape() {
    const char c = at(i_ + 1);
    switch (c) {
      case 's':
        return replace(fmt::format("[{}]", kSpaces));
      case 'S':
        return replace(fmt::format("[^{}]", kSpaces));
      case 'w':
        return replace(fmt::format("[{}]", kWord));
      case 'W':
        return replace(fmt::format("[^{}]", kWord));
      case 'A':
      case 'z':
        return copy(2);
      default:
        return shared_escape(c);
    }
  }

  /// Escapes that mean the same inside and outside a class.
  void shared_escape(char c) {
    switch (c) {
      case 'd':
      case 'D':
      case 'n':
      case 'r':
      case 't':
      case 'f':
        return copy(2);
      case 'p':
      case 'P':
        return property();
      case 'x':
        return copy(2);
      case 'u':
        return code_unit();
      default:
        if (c == '\0' || static_cast<unsigned char>(c) >= 0x80 || std::isalnum(static_cast<unsigned char>(c)) != 0) {
          refuse(fmt::format("the escape '{}'", for_message(in_.substr(i_, 2))));
        }
        copy(2);
    }
  }

  void replace(std::string_view with) {
    out_ += with;
    i_ += 2;
  }

  /// `\uHHHH`
  void code_unit() {
    const std::string_view digits = in_.substr(std::min(i_ + 2, in_.size()), 4);
    for (const char d : digits) {
      if (std::isxdigit(static_cast<unsigned char>(d)) == 0) refuse("a malformed '\\u'");
    }
    if (digits.size() != 4) refuse("a malformed '\\u'");
    out_ += fmt::format("\\x{{{}}}", digits);
    i_ += 6;
  }

  /// General categories have names of one or two letters; anything longer is taken for a script, matched by Script and
  /// not by Script_Extensions, which is what PCRE2 would do on its own.
  void property() {
    if (at(i_ + 2) != '{') refuse("a property without braces");
    const std::size_t close = in_.find('}', i_);
    if (close == std::string_view::npos) refuse("a property without end");
    std::string_view name = in_.substr(i_ + 3, close - i_ - 3);
    out_ += in_.substr(i_, 3);
    if (name.starts_with('^')) {
      out_ += '^';
      name.remove_prefix(1);
    }
    if (name.size() > 2) out_ += "sc:";
    out_ += name;
    out_ += '}';
    i_ = close + 1;
  }

  void character_class() {
    copy(1);
    if (at(i_) == '^') copy(1);
    if (at(i_) == ']') refuse("an empty class");
    while (at(i_) != ']') {
      if (i_ >= in_.size()) refuse("a class without end");
      if (in_[i_] == '[') refuse("a class inside a class");
      if (in_[i_] == '&' && at(i_ + 1) == '&') refuse("an intersection of classes");
      if (in_[i_] == '\\') {
        class_escape();
      } else {
        copy(1);
      }
    }
    copy(1);
  }

  void class_escape() {
    switch (at(i_ + 1)) {
      case 's':
        return replace(kSpaces);
      case 'S':
        return replace(kNonSpaces);
      case 'w':
        return replace(kWord);
      default:
        return shared_escape(at(i_ + 1));
    }
  }

  std::string_view in_;
  const std::string& place_;
  std::size_t i_ = 0;
  std::string out_;
};

}  // namespace

std::string translate_expression(std::string_view expression, const std::string& place) {
  return Translator(expression, place).run();
}

}  // namespace rpt::text
