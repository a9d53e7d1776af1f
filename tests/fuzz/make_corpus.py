#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the seeds of the byte formats into corpus/gguf, corpus/safetensors, corpus/masks, corpus/sentencepiece,
corpus/llama2c_tokenizer and corpus/llama2c, beside this script.

The seeds are valid files and single damages of them; the same bytes come out every time.
"""
import json
import pathlib
import struct

HERE = pathlib.Path(__file__).parent


def u32(value):
    return struct.pack("<I", value)


def u64(value):
    return struct.pack("<Q", value)


def text(value):
    return u64(len(value)) + value.encode()


def key(name, value_type, value):
    return text(name) + u32(value_type) + value


def array(name, element_type, count, elements):
    return key(name, 9, u32(element_type) + u64(count) + elements)


def gguf(keys=(), tensors=(), data=0, version=3, alignment=32, n_keys=None, n_tensors=None):
    """tensors: (name, extents, type, offset)."""
    head = b"GGUF" + u32(version)
    head += u64(len(tensors) if n_tensors is None else n_tensors)
    head += u64(len(keys) if n_keys is None else n_keys)
    head += b"".join(keys)
    for name, extents, ggml_type, offset in tensors:
        head += text(name) + u32(len(extents)) + b"".join(map(u64, extents)) + u32(ggml_type) + u64(offset)
    head += bytes(-len(head) % alignment)
    return head + bytes(i % 251 for i in range(data))


EVERY_KEY = [
    key("u8", 0, b"\xc8"),
    key("i8", 1, b"\xfb"),
    key("u16", 2, struct.pack("<H", 60000)),
    key("i16", 3, struct.pack("<h", -300)),
    key("u32", 4, u32(4000000000)),
    key("i32", 5, struct.pack("<i", -70000)),
    key("f32", 6, struct.pack("<f", 1e-5)),
    key("bool", 7, b"\x01"),
    key("string", 8, text("bitnet-b1.58")),
    array("strings", 8, 3, text("a") + text("") + text("bcd")),
    array("f32s", 6, 2, struct.pack("<2f", 0.5, -1)),
    array("i32s", 5, 3, struct.pack("<3i", 1, 3, 6)),
    array("u8s", 0, 4, b"\x01\x02\x03\x04"),
    key("u64", 10, u64(2**64 - 1)),
    key("i64", 11, struct.pack("<q", -9)),
    key("f64", 12, struct.pack("<d", 2.5)),
]
ARCHITECTURE = [key("general.architecture", 8, text("bitnet"))]
EVERY_TENSOR = [
    ("f32", [8, 3], 0, 0),
    ("f16", [16], 1, 96),
    ("q8_0", [32, 2], 8, 128),
    ("q6_k", [256], 14, 224),
    ("bf16", [2, 2, 2, 2], 30, 448),
    ("tq1_0", [256], 34, 480),
    ("tq2_0", [256], 35, 544),
    ("i2_s", [128, 2], 36, 640),
    ("i8", [5], 24, 736),
    ("i64", [2], 27, 768),
]
TWO = [("a", [8, 3], 0, 0), ("b", [128], 36, 96)]

GGUF = {
    "keys": gguf(EVERY_KEY),
    "tensors": gguf(ARCHITECTURE, EVERY_TENSOR, 784),
    "both": gguf(EVERY_KEY, EVERY_TENSOR, 784),
    "version2": gguf(ARCHITECTURE, TWO, 160, version=2),
    "alignment64": gguf([key("general.alignment", 4, u32(64))], [TWO[0], ("b", [128], 36, 128)], 192, alignment=64),
    "empty": gguf(),
    "bad_alignment": gguf([key("general.alignment", 4, u32(3))], TWO, 160),
    "bad_big_endian": gguf(ARCHITECTURE, TWO, 160, version=0x03000000),
    "bad_tensor_count": gguf(ARCHITECTURE, TWO, 160, n_tensors=2**60),
    "bad_key_count": gguf(ARCHITECTURE, TWO, 160, n_keys=2**60),
    "bad_array_count": gguf([array("k", 8, 2**60, text("a"))], TWO, 160),
    "bad_nested_array": gguf([array("k", 9, 1, u32(4) + u64(1) + u32(7))], TWO, 160),
    "bad_key_length": gguf([u64(2**63) + b"abc"], TWO, 160),
    "bad_key_twice": gguf(ARCHITECTURE * 2, TWO, 160),
    "bad_tensor_twice": gguf(ARCHITECTURE, [TWO[0], ("a", [128], 36, 96)], 160),
    "bad_overlap": gguf(ARCHITECTURE, [TWO[0], ("b", [128], 36, 64)], 160),
    "bad_product": gguf(ARCHITECTURE, [("a", [2**33, 2**33], 0, 0)], 160),
    "bad_type": gguf(ARCHITECTURE, [("a", [256], 12, 0)], 160),
    "bad_short": gguf(ARCHITECTURE, TWO, 159),
}


def safetensors(header, data):
    if not isinstance(header, str):
        header = json.dumps(header, separators=(",", ":"))
    header += " " * (-len(header) % 8)
    return u64(len(header)) + header.encode() + bytes(i % 251 for i in range(data))


def tensor(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


EVERY_DTYPE = {
    "__metadata__": {"format": "pt"},
    "f64": tensor("F64", [2], 0, 16),
    "f32": tensor("F32", [2, 2], 16, 32),
    "i64": tensor("I64", [1], 32, 40),
    "i32": tensor("I32", [2], 40, 48),
    "bf16": tensor("BF16", [2, 2], 48, 56),
    "f16": tensor("F16", [4], 56, 64),
    "u8": tensor("U8", [3, 1], 64, 67),
    "i8": tensor("I8", [], 67, 68),
    "none": tensor("F32", [0, 4], 68, 68),
}
INDEX = {
    "metadata": {"total_size": 3, "more": [1.5, None, {"weight_map": True}]},
    "weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"},
}

SAFETENSORS = {
    "dtypes": safetensors(EVERY_DTYPE, 68),
    "empty": safetensors({}, 0),
    "metadata": safetensors({"__metadata__": {"a": "\u00e9\\n\"", "b": ""}}, 0),
    "index": json.dumps(INDEX).encode(),
    "bad_index_outside": json.dumps({"weight_map": {"a": "../x"}}).encode(),
    "bad_index_twice": b'{"weight_map":{"a":"x","a":"x"}}',
    "bad_length": u64(2**63) + b"{}",
    "bad_short": safetensors(EVERY_DTYPE, 67),
    "bad_overlap": safetensors({"a": tensor("U8", [4], 0, 4), "b": tensor("U8", [4], 2, 6)}, 6),
    "bad_hole": safetensors({"a": tensor("U8", [4], 0, 4), "b": tensor("U8", [4], 6, 10)}, 10),
    "bad_product": safetensors({"a": tensor("F32", [2**32, 2**32], 0, 8)}, 8),
    "bad_dtype": safetensors({"a": tensor("F8_E4M3", [8], 0, 8)}, 8),
    "bad_twice": safetensors('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
                             '"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}', 2),
    "bad_numbers": safetensors('{"a":{"dtype":"U8","shape":[-1,1.5,1e400],"data_offsets":[0,1]}}', 1),
    "bad_nesting": safetensors('{"a":' + "[" * 200 + "]" * 200 + "}", 1),
}

# The linear layers of the model that masks_fuzz.cpp reads masks for.
MASKED_SHAPES = {"attn_q": (4, 4), "attn_k": (2, 4), "attn_v": (2, 4), "attn_output": (4, 4), "ffn_gate": (8, 4),
                 "ffn_up": (8, 4), "ffn_down": (4, 8)}


def masks(shapes=MASKED_SHAPES, dtype="U8", file_format="rpt-mask-1", value=None):
    """Alternating masks; `value` replaces the last one."""
    header = {"__metadata__": {"format": file_format}}
    data = b""
    for name, (rows, columns) in shapes.items():
        header["blk.0." + name] = tensor(dtype, [rows, columns], len(data), len(data) + rows * columns)
        data += bytes(i % 2 for i in range(rows * columns))
    if value is not None:
        data = data[:-1] + bytes([value])
    return safetensors(header, 0) + data


def without(name):
    return {key: shape for key, shape in MASKED_SHAPES.items() if key != name}


MASKS = {
    "whole": masks(),
    "bad_format": masks(file_format="pt"),
    "bad_missing": masks(without("attn_v")),
    "bad_renamed": masks({**without("attn_v"), "attn_w": (2, 4)}),
    "bad_more": masks({**MASKED_SHAPES, "attn_norm": (1, 4)}),
    "bad_shape": masks({**MASKED_SHAPES, "ffn_up": (4, 8)}),
    "bad_dtype": masks(dtype="I8"),
    "bad_value": masks(value=2),
    "bad_short": masks()[:-1],
}



def varint(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def proto(number, value):
    """A field of a protobuf message: int, float or bytes."""
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


FIRST_PIECES = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)]
BYTE_PIECES = [(f"<0x{byte:02X}>", 0.0, 6) for byte in range(256)]
SOME_PIECES = [("\u2581", -9.0, 1), ("a", -8.0, 1), ("aa", -1.0, 1), ("\u2581He", -2.0, 1), ("He", -3.0, 1),
               ("H", -7.0, 1), ("e", -6.0, 1), ("\u2581\u2581", -3.0, 1), ("l\u2581x", -4.0, 1), ("\u00e9b", -4.0, 1)]


def sentencepiece(pieces=FIRST_PIECES + SOME_PIECES, trainer=((3, 2), (35, 0), (43, 2**64 - 1)),
                  normalizer=((3, 1), (4, 0))):
    out = b""
    for piece, score, kind in pieces:
        out += proto(1, proto(1, piece.encode()) + proto(2, score) + proto(3, kind))
    out += proto(2, b"".join(proto(*field) for field in trainer))
    return out + proto(3, b"".join(proto(*field) for field in normalizer))


SENTENCEPIECE = {
    "whole": sentencepiece(),
    "bytes": sentencepiece(FIRST_PIECES + BYTE_PIECES + SOME_PIECES, ((3, 2), (35, 1))),
    "user_defined": sentencepiece(FIRST_PIECES + SOME_PIECES + [("lo", 0.0, 4)]),
    "no_prefix": sentencepiece(normalizer=((3, 0), (4, 0))),
    "bad_unigram": sentencepiece(trainer=((3, 1),)),
    "bad_charsmap": sentencepiece(normalizer=((2, b"abc"), (4, 0))),
    "bad_bytes_missing": sentencepiece(trainer=((3, 2), (35, 1))),
    "bad_score": sentencepiece(FIRST_PIECES + [("a", float("nan"), 1)]),
    "bad_type": sentencepiece(FIRST_PIECES + [("a", 0.0, 9)]),
    "bad_id": sentencepiece(trainer=((3, 2), (41, 1000))),
    "bad_length": proto(1, b"")[:1] + varint(2**63) + b"abc",
    "bad_varint": b"\x08" + b"\xff" * 12,
    "bad_group": b"\x0b\x0c",
}


def tokenizer_bin(pieces, longest=16):
    return u32(longest) + b"".join(struct.pack("<fI", score, len(piece)) + piece for piece, score in pieces)


TOKENIZER_BIN_FIRST = [(b"<unk>", 0), (b"\n<s>\n", 0), (b"\n</s>\n", 0)]
TOKENIZER_BIN_SOME = [(piece.replace("\u2581", " ").encode(), score) for piece, score, _ in SOME_PIECES]
TOKENIZER_BIN = {
    "whole": tokenizer_bin(TOKENIZER_BIN_FIRST + TOKENIZER_BIN_SOME),
    "bytes": tokenizer_bin(TOKENIZER_BIN_FIRST + [(piece.encode(), 0) for piece, _, _ in BYTE_PIECES] + TOKENIZER_BIN_SOME),
    "bad_first": tokenizer_bin(TOKENIZER_BIN_SOME),
    "bad_longest": tokenizer_bin(TOKENIZER_BIN_FIRST, 4),
    "bad_length": tokenizer_bin(TOKENIZER_BIN_FIRST, 2**32 - 1) + struct.pack("<fI", 0, 2**32 - 1),
    "bad_score": tokenizer_bin(TOKENIZER_BIN_FIRST + [(b"a", float("inf"))]),
    "bad_twice": tokenizer_bin(TOKENIZER_BIN_FIRST + [(b"a", 0), (b"a", 1)]),
    "bad_short": tokenizer_bin(TOKENIZER_BIN_FIRST)[:-1],
}


def llama2c(shape=(4, 6, 1, 2, 1, 3, 5), version=0, shared=True, more=0):
    """dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocabulary, max_seq_len; legacy or version 1."""
    dim, ffn, layers, heads, kv_heads, vocabulary, context = shape
    kv = dim // heads * kv_heads
    floats = vocabulary * dim * (1 if shared else 2) + layers * (2 * dim + 2 * dim * dim + 2 * kv * dim + 3 * ffn * dim) + dim
    numbers = struct.pack("<7i", dim, ffn, layers, heads, kv_heads, vocabulary if shared or version else -vocabulary, context)
    if version == 0:
        return numbers + bytes(i % 251 for i in range(4 * (floats + 2 * context * (dim // heads // 2)) + more))
    header = struct.pack("<Ii", 0x616B3432, version) + numbers + bytes([shared])
    return header + bytes(256 - len(header)) + bytes(i % 251 for i in range(4 * floats + more))


def patched(content, at, value):
    return content[:at] + struct.pack("<i", value) + content[at + 4:]


LLAMA2C = {
    "legacy": llama2c(),
    "legacy_untied": llama2c(shared=False),
    "version1": llama2c(version=1),
    "version1_untied": llama2c(version=1, shared=False),
    "bad_version": llama2c(version=2),
    "bad_short": llama2c(more=-1),
    "bad_long": llama2c(version=1, more=4),
    "bad_heads": patched(llama2c(), 12, 3),
    "bad_zero": patched(llama2c(), 8, 0),
    "bad_negative": patched(llama2c(), 4, -6),
    "bad_product": patched(patched(patched(llama2c(), 0, 2**30), 4, 2**31 - 1), 8, 2**31 - 1),
    "bad_vocabulary": patched(llama2c(), 20, -(2**31)),
}

if __name__ == "__main__":
    for folder, seeds in (("gguf", GGUF), ("safetensors", SAFETENSORS), ("masks", MASKS),
                          ("sentencepiece", SENTENCEPIECE), ("llama2c_tokenizer", TOKENIZER_BIN),
                          ("llama2c", LLAMA2C)):
        target = HERE / "corpus" / folder
        target.mkdir(parents=True, exist_ok=True)
        for name, content in seeds.items():
            (target / name).write_bytes(content)
