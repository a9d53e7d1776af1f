# SPDX-License-Identifier: MIT
"""Writes tokenizers_golden.json: what Hugging Face's tokenizers does with small definitions of every supported kind, and the
merges that its BpeTrainer learns.

Usage: python tokenizers_golden.py   (needs the package tokenizers; the version used is stored)
"""

import hashlib
import json
import pathlib

import tokenizers
from tokenizers import Tokenizer

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
FALCON = [r"[\p{P}\$\+<=>\^~\|`]+", r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)",
          "[0-9][0-9][0-9]"]


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def byte_level(prefix=False, regex=True):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": regex}


def sequence(*steps):
    return {"type": "Sequence", "pretokenizers": list(steps)}


BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]

PRE_TOKENIZERS = [split("a|--", b, invert) for b in BEHAVIORS for invert in (False, True)] + [
    split("-", b, kind="String") for b in BEHAVIORS] + [
    split("(?=[A-Z])"), split("x*", "MergedWithNext"), split("$|^"), split(r"\w+|\W"), split(r"\S+|\u00e9"),
    split(r"[^\S\n]+"), split(r"\p{Greek}+|\p{Han}+"), split("(?<=a)b"), split("[(.*+?]{1,2}", kind="Regex"),
    split("(.*+?)[]", kind="String"),
    byte_level(), byte_level(prefix=True), byte_level(regex=False), byte_level(prefix=True, regex=False),
    {"type": "Digits", "individual_digits": True}, {"type": "Digits", "individual_digits": False},
    {"type": "Punctuation", "behavior": "Isolated"}, {"type": "Punctuation", "behavior": "Contiguous"},
    {"type": "Whitespace"}, {"type": "WhitespaceSplit"},
    sequence(split(LLAMA3), byte_level(regex=False)),
    sequence(*[split(p) for p in FALCON], byte_level(regex=False)),
    sequence({"type": "Digits", "individual_digits": True}, byte_level()),
    sequence(split("-"), byte_level(prefix=True)),
    # Falcon's own file: two steps behind ByteLevel, which see the byte-to-unicode form.
    sequence({"type": "Punctuation", "behavior": "Contiguous"}, byte_level(), {"type": "Digits",
             "individual_digits": False}, split("[0-9][0-9][0-9]")),
    sequence({"type": "WhitespaceSplit"}, {"type": "Punctuation", "behavior": "MergedWithPrevious"}),
]

TEXTS = [
    "", "a", "-", "Hello, world!", "  two  spaces   three ", "a--b-a--", "--a", "aXbYY Zx", "xxaxx", "tabs\tand\n\nlines\r\n x",
    "It's we'll I'M THEY'VE ma\u017fk'\u017f", "12 3456 7890123 ½ ² Ⅷ ٣٤٥٦", "caf\u00e9 na\u00efve \u03b1\u03b2\u03b3 漢字かな 한국어",
    "a\u00a0b\u2003c\u3000d\u180ee\u0085f\u200bg", "e\u0301 combining \u0915\u094d\u0937", "😀👩‍👩‍👧 $5 + 3 = 8; `x` ~y^ |z| <w>",
    "snake_case foo.bar(baz)[0] {a: 'b'}  // c", "...!?-- (.*+?)[] ((", "   ", "\n\n\n", " \n \n", "\ta  \n b\u0000c",
    "ⓐⓑ ʰ \u200d x\u203fy", "0x1F600 1e-9 100%",
]


def bytes_and_more(special_first):
    """A byte-level vocabulary: 256 bytes, some merges, special tokens."""
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    merges = [("h", "e"), ("l", "l"), ("he", "ll"), ("hell", "o"), ("Ġ", "w"), ("o", "r"), ("Ġw", "or"), ("Ġ", "Ġ"),
              ("a", "a"), ("aa", "aa"), ("a", "b"), ("b", "a"), ("Ã", "©")]
    tokens = (["<s>", "<e>"] if special_first else []) + alphabet
    tokens += [left + right for left, right in merges] + ["hello", "whole"]
    tokens = list(dict.fromkeys(tokens))
    return {t: i for i, t in enumerate(tokens)}, [list(m) for m in merges]


def added(token, i, special=True, **flags):
    base = {"id": i, "content": token, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
            "special": special}
    return base | flags


def definition(vocab, merges, **parts):
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
             "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
             "vocab": vocab, "merges": merges} | parts.pop("model", {})
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
            "pre_tokenizer": None, "post_processor": None, "decoder": None, "model": model} | parts


