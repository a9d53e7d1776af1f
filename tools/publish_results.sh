#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# tools/publish_results.sh RUN COMMIT [COMMIT]: the report of a finished `rpt reproduce` run as docs/results.md, its
# plots in docs/results, its figures as docs/results/report.json. COMMIT is that of the program that ran it, a second one
# that of the program that wrote the report of its stages, if that is another. Nothing is edited by hand: whoever runs
# the same command with a program of that commit, on the same kind of machine, gets the same page, but for the log of
# times.
set -euo pipefail
[ $# -ge 2 ] && [ $# -le 3 ] && [ -f "$1/report.md" ] || { echo "usage: tools/publish_results.sh RUN COMMIT [COMMIT]" >&2; exit 2; }
program="The program was that of commit $2"
[ $# -eq 2 ] || program+=", the one that wrote this page of its stages that of commit $3"
docs=$(cd "$(dirname "${BASH_SOURCE[0]}")/../docs" && pwd)
rm -rf "$docs/results"
mkdir -p "$docs/results"
cp "$1"/plot-*.svg "$1/report.json" "$1/tracking.md" "$docs/results/"
{
  sed -n 1p "$1/report.md"
  printf '\nThe report of one run, as the program wrote it ([the command](#to-run-it-again) is at its end; [stages and times](results/tracking.md); [all figures](results/report.json)). What the arms are and how verdicts are made: [experiments.md](experiments.md). %s; later ones may round gradients otherwise, and have other arms.\n' "$program"
  sed 1d "$1/report.md" | sed 's/](plot-/](results\/plot-/g'
} > "$docs/results.md"
echo "$docs/results.md"
