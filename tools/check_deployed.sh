#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# tools/check_deployed.sh RUN LLAMA_PERPLEXITY TEXT [CONTEXT]: what `rpt deploy` left in the folder RUN, in other
# programs. Its GGUF must give bitnet.cpp's llama-perplexity a perplexity within 0.2 % of rpt's on TEXT (at least 2 ×
# CONTEXT tokens, default 256); its directories latents/ and packed/, as they are, must give transformers what they give
# rpt (tools/compare_with_transformers.py). $RPT is the program, default build/release/rpt; $PYTHON an interpreter with
# tests/golden/requirements.txt, default python3.
set -euo pipefail
[ $# -ge 3 ] || { sed -n '3,7s/^# //p' "${BASH_SOURCE[0]}"; exit 2; }
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
run=$1 peer=$2 text=$3 context=${4:-256}
rpt=${RPT:-$root/build/release/rpt}
"$root/tools/compare_with_bitnet_cpp.sh" "$peer" "$rpt" "$run/model.gguf" "$text" "$context"
"${PYTHON:-python3}" "$root/tools/compare_with_transformers.py" "$rpt" "$text" --context "$context" \
  --directory "$run/latents" hf --directory "$run/packed" hf-packed
