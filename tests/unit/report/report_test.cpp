// SPDX-License-Identifier: MIT
#include "rpt/report/report.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <string>

#include "rpt/core/atomic_file.h"
#include "rpt/core/error.h"

namespace rpt::report {
namespace {

namespace fs = std::filesystem;

constexpr const char* kNasty = "a & <b> \"c\" 'd' `e` _{f} \\ $g$ größe";

Plot small_plot() {
  return {"Dose & loss",
          "codes removed, %",
          "NLL <change>, %",
          {{"it's", {{0, 0.5, Bounds{0.25, 0.75}}, {10, 1.5, Bounds{1.0, 2.5}}}},
           {"random", {{0, 0.5}, {10, std::numeric_limits<double>::quiet_NaN()}}}}};
}

Report small_report() {
  Table table({{"arm"}, number_column("change %", 2)});
  table.add_row({"10 % <b>", -0.25});
  Report report;
  report.title = "Pruning & noise";
  report.figures.set("nll_sha256", "abc");
  report.sections = {{"Setting", {"First\nline.\n\n\n- <i>second</i>", CaptionedTable{"All arms_", table}}},
                     {"Dose", {small_plot()}}};
  return report;
}

/// A program in place of gnuplot.
class FakeGnuplot {
 public:
  explicit FakeGnuplot(const std::string& body) {
    path_ = fs::temp_directory_path() / fmt::format("fake_gnuplot_{}", getpid());
    core::write_file_atomic(path_, "#!/bin/sh\n" + body);
    fs::permissions(path_, fs::perms::owner_all);
  }
  ~FakeGnuplot() { fs::remove(path_); }
  std::string path() const { return path_.string(); }

