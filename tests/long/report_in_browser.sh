#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# report_in_browser.sh FOLDER [PICTURE]: opens FOLDER/report.html, which `rpt deploy` or `rpt reproduce` wrote, in headless
# Chromium and keeps a picture of it. It must draw every plot that the report has and ask for nothing: no host beyond those
# that Chromium itself asks for with an empty page.
set -euo pipefail
report=$(cd "$1" && pwd)/report.html
picture=${2:-$(dirname "$report")/report.png}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
date -u +%Y-%m-%d
chromium --version

look() { # NAME URL OPTION…: the hosts that are asked for while the page is open
  local name=$1 url=$2
  shift 2
  chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$scratch/$name" \
    --log-net-log="$scratch/$name.json" --net-log-capture-mode=Everything "$@" "$url" 2> "$scratch/$name.err" > "$scratch/$name.out"
  grep -oE '"url":"[a-z]+://[^/"]*' "$scratch/$name.json" | sort -u > "$scratch/$name.hosts" || true
}

look empty about:blank --dump-dom
look page "file://$report" --dump-dom
look shot "file://$report" --window-size=1280,9000 --screenshot="$picture"
drawn=$(grep -o '<svg' "$scratch/page.out" | wc -l)
files=$(find "$(dirname "$report")" -maxdepth 1 -name 'plot-*.svg' | wc -l)
tables=$(grep -o '<table' "$scratch/page.out" | wc -l)
echo "$drawn plots drawn of $files, $tables tables, picture of $(stat -c %s "$picture") bytes"
[ "$drawn" -eq "$files" ] && [ "$drawn" -gt 0 ]
more=$(comm -13 "$scratch/empty.hosts" <(cat "$scratch/page.hosts" "$scratch/shot.hosts" | sort -u) | grep -v '"url":"file://' || true)
echo "asked for by the page: ${more:-nothing}"
[ -z "$more" ]
