#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measures a model beside an n-gram baseline over its own tokens and training text.

evaluate_embedded.py MODEL CONFIG BOOK... [--stories FILE] [--corpus NAME]... [OPTIONS]

Bits per byte of MODEL and of the baseline (bench/kneser_ney_main.cpp, which learns what `rpt train CONFIG` learns) on
held-out books (Markdown), on a file of stories, and on embedded corpora; then what the model writes after the
beginnings of chapters of the books. Prints Markdown, writes JSON, ends with 1 where a bound does not hold.

Every text is read whole, as `rpt perplexity --protocol full` does: no context is lost where a chapter begins. Chapters,
stories and documents only matter to the intervals: the NLL of each token counts for the one in which its first byte
lies. Intervals are the 2.5 and 97.5 percentiles of 10,000 resamples: of the chapters of a book, of stories, of
documents; for several books, of the books and then of the chapters of each drawn book. The same resamples serve the
model, the baseline, and their difference.
"""
import argparse
import bisect
import json
import math
import pathlib
import random
import re
import subprocess
import sys
import tempfile

RESAMPLES = 10_000
WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
HEADING = re.compile(rb"^#{1,6} .*$", re.MULTILINE)
STORY = re.compile(rb"(?<!\n)\n(?!\n)")  # a paragraph ends with two line feeds, a story with one
SHORTEST_CHAPTER = 1000  # bytes; what is shorter (title, author, "Part I") belongs to the chapter behind it
PROMPT_WORDS = 12
SAMPLES = 20
TOKENS = 200


def run(command):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(str(word) for word in command)}: exit code {done.returncode}")
    return done.stdout


def chapter_starts(data):
    """Where the chapters of a Markdown book begin, in bytes: at headings, the first one at 0."""
    starts = [0]
    for heading in HEADING.finditer(data):
        if heading.start() - starts[-1] >= SHORTEST_CHAPTER:
            starts.append(heading.start())
    return starts


def story_starts(data):
    return [0] + [end.end() for end in STORY.finditer(data) if end.end() < len(data)]


class Table:
    """What --save-nll wrote: a row for each scored token."""

    def __init__(self, path):
        with open(path, encoding="ascii") as file:
            next(file)
            rows = [line.split("\t") for line in file]
        self.tokens = [(int(document), int(token), int(size)) for document, token, size, _ in rows]
        self.nll = [float(row[3]) for row in rows]


class Text:
    """A text to be scored: its name, what the programs call it, and its units as [bytes, NLL, baseline's NLL]."""

    def __init__(self, name, argument, starts=None, size=None):
        self.name, self.argument, self.starts, self.size = name, argument, starts, size
        self.units, self.token_count = [], 0

    def take(self, model, baseline):
        if model.tokens != baseline.tokens:
            sys.exit(f"{self.name}: model and baseline did not score the same tokens")
        self.token_count = len(model.tokens)
        units, at = {}, 0
        for (document, _, size), a, b in zip(model.tokens, model.nll, baseline.nll):
            key = document if self.starts is None else bisect.bisect_right(self.starts, at)
            unit = units.setdefault(key, [0, 0.0, 0.0])
            unit[0] += size
            unit[1] += a
            unit[2] += b
            at += size
        if self.size is not None and at != self.size:
            sys.exit(f"{self.name}: tokens of {at} bytes were scored, the text has {self.size}")
        self.units = list(units.values())


def bits_per_byte(units):
    """Of the model and of the baseline."""
    scale = math.log(2) * sum(unit[0] for unit in units)
    return sum(unit[1] for unit in units) / scale, sum(unit[2] for unit in units) / scale


def percentiles(values):
    values = sorted(values)
    return [values[round(p * (len(values) - 1))] for p in (0.025, 0.975)]


def figures(name, groups, token_count):
    """Bits per byte of groups of units with their intervals."""
    draw = random.Random(0)
    resamples = []
    for _ in range(RESAMPLES):
        drawn = draw.choices(groups, k=len(groups)) if len(groups) > 1 else groups
        resamples.append(bits_per_byte([unit for group in drawn for unit in draw.choices(group, k=len(group))]))
    units = [unit for group in groups for unit in group]
    model, baseline = bits_per_byte(units)
    return {
        "text": name, "bytes": sum(unit[0] for unit in units), "tokens": token_count, "units": len(units),
        "bits_per_byte": model, "interval": percentiles([a for a, _ in resamples]),
        "baseline": baseline, "baseline_interval": percentiles([b for _, b in resamples]),
        "difference": model - baseline, "difference_interval": percentiles([a - b for a, b in resamples]),
    }


def score(options, texts, folder):
    """Scores the texts with model and baseline; the figures of the baseline, and where the training text is."""
    training_text = folder / "training.txt"
    command = [options.kneser_ney, options.config, "--json", folder / "baseline.json", "--save-training-text", training_text]
    for i, text in enumerate(texts):
        command += ["--text", text.argument, "--save-nll", folder / f"{i}.baseline"]
    run(command)
    for i, text in enumerate(texts):
        print(f"scoring {text.name}", file=sys.stderr)
        run([options.rpt, "perplexity", options.model, "--text", text.argument, "--context", options.context,
             "--save-nll", folder / f"{i}.model"])
        text.take(Table(folder / f"{i}.model"), Table(folder / f"{i}.baseline"))
    return json.loads((folder / "baseline.json").read_text()), training_text


def words_of(text):
    return [match.group() for match in WORD.finditer(text.lower())]


def prompts(books):
    """The first words of SAMPLES paragraphs, from the books in turn and from further and further within them: in round
    r of R, the first paragraph of prose of chapter number (r + 1) / (R + 1) of all."""
    rounds = -(-SAMPLES // len(books))
    chosen = []
    for i in range(SAMPLES):
        data = books[i % len(books)].read_bytes()
        starts = chapter_starts(data)
        chapter = starts[len(starts) * (i // len(books) + 1) // (rounds + 1)]
        for paragraph in re.split(r"\n\s*\n", data[chapter:].decode("utf-8", "replace")):
            words = paragraph.split()
            if len(words) >= PROMPT_WORDS and re.match(r"[\w\"'“‘]", paragraph) and not paragraph.startswith("_"):
                chosen.append((books[i % len(books)].stem, " ".join(words[:PROMPT_WORDS])))
                break
        else:
            sys.exit(f"{books[i % len(books)]}: no paragraph of {PROMPT_WORDS} words")
    return chosen


def generate(options, prompt, *more):
    command = [options.rpt, "generate", options.model, "-p", prompt, "-n", TOKENS, "--no-special", "--quiet", "--json", "-"]
    return json.loads(run(command + list(more)))


def sample(options, chosen, vocabulary):
    """Writes on from the prompts. Known words and word 4-grams: the words that end behind the prompt."""
    samples, all_grams, all_words, unknown = [], [], 0, []
    for seed, (book, prompt) in enumerate(chosen):
        made = generate(options, prompt, "--temperature", 0.8, "--top-p", 0.95, "--seed", seed)
        text = (prompt + made["text"]).lower()
        words = [match.group() for match in WORD.finditer(text) if match.end() > len(prompt)]
        grams = list(zip(words, words[1:], words[2:], words[3:]))
        strange = [word for word in words if word not in vocabulary]
        all_grams += grams
        all_words += len(words)
        unknown += strange
        samples.append({
            "book": book, "seed": seed, "prompt": prompt, "text": made["text"], "tokens": made["generated_tokens"],
            "finish_reason": made["finish_reason"], "words": len(words), "unknown_words": strange,
            "distinct_4_gram_share": len(set(grams)) / max(len(grams), 1),
        })
    return {
        "words": all_words, "known_word_share": 1 - len(unknown) / max(all_words, 1), "unknown_words": unknown,
        "distinct_4_gram_share": len(set(all_grams)) / max(len(all_grams), 1),
        "smallest_distinct_4_gram_share": min(one["distinct_4_gram_share"] for one in samples), "samples": samples,
    }


def table(rows):
    def cell(value, interval, sign=""):
        return f"{value:{sign}.4f} [{interval[0]:{sign}.4f}, {interval[1]:{sign}.4f}]"

    yield "| text | bytes | tokens | units | bits per byte | 5-gram | difference |"
    yield "|---|---|---|---|---|---|---|"
    for r in rows:
        yield (f"| {r['text']} | {r['bytes']:,} | {r['tokens']:,} | {r['units']} | {cell(r['bits_per_byte'], r['interval'])} "
               f"| {cell(r['baseline'], r['baseline_interval'])} | {cell(r['difference'], r['difference_interval'], '+')} |")


def check(name, value, relation, bound):
    holds = {"<": value < bound, "<=": value <= bound, ">=": value >= bound}[relation]
    print(f"{name}: {value:.4f}, must be {relation} {bound:.4f}: {'holds' if holds else 'DOES NOT HOLD'}")
    return {"name": name, "value": value, "relation": relation, "bound": bound, "holds": holds}


def parse():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n")[2])
    parser.add_argument("model")
    parser.add_argument("config")
    parser.add_argument("books", nargs="+", type=pathlib.Path)
    parser.add_argument("--stories", type=pathlib.Path)
    parser.add_argument("--corpus", action="append", default=[], help="as --text of rpt perplexity")
    parser.add_argument("--context", default=0, help="as --context of rpt perplexity")
    parser.add_argument("--rpt", default="build/release/rpt")
    parser.add_argument("--kneser-ney", default="build/release/kneser_ney")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--most-bits-per-byte", action="append", default=[], metavar="BOOK=BOUND", help="BOOK is a file's stem")
    parser.add_argument("--least-known-words", type=float, default=0.95)
    parser.add_argument("--least-distinct", type=float, default=0.8)
    return parser.parse_args()


def main():
    options = parse()
    texts = []
    for book in options.books:
        data = book.read_bytes()
        texts.append(Text(book.stem, book, chapter_starts(data), len(data)))
    if options.stories:
        data = options.stories.read_bytes()
        texts.append(Text(options.stories.stem, options.stories, story_starts(data), len(data)))
    texts += [Text(name, name) for name in options.corpus]

    with tempfile.TemporaryDirectory() as folder:
        baseline, training_text = score(options, texts, pathlib.Path(folder))
        vocabulary = set()
        with open(training_text, encoding="utf-8", errors="replace") as file:
            for line in file:
                vocabulary.update(words_of(line))

    books = texts[:len(options.books)]
    total = figures("all books", [book.units for book in books], sum(book.token_count for book in books))
    rows = [figures(text.name, [text.units], text.token_count) for text in texts]
    rows.insert(len(books), total)
    print(f"baseline: {baseline['order']}-grams of {baseline['training_tokens']:,} tokens\n")
    print("\n".join(table(rows)))

    chosen = prompts(options.books)
    writing = sample(options, chosen, vocabulary)
    greedy = [{"prompt": prompt, "text": generate(options, prompt)["text"]} for _, prompt in chosen[:3]]
    print(f"\n{SAMPLES} samples of at most {TOKENS} tokens, temperature 0.8, top-p 0.95: {writing['words']} words; "
          f"a sample's distinct-4-gram share is at least {writing['smallest_distinct_4_gram_share']:.4f}; "
          f"unknown words: {', '.join(sorted(set(writing['unknown_words']))) or 'none'}")
    for one in writing["samples"]:
        print(f"\n* seed {one['seed']}, {one['book']}: **{one['prompt']}**{one['text']}")
    for one in greedy:
        print(f"\n* greedy: **{one['prompt']}**{one['text']}")

    print()
    checks = [check("bits per byte of all books", total["bits_per_byte"], "<", total["baseline"])]
    for book, bound in (item.rsplit("=", 1) for item in options.most_bits_per_byte):
        row = next((r for r in rows if r["text"] == book), None) or sys.exit(f"{book} is none of the texts")
        checks.append(check(f"bits per byte of {book}", row["bits_per_byte"], "<=", float(bound)))
    checks.append(check("share of known words", writing["known_word_share"], ">=", options.least_known_words))
    checks.append(check("distinct-4-gram share", writing["distinct_4_gram_share"], ">=", options.least_distinct))

    if options.json:
        result = {"model": options.model, "context": int(options.context), "baseline": baseline, "texts": rows,
                  "writing": writing, "greedy": greedy, "checks": checks}
        options.json.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0 if all(c["holds"] for c in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
