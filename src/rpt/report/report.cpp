// SPDX-License-Identifier: MIT
#include "rpt/report/report.h"

#include <string_view>
#include <utility>

#include "rpt/core/atomic_file.h"
#include "rpt/core/error.h"
#include "rpt/report/escape.h"

namespace rpt::report {
namespace {

// Light and dark, narrow and wide, screen and paper; plots keep their white ground.
constexpr std::string_view kStyle = R"(
:root { color-scheme: light dark }
body { font: 16px/1.5 sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem }
p, figure { max-width: 52rem }
table { border-collapse: collapse; margin: 1rem 0; font-size: 0.9rem }
caption { text-align: left; font-weight: bold; padding-bottom: 0.3rem }
th, td { padding: 0.15rem 0.7rem; text-align: left; border-bottom: 1px solid #8886 }
.number { text-align: right; font-variant-numeric: tabular-nums }
.wide { overflow-x: auto }
figure { margin: 1rem 0 }
figure svg { max-width: 100%; height: auto }
figcaption { font-weight: bold }
.missing { border-left: 0.3rem solid #c31; padding-left: 0.7rem }
)";

/// The paragraphs of a text, each on one line.
std::vector<std::string> paragraphs(std::string_view text) {
  std::vector<std::string> out(1);
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string line = one_line(text.substr(0, end));
    if (line.find_first_not_of(' ') == std::string::npos) {
      if (!out.back().empty()) out.emplace_back();
    } else {
      out.back() += (out.back().empty() ? "" : " ") + line;
    }
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  if (out.back().empty()) out.pop_back();
  return out;
}

/// Calls one function for each kind of block.
template <typename... Functions>
struct Visitor : Functions... {
  using Functions::operator()...;
};
template <typename... Functions>
Visitor(Functions...) -> Visitor<Functions...>;

std::string html_of_plot(const Plot& plot, const Drawings& drawings, std::size_t index) {
  std::string out = fmt::format("<figure>\n<figcaption>{}</figcaption>\n", html_escaped(plot.caption));
  if (index < drawings.svg.size()) out += drawings.svg[index];
  out +=
      "<details><summary>Points</summary>\n<div class=\"wide\">\n" + plot_table(plot).to_html() + "</div></details>\n";
  return out + "</figure>\n";
}

Record json_of_plot(const Plot& plot) {
  Record out;
  out.set("plot", plot.caption);
  out.set("x", plot.x_label);
  out.set("y", plot.y_label);
  std::vector<Record> all;
  for (const Series& series : plot.series) {
    std::vector<Record> points;
    for (const Point& point : series.points) {
      Record& record = points.emplace_back();
      record.set("x", point.x);
      record.set("y", point.y);
      record.set("low", point.interval ? std::optional(point.interval->low) : std::nullopt);
      record.set("high", point.interval ? std::optional(point.interval->high) : std::nullopt);
    }
    Record& record = all.emplace_back();
    record.set("name", series.name);
    record.set("points", std::move(points));
  }
  out.set("series", std::move(all));
  return out;
}

}  // namespace

std::string to_html(const Report& report, const Drawings& drawings) {
  const std::string title = html_escaped(report.title);
  std::string out = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<title>{}</title>\n<style>{}</style>\n</head>\n<body>\n<h1>{}</h1>\n",
      title, kStyle, title);
  if (!drawings.problem.empty()) out += fmt::format("<p class=\"missing\">{}</p>\n", html_escaped(drawings.problem));
  std::size_t plots = 0;
  for (const Section& section : report.sections) {
    out += fmt::format("<h2>{}</h2>\n", html_escaped(section.title));
    for (const Block& block : section.blocks) {
      std::visit(Visitor{[&](const std::string& text) {
                           for (const auto& paragraph : paragraphs(text)) {
                             out += fmt::format("<p>{}</p>\n", html_escaped(paragraph));
                           }
                         },
                         [&](const CaptionedTable& table) {
                           out += "<div class=\"wide\">\n" + table.table.to_html(table.caption) + "</div>\n";
                         },
                         [&](const Plot& plot) { out += html_of_plot(plot, drawings, plots++); }},
                 block);
    }
  }
  return out + "</body>\n</html>\n";
}

std::string to_markdown(const Report& report, const Drawings& drawings) {
  std::string out = fmt::format("# {}\n", markdown_escaped(one_line(report.title)));
  if (!drawings.problem.empty()) out += fmt::format("\n{}\n", markdown_paragraph(drawings.problem));
  std::size_t plots = 0;
  for (const Section& section : report.sections) {
    out += fmt::format("\n## {}\n", markdown_escaped(one_line(section.title)));
    for (const Block& block : section.blocks) {
      std::visit(Visitor{[&](const std::string& text) {
                           for (const auto& paragraph : paragraphs(text))
                             out += '\n' + markdown_paragraph(paragraph) + '\n';
                         },
                         [&](const CaptionedTable& table) {
                           out +=
                               fmt::format("\n{}\n\n{}", markdown_paragraph(table.caption), table.table.to_markdown());
                         },
                         [&](const Plot& plot) {
                           const std::string caption = markdown_paragraph(plot.caption);
                           out += ++plots <= drawings.svg.size() ? fmt::format("\n![{}](plot-{}.svg)\n", caption, plots)
                                                                 : fmt::format("\n{}\n", caption);
                           out += '\n' + plot_table(plot).to_markdown();
                         }},
                 block);
    }
  }
  return out;
}

std::string to_json(const Report& report) {
  std::vector<Record> sections;
  for (const Section& section : report.sections) {
    std::vector<Record> blocks;
    for (const Block& block : section.blocks) {
      blocks.push_back(std::visit(Visitor{[](const std::string& text) {
                                            Record record;
                                            record.set("text", text);
                                            return record;
                                          },
                                          [](const CaptionedTable& table) {
                                            Record record;
                                            record.set("table", table.caption);
                                            record.set("rows", table.table.to_records());
                                            return record;
                                          },
                                          [](const Plot& plot) { return json_of_plot(plot); }},
                                  block));
    }
    Record& record = sections.emplace_back();
    record.set("title", section.title);
    record.set("blocks", std::move(blocks));
  }
  Record out;
  out.set("title", report.title);
  out.set("figures", report.figures);
  out.set("sections", std::move(sections));
  return out.to_json() + "\n";
}

std::string to_latex(const Report& report) {
  std::string out;
  int number = 0;
  for (const Section& section : report.sections) {
    for (const Block& block : section.blocks) {
      const auto* table = std::get_if<CaptionedTable>(&block);
      if (table == nullptr) continue;
      out += fmt::format("{}\\begin{{table}}\n\\centering\n\\caption{{{}}}\n\\label{{tab:{}}}\n{}\\end{{table}}\n",
                         out.empty() ? "" : "\n", latex_escaped(table->caption), ++number, table->table.to_latex());
    }
  }
  return out;
}

std::string write_report(const std::filesystem::path& folder, const Report& report, const std::string& gnuplot) {
  const Drawings drawings = draw_plots(report, gnuplot);
  for (std::size_t i = 0; i < drawings.svg.size(); ++i) {
    core::write_file_atomic(folder / fmt::format("plot-{}.svg", i + 1), drawings.svg[i]);
  }
  core::write_file_atomic(folder / "tables.tex", to_latex(report));
  core::write_file_atomic(folder / "report.json", to_json(report));
  core::write_file_atomic(folder / "report.md", to_markdown(report, drawings));
  core::write_file_atomic(folder / "report.html", to_html(report, drawings));
  return drawings.problem;
}

}  // namespace rpt::report
