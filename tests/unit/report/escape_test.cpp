// SPDX-License-Identifier: MIT
#include "rpt/report/escape.h"

#include <gtest/gtest.h>

namespace rpt::report {
namespace {

TEST(Escape, WidthCountsCharacters) {
  EXPECT_EQ(display_width(""), 0U);
  EXPECT_EQ(display_width("abc"), 3U);
  EXPECT_EQ(display_width("größe"), 5U);
  EXPECT_EQ(display_width("日本"), 2U);
}

TEST(Escape, OneLineHasNoControlCharacters) {
  EXPECT_EQ(one_line("a\nb\tc\x1b[31m\x7f"), "a b c [31m ");
  EXPECT_EQ(one_line("größe"), "größe");
}

TEST(Escape, MarkdownMarkupIsEscaped) {
  EXPECT_EQ(markdown_escaped("a|b"), "a\\|b");
  EXPECT_EQ(markdown_escaped("*x* `y` [z] <b> \\ ~1~ &amp; $e$"),
            "\\*x\\* \\`y\\` \\[z\\] \\<b\\> \\\\ \\~1\\~ \\&amp; \\$e\\$");
  EXPECT_EQ(markdown_escaped("blk.0.attn_q_"), "blk.0.attn_q\\_");
  EXPECT_EQ(markdown_escaped("_x_ __y"), "\\_x\\_ \\_\\_y");
  EXPECT_EQ(markdown_escaped("a\nb\rc"), "a<br>b c");
}

TEST(Escape, MarkdownParagraphsBeginNothing) {
  EXPECT_EQ(markdown_paragraph("  plain\ntext"), "plain text");
  EXPECT_EQ(markdown_paragraph("# a"), "\\# a");
  EXPECT_EQ(markdown_paragraph("- a"), "\\- a");
  EXPECT_EQ(markdown_paragraph("+ a"), "\\+ a");
  EXPECT_EQ(markdown_paragraph("---"), "\\---");
  EXPECT_EQ(markdown_paragraph("12. a"), "12\\. a");
  EXPECT_EQ(markdown_paragraph("1) a"), "1\\) a");
  EXPECT_EQ(markdown_paragraph("12 a."), "12 a.");
  EXPECT_EQ(markdown_paragraph("12"), "12");
  EXPECT_EQ(markdown_paragraph(" "), "");
}

TEST(Escape, HtmlMarkupIsEscaped) {
  EXPECT_EQ(html_escaped("<a href=\"x\">'&amp;'</a>"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;amp;&#39;&lt;/a&gt;");
  EXPECT_EQ(html_escaped("größe\n\x01\tb"), "größe\n  b");
}

TEST(Escape, CsvIsQuotedWhereItMustBe) {
  EXPECT_EQ(csv_quoted("plain text"), "plain text");
  EXPECT_EQ(csv_quoted(""), "");
  EXPECT_EQ(csv_quoted("a,b"), "\"a,b\"");
  EXPECT_EQ(csv_quoted("say \"x\""), "\"say \"\"x\"\"\"");
  EXPECT_EQ(csv_quoted("a\nb"), "\"a\nb\"");
  EXPECT_EQ(csv_quoted("a\rb"), "\"a\rb\"");
  EXPECT_EQ(csv_quoted(" a"), "\" a\"");
  EXPECT_EQ(csv_quoted("a\t"), "\"a\t\"");
}

TEST(Escape, ShellWordsAreOneWord) {
  EXPECT_EQ(shell_word("runs/a-1_b.jsonl"), "runs/a-1_b.jsonl");
  EXPECT_EQ(shell_word("sotu:train"), "sotu:train");
  EXPECT_EQ(shell_word(""), "''");
  EXPECT_EQ(shell_word("two words"), "'two words'");
  EXPECT_EQ(shell_word("it's $HOME"), "'it'\\''s $HOME'");
  EXPECT_EQ(shell_word("größe"), "'größe'");
}

TEST(Escape, LatexSpecialsAreCommands) {
  EXPECT_EQ(latex_escaped("a_b & 5% of $x #1 {y}"), "a\\_b \\& 5\\% of \\$x \\#1 \\{y\\}");
  EXPECT_EQ(latex_escaped("\\~^<>|"),
            "\\textbackslash{}\\textasciitilde{}\\textasciicircum{}\\textless{}\\textgreater{}\\textbar{}");
  EXPECT_EQ(latex_escaped("a\nb"), "a b");
}

}  // namespace
}  // namespace rpt::report
