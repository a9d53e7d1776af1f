#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# train_step.sh [OPTIONS]
#
# Training steps of rpt, beside the composed limit that it measures in the same run (docs/cli.md, bench train) and beside
# PyTorch on the same shapes. The programs run in turn, each --runs times; a row shows medians of the runs, each of which
# reports the median of its steps. PyTorch's speed is that of its fastest mode, its memory that of its leanest.
#
#   --rpt PROGRAM      default build/release/rpt
#   --rows "ROW..."    SHAPE:BATCH:CONTEXT; default "tiny:8:128 tiny:32:256 125m:8:256"
#   --runs N           default 3
#   --seconds S        of each run, default 20
#   --threads N        default all cores
#   --backward "TYPE..."  of rpt's backward pass: bf16, int8 (the head's too), f32; a row each; default "bf16 int8"
#   --modes "MODE..."  of PyTorch: f32, bf16 (autocast), f32-compile, bf16-compile; default "bf16 bf16-compile"
#   --json FILE        the same figures, every run included
#
# PYTHON is an interpreter with torch and transformers (tests/golden/requirements.txt), default python3; PEER the script
# that it runs, default pytorch_training_peer.py in tools/ of $RPT_SHARED or of ../shared. Without them the columns of
# PyTorch stay empty.
set -euo pipefail
export LC_ALL=C
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
rpt=$root/build/release/rpt
rows="tiny:8:128 tiny:32:256 125m:8:256"
runs=3 seconds=20 threads=$(nproc) types="bf16 int8" modes="bf16 bf16-compile" json=""
python=${PYTHON:-python3}
peer=${PEER:-${RPT_SHARED:-$root/../shared}/tools/pytorch_training_peer.py}

usage() { sed -n '3,20{s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; }
while [ $# -gt 0 ]; do
  case $1 in
    --help) usage; exit 0 ;;
    --rpt | --rows | --runs | --seconds | --threads | --modes | --json)
      [ $# -ge 2 ] || { echo "train_step.sh: $1 needs a value" >&2; exit 2; }
      printf -v "${1#--}" %s "$2"
      shift 2 ;;
    --backward)
      [ $# -ge 2 ] || { echo "train_step.sh: $1 needs a value" >&2; exit 2; }
      types=$2
      shift 2 ;;
    *) echo "train_step.sh: unknown option $1 (--help)" >&2; exit 2 ;;
  esac
done
for mode in $modes; do
  case $mode in
    f32 | f32-compile | bf16 | bf16-compile) ;;
    *) echo "train_step.sh: --modes $mode: expected f32, f32-compile, bf16, bf16-compile" >&2; exit 2 ;;
  esac
done
for type in $types; do
  case $type in
    bf16 | int8 | f32) ;;
    *) echo "train_step.sh: --backward $type: expected bf16, int8, f32" >&2; exit 2 ;;
  esac
