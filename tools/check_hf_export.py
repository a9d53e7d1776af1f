#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Score a text with a BitNet Hugging Face directory in transformers, to check what rpt wrote.

Prints one JSON object with the mean negative log-likelihood under llama.cpp's perplexity protocol: the whole text is tokenised
once with BOS in front and cut into contexts of --context tokens (the rest is dropped); each context's first token is overwritten by
BOS; the logits at positions n/2 .. n-2 score the tokens n/2+1 .. n-1.
`tokens` and `ids_sha256` (ids as little-endian u32) are those of the text without the BOS in front.

A directory of latents (quantization_mode `online`) runs in float32 under the forward contract (tests/golden/bitnet_contract.py
names the substitutions); a packed one (`offline`) runs in bfloat16, unchanged, which is the only way transformers loads it.
--run chooses otherwise: `contract` (float32, or --dtype float64) works for both, `plain` is transformers unchanged in bfloat16.

--per-token FILE writes one JSON line per scored token: position (index of the scored token in the token sequence with BOS), nll,
top (id of the largest logit that predicts this position), margin (largest minus second logit).

The text is a path, or a path below $RPT_SHARED/data/text (default: ../shared beside the project). Needs tests/golden/requirements.txt.
"""

import argparse
import hashlib
import json
import os
import pathlib
import sys

PROJECT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT / "tests" / "golden"))


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("directory", type=pathlib.Path, help="Hugging Face directory: config.json, *.safetensors, tokenizer.json")
    p.add_argument("text", type=pathlib.Path, help="UTF-8 text file")
    p.add_argument("--bytes", type=int, help="read only the first BYTES bytes (a character cut in two at the end is dropped)")
    p.add_argument("--context", type=int, default=256)
    p.add_argument("--max-contexts", type=int, help="score only the first contexts")
    p.add_argument("--tokenizer", type=pathlib.Path, help="tokenizer.json, where the directory has none")
    p.add_argument("--run", choices=("auto", "contract", "plain"), default="auto")
    p.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="of a contract run")
    p.add_argument("--per-token", type=pathlib.Path, metavar="FILE")
    p.add_argument("--batch", type=int, default=4, help="contexts per forward")
    p.add_argument("--threads", type=int, default=1)
    return p.parse_args()


def read_text(path, limit):
    """The file's text, or that of its first `limit` bytes."""
    if not path.exists():
        shared = pathlib.Path(os.environ.get("RPT_SHARED", PROJECT.parent / "shared"))
        path = shared / "data" / "text" / path
    with open(path, "rb") as file:
        data = file.read() if limit is None else file.read(limit)
    return data.decode("utf-8", errors="strict" if limit is None else "ignore")


def special_id(directory, name):
    """`bos_token_id` and the like from config.json."""
    value = json.loads((directory / "config.json").read_text()).get(name)
    if not isinstance(value, int):
        raise ValueError(f"{directory}/config.json: no {name}")
    return value


def score(model, ids, bos, context, batch):
    """Yield (position, nll, top, margin), float64 tensors of the scored rows, one tuple per context."""
    import torch
    from bitnet_contract import negative_log_likelihood, top_and_margin

    chunks = torch.tensor(ids[: len(ids) // context * context], dtype=torch.long).view(-1, context)
    inputs = chunks.clone()
    inputs[:, 0] = bos
    rows = torch.arange(context // 2, context - 1)
    for first in range(0, len(chunks), batch):
        with torch.inference_mode():
            # context // 2 + 1: the number of last rows of which all but the very last one score a token
            kept = context - context // 2
            logits = model(input_ids=inputs[first : first + batch], use_cache=False, logits_to_keep=kept).logits
        for index, block in enumerate(logits, start=first):
            nll = negative_log_likelihood(block[:-1], chunks[index, rows + 1])
            yield index * context + rows + 1, nll, *top_and_margin(block[:-1])


def main():
    a = arguments()
    import tokenizers
    import torch
    import transformers

    import bitnet_contract as contract

    contract.configure_torch(a.threads)
    mode = contract.quantization_mode(a.directory)
    run = a.run if a.run != "auto" else {"online": "contract", "offline": "plain"}[mode]
    if run == "contract":
        contract.install()
        model = contract.load(a.directory, getattr(torch, a.dtype))
    else:
        model = contract.from_pretrained(a.directory)

    bos = special_id(a.directory, "bos_token_id")
    tokenizer = tokenizers.Tokenizer.from_file(str(a.tokenizer or a.directory / "tokenizer.json"))
    ids = [bos] + tokenizer.encode(read_text(a.text, a.bytes), add_special_tokens=False).ids
    contexts = len(ids) // a.context
    if a.max_contexts is not None:
        contexts = min(contexts, a.max_contexts)
    if contexts == 0:
        raise ValueError(f"{len(ids)} tokens are less than one context of {a.context}")

    nlls = []
    out = open(a.per_token, "w") if a.per_token else None
    for position, nll, top, margin in score(model, ids[: contexts * a.context], bos, a.context, a.batch):
        nlls.append(nll)
        if out:
            for row in zip(position.tolist(), nll.tolist(), top.tolist(), margin.tolist()):
                out.write(json.dumps(dict(zip(("position", "nll", "top", "margin"), row))) + "\n")
    if out:
        out.close()
    nlls = torch.cat(nlls)
    digest = hashlib.sha256(b"".join(i.to_bytes(4, "little") for i in ids[1:])).hexdigest()
    print(json.dumps({
        "directory": str(a.directory), "quantization_mode": mode, "run": run,
        "dtype": a.dtype if run == "contract" else "bfloat16",
        "tokens": len(ids) - 1, "ids_sha256": digest, "context": a.context, "contexts": contexts, "scored": len(nlls),
        "mean_nll": nlls.mean().item(), "perplexity": nlls.mean().exp().item(),
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__, "tokenizers": tokenizers.__version__},
    }, indent=1))


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:
        sys.exit(f"check_hf_export.py: {error}")
