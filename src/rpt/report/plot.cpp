// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "rpt/core/error.h"
#include "rpt/report/escape.h"
#include "rpt/report/program.h"
#include "rpt/report/report.h"

namespace rpt::report {
namespace {

struct Style {
  const char* colour;
  const char* dash;
  int marker;  ///< gnuplot's point type
};

// Colours: Paul Tol's "bright" scheme and two more, told apart by most colour-blind readers.
constexpr std::array<Style, kMaxSeries> kStyles = {{
    {"#4477aa", "1", 7},               // solid, disc
    {"#cc3311", "(20,8)", 5},          // dashes, square
    {"#228833", "(4,6)", 9},           // dots, triangle
    {"#aa3377", "(20,6,4,6)", 13},     // dash dot, diamond
    {"#997700", "(10,6)", 6},          // short dashes, ring
    {"#009988", "(20,6,4,6,4,6)", 4},  // dash dot dot, open square
    {"#000000", "(40,10)", 8},         // long dashes, open triangle
    {"#777777", "(36,6,12,6)", 12},    // long and short, open diamond
}};

/// A string of gnuplot in which nothing is expanded.
std::string gnuplot_quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : one_line(text)) {
    if (c == '\'') out += '\'';
    out += c;
  }
  return out + '\'';
}

std::string number(double value) {
  return std::isfinite(value) ? fmt::format("{}", value) : "NaN";
}

bool has_interval(const Point& point) {
  return point.interval && std::isfinite(point.interval->low) && std::isfinite(point.interval->high);
}

bool has_intervals(const Series& series) {
  return std::any_of(series.points.begin(), series.points.end(), has_interval);
}

/// Replaces every occurrence.
void replace_all(std::string& text, std::string_view what, std::string_view with) {
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += with.size()) {
    text.replace(at, what.size(), with);
  }
}

/// gnuplot's file as an element of a page: no prologue, names of its own, as wide as the page allows.
std::string inline_svg(std::string svg, const std::string& id, const std::string& caption) {
  svg.erase(0, svg.find("<svg"));
  svg.insert(4, fmt::format(" role=\"img\" aria-label=\"{}\"", html_escaped(one_line(caption))));
  replace_all(svg, "id='gp", "id='" + id + "_gp");
  replace_all(svg, "xlink:href='#gp", "xlink:href='#" + id + "_gp");
  replace_all(svg, "id=\"gnuplot_canvas\"", "id=\"" + id + "_canvas\"");
  for (const char* filter : {"textbox", "greybox"}) {
    replace_all(svg, fmt::format("filter id='{}'", filter), fmt::format("filter id='{}_{}'", id, filter));
  }
  return svg;
}

}  // namespace

std::string gnuplot_script(const Plot& plot, const std::string& id) {
  RPT_CHECK(!plot.series.empty() && plot.series.size() <= kMaxSeries, "{} series", plot.series.size());
  std::string script = fmt::format(
      "set terminal svg noenhanced size 760,480 font 'sans-serif,12' background '#ffffff' name '{}'\n"
      "set encoding utf8\n"
      "set border 3 lc '#555555'\n"
      "set tics nomirror\n"
      "set grid lc '#cccccc' dt 1 lw 0.5\n"
      "set key below samplen 6\n"
      "set autoscale x noextend\n"
      "set offsets graph 0.02, graph 0.02, graph 0.04, graph 0.04\n"
      "set xlabel {}\n"
      "set ylabel {}\n",
      id, gnuplot_quoted(plot.x_label), gnuplot_quoted(plot.y_label));
  std::string intervals;
  std::string lines;
  for (std::size_t i = 0; i < plot.series.size(); ++i) {
    const Series& series = plot.series[i];
    const Style& style = kStyles[i];
    script += fmt::format("$points{} << EOD\n", i);
    for (const Point& point : series.points) script += number(point.x) + ' ' + number(point.y) + '\n';
    if (series.points.empty()) script += "NaN NaN\n";
    script += "EOD\n";
    if (has_intervals(series)) {
      script += fmt::format("$intervals{} << EOD\n", i);
      for (const Point& point : series.points) {
        if (!has_interval(point)) continue;
        script += fmt::format("{} {} {}\n", number(point.x), number(point.interval->low),
                              number(point.interval->high - point.interval->low));
      }
      script += "EOD\n";
      intervals += fmt::format(
          "  $intervals{} using 1:2:(0):3 with vectors heads size screen 0.005,90 dt 1 lw 1.2 lc '{}' notitle, \\\n", i,
          style.colour);
    }
    lines += fmt::format("  $points{} using 1:2 with linespoints dt {} pt {} ps 0.8 lw 1.6 lc '{}' title {}", i,
                         style.dash, style.marker, style.colour, gnuplot_quoted(series.name));
    lines += i + 1 < plot.series.size() ? ", \\\n" : "\n";
  }
  return script + "plot \\\n" + intervals + lines;
}

Drawings draw_plots(const Report& report, const std::string& gnuplot) {
  Drawings drawings;
  for (const Section& section : report.sections) {
    for (const Block& block : section.blocks) {
      const auto* plot = std::get_if<Plot>(&block);
      if (plot == nullptr) continue;
      const std::string id = fmt::format("plot{}", drawings.svg.size() + 1);
      const ProgramOutput output = run_program({gnuplot, "-d"}, gnuplot_script(*plot, id));
      if (!output.found) return {{}, fmt::format("plots are missing: no program '{}' was found", gnuplot)};
      if (output.exit_code != 0 || output.standard_output.find("<svg") == std::string::npos) {
        return {{}, fmt::format("plots are missing: '{}' failed: {}", gnuplot, one_line(output.standard_error))};
      }
      drawings.svg.push_back(inline_svg(output.standard_output, id, plot->caption));
    }
  }
  return drawings;
}

Table plot_table(const Plot& plot) {
  bool intervals = false;
  for (const Series& series : plot.series) {
    for (const Point& point : series.points) intervals = intervals || point.interval;
  }
  std::vector<Column> columns = {{"series"}, number_column("x"), number_column("y")};
  if (intervals) {
    columns.push_back(number_column("low"));
    columns.push_back(number_column("high"));
  }
  Table table(columns);
  for (const Series& series : plot.series) {
    for (const Point& point : series.points) {
      std::vector<Cell> row = {series.name, point.x, point.y};
      row.resize(columns.size());  // empty cells
      if (point.interval) {
        row[3] = point.interval->low;
        row[4] = point.interval->high;
      }
      table.add_row(std::move(row));
    }
  }
  return table;
}

}  // namespace rpt::report
