// SPDX-License-Identifier: MIT
#pragma once
#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "rpt/report/record.h"
#include "rpt/report/table.h"

/// The report of an experiment: one structure, written as a page, as Markdown, as JSON and as tables for a paper. All
/// texts are plain UTF-8; every form escapes what it must.
namespace rpt::report {

struct Bounds {
  double low = 0;
  double high = 0;
};

struct Point {
  double x = 0;
  double y = 0;
  std::optional<Bounds> interval = std::nullopt;
};

struct Series {
  std::string name;
  std::vector<Point> points;
};

/// Lines through points, with their intervals.
struct Plot {
  std::string caption;
  std::string x_label;
  std::string y_label;
  std::vector<Series> series;  ///< 1 … kMaxSeries
};

/// As many as can be told apart by dash and by marker.
inline constexpr std::size_t kMaxSeries = 8;

struct CaptionedTable {
  std::string caption;
  Table table;
};

/// Text: paragraphs, parted by blank lines.
using Block = std::variant<std::string, CaptionedTable, Plot>;

struct Section {
  std::string title;
  std::vector<Block> blocks;
};

struct Report {
  std::string title;
  Record figures;  ///< for programs, in report.json only
  std::vector<Section> sections;
};

/// The plots of a report in its order, as SVG elements that stand in a page without touching each other.
struct Drawings {
  std::vector<std::string> svg;  ///< one for each plot, or none at all
  std::string problem;           ///< one line saying why there are none; empty if nothing is missing
};

/// Draws with gnuplot, the program of that name or path. Where it is missing or fails, there are no drawings, and
/// `problem` says so. Throws: LogicError for a plot with no series or too many; IoError where the system refuses
/// temporary files or processes.
Drawings draw_plots(const Report& report, const std::string& gnuplot = "gnuplot");

/// What gnuplot is given for one plot. Every series has a colour, a dash and a marker that no other has. `id` stands
/// before the names of the SVG's parts. A point that is not finite breaks the line.
std::string gnuplot_script(const Plot& plot, const std::string& id);

/// The points of a plot as columns series, x, y, low, high; the last two only where there are intervals.
Table plot_table(const Plot& plot);

/// One page that loads nothing, its own policy forbidding it: plots inline, their points below in a table that opens.
std::string to_html(const Report& report, const Drawings& drawings);

/// Plots are images plot-1.svg, plot-2.svg, …, their points tables.
std::string to_markdown(const Report& report, const Drawings& drawings);

/// An object: `title`, `figures`, `sections` with `title` and `blocks`, each with `text`; with `table` (its caption)
/// and `rows`; or with `plot` (its caption), `x`, `y` (the labels) and `series` of `name` and `points` (`x`, `y`,
/// `low`, `high`).
std::string to_json(const Report& report);

/// The tables, each a float with its caption, for packages booktabs and inputenc; labels are tab:1, tab:2, ….
std::string to_latex(const Report& report);

/// Writes report.html, report.md, report.json, tables.tex and plot-N.svg into an existing folder, each whole or not at
/// all, and returns Drawings::problem. Throws: IoError; as draw_plots.
std::string write_report(const std::filesystem::path& folder, const Report& report,
                         const std::string& gnuplot = "gnuplot");

}  // namespace rpt::report
