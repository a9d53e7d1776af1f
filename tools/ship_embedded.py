#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tools/ship_embedded.py RUN NAME: makes models/NAME of a finished run of `rpt train`.

Rewrites the run's model in a gauge with scales between 1 and 4 (`rpt gauge --scales 1:4`, which checks that no output bit
changes), and adds what a model is shipped with: licence, training configuration, loss curve (loss.csv, loss.svg), model
card (README.md). Needs the rpt binary ($RPT, default build/release/rpt) and gnuplot; standard library only.
"""
import csv
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
EVERY = 10  # steps that a line of loss.csv averages


def rpt(*words):
    """Runs rpt with --json and returns the record."""
    program = os.environ.get("RPT", str(ROOT / "build/release/rpt"))
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        subprocess.run([program, *words, "--json", file.name], check=True, stdout=subprocess.DEVNULL)
        return json.load(open(file.name, encoding="utf-8"))


def read_metrics(path):
    """The losses step by step, and {step: evaluations}."""
    losses, evaluations = {}, {}
    for line in open(path, encoding="utf-8"):
        entry = json.loads(line)
        if entry.get("loss") is not None:
            losses[entry["step"]] = (entry["loss"], entry["lr"])
        else:
            evaluations[entry["step"]] = entry
    return losses, evaluations


def write_curve(folder, losses, evaluations):
    with open(folder / "loss.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["step", "loss", "lr", "held_out_bits_per_byte"])
        for end in range(EVERY, max(losses) + 1, EVERY):
            window = [losses[s][0] for s in range(end - EVERY + 1, end + 1) if s in losses]
            seen = evaluations.get(end)
            held_out = f"{seen['evaluation'][0]['bits_per_byte']:.4f}" if seen and seen["evaluation"] else ""
            writer.writerow([end, f"{statistics.fmean(window):.4f}", f"{losses[end][1]:.6g}", held_out])
    plot = f"""
set terminal svg size 720,400 font 'sans-serif,12' background '#ffffff'
set output '{folder / "loss.svg"}'
set datafile separator ','
set key top right
set grid
set xlabel 'step'
set ylabel 'training loss, nats a token (mean of {EVERY} steps)'
set y2label 'held-out bits a byte'
set ytics nomirror
set y2tics
plot '{folder / "loss.csv"}' every ::1 using 1:2 with lines lc '#4477aa' title 'training loss', \\
     '' every ::1 using 1:4 axes x1y2 with linespoints pt 7 ps 0.5 dt 2 lc '#cc6677' title 'held out'
"""
    subprocess.run(["gnuplot"], input=plot, text=True, check=True)


CARD = """# {name}

A ternary language model (BitNet b1.58 blocks: weights −1, 0, +1) trained from nothing by `rpt train` on {texts}.

| | |
|---|---|
| parameters | {parameters:,} ({ternary:,} ternary) |
| blocks, hidden, feed-forward | {layers}, {hidden}, {feed_forward} |
| heads, key/value heads, context | {heads}, {kv_heads}, {context} |
| vocabulary | {vocabulary} (byte-level byte pairs, trained on the same texts) |
| training | {steps:,} steps of {batch} × {length} tokens: {tokens:.1f} million; seed {seed} |
| zeros among the ternary weights | {zeros:.1f} % |
| bits per byte on Treasure Island, never trained on | {bits:.4f} |

Stored as bf16 latents in a gauge with scales from {low:.2f} to {high:.2f} (`rpt gauge --scales 1:4`; the output is that of the run's own gauge, bit for bit: nll_sha256 `{hash}` over the {gate} tokens checked). `training.json` is the configuration, `loss.csv` the loss every {every} steps.

![loss](loss.svg)

Greedy, after "{prompt}":

> {text}

Held out whole and never trained on: Persuasion, Black Beauty, Treasure Island, Moby Dick, Dracula, Kim, Heidi, White Fang; nor WikiText-2, State of the Union addresses, or the first 944,000 characters of the stories. The figures above are printed by `rpt inspect models/{name}`, `rpt perplexity models/{name} --text Robert_Louis_Stevenson_Treasure_Island.txt` and `rpt generate models/{name} -p "{prompt}" -n 60`. Made again by `tools/train_embedded.sh {name}` and `tools/ship_embedded.py`.

A small model for experiments: it has read old novels and children's stories, knows nothing, and repeats their prejudices.

Licence: MIT (the weights). The books are in the public domain in the United States; the stories are TinyStories samples (CDLA-Sharing-1.0), of which nothing is shipped.
"""


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    run, name = pathlib.Path(sys.argv[1]), sys.argv[2]
    target = ROOT / "models" / name
    state = run.parent
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch) / name
        gauge = rpt("gauge", str(run / "model"), str(folder), "--scales", "1:4")
        config = json.load(open(run / "training.json", encoding="utf-8"))
        (folder / "training.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        losses, evaluations = read_metrics(run / "metrics.jsonl")
        if max(losses) != config["steps"]:
            sys.exit(f"{run}: {max(losses)} of {config['steps']} steps are done")
        write_curve(folder, losses, evaluations)
        shutil.copy(ROOT / "LICENSE", folder / "LICENSE")
        inspected = rpt("inspect", str(folder))
        scales = [t["scale"] for t in inspected["tensors"] if t.get("scale")]
        book = state / "texts/held-out/Robert_Louis_Stevenson_Treasure_Island.txt"
        scored = rpt("perplexity", str(folder), "--text", str(book))
        prompt = "The old house"
        generated = rpt("generate", str(folder), "-p", prompt, "-n", "60")
        shape = config["model"]
        tokens = config["steps"] * config["batch"] * config["accumulation"] * config["context"]
        (folder / "README.md").write_text(
            CARD.format(
                name=name,
                texts="186 novels and tales from before 1929 and some 3 MB of TinyStories",
                parameters=inspected["parameters"],
                ternary=inspected["ternary_weights"],
                layers=shape["layers"],
                hidden=shape["hidden"],
                feed_forward=shape["feed_forward"],
                heads=shape["heads"],
                kv_heads=shape["kv_heads"],
                context=shape["context"],
                vocabulary=inspected.get("vocabulary", 8192),
                steps=config["steps"],
                batch=config["batch"] * config["accumulation"],
                length=config["context"],
                tokens=tokens / 1e6,
                seed=config["seed"],
                zeros=100 * inspected["code_zero_share"],
                bits=scored["bits_per_byte"],
                low=min(scales),
                high=max(scales),
                hash=gauge["nll_sha256"],
                gate=gauge["tokens"],
                every=EVERY,
                prompt=prompt,
                text=(prompt + generated["text"]).replace("\n", " "),
            ),
            encoding="utf-8",
        )
        if target.exists():
            shutil.rmtree(target)
        shutil.move(str(folder), target)
    print(f"{target}: {sum(f.stat().st_size for f in target.iterdir()) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
