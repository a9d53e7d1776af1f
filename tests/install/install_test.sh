#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# install_test.sh CMAKE BUILD COMPILER
set -euo pipefail
cmake=$1 build=$2 compiler=$3
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$cmake" --install "$build" --prefix "$scratch/prefix" > /dev/null
"$cmake" -S "$here/consumer" -B "$scratch/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_COMPILER="$compiler" \
  -DCMAKE_PREFIX_PATH="$scratch/prefix" > /dev/null
"$cmake" --build "$scratch/build"
"$scratch/build/consumer" "$scratch/prefix/share/rpt/models/seedling"
cd "$scratch"
"$scratch/prefix/bin/rpt" inspect seedling --verbose 2>&1 > /dev/null | grep -q "opened $scratch/prefix/share/rpt/models/seedling"
text=$("$scratch/prefix/bin/rpt" generate seedling -p "The old house" -n 3 --quiet)
[ "$text" = "The old housekeeper, who" ] || { echo "unexpected: $text"; exit 1; }
"$scratch/prefix/bin/rpt" perplexity seedling --text wikitext-2-raw:validation --protocol legacy --quiet > /dev/null