done
[ -x "$rpt" ] || { echo "train_step.sh: $rpt: not built (--rpt PROGRAM)" >&2; exit 4; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
say() { printf '%s\n' "$*" >&2; }

# figure NAME FILE...: the number (or word) of that name in JSON files, a line each.
figure() {
  local name=$1
  shift
  sed -n "s/.*\"$name\": *\"\{0,1\}\([^\",}]*\).*/\1/p" "$@"
}
median() { sort -g | awk '{ v[NR] = $1 } END { if (NR) printf "%.10g\n", (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'; }
# calculate FORMAT EXPRESSION
calculate() { awk "BEGIN { printf \"$1\", ($2) }"; }
table_line() { printf '%-16s %10s %8s %10s %10s %8s %10s %-14s %7s %10s %10s %10s\n' "$@"; }
list() { paste -sd, - | sed 's/,/, /g'; }

has_peer=yes
if [ ! -f "$peer" ]; then
  has_peer=no
  say "no PyTorch: $peer is missing"
elif ! "$python" -c 'import torch, transformers' 2> /dev/null; then
  has_peer=no
  say "no PyTorch: $python has no torch or no transformers"
fi

# Runs all programs of a shape in turn; leaves rpt-TYPE.I.json and MODE.I.json in folder $1.
run_row() {
  local folder=$1 shape=$2 batch=$3 context=$4 i type mode head
  local size=(--shape "$shape" --batch "$batch" --context "$context" --threads "$threads" --seconds "$seconds")
  for ((i = 1; i <= runs; ++i)); do
    for type in $types; do
      say "$shape $batch x $context: run $i of $runs, rpt $type"
      head=bf16
      if [ "$type" = int8 ]; then head=int8; fi
      "$rpt" bench train "${size[@]}" --backward "$type" --train-head "$head" --quiet --json "$folder/rpt-$type.$i.json" > /dev/null
    done
    [ $has_peer = yes ] || continue
    for mode in $modes; do
      say "$shape $batch x $context: run $i of $runs, PyTorch $mode"
      "$python" "$peer" "${size[@]}" --mode "$mode" > "$folder/$mode.$i.json" 2> "$folder/$mode.err" ||
        { rm "$folder/$mode.$i.json"; say "PyTorch $mode failed: $(tail -1 "$folder/$mode.err")"; }
    done
  done
}

# Sums a row up: a line of the table, and its JSON in $1/TYPE.json.
report_row() {
  local folder=$1 shape=$2 batch=$3 context=$4 type=$5
  local speed limit share memory predicted mode
  speed=$(figure tokens_per_second "$folder/rpt-$type".*.json | median)
  limit=$(figure limit_tokens_per_second "$folder/rpt-$type".*.json | median)
  share=$(figure share_of_limit "$folder/rpt-$type".*.json | median)
  memory=$(figure peak_resident_bytes "$folder/rpt-$type".*.json | median)
  predicted=$(figure predicted_bytes "$folder/rpt-$type.1.json")
  local best="" best_speed=0 least=0 modes_json=""
  for mode in $modes; do
    [ -n "$(find "$folder" -name "$mode.*.json")" ] || continue
    local mode_speed mode_memory
    mode_speed=$(figure tokens_per_second "$folder/$mode".*.json | median)
    # The peer divides kibibytes by a million.
    mode_memory=$(calculate %.0f "1.024e9 * $(figure peak_resident_gb "$folder/$mode".*.json | median)")
    if [ "$(calculate %d "$mode_speed > $best_speed")" = 1 ]; then best=$mode best_speed=$mode_speed; fi
    if [ "$least" = 0 ] || [ "$mode_memory" -lt "$least" ]; then least=$mode_memory; fi
    modes_json+="${modes_json:+, }{\"mode\": \"$mode\", \"tokens_per_second\": $mode_speed, \"peak_resident_bytes\": $mode_memory, "
    modes_json+="\"runs\": [$(figure tokens_per_second "$folder/$mode".*.json | list)]}"
  done
  local peer_json=null ratio="" peer_text="" peer_memory=""
  if [ -n "$best" ]; then
    ratio=$(calculate %.3f "$speed / $best_speed")
    peer_text=$(calculate %.0f "$best_speed")
    peer_memory=$(calculate %.2f "$least / 1e9")
    peer_json="{\"torch\": \"$(figure torch "$folder/$best".*.json | head -1)\", \"mode\": \"$best\", \"tokens_per_second\": $best_speed, "
    peer_json+="\"ratio\": $ratio, \"least_peak_resident_bytes\": $least, \"modes\": [$modes_json]}"
  fi
  table_line "$shape" "$batch x $context" "$type" "$(calculate %.0f "$speed")" "$(calculate %.0f "$limit")" \
    "$(calculate '%.1f %%' "100 * $share")" "${peer_text:--}" "${best:--}" "${ratio:--}" \
    "$(calculate %.2f "$memory / 1e9")" "$(calculate %.2f "$predicted / 1e9")" "${peer_memory:--}"
  cat > "$folder/$type.json" << JSON
    {"shape": "$shape", "batch": $batch, "context": $context, "backward": "$type", "runs": $runs, "seconds": $seconds,
     "tokens_per_second": $speed, "limit_tokens_per_second": $limit, "share_of_limit": $share,
     "tokens_per_second_runs": [$(figure tokens_per_second "$folder/rpt-$type".*.json | list)],
     "limit_tokens_per_second_runs": [$(figure limit_tokens_per_second "$folder/rpt-$type".*.json | list)],
     "peak_resident_bytes": $memory, "predicted_bytes": $predicted,
     "peer": $peer_json}
JSON
}

table_line "" "" "" rpt limit "" PyTorch "" rpt/ "memory GB" "" ""
table_line shape "B x T" backward tokens/s tokens/s share tokens/s mode PyTorch rpt predicted PyTorch
load=$(cut -d' ' -f1 /proc/loadavg)
number=0 all=""
for row in $rows; do
  IFS=: read -r shape batch context <<< "$row"
  folder=$work/$((++number))
  mkdir "$folder"
  run_row "$folder" "$shape" "$batch" "$context"
  for type in $types; do
    report_row "$folder" "$shape" "$batch" "$context" "$type"
    all+="${all:+,$'\n'}$(cat "$folder/$type.json")"
  done
done
if [ -n "$json" ]; then
  processor=$(figure processor "$work/1/rpt-${types%% *}.1.json")
  isa=$(figure instruction_set "$work/1/rpt-${types%% *}.1.json")
  printf '{"processor": "%s", "instruction_set": "%s", "threads": %s, "load_before": %s,\n "rows": [\n%s\n ]}\n' \
    "$processor" "$isa" "$threads" "$load" "$all" > "$json"
fi
