#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# compare_with_bitnet_cpp.sh LLAMA_PERPLEXITY RPT MODEL.gguf TEXT [CONTEXT]
#
# Perplexity of an i2_s file in bitnet.cpp (its llama-perplexity, built elsewhere) and in rpt, under the same protocol.
# Ends with 1 where they differ by more than 0.2 %.
set -euo pipefail
[ $# -ge 4 ] || { sed -n '2,6p' "$0" >&2; exit 2; }
peer=$1 rpt=$2 model=$3 text=$4 context=${5:-512}
theirs=$("$peer" -m "$model" -f "$text" -c "$context" -t "$(nproc)" 2>&1 | sed -n 's/^Final estimate: PPL = \([^ ]*\).*/\1/p')
ours=$("$rpt" perplexity "$model" --text "$text" --protocol llama.cpp --context "$context" --quiet --json - |
  sed -n 's/^ *"perplexity": \([^,]*\),*$/\1/p')
awk -v a="$theirs" -v b="$ours" -v m="$(basename "$model")" -v c="$context" 'BEGIN {
  d = 100 * (b - a) / a
  printf "%s, context %d: bitnet.cpp %s, rpt %s, difference %+.4f %%\n", m, c, a, b, d
  exit !(d * d <= 0.04)
}'