def definitions():
    vocab, merges = bytes_and_more(True)
    n = len(vocab)
    yield "byte level", definition(
        vocab, merges, pre_tokenizer=byte_level(), decoder=byte_level(),
        added_tokens=[added("<s>", 0), added("<e>", 1), added("<ee>", n), added("<e><", n + 1),
                      added("USER", n + 2, special=False), added("USERS", n + 3, special=False, normalized=True)])
    yield "byte level, whole pre-tokens first", definition(
        vocab, merges, pre_tokenizer=sequence(split(LLAMA3), byte_level(regex=False)), decoder=byte_level(),
        model={"ignore_merges": True}, added_tokens=[added("<s>", 0), added("<e>", 1)])
    yield "stripping tokens", definition(
        vocab, merges, pre_tokenizer=byte_level(), decoder=byte_level(),
        added_tokens=[added("<s>", 0, lstrip=True), added("<e>", 1, rstrip=True)])
    yield "no pre-tokenizer but bytes", definition(
        vocab, merges, pre_tokenizer=byte_level(regex=False), decoder=byte_level())

    characters = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)] + list("▁abcdehlorw.é")
    merges = [["l", "l"], ["h", "e"], ["he", "ll"], ["hell", "o"], ["▁", "w"], ["▁", "▁"], ["a", "b"]]
    vocab = {t: i for i, t in enumerate(characters + [a + b for a, b in merges])}
    normalizer = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"},
                  {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}
    decoder = {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
               {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    specials = [added("<unk>", 0), added("<s>", 1), added("</s>", 2)]
    yield "Llama 2's way", definition(vocab, merges, normalizer=normalizer, decoder=decoder, added_tokens=specials,
                                      model={"unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True})
    few = {t: i for i, t in enumerate(["<unk>"] + list("abcdehlorw"))} | {"ab": 11}
    for fuse in (False, True):
        yield f"unknown characters, fused {fuse}", definition(
            few, ["a b"], model={"unk_token": "<unk>", "fuse_unk": fuse}, pre_tokenizer={"type": "Whitespace"},
            decoder={"type": "Fuse"}, added_tokens=[added("<unk>", 0)])
    yield "characters left out", definition({k: v - 1 for k, v in few.items() if v > 0}, ["a b"],
                                            pre_tokenizer={"type": "Whitespace"}, decoder={"type": "Fuse"})


ENCODE_TEXTS = TEXTS + [
    "hello world", "hello  wor whole", " hello", "abababab aabbaab aaaaaaa", "<s>hello<e> <ee> <e><e>", "x <s> y  <e>  z",
    "USER USERS usersUSERSS", "<s", "acab cxab yab a b é", "a" * 60 + "b" * 60,
]


def byte_ends(text, offsets):
    return [len(text[:end].encode()) for _, end in offsets]


def encode(tokenizer, text):
    tokenizer.encode_special_tokens = True
    plain = tokenizer.encode(text, add_special_tokens=False)
    tokenizer.encode_special_tokens = False
    special = tokenizer.encode(text, add_special_tokens=False)
    return {"text": text, "ids": plain.ids, "ends": byte_ends(text, plain.offsets), "special_ids": special.ids,
            "decoded": tokenizer.decode(plain.ids, skip_special_tokens=False)}


def learn(texts, vocabulary_size, min_frequency, special):
    """The merges of the BpeTrainer, as "left right"."""
    tokenizer = Tokenizer(tokenizers.models.BPE())
    pre = tokenizers.pre_tokenizers
    tokenizer.pre_tokenizer = pre.Sequence(
        [pre.Split(tokenizers.Regex(LLAMA3), "isolated"), pre.ByteLevel(add_prefix_space=False, use_regex=False)])
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocabulary_size, min_frequency=min_frequency, special_tokens=special,
        initial_alphabet=pre.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return [" ".join(merge) for merge in json.loads(tokenizer.to_str())["model"]["merges"]]


def trainings():
    special = ["<s>", "</s>", "<pad>"]
    for min_frequency in (1, 2, 3):
        yield {"texts": ENCODE_TEXTS, "vocabulary": 1000, "min_frequency": min_frequency, "special": special,
               "merges": learn(ENCODE_TEXTS, 1000, min_frequency, special)}
    file = "data/wikitext-2-raw/wiki.valid.raw"
    text = (pathlib.Path(__file__).parents[3] / file).read_bytes().decode()
    merges = learn([text], 4096, 2, special)
    yield {"file": file, "vocabulary": 4096, "min_frequency": 2, "special": special, "merge_count": len(merges),
           "merges_sha256": hashlib.sha256("".join(m + "\n" for m in merges).encode()).hexdigest()}


def main():
    base = definition({"a": 0}, [])
    pre_cases = []
    for pre in PRE_TOKENIZERS:
        tokenizer = Tokenizer.from_str(json.dumps(base | {"pre_tokenizer": pre}))
        rows = [[text, [p for p, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)]] for text in TEXTS]
        pre_cases.append({"pre_tokenizer": pre, "rows": rows})
    cases = []
    for name, d in definitions():
        tokenizer = Tokenizer.from_str(json.dumps(d))
        cases.append({"name": name, "tokenizer": d, "rows": [encode(tokenizer, t) for t in ENCODE_TEXTS]})
    out = {"tokenizers": tokenizers.__version__, "pre_tokenizers": pre_cases, "encodings": cases,
           "trainings": list(trainings())}
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(out, ensure_ascii=True, separators=(",", ":")) + "\n")


main()
