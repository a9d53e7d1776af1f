// SPDX-License-Identifier: MIT
#include "rpt/text/chat_template.h"

#include <gtest/gtest.h>

#include <vector>

#include "rpt/core/error.h"
#include "rpt/text/white_space.h"

namespace rpt::text {
namespace {

const std::vector<Message> kMessages{{"user", "Hello"}, {"assistant", "Hi"}};

std::string render(const std::string& source, const RenderOptions& options = {}) {
  return ChatTemplate::parse(source, "x.jinja").render(kMessages, options);
}

/// What is said about a template that must be refused.
std::string refusal(const std::string& source, const RenderOptions& options = {}) {
  try {
    return "rendered: " + render(source, options);
  } catch (const ConfigError& e) {
    return e.what();
  }
}

TEST(ChatTemplate, WhatIsNotSupportedIsRefusedByNameAndLine) {
  EXPECT_EQ(refusal("a\n{% include 'b' %}"), "x.jinja: line 2: the tag 'include' is not supported");
  EXPECT_EQ(refusal("{{ 'a' | nofilter }}"), "x.jinja: line 1: the filter 'nofilter' is not supported");
  EXPECT_EQ(refusal("\n\n{{ 'a' is notest }}"), "x.jinja: line 3: the test 'notest' is not supported");
  EXPECT_EQ(refusal("{{ 2 ** 3 }}"), "x.jinja: line 1: the operator '**' is not supported");
  EXPECT_EQ(refusal("{{ cycler('a') }}"), "x.jinja: line 1: 'cycler' is not supported");
  EXPECT_EQ(refusal("{% macro f(a) %}\n{{ varargs }}{% endmacro %}{{ f(1, 2) }}"),
            "x.jinja: line 2: 'varargs' in a macro is not supported");
  EXPECT_EQ(refusal("{% macro f() %}{% if true %}{{ kwargs.a }}{% endif %}{% endmacro %}"),
            "x.jinja: line 1: 'kwargs' in a macro is not supported");
  EXPECT_EQ(render("{% macro f() %}x{% endmacro %}{{ f() }}{{ kwargs is defined }}"), "xFalse");
  EXPECT_EQ(refusal("{% for x in [1] recursive %}{% endfor %}"), "x.jinja: line 1: a recursive for is not supported");
  EXPECT_EQ(refusal("{{ range(*[1]) }}"), "x.jinja: line 1: unpacked arguments are not supported");
  EXPECT_EQ(refusal("{{ ('a' | safe) ~ '<' }}"),
            "x.jinja: line 1: the filter 'safe' is supported only at the end of {{ … }}");
  EXPECT_NE(refusal("{{ ('a' | safe) ~ '<' | safe }}").find("only at the end"), std::string::npos);
  EXPECT_EQ(refusal("{{ 'a'.format(1) }}"), "x.jinja: line 1: the function 'format' is undefined or not supported");
  EXPECT_NE(refusal("{{ 'é' | upper }}").find("only letters of ASCII"), std::string::npos);
  EXPECT_EQ(render("{{ 'é' | trim | safe }}"), "é");
}

TEST(ChatTemplate, DamageIsOneClearLine) {
  EXPECT_EQ(refusal("{% if true %}\na"), "x.jinja: line 2: the template ends before 'elif' or 'else' or 'endif'");
  EXPECT_EQ(refusal("{{ 'a"), "x.jinja: line 1: a string that does not end");
  EXPECT_EQ(refusal("{{ a"), "x.jinja: line 1: a tag that does not end");
  EXPECT_EQ(refusal("{# a"), "x.jinja: line 1: a comment that does not end");
  EXPECT_EQ(refusal("{{ (1] }}"), "x.jinja: line 1: ']' without the bracket that it closes");
  EXPECT_EQ(refusal("{{ a b }}"), "x.jinja: line 1: 'b' is not expected here");
  EXPECT_EQ(refusal("{% endif %}"), "x.jinja: line 1: 'endif' without what it belongs to");
  EXPECT_EQ(refusal("{% break %}"), "x.jinja: line 1: 'break' outside of a for");
  EXPECT_EQ(refusal("\n{{ nothing.role }}"), "x.jinja: line 2: 'nothing' is undefined");
  EXPECT_EQ(refusal("{{ messages[9]['role'] }}").find("x.jinja: line 1: "), 0U);
  EXPECT_EQ(refusal("{{ raise_exception('No') }}"), "x.jinja: line 1: the template refuses the conversation: No");
  EXPECT_EQ(refusal("a\xff"), "x.jinja: the chat template is no UTF-8");
}

TEST(ChatTemplate, HostileTemplatesComeToAnEnd) {
  const auto repeat = [](const std::string& part, int times) {
    std::string out;
    for (int i = 0; i < times; ++i) out += part;
    return out;
  };
  const std::string deep = "nested deeper than";
  EXPECT_NE(refusal("{{ " + repeat("(", 5000) + "1" + repeat(")", 5000) + " }}").find(deep), std::string::npos);
  EXPECT_NE(refusal("{{ " + repeat("not ", 5000) + "1 }}").find(deep), std::string::npos);
  EXPECT_NE(refusal(repeat("{% if 1 %}", 5000) + repeat("{% endif %}", 5000)).find(deep), std::string::npos);
  EXPECT_NE(refusal("{{ 1" + repeat(" + 1", 5000) + " }}").find("more than 150 levels"), std::string::npos);
  EXPECT_NE(refusal("{{ a" + repeat(".a", 5000) + " }}").find("more than 150 levels"), std::string::npos);
  EXPECT_NE(refusal("{{ f" + repeat("(1)", 5000) + " }}").find("more than 150 levels"), std::string::npos);
  EXPECT_NE(refusal("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}").find(deep), std::string::npos);
  EXPECT_NE(refusal(std::string(2 << 20, 'a')).find("can be had"), std::string::npos);

  const std::string steps = "steps";
  const std::string nested = repeat("{% for x in range(1000) %}", 8) + repeat("{% endfor %}", 8);
  EXPECT_NE(refusal(nested).find(steps), std::string::npos);
  EXPECT_NE(refusal("{% set ns = namespace(x='ab') %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}")
                .find("bytes"),
            std::string::npos);
  EXPECT_NE(refusal("{{ 'a' * 9000000000000000000 }}").find("steps"), std::string::npos);
  EXPECT_NE(refusal("{{ [1] * 9000000000000000000 }}").find(steps), std::string::npos);
  EXPECT_NE(refusal("{{ range(9000000000000000000) }}").find("more than 100000 items"), std::string::npos);
  // A list of itself twice, fifty times over: 2^50 values to print or to compare.
  const std::string doubled =
      "{% set ns = namespace(x=[1]) %}{% for i in range(45) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}";
  EXPECT_NE(refusal(doubled + "{{ ns.x }}").find("more than"), std::string::npos);
  EXPECT_NE(refusal(doubled + "{{ ns.x | tojson | length }}").find("more than"), std::string::npos);
  const std::string tall =
      "{% set ns = namespace(x=[1]) %}{% for i in range(9999) %}{% set ns.x = [ns.x] %}{% endfor %}";
  EXPECT_NE(refusal(tall + "{{ ns.x }}").find(deep), std::string::npos);
  EXPECT_NE(refusal(tall + "{{ ns.x == [[ns.x]] }}").find(deep), std::string::npos);
  EXPECT_EQ(render("{% set ns = namespace() %}{% set ns.me = ns %}{{ ns.me.me is defined }}"), "True");
  EXPECT_NE(refusal("{{ strftime_now('%9999999Y') }}").find("a width"), std::string::npos);
}

TEST(ChatTemplate, LimitsAreThoseOfTheOptions) {
  RenderOptions options;
  options.max_bytes = 100;
  EXPECT_NE(refusal("{{ 'a' * 101 }}", options).find("more than 100 bytes"), std::string::npos);
  options = {};
  options.max_steps = 50;
  EXPECT_NE(refusal("{% for i in range(60) %}{% endfor %}", options).find("more than 50 steps"), std::string::npos);
}

TEST(ChatTemplate, TellsTheTimeThatItIsGiven) {
  RenderOptions options;
  options.now = 1'700'000'000;  // 14 November 2023 in every time zone but the easternmost
  const std::string date = render("{{ strftime_now('%Y-%m') }}", options);
  EXPECT_EQ(date, "2023-11");
  EXPECT_EQ(render("{{ strftime_now('') }}|{{ strftime_now('%%') }}", options), "|%");
  EXPECT_EQ(render("{{ strftime_now('%Y') | length }}"), "4");
}

TEST(ChatTemplate, AbsentTokensAreUndefined) {
  EXPECT_EQ(render("{{ bos_token is defined }}{{ bos_token }}"), "False");
  EXPECT_NE(refusal("{{ bos_token + 'a' }}").find("'bos_token' is undefined"), std::string::npos);
  RenderOptions options;
  options.bos_token = "<s>";
  options.pad_token = "<pad>";
  EXPECT_EQ(render("{{ bos_token + pad_token }}{{ unk_token is defined }}", options), "<s><pad>False");
}

TEST(WhiteSpace, IsPythons) {
  EXPECT_EQ(leading_white_space(" \t\n\x1c\xc2\xa0\xe3\x80\x80x "), 9U);
  EXPECT_EQ(without_trailing_white_space("x\xe2\x80\xa8 \xc2\x85"), "x");
  EXPECT_EQ(without_trailing_white_space("x\xe2\x80\x8b"), "x\xe2\x80\x8b");  // U+200B is none
  EXPECT_EQ(without_trailing_white_space("x\xff "), "x\xff");
  EXPECT_EQ(without_trailing_white_space("\x85"), "\x85");  // no UTF-8
  EXPECT_EQ(last_character("a\xf0\x9f\xa6\x89"), 1U);
  EXPECT_EQ(last_character("a\x80\x80"), 2U);
}

}  // namespace
}  // namespace rpt::text
