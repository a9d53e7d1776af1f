#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Check a folder that `rpt tokenizer train` wrote against Hugging Face's tokenizers and transformers.

Opens the folder with tokenizers.Tokenizer.from_file and AutoTokenizer.from_pretrained, encodes each TEXT whole, and compares the ids
with those of `rpt tokenize`; decodes them; checks BOS. With --trained-on, trains a vocabulary of the same size from those files with
the BpeTrainer of tokenizers and compares every merge (needs the --min-frequency that rpt was given).
Exits with 1 at the first difference. Needs tests/golden/requirements.txt.
"""

import argparse
import json
import pathlib
import subprocess
import sys

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
from transformers import AutoTokenizer


def read(path):
    return pathlib.Path(path).read_bytes().decode("utf-8")


def expect(same, what):
    print(("same: " if same else "DIFFERENT: ") + what)
    if not same:
        sys.exit(1)


def check_encoding(rpt, folder, texts):
    plain = Tokenizer.from_file(str(folder / "tokenizer.json"))
    auto = AutoTokenizer.from_pretrained(folder)
    expect(auto.bos_token is not None and auto("a").input_ids[0] == auto.bos_token_id, "BOS in front of a text")
    for path in texts:
        text = read(path)
        # Both libraries recognise special tokens in every text.
        command = [rpt, "tokenize", folder, path, "--ids", "--special", "--quiet"]
        out = subprocess.run(command, check=True, capture_output=True, text=True)
        ids = [int(line) for line in out.stdout.split()]
        expect(plain.encode(text, add_special_tokens=False).ids == ids, f"{len(ids)} ids of {path}, tokenizers")
        expect(auto(text, add_special_tokens=False).input_ids == ids, f"{len(ids)} ids of {path}, transformers")
        expect(auto.decode(ids, clean_up_tokenization_spaces=False) == text, f"text of {path} from its ids")


def check_training(folder, texts, min_frequency):
    ours = json.loads(read(folder / "tokenizer.json"))
    split = ours["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
    theirs = Tokenizer(models.BPE())
    theirs.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(split), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=len(ours["model"]["vocab"]),
        min_frequency=min_frequency,
        special_tokens=[token["content"] for token in ours["added_tokens"]],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    theirs.train_from_iterator((read(path) for path in texts), trainer)
    model = json.loads(theirs.to_str())["model"]
    expect(model["vocab"] == ours["model"]["vocab"], f"{len(model['vocab'])} tokens of the BpeTrainer")
    expect([list(m) for m in model["merges"]] == ours["model"]["merges"], f"{len(model['merges'])} merges of the BpeTrainer")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rpt", help="the binary")
    parser.add_argument("folder", type=pathlib.Path, help="what rpt tokenizer train wrote")
    parser.add_argument("text", nargs="*", help="UTF-8 files to encode")
    parser.add_argument("--trained-on", nargs="+", default=[], metavar="TEXT", help="the files that the vocabulary was trained on")
    parser.add_argument("--min-frequency", type=int, default=2)
    args = parser.parse_args()
    check_encoding(args.rpt, args.folder, args.text)
    if args.trained_on:
        check_training(args.folder, args.trained_on, args.min_frequency)


if __name__ == "__main__":
    main()
