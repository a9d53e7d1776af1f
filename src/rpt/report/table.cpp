// SPDX-License-Identifier: MIT
#include "rpt/report/table.h"

#include <algorithm>
#include <set>
#include <type_traits>
#include <utility>

#include "rpt/core/error.h"
#include "rpt/report/escape.h"

namespace rpt::report {
namespace {

/// A table of texts as people see them: the titles, then the rows.
using Grid = std::vector<std::vector<std::string>>;

std::string with_thousands(std::int64_t value) {
  std::string digits = fmt::format("{}", value);
  const std::size_t first = value < 0 ? 1 : 0;
  for (std::size_t at = digits.size(); at > first + 3;) digits.insert(at -= 3, ",");
  return digits;
}

/// A cell as people see it, not yet escaped.
std::string shown(const Column& column, const Cell& cell) {
  if (const auto* text = std::get_if<std::string>(&cell)) return *text;
  if (const auto* integer = std::get_if<std::int64_t>(&cell)) {
    return column.thousands ? with_thousands(*integer) : fmt::format("{}", *integer);
  }
  if (const auto* number = std::get_if<double>(&cell)) {
    return column.decimals ? fmt::format("{:.{}f}", *number, *column.decimals) : fmt::format("{}", *number);
  }
  return "–";
}

/// Titles and rows as people see them, each text passed through `escape`.
template <typename Escape>
Grid make_grid(const std::vector<Column>& columns, const std::vector<std::vector<Cell>>& rows, Escape escape) {
  Grid grid(1);
  for (const Column& column : columns) grid[0].push_back(escape(column.title));
  for (const auto& row : rows) {
    auto& line = grid.emplace_back();
    for (std::size_t i = 0; i < row.size(); ++i) line.push_back(escape(shown(columns[i], row[i])));
  }
  return grid;
}

std::vector<std::size_t> widths_of(const Grid& grid, std::size_t least) {
  std::vector<std::size_t> widths(grid[0].size(), least);
  for (const auto& line : grid) {
    for (std::size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], display_width(line[i]));
  }
  return widths;
}

std::string padded(const std::string& text, std::size_t width, Align align) {
  const std::string space(width - display_width(text), ' ');
  return align == Align::left ? text + space : space + text;
}

/// All cells of a line in CSV or LaTeX.
std::string joined(const std::vector<std::string>& cells, const char* between, const char* end) {
  std::string line;
  for (std::size_t i = 0; i < cells.size(); ++i) line += (i > 0 ? between : "") + cells[i];
  return line + end;
}

}  // namespace

Column number_column(std::string title, std::optional<int> decimals, bool thousands) {
  return {std::move(title), Align::right, decimals, thousands};
}

Table::Table(std::vector<Column> columns) : columns_(std::move(columns)) {
  std::set<std::string> titles;
  for (const Column& column : columns_) titles.insert(column.title);
  RPT_CHECK(!columns_.empty() && titles.size() == columns_.size(), "{} titles, {} different", columns_.size(),
            titles.size());
}

void Table::add_row(std::vector<Cell> cells) {
  RPT_CHECK(cells.size() == columns_.size(), "{} cells in {} columns", cells.size(), columns_.size());
  rows_.push_back(std::move(cells));
}

std::string Table::to_text() const {
  const Grid grid = make_grid(columns_, rows_, one_line);
  const auto widths = widths_of(grid, 1);
  std::string text;
  const auto add_line = [&](const std::vector<std::string>& cells) {
    std::string line;
    for (std::size_t i = 0; i < cells.size(); ++i)
      line += (i > 0 ? "  " : "") + padded(cells[i], widths[i], columns_[i].align);
    text += line.erase(line.find_last_not_of(' ') + 1) + "\n";
  };
  std::vector<std::string> rule;
  for (const std::size_t width : widths) rule.emplace_back(width, '-');
  add_line(grid[0]);
  add_line(rule);
  for (std::size_t n = 1; n < grid.size(); ++n) add_line(grid[n]);
  return text;
}

std::string Table::to_markdown() const {
  const Grid grid = make_grid(columns_, rows_, markdown_escaped);
  const auto widths = widths_of(grid, 3);
  std::string text;
  const auto add_line = [&](const std::vector<std::string>& cells) {
    text += "|";
    for (std::size_t i = 0; i < cells.size(); ++i) text += " " + padded(cells[i], widths[i], columns_[i].align) + " |";
    text += "\n";
  };
  std::vector<std::string> rule;
  for (std::size_t i = 0; i < widths.size(); ++i) {
    rule.emplace_back(widths[i], '-');
    if (columns_[i].align == Align::right) rule.back().back() = ':';
  }
  add_line(grid[0]);
  add_line(rule);
  for (std::size_t n = 1; n < grid.size(); ++n) add_line(grid[n]);
  return text;
}

std::string Table::to_csv() const {
  std::vector<std::string> titles;
  for (const Column& column : columns_) titles.push_back(csv_quoted(column.title));
  std::string text = joined(titles, ",", "\n");
  for (const auto& row : rows_) {
    std::vector<std::string> fields;
    for (const Cell& cell : row) {
      fields.push_back(std::visit(
          [](const auto& value) -> std::string {
            using T = std::decay_t<decltype(value)>;
            if constexpr (std::is_same_v<T, std::monostate>)
              return "";
            else if constexpr (std::is_same_v<T, std::string>)
              return csv_quoted(value);
            else
              return fmt::format("{}", value);
          },
          cell));
    }
    text += joined(fields, ",", "\n");
  }
  return text;
}

std::vector<Record> Table::to_records() const {
  std::vector<Record> records;
  for (const auto& row : rows_) {
    Record& record = records.emplace_back();
    for (std::size_t i = 0; i < row.size(); ++i) {
      std::visit(
          [&](const auto& value) {
            using T = std::decay_t<decltype(value)>;
            if constexpr (std::is_same_v<T, std::monostate>)
              record.set(columns_[i].title, nullptr);
            else
              record.set(columns_[i].title, value);
          },
          row[i]);
    }
  }
  return records;
}

std::string Table::to_json() const {
  return records_to_json(to_records());
}

std::string Table::to_html(std::string_view caption) const {
  const Grid grid = make_grid(columns_, rows_, html_escaped);
  std::string text = "<table>\n";
  if (!caption.empty()) text += "<caption>" + html_escaped(caption) + "</caption>\n";
  for (std::size_t n = 0; n < grid.size(); ++n) {
    text += n == 0 ? "<thead>\n<tr>" : "<tr>";
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      const char* number = columns_[i].align == Align::right ? " class=\"number\"" : "";
      text += n == 0 ? fmt::format("<th scope=\"col\"{}>{}</th>", number, grid[n][i])
                     : fmt::format("<td{}>{}</td>", number, grid[n][i]);
    }
    text += n == 0 ? "</tr>\n</thead>\n<tbody>\n" : "</tr>\n";
  }
  return text + "</tbody>\n</table>\n";
}

std::string Table::to_latex() const {
  const Grid grid = make_grid(columns_, rows_, latex_escaped);
  std::string letters;
  for (const Column& column : columns_) letters += column.align == Align::left ? 'l' : 'r';
  std::string text = fmt::format("\\begin{{tabular}}{{{}}}\n\\toprule\n", letters);
  for (std::size_t n = 0; n < grid.size(); ++n) {
    text += joined(grid[n], " & ", " \\\\\n");
    if (n == 0) text += "\\midrule\n";
  }
  return text + "\\bottomrule\n\\end{tabular}\n";
}

}  // namespace rpt::report
