#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# killed_deploy.sh [MODEL]: `rpt deploy MODEL` (micro-1) once undisturbed and once killed with SIGKILL at 20 random moments
# and started again. Both must end with the same GGUF, byte for byte, and the same reports but for their times.
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
while [ "$killed" -lt "$kills" ]; do
  "$rpt" deploy "$model" "$scratch/cut" --quiet > /dev/null &
  child=$!
  sleep "$((RANDOM % (seconds / 5 + 1) + 1)).$((RANDOM % 10))"
  if kill -9 "$child" 2> /dev/null; then
    killed=$((killed + 1))
    stages=$({ find "$scratch/cut/stages" -maxdepth 1 -name '*.json' 2> /dev/null || true; } | wc -l)
    echo "kill $killed: $stages stages were done"
  elif [ "$killed" -lt "$kills" ]; then
    rm -rf "$scratch/cut" # it was done before it could be killed: once more from the start
    echo "it was done; from the start"
  fi
  wait "$child" 2> /dev/null || true
done
"$rpt" deploy "$model" "$scratch/cut" --quiet > /dev/null
cmp "$scratch/whole/model.gguf" "$scratch/cut/model.gguf"
sha256sum "$scratch/whole/model.gguf" | cut -d ' ' -f 1
echo "the same bytes"
