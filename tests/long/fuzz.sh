#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# fuzz.sh [SECONDS [NAME…]]: every fuzzer, or those named, for 600 seconds, all at once.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
seconds=${1:-600}
shift $(($# > 0))
bash tools/build.sh fuzz >&2
if [ $# -eq 0 ]; then
  for fuzzer in build/fuzz/tests/fuzz/fuzz_*; do
    name=$(basename "$fuzzer")
    case $name in fuzz_replay_*) continue ;; esac
    if [ -f "$fuzzer" ] && [ -x "$fuzzer" ]; then set -- "$@" "${name#fuzz_}"; fi
  done
fi
scratch=$(mktemp -d)
one() {
  name=$1
  mkdir -p "$scratch/$name"
  if "build/fuzz/tests/fuzz/fuzz_$name" -max_total_time="$seconds" -malloc_limit_mb=64 -print_final_stats=1 -verbosity=0 \
    -artifact_prefix="$scratch/$name." "$scratch/$name" "tests/fuzz/corpus/$name" > "$scratch/$name.log" 2>&1; then
    echo "$name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$scratch/$name.log") runs in $seconds s, nothing found"
  else
    echo "$name: FOUND SOMETHING, see $scratch"
    tail -n 30 "$scratch/$name.log"
    return 1
  fi
}
export -f one
export scratch seconds
date -u +%Y-%m-%d
echo "$# fuzzers at once on $(nproc) cores"
printf '%s\n' "$@" | xargs -P $# -I {} bash -c 'one {}'
rm -rf "$scratch"
