#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# tools/train_embedded.sh [NAME…]: trains the embedded models (micro-1 … micro-5, tiny; all without names) by the recipes
# in models/recipes, on the books and stories in $RPT_SHARED/data/text (default ../shared), with checkpoints in
# ${XDG_STATE_HOME:-~/.local/state}/rpt. Goes on where it was when it is started again. $RPT names the program, $THREADS
# how many threads it takes (default: every core; the bits of a training depend on it). Two micro models side by side
# with one thread each learn a tenth more a second than one after the other with two. NAME-int8 is NAME with an int8
# backward pass, NAME-int8-head with one that takes the head along; neither is shipped (tests/long/int8_curve.sh).
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
shared=$(cd "${RPT_SHARED:-$root/../shared}" && pwd)
state=${XDG_STATE_HOME:-$HOME/.local/state}/rpt
rpt=${RPT:-$root/build/release/rpt}
books=$shared/data/text/classic-books
held_out="Jane_Austen_Persuasion Anna_Sewell_Black_Beauty Robert_Louis_Stevenson_Treasure_Island Herman_Melville_Moby_Dick
  Bram_Stoker_Dracula Rudyard_Kipling_Kim Johanna_Spyri_Heidi Jack_London_White_Fang"

mkdir -p "$state/texts/books" "$state/texts/held-out"
for book in "$books"/*.txt; do
  ln -sf "$book" "$state/texts/books/"
done
for name in $held_out; do
  [ -f "$books/$name.txt" ] || { echo "no $name.txt among the books" >&2; exit 3; }
  rm -f "$state/texts/books/$name.txt"
  ln -sf "$books/$name.txt" "$state/texts/held-out/"
done
ln -sf "$shared/data/text/tinystories/tinystories_4MB.txt" "$state/texts/"

if [ ! -f "$state/tokenizer/tokenizer.json" ]; then
  # The part of the stories that is trained on, as the recipes read it.
  python3 -c 'import sys; sys.stdout.write(open(sys.argv[1], encoding="utf-8", newline="").read()[944000:])' \
    "$state/texts/tinystories_4MB.txt" > "$state/texts/stories_for_tokenizer.txt"
  "$rpt" tokenizer train "$state/texts/books" "$state/texts/stories_for_tokenizer.txt" "$state/tokenizer" --vocabulary 8192
fi

[ $# -gt 0 ] || set -- micro-1 micro-2 micro-3 micro-4 micro-5 tiny
for name in "$@"; do
  seed=1
  recipe=${name%-int8*}
  backward=
  if [ "$recipe" != "$name" ]; then backward=', "backward": "int8"'; fi
  if [[ $name == *-int8-head ]]; then backward+=', "train_head": "int8"'; fi
  if [[ $recipe == micro-* ]]; then
    seed=${recipe#micro-}
    recipe=micro
  fi
  sed "s/\"seed\": 1/\"seed\": $seed$backward/" "$root/models/recipes/$recipe.json" > "$state/$name.json"
  "$rpt" train "$state/$name.json" "$state/$name" --resume --threads "${THREADS:-0}"
done
