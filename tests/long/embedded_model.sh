#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# embedded_model.sh MODEL CONFIG [OPTION…]: bits per byte of MODEL, trained by `rpt train CONFIG`, beside 5-grams of the
# same tokens on the eight held-out books, TinyStories, State of the Union and WikiText-2; and what it writes. Bounds:
# better than the 5-grams on the books' sum, at most 1.50 on Treasure Island, 95 % known words, 80 % distinct 4-grams.
# OPTIONs go to tools/evaluate_embedded.py.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
model=$1 config=$2
shift 2
texts=${RPT_SHARED:-../shared}/data/text
bash tools/build.sh release rpt kneser_ney >&2
books=()
for book in Anna_Sewell_Black_Beauty Bram_Stoker_Dracula Herman_Melville_Moby_Dick Jack_London_White_Fang \
  Jane_Austen_Persuasion Johanna_Spyri_Heidi Robert_Louis_Stevenson_Treasure_Island Rudyard_Kipling_Kim; do
  books+=("$texts/classic-books/$book.txt")
done
date -u +%Y-%m-%d
python3 tools/evaluate_embedded.py "$model" "$config" "${books[@]}" --stories "$texts/tinystories/tinystories_944K.txt" \
  --corpus sotu:test --corpus wikitext-2-raw:test \
  --most-bits-per-byte Robert_Louis_Stevenson_Treasure_Island=1.50 "$@"
