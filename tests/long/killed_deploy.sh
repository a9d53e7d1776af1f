#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# killed_deploy.sh [MODEL]: `rpt deploy MODEL` (micro-1) once undisturbed and once killed with SIGKILL at 20 random moments
# and started again. Both must end with the same GGUF, directories, masks, card, metadata and report.json (which hold no
# times), byte for byte, and with nothing left of what was being written when it was killed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
model=${1:-micro-1}
kills=20
bash tools/build.sh release rpt >&2
rpt=$PWD/build/release/rpt
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
date -u +%Y-%m-%d

begun=$(date +%s)
"$rpt" deploy "$model" "$scratch/whole" --quiet > /dev/null
seconds=$(($(date +%s) - begun))
echo "undisturbed: $seconds s"

RANDOM=1
killed=0
inside=0
while [ "$killed" -lt "$kills" ]; do
  "$rpt" deploy "$model" "$scratch/cut" --quiet > /dev/null &
  child=$!
  sleep "$((RANDOM % (seconds / 5 + 1) + 1)).$((RANDOM % 10))"
  kill -9 "$child" 2> /dev/null || true
  status=0
  wait "$child" 2> /dev/null || status=$?
  if [ "$status" -eq 137 ]; then # what had exited before can be sent a signal as well, until it is waited for
    killed=$((killed + 1))
    stages=$({ find "$scratch/cut/stages" -maxdepth 1 -name '*.json' 2> /dev/null || true; } | wc -l)
    within=""
    for tune in "$scratch"/cut/stages/*-tune; do
      [ ! -d "$tune/model" ] && [ -n "$(ls "$tune/checkpoints" 2> /dev/null)" ] && within=", one from a checkpoint on"
    done
    [ -z "$within" ] || inside=$((inside + 1))
    echo "kill $killed: $stages stages were done$within"
  elif [ "$status" -eq 0 ]; then
    rm -rf "$scratch/cut" # it was done before it could be killed: once more from the start
    echo "it was done; from the start"
  else
    echo "it ended with $status" >&2
    exit 1
  fi
done
"$rpt" deploy "$model" "$scratch/cut" --quiet > /dev/null
echo "of $killed kills $inside were within a fine-tune that went on from a checkpoint"
for same in model.gguf packed latents README.md rpt_metadata.json report.json tables.tex; do
  diff -r "$scratch/whole/$same" "$scratch/cut/$same"
done
masks=0
for mask in "$scratch"/whole/stages/*/masks.safetensors; do
  cmp "$mask" "$scratch/cut/${mask#"$scratch/whole/"}"
  masks=$((masks + 1))
done
[ "$masks" -gt 0 ]
left=$(find "$scratch/cut" -name '*.tmp.*')
[ -z "$left" ] || { echo "left behind: $left" >&2; exit 1; }
sha256sum "$scratch/whole/model.gguf" | cut -d ' ' -f 1
echo "the same bytes: model.gguf, packed/, latents/, $masks masks, README.md, rpt_metadata.json, report.json, tables.tex"
