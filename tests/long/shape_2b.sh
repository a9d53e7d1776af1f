#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# shape_2b.sh [FILE.gguf]: the 2B-4T's shape with synthetic weights (made at FILE where that is missing).
# Bounds: first token of a one-word prompt within 1.0 s once cached; at most 1.7 GB resident; inspect under 10 s.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
shared=${RPT_SHARED:-../shared}
file=${1:-${TMPDIR:-/tmp}/rpt-2b.gguf}
if [ ! -e "$file" ]; then
  /usr/bin/python3 "$shared/tools/make_synthetic_gguf.py" "$file.part" --preset 2b >&2
  mv "$file.part" "$file"
fi
bash tools/build.sh release rpt >&2
rpt=build/release/rpt
fail=0
# timed NAME LIMIT_SECONDS LIMIT_KB COMMAND…: median wall time of five runs, largest resident size.
timed() {
  local name=$1 limit=$2 limit_kb=$3
  shift 3
  local runs
  runs=$(for _ in 1 2 3 4 5; do /usr/bin/env bash -c 'TIMEFORMAT=%R; time "$@" > /dev/null 2> /dev/null' _ "$@" 2>&1; done | sort -n | sed -n 3p)
  local kb
  kb=$(python3 -c 'import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)' "$@")
  local verdict=holds
  awk -v t="$runs" -v l="$limit" -v k="$kb" -v m="$limit_kb" 'BEGIN { exit !(t <= l && k <= m) }' || { verdict="DOES NOT HOLD"; fail=1; }
  echo "$name: median of five $runs s (limit $limit), $kb kB resident (limit $limit_kb): $verdict"
}
date -u +%Y-%m-%d
cat "$file" > /dev/null
timed "first token of a one-word prompt" 1.0 1660156 "$rpt" generate "$file" -p the -n 1
timed "inspect" 10 1660156 "$rpt" inspect "$file"
timed "generate 16 tokens" 60 1660156 "$rpt" generate "$file" -p the -n 16
text=$(mktemp)
trap 'rm -f "$text"' EXIT
head -c 3000 data/sotu/sotu.txt > "$text"
timed "score 3,000 bytes" 600 1660156 "$rpt" perplexity "$file" --text "$text" --protocol llama.cpp --context 256
"$rpt" generate "$file" -p "the rain and the sea" -n 32 2>&1 > /dev/null | tail -1
"$rpt" perplexity "$file" --text "$text" --protocol llama.cpp --context 256 2>&1
exit $fail
