// SPDX-License-Identifier: MIT
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "rpt/report/record.h"

namespace rpt::report {

enum class Align : std::uint8_t { left, right };

/// A column: its title and how its numbers are shown to people. CSV and JSON hold the numbers themselves.
struct Column {
  std::string title;
  Align align = Align::left;
  std::optional<int> decimals = std::nullopt;  ///< digits behind the point of doubles; absent: as many as it takes
  bool thousands = false;                      ///< integers as 2,412,820,480
};

/// A right-aligned column of numbers.
Column number_column(std::string title, std::optional<int> decimals = std::nullopt, bool thousands = false);

/// What stands in a field: nothing, a text, an integer or a double.
using Cell = std::variant<std::monostate, std::string, std::int64_t, double>;

/// Rows of figures under titled columns, written in several forms. Texts are UTF-8; every form escapes what it must.
class Table {
 public:
  /// Titles must differ, at least one column (LogicError).
  explicit Table(std::vector<Column> columns);

  /// As many cells as there are columns (LogicError).
  void add_row(std::vector<Cell> cells);
  std::size_t rows() const { return rows_.size(); }

  /// For a terminal: padded columns, a line under the titles. An empty cell is shown as "–".
  std::string to_text() const;
  /// A table of GitHub's Markdown.
  std::string to_markdown() const;
  /// RFC 4180 with \n as line end: titles, then rows; doubles so that they read back the same; empty cells stay empty.
  std::string to_csv() const;
  /// An array of one object per row, by title; doubles as in CSV; empty cells, infinities and NaNs are null. Bytes that
  /// are not UTF-8 become U+FFFD.
  std::string to_json() const;
  /// The rows of that array.
  std::vector<Record> to_records() const;
  /// A table element; numbers are of class `number`. An empty cell is shown as "–".
  std::string to_html(std::string_view caption = {}) const;
  /// A tabular environment with the rules of package booktabs.
  std::string to_latex() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

}  // namespace rpt::report
