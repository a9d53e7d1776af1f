#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# deployed.sh LLAMA_PERPLEXITY PYTHON [MODEL]: deploys MODEL (default micro-1) and runs what is left in bitnet.cpp and
# transformers (tools/check_deployed.sh).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
peer=$1 python=$2 model=${3:-micro-1}
shared=${RPT_SHARED:-../shared}
bash tools/build.sh release rpt >&2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
head -c 60000 "$shared/data/text/shakespeare/tinyshakespeare.txt" > "$scratch/text.txt"
date -u +%Y-%m-%d
build/release/rpt deploy "$model" "$scratch/run" --quiet >&2
PYTHON=$python tools/check_deployed.sh "$scratch/run" "$peer" "$scratch/text.txt"
