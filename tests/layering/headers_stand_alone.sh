#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# headers_stand_alone.sh COMPILER SOURCE: every public header compiles by itself.
set -u
compiler=$1
cd "$2/src" || exit 1
flags=(-std=c++20 -fsyntax-only -I . -x c++)
fail=0
while read -r header; do
  printf '#include "%s"\n' "$header" | "$compiler" "${flags[@]}" - || { echo "does not stand alone: $header"; fail=1; }
done < <(find rpt -name '*.h' -not -path 'rpt/kernels/*/*' | sort)
exit $fail