 private:
  fs::path path_;
};

bool has_gnuplot() {
  return draw_plots(small_report()).problem.empty();
}

TEST(GnuplotScript, IsExactlyThis) {
  EXPECT_EQ(gnuplot_script(small_plot(), "plot1"),
            R"(set terminal svg noenhanced size 760,480 font 'sans-serif,12' background '#ffffff' name 'plot1'
set encoding utf8
set border 3 lc '#555555'
set tics nomirror
set grid lc '#cccccc' dt 1 lw 0.5
set key below samplen 6
set autoscale x noextend
set offsets graph 0.02, graph 0.02, graph 0.04, graph 0.04
set xlabel 'codes removed, %'
set ylabel 'NLL <change>, %'
$points0 << EOD
0 0.5
10 1.5
EOD
$intervals0 << EOD
0 0.25 0.5
10 1 1.5
EOD
$points1 << EOD
0 0.5
10 NaN
EOD
plot \
  $intervals0 using 1:2:(0):3 with vectors heads size screen 0.005,90 dt 1 lw 1.2 lc '#4477aa' notitle, \
  $points0 using 1:2 with linespoints dt 1 pt 7 ps 0.8 lw 1.6 lc '#4477aa' title 'it''s', \
  $points1 using 1:2 with linespoints dt (20,8) pt 5 ps 0.8 lw 1.6 lc '#cc3311' title 'random'
)");
}

TEST(PlotTable, HasColumnsForIntervalsWhereThereAreAny) {
  Plot plot{"c", "x", "y", {{"s", {{0, 1}}}}};
  EXPECT_EQ(plot_table(plot).to_csv(), "series,x,y\ns,0,1\n");
  plot.series[0].points[0].interval = Bounds{std::numeric_limits<double>::quiet_NaN(), 2};
  EXPECT_EQ(plot_table(plot).to_csv(), "series,x,y,low,high\ns,0,1,nan,2\n");
  EXPECT_EQ(gnuplot_script(plot, "p").find("$intervals"), std::string::npos);
}

Plot full_plot() {
  Plot plot{"All", "x", "y", {}};
  for (std::size_t i = 0; i < kMaxSeries; ++i) {
    const auto level = static_cast<double>(i);
    plot.series.push_back({fmt::format("series {}", i), {{0, level}, {1, level + 0.5}}});
  }
  return plot;
}

TEST(GnuplotScript, GivesEverySeriesItsOwnColourDashAndMarker) {
  const std::string script = gnuplot_script(full_plot(), "p");
  const std::regex style("dt ([^ ]+) pt ([^ ]+) .*lc '([^']+)' title");
  std::set<std::string> dashes;
  std::set<std::string> markers;
  std::set<std::string> colours;
  for (std::sregex_iterator it(script.begin(), script.end(), style), end; it != end; ++it) {
    dashes.insert((*it)[1]);
    markers.insert((*it)[2]);
    colours.insert((*it)[3]);
  }
  EXPECT_EQ(dashes.size(), kMaxSeries);
  EXPECT_EQ(markers.size(), kMaxSeries);
  EXPECT_EQ(colours.size(), kMaxSeries);
}

TEST(GnuplotScript, RefusesNoSeriesAndTooMany) {
  Plot plot = full_plot();
  plot.series.push_back({"one more", {}});
  EXPECT_THROW(gnuplot_script(plot, "p"), LogicError);
  plot.series.clear();
  EXPECT_THROW(gnuplot_script(plot, "p"), LogicError);
}

TEST(DrawPlots, ShowsEverySeriesItsOwnWay) {
  ASSERT_TRUE(has_gnuplot()) << "tools/build.sh installs gnuplot-nox";
  Report report;
  report.sections = {{"s", {full_plot()}}};
  const Drawings drawings = draw_plots(report);
  ASSERT_EQ(drawings.svg.size(), 1U);
  // In gnuplot's SVG a series is a group with a path, whose dashes are an attribute unless solid, and its markers.
  std::set<std::string> dashes;
  std::set<std::string> markers;
  const std::string& svg = drawings.svg[0];
  for (std::size_t at = svg.find("<g id=\"plot1_plot_"); at != std::string::npos;) {
    const std::size_t next = svg.find("<g id=\"plot1_plot_", at + 1);
    const std::string group = svg.substr(at, next == std::string::npos ? next : next - at);
    std::smatch match;
    dashes.insert(std::regex_search(group, match, std::regex("stroke-dasharray='([^']*)'")) ? match[1].str() : "");
    ASSERT_TRUE(std::regex_search(group, match, std::regex("xlink:href='#(plot1_gpPt[0-9]+)'")));
    markers.insert(match[1]);
    at = next;
  }
  EXPECT_EQ(dashes.size(), kMaxSeries);
  EXPECT_EQ(markers.size(), kMaxSeries);
}

TEST(DrawPlots, MakesElementsThatStandTogetherInAPage) {
  ASSERT_TRUE(has_gnuplot()) << "tools/build.sh installs gnuplot-nox";
  Report report;
  report.sections = {{"s", {small_plot(), "text", small_plot()}}};
  const Drawings drawings = draw_plots(report);
  ASSERT_EQ(drawings.svg.size(), 2U);
  std::set<std::string> ids;
  std::size_t seen = 0;
  for (const std::string& svg : drawings.svg) {
    EXPECT_TRUE(svg.starts_with("<svg role=\"img\" aria-label=\"Dose &amp; loss\"")) << svg.substr(0, 80);
    const std::regex id("\\bid=[\"']([^\"']*)[\"']");
    for (std::sregex_iterator it(svg.begin(), svg.end(), id), end; it != end; ++it, ++seen) ids.insert((*it)[1]);
    const std::regex reference("href='#([^']*)'");
    for (std::sregex_iterator it(svg.begin(), svg.end(), reference), end; it != end; ++it) {
      EXPECT_TRUE(ids.contains((*it)[1])) << (*it)[1];
    }
  }
  EXPECT_GT(seen, 20U);
  EXPECT_EQ(ids.size(), seen);
}

TEST(DrawPlots, EscapesTexts) {
  ASSERT_TRUE(has_gnuplot()) << "tools/build.sh installs gnuplot-nox";
  Report report;
  report.sections = {{"s", {Plot{kNasty, kNasty, kNasty, {{kNasty, {{0, 1}, {1, 2}}}}}}}};
  const Drawings drawings = draw_plots(report);
  ASSERT_EQ(drawings.svg.size(), 1U) << drawings.problem;
  const std::string text = "<text>a &amp; &lt;b> \"c\" 'd' `e` _{f} \\ $g$ größe</text>";
  std::size_t count = 0;
  for (std::size_t at = 0; (at = drawings.svg[0].find(text, at)) != std::string::npos; ++at) ++count;
  EXPECT_EQ(count, 3U) << drawings.svg[0];
  EXPECT_EQ(drawings.svg[0].find("<b>"), std::string::npos);
}

TEST(DrawPlots, SayInOneLineWhatIsMissing) {
  Drawings drawings = draw_plots(small_report(), "no-such-gnuplot");
  EXPECT_TRUE(drawings.svg.empty());
  EXPECT_EQ(drawings.problem, "plots are missing: no program 'no-such-gnuplot' was found");

  const FakeGnuplot failing("echo 'line 3: bad' >&2; echo more >&2; exit 2\n");
  drawings = draw_plots(small_report(), failing.path());
  EXPECT_TRUE(drawings.svg.empty());
  EXPECT_EQ(drawings.problem, fmt::format("plots are missing: '{}' failed: line 3: bad more ", failing.path()));

  Report without = small_report();
  without.sections.pop_back();
  EXPECT_EQ(draw_plots(without, "no-such-gnuplot").problem, "");
}

TEST(DrawPlots, DoesNotHangOnMuchInputAndOutput) {
  Report report;
  Plot plot{"long", "x", "y", {{"s", {}}}};
  for (int i = 0; i < 50'000; ++i) plot.series[0].points.push_back({static_cast<double>(i), 1.0});
  report.sections = {{"s", {plot}}};
  const FakeGnuplot echo("echo '<svg'; cat; echo '</svg>'\n");
  const Drawings drawings = draw_plots(report, echo.path());
  ASSERT_EQ(drawings.svg.size(), 1U) << drawings.problem;
  EXPECT_NE(drawings.svg[0].find("\n49999 1\n"), std::string::npos);
}

TEST(Html, IsExactlyThis) {
  Report report = small_report();
  const std::string html = to_html(report, {{"<svg>drawn</svg>\n"}, ""});
  const std::size_t body = html.find("<body>");
  ASSERT_NE(body, std::string::npos);
  EXPECT_EQ(html.substr(body),
            R"(<body>
<h1>Pruning &amp; noise</h1>
<h2>Setting</h2>
<p>First line.</p>
<p>- &lt;i&gt;second&lt;/i&gt;</p>
<div class="wide">
<table>
<caption>All arms_</caption>
<thead>
<tr><th scope="col">arm</th><th scope="col" class="number">change %</th></tr>
</thead>
<tbody>
<tr><td>10 % &lt;b&gt;</td><td class="number">-0.25</td></tr>
</tbody>
</table>
</div>
<h2>Dose</h2>
<figure>
<figcaption>Dose &amp; loss</figcaption>
<svg>drawn</svg>
<details><summary>Points</summary>
<div class="wide">
<table>
<thead>
<tr><th scope="col">series</th><th scope="col" class="number">x</th><th scope="col" class="number">y</th><th scope="col" class="number">low</th><th scope="col" class="number">high</th></tr>
</thead>
<tbody>
<tr><td>it&#39;s</td><td class="number">0</td><td class="number">0.5</td><td class="number">0.25</td><td class="number">0.75</td></tr>
<tr><td>it&#39;s</td><td class="number">10</td><td class="number">1.5</td><td class="number">1</td><td class="number">2.5</td></tr>
<tr><td>random</td><td class="number">0</td><td class="number">0.5</td><td class="number">–</td><td class="number">–</td></tr>
<tr><td>random</td><td class="number">10</td><td class="number">nan</td><td class="number">–</td><td class="number">–</td></tr>
</tbody>
</table>
</div></details>
</figure>
</body>
</html>
)");
  EXPECT_TRUE(html.starts_with("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"));
}

// Names of XML vocabularies may be addresses; nothing is fetched from there.
TEST(Html, LoadsNothing) {
  std::string html = to_html(small_report(), draw_plots(small_report()));
  html = std::regex_replace(html, std::regex("xmlns(:xlink)?=\"http://www\\.w3\\.org/[^\"]*\""), "");
  EXPECT_EQ(html.find("http:"), std::string::npos);
  EXPECT_EQ(html.find("https:"), std::string::npos);
  for (const char* loader : {"src=", "<link", "<script", "@import", "url(", "<iframe", "<object", "<!ENTITY"}) {
    EXPECT_EQ(html.find(loader), std::string::npos) << loader;
  }
  const std::regex reference("href=[\"']([^#])");
  EXPECT_FALSE(std::regex_search(html, reference));
  EXPECT_NE(html.find("default-src 'none'"), std::string::npos);
}

TEST(Html, SaysWhatIsMissing) {
  const std::string html = to_html(small_report(), {{}, "no <gnuplot>"});
  EXPECT_NE(html.find("<p class=\"missing\">no &lt;gnuplot&gt;</p>\n"), std::string::npos);
  EXPECT_EQ(html.find("<svg"), std::string::npos);
  EXPECT_NE(html.find("<td>random</td>"), std::string::npos);
}

TEST(Markdown, IsExactlyThis) {
  const char* expected = R"(# Pruning \& noise

## Setting

First line.

\- \<i\>second\</i\>

All arms\_

| arm        | change % |
| ---------- | -------: |
| 10 % \<b\> |    -0.25 |

## Dose

![Dose \& loss](plot-1.svg)

| series |   x |   y |  low | high |
| ------ | --: | --: | ---: | ---: |
| it's   |   0 | 0.5 | 0.25 | 0.75 |
| it's   |  10 | 1.5 |    1 |  2.5 |
| random |   0 | 0.5 |    – |    – |
| random |  10 | nan |    – |    – |
)";
  EXPECT_EQ(to_markdown(small_report(), {{"<svg/>"}, ""}), expected);
  const std::string without = to_markdown(small_report(), {{}, "no *gnuplot*"});
  EXPECT_NE(without.find("\n\nno \\*gnuplot\\*\n\n## Setting"), std::string::npos);
  EXPECT_NE(without.find("\n\nDose \\& loss\n\n|"), std::string::npos);
  EXPECT_EQ(without.find("plot-1.svg"), std::string::npos);
}

TEST(Json, HoldsEverything) {
  const auto json = nlohmann::ordered_json::parse(to_json(small_report()));
  EXPECT_EQ(
      json.dump(),
      R"({"title":"Pruning & noise","figures":{"nll_sha256":"abc"},"sections":[{"title":"Setting","blocks":[)"
      R"({"text":"First\nline.\n\n\n- <i>second</i>"},)"
      R"({"table":"All arms_","rows":[{"arm":"10 % <b>","change %":-0.25}]}]},{"title":"Dose","blocks":[)"
      R"({"plot":"Dose & loss","x":"codes removed, %","y":"NLL <change>, %","series":[)"
      R"({"name":"it's","points":[{"x":0.0,"y":0.5,"low":0.25,"high":0.75},{"x":10.0,"y":1.5,"low":1.0,"high":2.5}]},)"
      R"({"name":"random","points":[{"x":0.0,"y":0.5,"low":null,"high":null},{"x":10.0,"y":null,"low":null,"high":null}]}]}]}]})");
}

TEST(Latex, IsATableForEach) {
  EXPECT_EQ(to_latex(small_report()),
            "\\begin{table}\n\\centering\n\\caption{All arms\\_}\n\\label{tab:1}\n\\begin{tabular}{lr}\n\\toprule\n"
            "arm & change \\% \\\\\n\\midrule\n10 \\% \\textless{}b\\textgreater{} & -0.25 \\\\\n"
            "\\bottomrule\n\\end{tabular}\n\\end{table}\n");
  EXPECT_EQ(to_latex({}), "");
}

TEST(WriteReport, LeavesItsFiles) {
  const fs::path folder = fs::temp_directory_path() / fmt::format("rpt_report_{}", getpid());
  fs::create_directory(folder);
  const FakeGnuplot fake("echo prologue '<svg>' fake '</svg>'\n");
  EXPECT_EQ(write_report(folder, small_report(), fake.path()), "");
  const Drawings drawings = draw_plots(small_report(), fake.path());
  EXPECT_EQ(core::read_file(folder / "report.html"), to_html(small_report(), drawings));
  EXPECT_EQ(core::read_file(folder / "report.md"), to_markdown(small_report(), drawings));
  EXPECT_EQ(core::read_file(folder / "report.json"), to_json(small_report()));
  EXPECT_EQ(core::read_file(folder / "tables.tex"), to_latex(small_report()));
  EXPECT_EQ(core::read_file(folder / "plot-1.svg"), drawings.svg[0]);
  EXPECT_EQ(write_report(folder, small_report(), "no-such-gnuplot"),
            "plots are missing: no program 'no-such-gnuplot' was found");
  EXPECT_THROW(write_report(folder / "missing", small_report()), IoError);
  fs::remove_all(folder);
}

}  // namespace
}  // namespace rpt::report
