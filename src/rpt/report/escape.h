// SPDX-License-Identifier: MIT
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

/// Texts as the several forms of a report need them.
namespace rpt::report {

/// Characters of a UTF-8 text, as an estimate of its width on a terminal (wide and combining characters count as one).
std::size_t display_width(std::string_view text);

/// Control characters, line ends among them, become spaces.
std::string one_line(std::string_view text);

/// A cell of a Markdown table: what Markdown would read as markup is escaped, line ends become <br>.
std::string markdown_escaped(std::string_view text);

/// A paragraph of Markdown on one line, of a text that says nothing but itself: as a cell, and besides no list, heading
/// or rule begins it.
std::string markdown_paragraph(std::string_view text);

/// Text of HTML, also within a quoted attribute: & < > " ' as references; control characters but line ends as spaces.
std::string html_escaped(std::string_view text);

/// A field of CSV (RFC 4180): quoted where it holds a comma, a quote, a line end, or white space at an end.
std::string csv_quoted(std::string_view text);

/// A word of a command line, quoted where a POSIX shell would read more than a word in it.
std::string shell_word(std::string_view text);

/// Text of LaTeX: special characters as commands, control characters as spaces.
std::string latex_escaped(std::string_view text);

}  // namespace rpt::report
