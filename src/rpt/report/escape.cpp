// SPDX-License-Identifier: MIT
#include "rpt/report/escape.h"

#include <algorithm>

namespace rpt::report {
namespace {

bool is_control(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}

/// A letter, a digit, or a part of a character beyond ASCII.
bool is_word(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         static_cast<unsigned char>(c) >= 0x80;
}

}  // namespace

std::size_t display_width(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string one_line(std::string_view text) {
  std::string line(text);
  std::replace_if(line.begin(), line.end(), is_control, ' ');
  return line;
}

std::string markdown_escaped(std::string_view text) {
  constexpr std::string_view kMarkup = "\\`*[]<>|~&$";
  std::string escaped;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    // An underscore between letters, as in attn_q, is no markup.
    const bool in_word = i > 0 && i + 1 < text.size() && is_word(text[i - 1]) && is_word(text[i + 1]);
    if (c == '\n') {
      escaped += "<br>";
    } else if (is_control(c)) {
      escaped += ' ';
    } else {
      if (kMarkup.find(c) != std::string_view::npos || (c == '_' && !in_word)) escaped += '\\';
      escaped += c;
    }
  }
  return escaped;
}

std::string markdown_paragraph(std::string_view text) {
  const std::string line = one_line(text);
  const std::string escaped =
      markdown_escaped(std::string_view(line).substr(std::min(line.find_first_not_of(' '), line.size())));
  if (escaped.empty()) return escaped;
  if (std::string_view("#+-=").find(escaped[0]) != std::string_view::npos) return '\\' + escaped;
  const std::size_t digits = escaped.find_first_not_of("0123456789");
  if (digits != 0 && digits != std::string::npos && (escaped[digits] == '.' || escaped[digits] == ')')) {
    return escaped.substr(0, digits) + '\\' + escaped.substr(digits);
  }
  return escaped;
}

std::string html_escaped(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default:
        escaped += is_control(c) && c != '\n' ? ' ' : c;
    }
  }
  return escaped;
}

std::string csv_quoted(std::string_view text) {
  const auto is_space = [](char c) { return c == ' ' || c == '\t'; };
  const bool ends_in_space = !text.empty() && (is_space(text.front()) || is_space(text.back()));
  if (text.find_first_of(",\"\r\n") == std::string_view::npos && !ends_in_space) return std::string(text);
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

std::string shell_word(std::string_view text) {
  constexpr std::string_view kPlain = "-_./:,=+";
  const bool plain = !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           kPlain.find(c) != std::string_view::npos;
  });
  if (plain) return std::string(text);
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'') {
      quoted += "'\\''";
    } else {
      quoted += c;
    }
  }
  return quoted + '\'';
}

std::string latex_escaped(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '\\':
        escaped += "\\textbackslash{}";
        break;
      case '~':
        escaped += "\\textasciitilde{}";
        break;
      case '^':
        escaped += "\\textasciicircum{}";
        break;
      case '<':
        escaped += "\\textless{}";
        break;
      case '>':
        escaped += "\\textgreater{}";
        break;
      case '|':
        escaped += "\\textbar{}";
        break;
      case '&':
      case '%':
      case '$':
      case '#':
      case '_':
      case '{':
      case '}':
        (escaped += '\\') += c;
        break;
      default:
        escaped += is_control(c) ? ' ' : c;
    }
  }
  return escaped;
}

}  // namespace rpt::report
