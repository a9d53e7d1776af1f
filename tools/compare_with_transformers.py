#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compare what transformers makes of Hugging Face directories with what rpt makes of them.

    python tools/compare_with_transformers.py RPT TEXT --model seedling [--bytes 30000] [--context 256]
    python tools/compare_with_transformers.py RPT TEXT --directory PATH FORM [--directory PATH FORM …]

--model: of a model that rpt exports here in both forms. --directory: of one that is there, as it is; FORM says what it
is, hf (latents) or hf-packed.

For the directory of latents (online): mean NLL within 3e-4 of rpt's. For the packed one, which transformers runs in
bfloat16 only: mean NLL within 0.5 %. For both: the same most likely token wherever the margin (best minus second logit)
exceeds 0.1 in both programs. Where it does so in one of them only, differences are counted but allowed: the noise of a
bfloat16 network reaches 0.3 on single tokens, and on those transformers in float32 agrees with rpt (--run contract).
Prints one JSON line per directory; ends with 1 where a bound does not hold. Needs tests/golden/requirements.txt.
"""

import argparse
import array
import json
import pathlib
import struct
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent


def run(*words):
    done = subprocess.run([str(w) for w in words], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def tops_of_saved_logits(path):
    """(most likely token, margin) of every row of a file written by `rpt perplexity --save-logits`."""
    with open(path, "rb") as file:
        magic, version, vocabulary, count = struct.unpack("<8sIIQ", file.read(24))
        assert magic == b"RPTLOGIT" and version == 1, (magic, version)
        tops = []
        for _ in range(count):
            file.read(4)
            row = array.array("f", file.read(4 * vocabulary))
            second, first = sorted(row)[-2:]
            tops.append((row.index(first), first - second))
    return tops


def compare(rpt, directory, text, context, bound):
    with tempfile.TemporaryDirectory() as scratch:
        logits, tokens = pathlib.Path(scratch, "logits"), pathlib.Path(scratch, "tokens.jsonl")
        ours = run(rpt, "perplexity", directory, "--text", text, "--protocol", "llama.cpp", "--context", context,
                   "--bos", "yes", "--save-logits", logits, "--json", "-", "--quiet")
        theirs = run(sys.executable, HERE / "check_hf_export.py", directory, text, "--context", context, "--per-token", tokens)
        rows = [json.loads(line) for line in tokens.read_text().splitlines()]
        tops = tops_of_saved_logits(logits)
    pairs = [(top == row["top"], margin, row["margin"]) for (top, margin), row in zip(tops, rows, strict=True)]
    clear = [same for same, ours_margin, their_margin in pairs if min(ours_margin, their_margin) > 0.1]
    one_sided = sum(not same for same, a, b in pairs if max(a, b) > 0.1 >= min(a, b))
    differing = clear.count(False)
    difference = theirs["mean_nll"] - ours["mean_nll"]
    allowed = bound(ours["mean_nll"])
    holds = abs(difference) <= allowed and differing == 0
    print(json.dumps({"directory": directory.name, "scored_tokens": len(rows), "mean_nll_rpt": ours["mean_nll"],
                      "mean_nll_transformers": theirs["mean_nll"], "difference": difference, "allowed": allowed,
                      "clear_tops": len(clear), "differing_clear_tops": differing,
                      "differing_where_one_is_clear": one_sided, "holds": holds}), flush=True)
    return holds


BOUNDS = {"hf": lambda nll: 3e-4, "hf-packed": lambda nll: 0.005 * nll}


def declared_form(directory):
    """The form that the configuration of a directory declares: a bound must not be that of the other one."""
    path = pathlib.Path(directory, "config.json")
    config = json.loads(path.read_text()) if path.exists() else {}
    mode = config.get("quantization_config", {}).get("quantization_mode")
    return {"online": "hf", "offline": "hf-packed"}.get(mode)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("rpt")
    p.add_argument("text", type=pathlib.Path)
    p.add_argument("--model")
    p.add_argument("--directory", nargs=2, action="append", default=[], metavar=("PATH", "FORM"))
    p.add_argument("--bytes", type=int, default=30000)
    p.add_argument("--context", type=int, default=256)
    a = p.parse_args()
    if (a.model is None) == (not a.directory):
        p.error("either --model or --directory")
    for path, form in a.directory:
        if form not in BOUNDS:
            p.error(f"--directory {path} {form}: expected the form hf or hf-packed")
        if declared_form(path) != form:
            p.error(f"--directory {path} {form}: its config.json is missing or declares another form")
    with tempfile.TemporaryDirectory() as scratch:
        text = pathlib.Path(scratch, "text.txt")
        text.write_bytes(a.text.read_bytes()[:a.bytes].decode("utf-8", errors="ignore").encode())
        directories = [(pathlib.Path(path), form) for path, form in a.directory]
        if a.model is not None:
            for form in BOUNDS:
                directory = pathlib.Path(scratch, form)
                run(a.rpt, "export", a.model, directory, "--to", form, "--json", "-", "--quiet")
                directories.append((directory, form))
        holds = True
        for directory, form in directories:
            holds = compare(a.rpt, directory, text, a.context, BOUNDS[form]) and holds
    sys.exit(0 if holds else 1)


main()
