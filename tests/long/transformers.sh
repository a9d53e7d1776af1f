#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# transformers.sh PYTHON: directories written by rpt, read by transformers.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
shared=${RPT_SHARED:-../shared}
bash tools/build.sh release rpt >&2
date -u +%Y-%m-%d
PYTHONWARNINGS=ignore "$1" tools/compare_with_transformers.py build/release/rpt \
  "$shared/data/text/classic-books/Robert_Louis_Stevenson_Treasure_Island.txt" --model seedling
