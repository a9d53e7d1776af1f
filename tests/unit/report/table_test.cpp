// SPDX-License-Identifier: MIT
#include "rpt/report/table.h"

#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "rpt/core/error.h"

namespace rpt::report {
namespace {

Table sample() {
  Table table({{"tensor"}, number_column("weights", std::nullopt, true), number_column("zeros %", 1)});
  table.add_row({"attn_q", std::int64_t{6'553'600}, 42.25});
  table.add_row({"größe", std::int64_t{-1234}, std::monostate{}});
  table.add_row({"a|b, \"c\"", std::int64_t{0}, 100.0});
  return table;
}

TEST(Table, IsPaddedForATerminal) {
  EXPECT_EQ(sample().to_text(),
            "tensor      weights  zeros %\n"
            "--------  ---------  -------\n"
            "attn_q    6,553,600     42.2\n"
            "größe        -1,234        –\n"
            "a|b, \"c\"          0    100.0\n");
}

TEST(Table, IsMarkdown) {
  EXPECT_EQ(sample().to_markdown(),
            "| tensor    |   weights | zeros % |\n"
            "| --------- | --------: | ------: |\n"
            "| attn_q    | 6,553,600 |    42.2 |\n"
            "| größe     |    -1,234 |       – |\n"
            "| a\\|b, \"c\" |         0 |   100.0 |\n");
}

TEST(Table, IsCsvWithFullNumbers) {
  EXPECT_EQ(sample().to_csv(),
            "tensor,weights,zeros %\n"
            "attn_q,6553600,42.25\n"
            "größe,-1234,\n"
            "\"a|b, \"\"c\"\"\",0,100\n");
}

TEST(Table, IsJsonByTitle) {
  const auto json = nlohmann::ordered_json::parse(sample().to_json());
  ASSERT_EQ(json.size(), 3U);
  EXPECT_EQ(json[0].dump(), R"({"tensor":"attn_q","weights":6553600,"zeros %":42.25})");
  EXPECT_EQ(json[1].dump(), R"({"tensor":"größe","weights":-1234,"zeros %":null})");
  EXPECT_EQ(json[2]["tensor"], "a|b, \"c\"");
}

TEST(Table, IsLatex) {
  EXPECT_EQ(sample().to_latex(),
            "\\begin{tabular}{lrr}\n"
            "\\toprule\n"
            "tensor & weights & zeros \\% \\\\\n"
            "\\midrule\n"
            "attn\\_q & 6,553,600 & 42.2 \\\\\n"
            "größe & -1,234 & – \\\\\n"
            "a\\textbar{}b, \"c\" & 0 & 100.0 \\\\\n"
            "\\bottomrule\n"
            "\\end{tabular}\n");
}

TEST(Table, IsHtml) {
  EXPECT_EQ(sample().to_html("a < b"),
            "<table>\n<caption>a &lt; b</caption>\n<thead>\n<tr><th scope=\"col\">tensor</th>"
            "<th scope=\"col\" class=\"number\">weights</th><th scope=\"col\" class=\"number\">zeros %</th></tr>\n"
            "</thead>\n<tbody>\n"
            "<tr><td>attn_q</td><td class=\"number\">6,553,600</td><td class=\"number\">42.2</td></tr>\n"
            "<tr><td>größe</td><td class=\"number\">-1,234</td><td class=\"number\">–</td></tr>\n"
            "<tr><td>a|b, &quot;c&quot;</td><td class=\"number\">0</td><td class=\"number\">100.0</td></tr>\n"
            "</tbody>\n</table>\n");
  EXPECT_EQ(sample().to_html().find("<caption"), std::string::npos);
}

TEST(Table, ShowsNumbersAsTheColumnSays) {
  Table table({{"exact", Align::right}, number_column("rounded", 3), number_column("grouped", 0, true)});
  table.add_row({0.1, 2.0 / 3.0, std::int64_t{999}});
  table.add_row({1e-300, std::numeric_limits<double>::quiet_NaN(), std::int64_t{1000}});
  table.add_row({1e22, std::numeric_limits<double>::infinity(), std::numeric_limits<std::int64_t>::min()});
  EXPECT_EQ(table.to_text(),
            " exact  rounded                     grouped\n"
            "------  -------  --------------------------\n"
            "   0.1    0.667                         999\n"
            "1e-300      nan                       1,000\n"
            " 1e+22      inf  -9,223,372,036,854,775,808\n");
  EXPECT_EQ(table.to_csv(),
            "exact,rounded,grouped\n0.1,0.6666666666666666,999\n1e-300,nan,1000\n1e+22,inf,-9223372036854775808\n");
  const auto json = nlohmann::json::parse(table.to_json());
  EXPECT_EQ(json[0]["rounded"].get<double>(), 2.0 / 3.0);
  EXPECT_TRUE(json[1]["rounded"].is_null());
  EXPECT_TRUE(json[2]["rounded"].is_null());
}

TEST(Table, WithoutRowsHasTitles) {
  const Table table({{"a"}, {"b"}});
  EXPECT_EQ(table.rows(), 0U);
  EXPECT_EQ(table.to_text(), "a  b\n-  -\n");
  EXPECT_EQ(table.to_markdown(), "| a   | b   |\n| --- | --- |\n");
  EXPECT_EQ(table.to_csv(), "a,b\n");
  EXPECT_EQ(nlohmann::json::parse(table.to_json()), nlohmann::json::array());
}

TEST(Table, RefusesRaggedRowsAndEqualTitles) {
  Table table({{"a"}, {"b"}});
  EXPECT_THROW(table.add_row({"x"}), LogicError);
  EXPECT_THROW(table.add_row({"x", "y", "z"}), LogicError);
  EXPECT_EQ(table.rows(), 0U);
  EXPECT_THROW(Table({{"a"}, {"a"}}), LogicError);
  EXPECT_THROW(Table({}), LogicError);
}

}  // namespace
}  // namespace rpt::report
