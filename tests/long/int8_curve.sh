#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# int8_curve.sh [head]: trains micro-1 once more with `"backward": "int8"` (`head`: and `"train_head": "int8"`) and lays
# its loss curve beside those of micro-1, micro-2 and micro-3 as they are shipped, which were trained with bf16 under
# three seeds. At every look (500 steps): the training loss since the look before, and bits per byte of the held-out
# text. The spread of the seeds is from their smallest value to their largest. Bounds: the mean over all looks and the
# last look of int8 lie within the spread, and at no look does int8 differ from bf16 of the same seed, hence the same
# windows and the same first weights, by more than the spread is wide. (Of four equal runs the fourth lies outside the
# other three at every second look.) The shipped models multiplied attention's gradients in float32, this run does so in
# bf16 where the processor can: it shows both. Goes on where it was stopped; some 20 minutes on 2 cores.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
rpt=${RPT:-build/release/rpt}
state=${XDG_STATE_HOME:-$HOME/.local/state}/rpt
name=micro-1-int8${1:+-$1}
RPT=$rpt bash tools/train_embedded.sh "$name" >&2
date -u +%Y-%m-%d
grep -m1 'model name' /proc/cpuinfo | cut -d: -f2
python3 - "$state/$name/metrics.jsonl" models/micro-1/loss.csv models/micro-2/loss.csv models/micro-3/loss.csv << 'PYTHON'
import csv
import json
import statistics
import sys

EVERY = 500


def look(step):
    return (step + EVERY - 1) // EVERY


def curves(losses, held_out):
    """Mean loss by look, held-out bits per byte by look."""
    by_look = {}
    for step, loss in losses:
        by_look.setdefault(look(step), []).append(loss)
    return {k: statistics.fmean(v) for k, v in by_look.items()}, {look(s): b for s, b in held_out}


def of_metrics(path):
    losses, held_out = [], []
    for line in open(path, encoding="utf-8"):
        entry = json.loads(line)
        if entry.get("loss") is not None:
            losses.append((entry["step"], entry["loss"]))
        elif entry.get("evaluation"):
            held_out.append((entry["step"], entry["evaluation"][0]["bits_per_byte"]))
    return *curves(losses, held_out), losses[-1][0]


def of_csv(path):
    rows = list(csv.DictReader(open(path, encoding="utf-8")))
    return curves([(int(r["step"]), float(r["loss"])) for r in rows],
                  [(int(r["step"]), float(r["held_out_bits_per_byte"])) for r in rows if r["held_out_bits_per_byte"]])


*int8, last = of_metrics(sys.argv[1])
seeds = [of_csv(path) for path in sys.argv[2:]]
holds = True
for kind, name in enumerate(("training loss, nats a token", "held-out bits per byte")):
    print(f"\n{name}\n| to step | int8, seed 1 | bf16, seed 1 | bf16, seed 2 | bf16, seed 3 | int8 - bf16, seed 1 | spread |")
    print("|---|---|---|---|---|---|---|")
    shares, inside = [], 0
    looks = sorted(int8[kind])
    for step in looks:
        values = [s[kind][step] for s in seeds]
        difference, spread = int8[kind][step] - values[0], max(values) - min(values)
        shares.append(abs(difference) / spread)
        inside += min(values) <= int8[kind][step] <= max(values)
        print(f"| {min(step * EVERY, last)} | {int8[kind][step]:.4f} | " + " | ".join(f"{v:.4f}" for v in values) +
              f" | {difference:+.4f} | {spread:.4f} |")
    print(f"within the spread at {inside} of {len(looks)} looks")
    for what, of in (("mean of all looks", looks), ("last look", looks[-1:])):
        mine = statistics.fmean(int8[kind][k] for k in of)
        others = [statistics.fmean(s[kind][k] for k in of) for s in seeds]
        held = min(others) <= mine <= max(others)
        holds = holds and held
        print(f"{what}: {mine:.4f}, must lie in [{min(others):.4f}, {max(others):.4f}]: {'holds' if held else 'DOES NOT HOLD'}")
    held = max(shares) <= 1
    holds = holds and held
    print(f"largest difference to the same seed: {max(shares):.2f} of the spread, must be <= 1: {'holds' if held else 'DOES NOT HOLD'}")
sys.exit(0 if holds else 1)
PYTHON
