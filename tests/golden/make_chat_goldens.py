#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Renders the published chat templates of chat/*.jinja, and small templates of every construct, with transformers.

Writes chat/rendered.json, chat/snippets.json and chat/random.json, random combinations of the constructs. Versions:
requirements.txt. The same bytes come out every time.
"""
import json
import pathlib
import random

import jinja2
import transformers
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

HERE = pathlib.Path(__file__).parent / "chat"


def turns(*contents, system=None):
    messages = [] if system is None else [{"role": "system", "content": system}]
    return messages + [{"role": ("user", "assistant")[i % 2], "content": c} for i, c in enumerate(contents)]


CONVERSATIONS = {
    "user": turns("Hello"),
    "system_user": turns("Hello", system="You are a helpful assistant"),
    "answered": turns("What is 2+2?", "4"),
    "several": turns("Hello", "Hi there", "Who are you", "   I am an assistant   ", "Another question",
                     system="You are a helpful assistant"),
    "several_without_system": turns("Hello", "Hi there", "Who are you"),
    "unicode": turns("Grüße, Käthe! 日本語は？ 🦉", "Ça va… naïve \u00a0", "\u3000weiß?\u2028", system="Sprich Deutsch – bitte"),
    "white_space": turns("  \n leading and trailing \t\n\n", "\n\n", "a\r\nb\rc"),
    "tags_in_texts": turns("{{ bos_token }} {% if true %}", "{# no comment #} \\n 'quotes' \"double\" <|eot_id|>", "&<>"),
    "thinking": turns("Think", "<think>\nhm\n</think>\n\nDone.", "Again"),
    "empty": turns(""),
    "assistant_first": [{"role": "assistant", "content": "Hi"}, {"role": "user", "content": "Hello"}],
    "user_twice": [{"role": "user", "content": "One"}, {"role": "user", "content": "Two"}],
    "system_later": turns("Hello") + [{"role": "system", "content": "Be brief"}],
    "system_alone": [{"role": "system", "content": "Be brief"}],
    "other_role": [{"role": "tool", "content": "{}"}],
    "nothing": [],
}


def tokenizer(template, bos, eos):
    t = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"x": 0}, "x")), bos_token=bos, eos_token=eos)
    t.chat_template = template
    return t


def outcome(render):
    """The text, or what was wrong: `refused` is what the template itself says."""
    try:
        return {"text": render()}
    except jinja2.exceptions.UndefinedError:
        return {"error": "undefined"}
    except jinja2.exceptions.SecurityError:
        return {"error": "security"}
    except jinja2.exceptions.TemplateSyntaxError:
        return {"error": "syntax"}
    except jinja2.exceptions.TemplateError as e:
        return {"error": "refused", "message": str(e)}
    except (TypeError, ValueError, ZeroDivisionError, LookupError, OverflowError, AttributeError,
            SyntaxError) as e:
        return {"error": type(e).__name__}


def published():
    cases = []
    for name, entry in json.loads((HERE / "templates.json").read_text()).items():
        t = tokenizer((HERE / f"{name}.jinja").read_text(), entry["bos_token"], entry["eos_token"])
        for key in CONVERSATIONS:
            for prompt in (False, True):
                # Without messages transformers takes the list for an empty batch of conversations.
                conversation = CONVERSATIONS[key] or [[]]
                def render():
                    text = t.apply_chat_template(conversation, tokenize=False, add_generation_prompt=prompt)
                    return text if isinstance(text, str) else text[0]
                cases.append({"template": name, "conversation": key, "prompt": prompt, **outcome(render)})
    return {"versions": VERSIONS, "conversations": CONVERSATIONS, "cases": cases}


VERSIONS = {"transformers": transformers.__version__, "jinja2": jinja2.__version__}

# Rendered with CONVERSATIONS["several"], bos_token <s>, eos_token </s> and a generation prompt.
SNIPPETS = r"""
plain text
{{ 'a' }}{{ "b" }}{{ 'a' "b" 'c' }}
{{ 1 }} {{ -1 }} {{ 1.5 }} {{ 1e3 }} {{ 1e16 }} {{ 1e22 }} {{ 0.0001 }} {{ 0.00001 }} {{ 123456789.125 }} {{ 1_000 }}
{{ true }} {{ false }} {{ none }} {{ True }} {{ None }} {{ nothing }}
{{ [1, 'a', "it's", 'say "x"', 'b\n', none, [true]] }} {{ {'a': 1, 2: 'b'} }} {{ (1, 2) }} {{ (1,) }} {{ () }} {{ [] }}
{{ 1, 2 }}
{{ '\n\t\\\'\"\x41\u00e9\U0001F989\d\101' }}
{{ messages[0].role }} {{ messages[0]['content'] }} {{ messages[-1].role }} {{ messages | length }} {{ messages[99] }}
{{ messages[99].role }}
{{ nothing.role }}
{{ nothing['role'] }}
{{ nothing + 'a' }}
{{ 'a' + nothing }}
{{ nothing ~ 'a' ~ 1 ~ none ~ 1.0 }}
{{ messages[1:] | length }} {{ messages[:2] | length }} {{ messages[1:3][0].role }} {{ messages[::-1][0].content }} {{ messages[::2] | length }}
{{ 'abcdef'[1:3] }} {{ 'abcdef'[-2:] }} {{ 'abcdef'[::-1] }} {{ 'abcdef'[::2] }} {{ 'abcdef'[5:1:-2] }} {{ 'abcdef'[:-1] }} {{ 'äöü🦉'[1:3] }} {{ 'äöü🦉'[-1] }} {{ 'abc'[10:] }}| {{ 'abc'[-10:2] }} {{ 'abc'[::-100] }} {{ 'abc'[::100] }}
{{ [1,2,3][::0] }}
{{ 1 + 2 * 3 - 4 }} {{ 7 / 2 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 7.5 // 2 }} {{ -7.5 % 2 }} {{ 4 / 2 }} {{ 'ab' * 3 }} {{ [1] * 2 }} {{ [1] + [2] }} {{ (1 + 2) * 3 }} {{ 2 - -3 }} {{ 1 + true }}
{{ 1 / 0 }}
{{ 1 % 0 }}
{{ 'a' + 1 }}
{{ 1 + 'a' }}
{{ 'a' - 'b' }}
{{ none + 1 }}
{{ 1 == 1.0 }} {{ 1 == true }} {{ 'a' == 'a' }} {{ 'a' != 'b' }} {{ [1] == [1] }} {{ [1] == (1,) }} {{ {'a': 1} == {'a': 1} }} {{ none == none }} {{ none == false }} {{ nothing == nothing2 }} {{ messages[0] == messages[0] }} {{ messages[0] == messages[1] }}
{{ 1 < 2 }} {{ 2 <= 2 }} {{ 3 > 2 > 1 }} {{ 1 < 3 < 2 }} {{ 'a' < 'b' }} {{ 'Z' < 'a' }} {{ 1.5 >= 1 }} {{ 1 == 1 != 2 }}
{{ 1 < 'a' }}
{{ none < 1 }}
{{ 'a' in 'abc' }} {{ 'd' not in 'abc' }} {{ 1 in [1, 2] }} {{ 'role' in messages[0] }} {{ 'x' in messages[0] }} {{ not 'a' in 'abc' }} {{ 'a' in nothing }}
{{ 1 in 'abc' }}
{{ 'a' in 1 }}
{{ true and false }} {{ true or false }} {{ not true }} {{ 'a' and 'b' }} {{ '' or 'b' }} {{ none or 0 }} {{ not none }} {{ 1 and 2 or 3 }} {{ not 1 == 2 }} {{ not not true }}
{{ 'a' if true else 'b' }} {{ 'a' if false else 'b' }} {{ 'a' if false }}| {{ 'a' if false else 'b' if false else 'c' }} {{ ('a' if true) ~ 'x' }}
{% if messages %}yes{% else %}no{% endif %}
{% if nothing %}a{% elif none %}b{% elif [] %}c{% elif '' %}d{% elif 0 %}e{% elif {} %}f{% elif 'x' %}g{% else %}h{% endif %}
{% for m in messages %}{{ loop.index }}/{{ loop.index0 }}/{{ loop.revindex }}/{{ loop.revindex0 }}/{{ loop.first }}/{{ loop.last }}/{{ loop.length }}/{{ loop.depth }} {% endfor %}
{% for m in messages %}{{ loop.previtem.role if loop.previtem is defined else '-' }}>{{ m.role }}>{{ loop.nextitem.role if loop.nextitem is defined else '-' }} {% endfor %}
{% for m in messages if m.role == 'user' %}{{ loop.index }}:{{ m.content }}{% if not loop.last %}, {% endif %}{% else %}none{% endfor %}
{% for m in messages if m.role == 'x' %}{{ m }}{% else %}none{% endfor %}
{% for m in [] %}a{% else %}empty{% endfor %}{% for x in nothing %}a{% else %}undefined{% endfor %}
{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}={{ v }};{% endfor %}{% for k in {'a': 1, 'b': 2} %}{{ k }}{% endfor %}{% for k, v in {'a': 1} | items %}{{ k }}{{ v }}{% endfor %}
{% for a, b in [(1, 2), [3, 4]] %}{{ a + b }} {% endfor %}{% for (a, b) in [(1, 2)] %}{{ a }}{{ b }}{% endfor %}
{% for a, b in [1] %}{{ a }}{% endfor %}
{% for a, b in [(1, 2, 3)] %}{{ a }}{% endfor %}
{% for c in 'añ🦉' %}[{{ c }}]{% endfor %}
{% for i in range(3) %}{{ i }}{% endfor %} {% for i in range(1, 7, 2) %}{{ i }}{% endfor %} {% for i in range(3, 0, -1) %}{{ i }}{% endfor %} {{ range(5) | length }} {{ range(3)[1] }} {{ range(4) | list }}
{% for x in 1 %}{% endfor %}
{% for x in none %}{% endfor %}
{% for i in range(5) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}
{% for i in range(3) %}{% for j in range(2) %}{{ loop.depth }}{{ loop.index }}{% if j == 0 %}{% continue %}{% endif %};{% endfor %}{% endfor %}
{% for i in range(4) %}{{ loop.cycle('a', 'b', 'c') }}{% endfor %}
{% set x = 1 %}{% for i in range(3) %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}
{% set x = 1 %}{% if true %}{% set x = 2 %}{% endif %}{{ x }}
{% set ns = namespace(a=1, b='x') %}{% for i in range(3) %}{% set ns.a = ns.a + i %}{% set ns.c = i %}{% endfor %}{{ ns.a }}{{ ns.b }}{{ ns.c }}{{ ns.d }}{{ ns.d is defined }}{{ ns['a'] }}
{% set ns.a = 1 %}
{% set x = 1 %}{% set x.a = 1 %}
{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set (c, d) = [3, 4] %}{{ c }}{{ d }}
{% set a, b = [1] %}
{% set x %}block {{ 1 + 1 }} text{% endset %}[{{ x }}]{% set y | upper | trim %} abc {% endset %}[{{ y }}]{{ x is string }}
{% set x = 'a', 'b' %}{{ x }}{{ x | length }}
{% macro f(a, b='x', c=none) %}{{ a }}-{{ b }}-{{ c }}{% endmacro %}{{ f(1) }} {{ f(1, 2) }} {{ f(1, c=3) }} {{ f(a='q') }} {{ f() }} {{ f(1) is string }} {{ f(1) | upper }}
{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, 2) }}
{% macro f(a) %}{{ a }}{% endmacro %}{{ f(b=2) }}
{% set x = 'outer' %}{% macro f() %}{{ x }}{{ y }}{% endmacro %}{% set y = 'later' %}{{ f() }}{% for x in [1] %}{{ f() }}{% endfor %}
{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}
{% generation %}a{{ messages[0].role }}{% endgeneration %}b
{% raw %}{{ not }} {% if %} {# x #}{% endraw %}|{%- raw -%}  a  {%- endraw -%}  b
{# comment #}a{#- c -#} b {# d -#} e
a {#- x #} b
{{ ' \n a\t ' | trim }}|{{ 'xxaxx' | trim('x') }}|{{ '\u3000a\u00a0\u2003' | trim }}|{{ '\u200ba\u200b' | trim | length }}|{{ '\x1ca\x1f\x85' | trim }}|{{ 5 | trim }}|{{ nothing | trim }}
{{ 'aBc' | upper }}{{ 'aBc' | lower }}{{ 'hELLO wORLD' | capitalize }}{{ 'hello wORLD-foo (bar) [baz] it''s' | title }}{{ "it's o'neil" | title }}{{ "it's o'neil x1y".title() }}{{ none | upper }}
{{ 'abc' | length }}{{ 'ä🦉' | length }}{{ [1, 2] | count }}{{ {'a': 1} | length }}{{ nothing | length }}
{{ 5 | length }}
{{ none | length }}
{{ nothing | default('d') }}{{ none | default('d') }}{{ none | default('d', true) }}{{ '' | d('e', boolean=true) }}{{ 'x' | default('d') }}[{{ nothing | default }}]
{{ ['a', 1, none] | join }} {{ ['a', 'b'] | join(', ') }} {{ messages | join('|', attribute='role') }} {{ 'abc' | join('-') }} {{ range(3) | join(1) }} {{ ','.join(['a', 'b']) }}
{{ ','.join([1]) }}
{{ 'a.b.c' | replace('.', '-') }} {{ 'a.b.c' | replace('.', '-', 1) }} {{ 'abc' | replace('', '-') }} {{ 'aaa'.replace('a', 'b', 2) }} {{ 'aaa'.replace('', '-', 2) }} {{ 5 | replace(5, 6) }}
{{ 'abc' | list }} {{ {'a': 1} | list }} {{ (1, 2) | list }} {{ {'b': 1, 'a': 2} | dictsort }} {{ {'b': 1, 'a': 2} | dictsort(by='value') }} {{ {'B': 1, 'a': 2} | dictsort(true) }} {{ {'b': 1, 'a': 2} | dictsort(reverse=true) }}
{{ [3, 1, 2] | sort }} {{ ['b', 'A', 'c'] | sort }} {{ ['b', 'A', 'c'] | sort(case_sensitive=true) }} {{ [1, 2] | sort(reverse=true) }} {{ messages | sort(attribute='role') | map(attribute='role') | join(',') }}
{{ [1, 'a'] | sort }}
{{ [1, 2] | first }}{{ [1, 2] | last }}{{ 'ab' | first }}{{ 'ab' | last }}[{{ [] | first }}][{{ [] | last }}]{{ {'a': 1} | first }}
{{ messages | selectattr('role', 'equalto', 'user') | list | length }} {{ messages | rejectattr('role', '==', 'user') | map(attribute='role') | join(' ') }} {{ messages | selectattr('tool_calls') | list | length }} {{ messages | selectattr('tool_calls', 'defined') | list | length }} {{ messages | selectattr('role', 'in', ['user', 'system']) | list | length }}
{{ (messages | selectattr('role', 'equalto', 'user') | list)[-1].content }} {{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | list }}
{{ messages | selectattr('role', 'equalto', 'x') | length }}
{% if messages | selectattr('role', 'equalto', 'x') %}generators are true{% endif %}{% set g = messages | selectattr('role') %}{{ g | list | length }}{{ g | list | length }}
{{ messages | selectattr('role') | first | string | length > 0 }}
{{ messages | selectattr('role') | last }}
{{ [1, 2, 3, 4] | select('odd') | list }} {{ [1, 2, 3, 4] | reject('even') | list }} {{ [0, 1, '', 'a'] | select | list }} {{ ['a', 'b'] | map('upper') | list }} {{ [' a '] | map('trim') | join }} {{ ['1'] | map('int') | list }} {{ [{'a': {'b': 1}}] | map(attribute='a.b') | list }} {{ [[1, 2]] | map(attribute=1) | list }} {{ [{}] | map(attribute='x', default='q') | list }}
{{ 'a' | nofilter }}
{{ 'a' is notest }}
{{ [1, 2, 3] | reverse | list }} {{ 'abc' | reverse }}
{{ 5 | string + 'a' }} {{ none | string }} {{ 1.0 | string }} {{ '12' | int + 1 }} {{ 'x' | int }} {{ 'x' | int(7) }} {{ ' 12 ' | int }} {{ '1.9' | int }} {{ 1.9 | int }} {{ none | int }} {{ '1.5' | float }} {{ 'x' | float }} {{ 2 | float }} {{ -3 | abs }} {{ -2.5 | abs }} {{ true | int }}
{{ {'a': 1, 'b': [1, 2.5, none, true, 'x"\n\u00e9/<>&\''], 'c': {}} | tojson }} {{ [] | tojson }} {{ 'é\u2028🦉\x01\x7f' | tojson }} {{ 'é🦉' | tojson(ensure_ascii=true) }} {{ {'b': 1, 'a': 2} | tojson(sort_keys=true) }} {{ [1, 2] | tojson(separators=(',', ':')) }} {{ {1: 2, none: 3, true: 4} | tojson }} {{ (1, 2) | tojson }} {{ 1e20 | tojson }}
{{ {'a': 1, 'b': [1, 2, {}], 'c': []} | tojson(indent=2) }}
{{ messages | tojson(indent=4) }}
{{ nothing | tojson }}
{{ 'a\n\nb\nc' | indent }}|{{ 'a\nb' | indent(2, true) }}|{{ 'a\n\nb' | indent(1, blank=true) }}|{{ 'a\nb' | indent('>>') }}
{{ '<b>' | safe }}
{{ 'a' is defined }}{{ nothing is defined }}{{ nothing is undefined }}{{ none is none }}{{ none is not none }}{{ 'a' is string }}{{ 1 is string }}{{ {} is mapping }}{{ [] is mapping }}{{ [] is iterable }}{{ 'a' is iterable }}{{ 1 is iterable }}{{ nothing is iterable }}{{ [] is sequence }}{{ {} is sequence }}{{ 1 is number }}{{ true is number }}{{ 1.5 is number }}{{ '1' is number }}{{ true is boolean }}{{ 1 is boolean }}{{ 1 is integer }}{{ true is integer }}{{ 1.0 is integer }}{{ 1.0 is float }}{{ true is true }}{{ 1 is true }}{{ false is false }}{{ none is sameas none }}{{ true is sameas true }}{{ 1 is sameas true }}{{ 'a' is equalto 'a' }}{{ 1 is eq 1.0 }}{{ 1 is ne 2 }}{{ 3 is gt 2 }}{{ 3 is lt 2 }}{{ 3 is ge 3 }}{{ 3 is le(3) }}{{ 3 is odd }}{{ 3 is even }}{{ 6 is divisibleby 3 }}{{ 'a' is in 'abc' }}{{ 1 is in [2] }}{{ range is callable }}{{ 'a' is callable }}
{{ 'a' is defined and 'b' is not string or false }} {{ not nothing is defined }} {{ 1 + 1 is number }} {{ 'x' if nothing is defined else 'y' }} {{ nothing is defined == false }}
{{ ' a '.strip() }}|{{ 'xax'.lstrip('x') }}|{{ 'xax'.rstrip('x') }}|{{ 'abcba'.strip('ab') }}|{{ '\n a'.lstrip('\n') }}|{{ 'äaä'.strip('ä') }}|{{ 'a'.strip('') }}
{{ 'a,b,c'.split(',') }} {{ 'a,b,c'.split(',', 1) }} {{ ' a  b '.split() }} {{ 'a,b,c'.rsplit(',', 1) }} {{ 'abc'.split('x') }} {{ ''.split(',') }} {{ ''.split() }} {{ ' a b c '.split(none, 1) }} {{ 'a--b'.split('--')[-1] }} {{ 'a,b'.split(sep=',') }} {{ 'a,b,c'.split(',', maxsplit=1) }} {{ 'a,b'.split(',', 0) }}
{{ 'a'.split('') }}
{{ 'abc'.startswith('a') }}{{ 'abc'.endswith('bc') }}{{ 'abc'.startswith(('x', 'a')) }}{{ 'abc'.endswith('x') }}{{ 'äbc'.find('b') }}{{ 'abc'.find('x') }}{{ 'abcabc'.count('bc') }}{{ 'ab'.count('') }}{{ '12'.isdigit() }}{{ ''.isdigit() }}
{{ 'abc'.startswith(1) }}
{{ 'aBc'.upper() }}{{ 'aBc'.lower() }}{{ 'aBC dE'.capitalize() }}{{ 'aBC dE'.title() }}
{{ {'a': 1}.get('a') }}{{ {'a': 1}.get('b') }}{{ {'a': 1}.get('b', 2) }}{{ messages[0].get('role') }}{{ {'a': 1}.keys() | list }}{{ {'a': 1}.values() | list }}{{ {'a': 1}.items() | list }}{{ {'a': 1}.items() | length }}
{{ {'items': 5}.items is callable }}{{ {'items': 5}['items'] }}{{ {'a': 5}.a }}{{ {'a': 5}['a'] }}{{ {'a': 5}.b is defined }}{{ [1, 2].0 }}
{{ [].append(1) }}
{{ 'a'.nomethod() }}
{{ nofunction() }}
{{ 'a'() }}
{{ raise_exception('No ' ~ 'way') }}
{{ raise_exception() }}
{{ dict(a=1, b='x') }} {{ dict() }} {{ namespace is callable }}
{{ namespace(_a=1) }}
{{ range(0) | length }} {{ range(1000000) | length }}
{{ range(1, 2, 0) }}
{%- if true -%}  a  {%- endif -%}
  {%- if true %}  a  {% endif -%}  b
x  {%- if true +%}  a  {%+ endif %} y
x   {{- 'a' -}}   y   {{ 'b' -}} z {{- 'c' }} w
{% if (true) and ((1 + 2) == 3) %}{{ (((1))) }}{% endif %}
{{ {'a': {'b': {'c': 1}}}['a']['b'].c }} {{ {'a': {'b': 1}} }} {{ {'}}': '%}'}['}}'] }}
{{ "a" "b" }}{{ 'a' ~ 1 + 2 ~ 'b' }}
{{ 1 if 2 if 3 else 4 else 5 }}
{{ -1 | abs }} {{ - 2 + 3 }} {{ +1 }} {{ -messages | length }}
{{ 'a' * 0 }}|{{ 'a' * -1 }}|{{ 3 * 'ab' }}
{{ '%s' % 'a' }}
{{ 2 ** 3 }}
{{ [1, 2, 3,] }}{{ {'a': 1,} }}{{ dict(a=1,) }}
{% for m in messages | rejectattr('role', 'equalto', 'system') %}{{ m.role[0] }}{{ loop.length }} {% endfor %}
{% for m in messages[1:] + [messages[0]] %}{{ m.role }} {% endfor %}
{% for message in messages %}{% if loop.index0 == 0 %}{% set content = bos_token + message.content %}{% else %}{% set content = message.content %}{% endif %}{{ content }};{% endfor %}{{ content is defined }}
{% set messages = messages[1:] %}{{ messages | length }}{% set bos_token = 'x' %}{{ bos_token }}
{{ tools is defined }}{{ tools is none }}{{ documents is none }}{{ pad_token is defined }}{{ bos_token }}{{ eos_token }}{{ add_generation_prompt }}{{ loop is defined }}
{{ loop.index }}
{% if not add_generation_prompt is defined %}a{% endif %}{% if add_generation_prompt is not defined %}b{% endif %}
{% endif %}
{% if true %}
{% for x in [] %}{% endif %}
{% unknown %}
{% include 'x' %}
{% break %}
{{ }}
{{ 'a
{{ 'a' 
{{ 1 + }}
{{ a b }}
{{ [1, 2 }}
{{ (1, 2] }}
{{ {'a' 1} }}
{{ 'a' | }}
{{ 'a' is }}
{{ a..b }}
{% set = 1 %}
{% set true = 1 %}
{% set x %}
{% for in x %}{% endfor %}
{% for x on y %}{% endfor %}
{% macro f( %}{% endmacro %}
{# unfinished
{% raw %} unfinished
{{ 'a' $ 'b' }}
{{ 5.strip() }}
{{ nothing[1:] }}
{{ (messages | length)[1:] }}
{{ not 1 == 2 }} {{ not 'a' in 'b' }} {{ not true and false }} {{ not not 1 }}
{{ 'a'.b.c }}
{{ none.a }}| {{ 1 .a }}| {{ none['a'] }}|
{{ messages.role }}| {{ messages['role'] }}| {{ 'abc'.role }}| {{ 'abc'['x'] }}|
{{ messages[none] }}| {{ messages[1.0] }}| {{ messages['0'] }}|
{{ 'ß' ~ 'é' == 'ßé' }} {{ 'é' < 'f' }} {{ 'é' in 'café' }}
{{ 1 == '1' }} {{ '' == none }} {{ 0 == false }} {{ 1.5 == 1.5 }} {{ 1 != 1.0 }}
{{ 9223372036854775807 }} {{ 0 }} {{ 00 }}
{{ 0.1 + 0.2 }} {{ 1.0 }} {{ 100.0 }} {{ 1e-7 }} {{ 1.5e300 * 1e10 }} {{ 3.0 // 2 }}
{{ ['a'] | tojson | length }} {{ 'x' | tojson | tojson }}
{{ [[1, 2], [3]] | map('length') | list }} {{ [[1, 2], [3]] | map('first') | list }} {{ ['b', 'a'] | map('replace', 'a', 'c') | list }}
{{ messages | map(attribute='role') | list | tojson }}
{{ (messages | map(attribute='role') | list).index('user') }}
""".strip("\n").split("\n")

LINES = [
    "{% if true %}\na\n{% endif %}\nb\n",
    "  {% if true %}\n  a\n  {% endif %}\n  b\n\n",
    "a\n  {{ 'x' }}\n  b\n",
    "{% for m in messages %}\n    {{ m.role }}\n{% endfor %}\nend",
    "{% for m in messages -%}\n    {{ m.role }}\n{%- endfor %}\nend\n",
    "{%- for m in messages %}\n\n    {{- m.role }}\n    {# comment #}\n{%- endfor %}\n\n\nend\n\n",
    "a\r\n{% if true %}\r\nb\r\n{% endif %}\rc\r",
    "a {% if true %} \n b {% endif %} \n c",
    "\t {% if true +%}\n a\n {%+ endif %}\n b",
    "   {# a #}   \n   {# b #}\n   c {# d #}\n e",
    "{% set x = 'a\nb\r\nc' %}{{ x }}|{{ x | length }}",
    "{{ 'a\\\nb' }}",
    "{% raw %}\n {{ x }}\n{% endraw %}\n  {%- raw %}\n y {% endraw -%}\n z",
    "\n\n{{ 'x' }}\n\n",
    "{{ 'x' -}}\n\n  {% if true %}\n  a{% endif %}\n  {% if true %}b{% endif %}",
    "{{\n  'a'\n  ~\n  'b'\n}}",
    "{% set x = {\n 'a': 1,\n 'b': [1,\n 2] } %}{{ x.b[1] }}",
    "\u3000{% if true %}a{% endif %}\n\u00a0 {% if true %}b{% endif %}\u2003{%- if true %}c{% endif %}",
    "a{% if true %}\n\n\nb{% endif %}",
    "{% if true %}   \na{% endif %}",
]

ATOMS = ["1", "0", "-2", "2.5", "'a'", "'B c'", "''", "true", "none", "nothing", "messages", "messages[0]", "'ab, c '",
         "[1, 'a']", "[]", "{'a': 1}", "messages[1].content", "messages | length", "bos_token", "(1, 2)", "x", "'12'"]
# map and select are not among them: Python runs them only where their outcome is read, and prints an address for one.
FILTERS = ["trim", "upper", "lower", "capitalize", "title", "length", "default('d')", "join('-')", "list", "first", "last",
           "string", "int", "float", "tojson", "reverse", "replace('a', 'b')", "default('e', true)", "sort", "abs",
           "indent(1)"]
TESTS = ["defined", "none", "string", "mapping", "iterable", "number", "boolean", "undefined", "sequence", "integer",
         "equalto 1", "not none", "odd"]
SUFFIXES = ["[0]", "[-1]", "[1:]", "[::-1]", ".role", "['a']", ".strip()", ".split()", ".split(',')", ".upper()", ".items()",
            ".get('a', 2)", "[:2]", ".a"]
OPERATORS = ["+", "-", "*", "/", "//", "%", "~", "==", "!=", "<", "<=", ">", ">=", "and", "or", "in", "not in"]


def random_expression(r, depth):
    kind = r.randrange(8) if depth > 0 else 0
    inner = lambda: random_expression(r, depth - 1)
    if kind < 2:
        return r.choice(ATOMS)
    if kind == 2:
        return f"{inner()} {r.choice(OPERATORS)} {inner()}"
    if kind == 3:
        return f"({inner()}) | {r.choice(FILTERS)}"
    if kind == 4:
        return f"({inner()}){r.choice(SUFFIXES)}"
    if kind == 5:
        return f"({inner()}) is {r.choice(TESTS)}"
    if kind == 6:
        return f"({inner()} if {inner()} else {inner()})"
    # In brackets: where an operand is expected Jinja takes a bare `not` for a variable of that name.
    return f"(not {inner()})" if r.random() < 0.5 else f"-({inner()})"


def random_template(r, depth=3):
    signs = lambda: r.choice(["", "", "", "-", "+"])
    ends = lambda: r.choice(["", "", "", "-"])
    out = ""
    for _ in range(r.randrange(1, 4)):
        out += r.choice(["", " ", "\n", "  \n ", "t", "\n\n  ", "a\n", "\t", "\n "])
        kind = r.randrange(7) if depth > 0 else r.randrange(2)
        body = lambda: random_template(r, depth - 1)
        if kind < 3:
            out += "{{" + r.choice(["", "-"]) + " " + random_expression(r, 3) + " " + ends() + "}}"
        elif kind == 3:
            out += "{%" + signs() + f" if {random_expression(r, 2)} " + ends() + "%}" + body()
            if r.random() < 0.5:
                out += "{%" + signs() + " else " + ends() + "%}" + body()
            out += "{%" + signs() + " endif " + ends() + "%}"
        elif kind == 4:
            out += "{%" + signs() + f" for x in {random_expression(r, 2)} " + ends() + "%}" + body()
            out += "{{ loop.index }}{%" + signs() + " endfor " + ends() + "%}"
        elif kind == 5:
            out += "{%" + signs() + f" set x = {random_expression(r, 2)} " + ends() + "%}"
        else:
            out += "{#" + signs() + " c " + ends() + "#}"
    return out


def snippets(templates):
    cases = []
    for template in templates:
        t = tokenizer(template, "<s>", "</s>")
        render = lambda: t.apply_chat_template(CONVERSATIONS["several"], tokenize=False, add_generation_prompt=True)
        cases.append({"template": template, **outcome(render)})
    return {"versions": VERSIONS, "messages": CONVERSATIONS["several"], "cases": cases}


def write(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    write(HERE / "rendered.json", published())
    write(HERE / "snippets.json", snippets(SNIPPETS + LINES))
    r = random.Random(20_251)
    drawn = snippets([random_template(r) for _ in range(1000)])
    # Where Python prints an address, no two runs are alike.
    drawn["cases"] = [c for c in drawn["cases"] if " object at 0x" not in c.get("text", "")]
    write(HERE / "random.json", drawn)
