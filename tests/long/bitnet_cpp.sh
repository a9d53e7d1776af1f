#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# bitnet_cpp.sh LLAMA_PERPLEXITY: synthetic i2_s models and an exported one, each within 0.2 % of bitnet.cpp.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
peer=$1
shared=${RPT_SHARED:-../shared}
bash tools/build.sh release rpt >&2
rpt=build/release/rpt
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
head -c 60000 "$shared/data/text/shakespeare/tinyshakespeare.txt" > "$scratch/text.txt"
date -u +%Y-%m-%d
for seed in 1 2; do
  for arch in bitnet-b1.58 bitnet-25; do
    model=$scratch/small-$arch-$seed.gguf
    /usr/bin/python3 "$shared/tools/make_synthetic_gguf.py" "$model" --preset small --seed $seed --arch $arch >&2
    for context in 256 512; do tools/compare_with_bitnet_cpp.sh "$peer" "$rpt" "$model" "$scratch/text.txt" $context; done
  done
done
"$rpt" export seedling "$scratch/seedling-i2_s.gguf" --type i2_s >&2
tools/compare_with_bitnet_cpp.sh "$peer" "$rpt" "$scratch/seedling-i2_s.gguf" "$scratch/text.txt" 256
