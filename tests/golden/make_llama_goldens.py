#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Make the Llama and 1bitLLM goldens of this folder (README.md, Goldens of other networks).

    llama-*    directories with config.json, model.safetensors and golden.safetensors; transformers' LlamaForCausalLM, loaded by
               from_pretrained from the very directory that was written, with the substitutions of install()
    one-bit    the same for 1bitLLM's BitnetForCausalLM, which transformers does not hold: OneBit below, from the published formulas
    smollm2    NLLs of SmolLM2's dequantised weights on the start of WikiText-2's test text, same graph as llama-*
    smollm2-chat NLL of 200 kB of that text in llama.cpp's windows, and greedy answers to ten questions: plain transformers in float32,
                 without the substitutions
    stories260k  greedy ids of the llama2.c model from BOS, by numpy

Usage: make_llama_goldens.py [--shared DIRECTORY] [--only NAME]     (versions: requirements.txt)
"""

import argparse
import json
import math
import pathlib
import struct

import numpy
import safetensors.torch
import torch
import transformers
from transformers.integrations import bitnet as integration
from transformers.models.llama import modeling_llama as modeling

import bitnet_contract as contract

SEED = 20_251
TOKENS = 80  # a whole key block of 64 and a second with 16 keys
CODE_MARGIN, KV_MARGIN = 1e-4, 1e-3  # least distances from a rounding tie, as in make_bitnet_goldens.py
NOISE = 1e-5  # most by which a float32 logit may be off at a position that took the same roundings
SHAPE = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "vocab_size": 96, "rms_norm_eps": 1e-05,
         "max_position_embeddings": 128, "hidden_act": "silu", "bos_token_id": 0, "eos_token_id": 1}  # fmt: skip

# Name -> (heads, KV heads, dtype, tied, theta, kind): dense, bitlinear (packed, divisor scales), one_bit (latents).
GOLDENS = {
    "llama-f32-gqa-tied": (4, 2, torch.float32, True, 10_000.0, "dense"),
    "llama-bf16-mha-untied": (4, 4, torch.bfloat16, False, 500_000.0, "dense"),
    "llama-bitlinear": (4, 2, torch.bfloat16, True, 10_000.0, "bitlinear"),
    "one-bit": (4, 4, torch.float16, True, 10_000.0, "one_bit"),
}


# ---- the contract --------------------------------------------------------------------------------------------------------------


ties = {"code": [], "kv": []}  # distances from a rounding tie, [B, T] each, of the forward that runs


def note_tie(kind, x):
    """Remember how near x [B, T, ...] comes to half a unit, where units are 1."""
    ties[kind].append((x - x.floor() - 0.5).abs().flatten(2).amin(-1))


def activation_codes(x):
    """Int8 codes (in x's dtype) and amax; notes the distance from ties."""
    codes, amax = contract.activation_codes(x)
    note_tie("code", x * (127 / amax))
    return codes, amax


def float16_values(x):
    """K or V [B, heads, T, d] through float16; notes the distance from ties."""
    note_tie("kv", (x / torch.exp2(torch.floor(torch.log2(x.abs())).clamp(min=-14) - 10)).transpose(1, 2))
    return x.to(torch.float16).to(x.dtype)


def attention(query, key, value, mask, scaling):
    """Eager attention in the run's dtype with K and V as float16 values: [B, H, T, d], [B, G, T, d] -> [B, T, H, d]."""
    groups = query.shape[1] // key.shape[1]
    key, value = (float16_values(x).repeat_interleave(groups, dim=1) for x in (key, value))
    weights = torch.softmax(query @ key.transpose(2, 3) * scaling + mask, dim=-1)
    return (weights @ value).transpose(1, 2).contiguous()


def _eager(module, query, key, value, attention_mask, scaling, dropout=0.0, **kwargs):
    count = query.shape[2]
    future = torch.full((count, count), -torch.inf, dtype=query.dtype).triu(1)
    return attention(query, key, value, future, scaling), None


def _bit_linear(self, x):
    codes, amax = activation_codes(x)
    weight = integration.unpack_weights(self.weight, dtype=x.dtype)
    return torch.nn.functional.linear(codes, weight) / (127 / amax * self.weight_scale)


def install():
    """Put the contract into transformers' Llama: norms, rope table, attention, BitLinear."""
    modeling.LlamaRMSNorm.forward = contract._rms_norm
    modeling.LlamaRotaryEmbedding.forward = contract._rotary_embedding
    modeling.eager_attention_forward = _eager
    integration.BitLinear.forward = _bit_linear


class OneBit:
    """1bitLLM's network: latents quantised in every forward, sub-norms inner_attn_ln and ffn_layernorm, SiLU gate, tied head."""

    def __init__(self, state, heads, theta, dtype):
        self.state, self.heads, self.theta, self.dtype = state, heads, theta, dtype
        self.ternary = {}
        for name, w in state.items():
            if "_proj." in name:  # scale = 1 / mean|W|; the quantised weight is stored in the latents' type
                w = w.to(torch.float32)
                inv = 1.0 / torch.tensor(max(w.double().abs().mean().item(), 1e-5), dtype=torch.float32)
                codes = (w * inv).round().clamp(-1, 1)
                self.ternary[name] = (codes / inv).to(state[name].dtype).to(dtype)

    def norm(self, x, name):
        return self.state[name].to(self.dtype) * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + SHAPE["rms_norm_eps"]))

    def linear(self, x, name):
        codes, amax = activation_codes(x)
        return torch.nn.functional.linear(codes / (127 / amax), self.ternary[name])

    def __call__(self, input_ids, **_):
        batch, count = input_ids.shape
        embedding = self.state["model.embed_tokens.weight"].to(self.dtype)
        h = embedding[input_ids]
        cos, sin = (t.to(self.dtype) for t in contract.rope_table(self.theta, h.shape[-1] // self.heads, torch.arange(count)))
        cos, sin = torch.cat((cos, cos), -1), torch.cat((sin, sin), -1)
        future = torch.full((count, count), -torch.inf, dtype=self.dtype).triu(1)
        for layer in range(SHAPE["num_hidden_layers"]):
            p = f"model.layers.{layer}."
            x = self.norm(h, p + "input_layernorm.weight")
            q, k, v = (self.linear(x, f"{p}self_attn.{n}_proj.weight").view(batch, count, self.heads, -1).transpose(1, 2) for n in "qkv")
            q, k = (t * cos + modeling.rotate_half(t) * sin for t in (q, k))
            x = attention(q, k, v, future, q.shape[-1] ** -0.5).flatten(2)
            h = h + self.linear(self.norm(x, p + "self_attn.inner_attn_ln.weight"), p + "self_attn.o_proj.weight")
            x = self.norm(h, p + "post_attention_layernorm.weight")
            x = torch.nn.functional.silu(self.linear(x, p + "mlp.gate_proj.weight")) * self.linear(x, p + "mlp.up_proj.weight")
            h = h + self.linear(self.norm(x, p + "mlp.ffn_layernorm.weight"), p + "mlp.down_proj.weight")
        logits = self.norm(h, "model.norm.weight") @ embedding.T
        return transformers.modeling_outputs.CausalLMOutput(logits=logits)


# ---- directories ---------------------------------------------------------------------------------------------------------------


def write_directory(name, directory):
    heads, kv_heads, dtype, tied, theta, kind = GOLDENS[name]
    rng = numpy.random.default_rng([SEED, list(GOLDENS).index(name)])

    def normal(shape, std, mean=0.0):
        return torch.from_numpy(mean + std * rng.standard_normal(shape)).to(torch.float32)

    hidden, ffn, kv = SHAPE["hidden_size"], SHAPE["intermediate_size"], SHAPE["hidden_size"] // heads * kv_heads
    # The embedding and the head are read as float16 where they are bf16: values of both.
    state = {"model.embed_tokens.weight": normal((SHAPE["vocab_size"], hidden), 0.125).to(torch.bfloat16).to(torch.float16)}
    if not tied:
        state["lm_head.weight"] = normal((SHAPE["vocab_size"], hidden), 0.2).to(torch.bfloat16).to(torch.float16)
    for layer in range(SHAPE["num_hidden_layers"]):
        p = f"model.layers.{layer}."
        for part, out, inner in (
            ("self_attn.q_proj", hidden, hidden), ("self_attn.k_proj", kv, hidden), ("self_attn.v_proj", kv, hidden),
            ("self_attn.o_proj", hidden, hidden), ("mlp.gate_proj", ffn, hidden), ("mlp.up_proj", ffn, hidden),
            ("mlp.down_proj", hidden, ffn),
        ):  # fmt: skip
            state[f"{p}{part}.weight"] = normal((out, inner), 1.0 / math.sqrt(inner))
        norms = [("input_layernorm", hidden), ("post_attention_layernorm", hidden)]
        if kind == "one_bit":
            norms += [("self_attn.inner_attn_ln", hidden), ("mlp.ffn_layernorm", ffn)]
        for part, size in norms:
            state[f"{p}{part}.weight"] = normal((size,), 0.1, 1.0)
    state["model.norm.weight"] = normal((hidden,), 0.1, 1.0)
    state = {key: value.to(dtype) for key, value in state.items()}
    config = {**SHAPE, "model_type": "llama", "architectures": ["LlamaForCausalLM"], "num_attention_heads": heads,
              "num_key_value_heads": kv_heads, "tie_word_embeddings": tied}  # fmt: skip
    if kind == "dense":
        config |= {"rope_parameters": {"rope_theta": theta, "rope_type": "default"}, "dtype": str(dtype)[6:]}
    else:
        config |= {"rope_theta": theta, "torch_dtype": str(dtype)[6:]}
    if kind == "one_bit":
        config |= {"model_type": "bitnet", "architectures": ["BitnetForCausalLM"], "weight_bits": 1, "input_bits": 8}
    if kind == "bitlinear":
        config["quantization_config"] = {"quant_method": "bitnet", "modules_to_not_convert": None}
        packed = {}
        for key, value in state.items():
            if "_proj." not in key:
                packed[key] = value
                continue
            codes, scale = contract.weight_codes(value)
            packed[key] = contract.pack_codes(codes)
            packed[key + "_scale"] = (1.0 / scale).to(torch.bfloat16).reshape(1)  # it divides
        state = packed
    directory.mkdir(exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    save(state, directory / "model.safetensors", {"format": "pt"})


def save(tensors, path, metadata):
    safetensors.torch.save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, path, metadata=metadata)
    path.chmod(0o644)


def load(name, directory, dtype):
    """The network of a directory in the run's dtype."""
    heads, _, stored, _, theta, kind = GOLDENS[name]
    if kind == "one_bit":
        return OneBit(safetensors.torch.load_file(directory / "model.safetensors"), heads, theta, dtype)
    model, info = transformers.LlamaForCausalLM.from_pretrained(
        str(directory), dtype=stored, attn_implementation="eager", output_loading_info=True
    )
    problems = {key: sorted(map(str, value)) for key, value in info.items() if value}
    if problems:
        raise ValueError(f"{directory}: {problems}")
    return model.eval().to(dtype)


def run(model, ids):
    """Logits [B, T, V] and the least distances from ties [B, T] of the forward."""
    for kind in ties.values():
        kind.clear()
    logits = model(input_ids=ids, use_cache=False).logits
    nearest = {kind: torch.stack(found).amin(0) if found else None for kind, found in ties.items()}
    return logits, nearest


def draw_ids(name, model64, model32):
    """Random ids [T] at every position of which float64 and float32 take the same roundings, drawn position by position."""
    rng = numpy.random.default_rng([SEED, 1000, list(GOLDENS).index(name)])
    ids = torch.empty(0, dtype=torch.long)
    while len(ids) < TOKENS:
        candidates = torch.from_numpy(rng.integers(0, SHAPE["vocab_size"], (16, 1)))
        sequences = torch.cat((ids.expand(16, -1), candidates), dim=1)
        logits64, nearest = run(model64, sequences)
        good = nearest["kv"][:, -1] > KV_MARGIN
        if nearest["code"] is not None:
            good &= nearest["code"][:, -1] > CODE_MARGIN
        for index in torch.nonzero(good)[:, 0]:
            logits32, _ = run(model32, sequences[index, None])
            if (logits32[0, -1] - logits64[index, -1]).abs().max() < NOISE:
                ids = sequences[index]
                break
    return ids


def make_golden(name, directory):
    model64, model32 = load(name, directory, torch.float64), load(name, directory, torch.float32)
    ids = draw_ids(name, model64, model32)
    logits64, logits32 = (run(model, ids[None])[0][0] for model in (model64, model32))
    write_golden(name, directory / "golden.safetensors", ids, logits64, logits32)


def write_golden(name, path, ids, logits64, logits32, logits=True):
    nll64, nll32 = (contract.negative_log_likelihood(x[:-1], ids[1:]) for x in (logits64, logits32))
    rms = lambda x: x.double().pow(2).mean().sqrt().reshape(1)  # noqa: E731
    top, margin = contract.top_and_margin(logits64)
    tensors = {
        "ids": ids.to(torch.int32), "nll_float64": nll64, "nll_float32": nll32, "nll_rms_difference": rms(nll32 - nll64),
        "logits_rms_difference": rms(logits32 - logits64), "top": top.to(torch.int32), "margin": margin,
    }  # fmt: skip
    if logits:
        rows = torch.tensor([0, 1, 31, 63, 64, 79])
        tensors |= {"logit_positions": rows.to(torch.int32), "logits_float64": logits64[rows]}
    versions = {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__, "numpy": numpy.__version__}
    metadata = {"generator": pathlib.Path(__file__).name, "name": name, "seed": SEED, "versions": versions}
    save(tensors, path, {"golden": json.dumps(metadata)})
    print(f"{name:24} logits {rms(logits64).item():.3f} differ by {tensors['logits_rms_difference'].item():.2e}, "
          f"nll by {tensors['nll_rms_difference'].item():.2e}, mean nll {nll64.mean().item():.6f}", flush=True)  # fmt: skip


# ---- SmolLM2 -------------------------------------------------------------------------------------------------------------------


class Gguf:
    """Keys and tensors of a GGUF file, as much of the format as SmolLM2's has."""

    def __init__(self, path):
        self.data, self.at, self.keys, self.records = path.read_bytes(), 0, {}, {}
        assert self.take("<4sI") == (b"GGUF", 3)
        tensors, keys = self.take("<QQ")
        for _ in range(keys):
            name = self.text()
            self.keys[name] = self.value(self.take("<I")[0])
        for _ in range(tensors):
            name = self.text()
            extents = self.take(f"<{self.take('<I')[0]}Q")
            self.records[name] = (extents[::-1], *self.take("<IQ"))
        self.base = -(-self.at // 32) * 32

    def take(self, form):
        values = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return values

    def text(self):
        length = self.take("<Q")[0]
        self.at += length
        return self.data[self.at - length : self.at].decode()

    def value(self, kind):
        if kind == 8:
            return self.text()
        if kind == 9:
            element, count = self.take("<IQ")
            return [self.value(element) for _ in range(count)]
        return self.take("<" + "BbHhIif?__Qqd"[kind])[0]

    def tensor(self, name):
        """Dequantised to float32, by product and sum in float32: [rows, columns]."""
        shape, kind, offset = self.records[name]
        size, values = {0: (4, 1), 1: (2, 1), 3: (20, 32), 8: (34, 32)}[kind]
        count = math.prod(shape) // values
        raw = numpy.frombuffer(self.data, numpy.uint8, count * size, self.base + offset).reshape(count, size)
        half = lambda at: raw[:, at : at + 2].copy().view(numpy.float16).astype(numpy.float32)  # noqa: E731
        if kind in (0, 1):
            y = raw.copy().view(numpy.float32 if kind == 0 else numpy.float16).astype(numpy.float32)
        elif kind == 8:
            y = half(0) * raw[:, 2:].view(numpy.int8).astype(numpy.float32)
        else:
            q = numpy.concatenate((raw[:, 4:] & 15, raw[:, 4:] >> 4), axis=1).astype(numpy.float32)
            y = half(0) * q + half(2)
        return torch.from_numpy(y.reshape(shape))


def smollm2_tokenizer(file):
    """SmolLM2's own tokenizer: every digit alone, then byte-level byte pairs."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    vocabulary = {token: index for index, token in enumerate(file.keys["tokenizer.ggml.tokens"])}
    merges = [tuple(merge.split(" ")) for merge in file.keys["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    control = [token for token, kind in zip(file.keys["tokenizer.ggml.tokens"], file.keys["tokenizer.ggml.token_type"]) if kind == 3]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    return tokenizer


def smollm2_ids(file, text):
    """Ids of a text in which no special token is meant."""
    return smollm2_tokenizer(file).encode(text).ids


def smollm2(shared):
    """The file, and transformers' configuration and weights of what it holds, dequantised."""
    file = Gguf(shared / "data/models/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
    keys = {key.removeprefix("llama."): value for key, value in file.keys.items()}
    heads = {"attn_q": keys["attention.head_count"], "attn_k": keys["attention.head_count_kv"]}
    config = transformers.LlamaConfig(
        hidden_size=keys["embedding_length"], intermediate_size=keys["feed_forward_length"], num_hidden_layers=keys["block_count"],
        num_attention_heads=heads["attn_q"], num_key_value_heads=heads["attn_k"], vocab_size=len(keys["tokenizer.ggml.tokens"]),
        rms_norm_eps=keys["attention.layer_norm_rms_epsilon"], tie_word_embeddings=True, attn_implementation="eager",
        rope_parameters={"rope_theta": keys["rope.freq_base"], "rope_type": "default"},
    )  # fmt: skip
    names = {"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
             "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj",
             "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}  # fmt: skip
    state = {"model.embed_tokens.weight": file.tensor("token_embd.weight"), "model.norm.weight": file.tensor("output_norm.weight")}
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    for layer in range(config.num_hidden_layers):
        for part, theirs in names.items():
            w = file.tensor(f"blk.{layer}.{part}.weight")
            if part in heads:  # neighbours are turned by llama.cpp's rope, halves by transformers'
                w = w.reshape(heads[part], -1, 2, w.shape[1]).transpose(1, 2).reshape(w.shape)
            state[f"model.layers.{layer}.{theirs}.weight"] = w
    return file, config, state


def make_smollm2(shared, path):
    file, config, state = smollm2(shared)
    ids = torch.tensor(smollm2_ids(file, (shared / "data/wikitext-2-raw/wiki.test.raw").read_text()[:4000])[:256])
    logits = []
    for dtype in (torch.float64, torch.float32):
        model = transformers.LlamaForCausalLM(config).to(torch.float32)
        model.load_state_dict(state)
        logits.append(run(model.to(dtype).eval(), ids[None])[0][0])
    write_golden("smollm2", path, ids, *logits, logits=False)


QUESTIONS = ["What is the capital of France?", "Name three colours.", "Write one sentence about the sea.", "Who wrote Hamlet?",
             "What is 7 times 8?", "Translate 'good morning' into Spanish.", "Why is the sky blue?", "Give me a short recipe for tea.",
             "What does a carpenter do?", "Tell me a fact about Jupiter."]  # fmt: skip


def make_smollm2_chat(shared, path):
    file, config, state = smollm2(shared)
    model = transformers.LlamaForCausalLM(config).to(torch.float32)
    model.load_state_dict(state)
    model.eval()
    text = (shared / "data/wikitext-2-raw/wiki.test.raw").read_bytes()[:200_000].decode()
    ids = torch.tensor(smollm2_ids(file, text))
    chunks = ids[: len(ids) // 512 * 512].reshape(-1, 512)
    nll = []
    for begin in range(0, len(chunks), 8):  # llama.cpp's windows: the logits at 256 ... 510 score what follows
        batch = chunks[begin : begin + 8]
        logits = model(batch).logits[:, 256:-1].double()
        nll.append(-logits.log_softmax(-1).gather(-1, batch[:, 257:, None])[..., 0])
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=smollm2_tokenizer(file), eos_token="<|im_end|>",
                                                     chat_template=file.keys["tokenizer.chat_template"])  # fmt: skip
    chats = []
    for question in QUESTIONS:
        rendered = tokenizer.apply_chat_template([{"role": "user", "content": question}], add_generation_prompt=True, tokenize=False)
        prompt = tokenizer.encode(rendered, add_special_tokens=False)
        answer, gaps = [], []
        while len(answer) < 48:
            best = model(torch.tensor([prompt + answer])).logits[0, -1].topk(2)
            gaps.append(round((best.values[0] - best.values[1]).item(), 6))
            if best.indices[0].item() == tokenizer.eos_token_id:
                break
            answer.append(best.indices[0].item())
        chats.append({"question": question, "prompt": rendered, "prompt_ids": prompt, "answer_ids": answer, "gaps": gaps,
                      "answer": tokenizer.decode(answer)})  # fmt: skip
    nll = torch.cat(nll)
    golden = {"versions": {"torch": torch.__version__, "transformers": transformers.__version__}, "bytes": 200_000,
              "tokens": len(ids), "scored": nll.numel(), "mean_nll": nll.mean().item(), "chats": chats}  # fmt: skip
    path.write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n")
    print(f"smollm2-chat: perplexity {math.exp(golden['mean_nll']):.4f} over {golden['scored']} tokens")


# ---- stories260K ---------------------------------------------------------------------------------------------------------------


def make_stories(shared, path):
    """Greedy ids from BOS (id 1), as llama2.c runs the legacy file: rope turns neighbours, everything in float32 by numpy."""
    data = (shared / "data/models/stories260K/stories260K.bin").read_bytes()
    dim, ffn, layers, heads, kv_heads, vocabulary, _ = struct.unpack_from("<7i", data)
    values, at = numpy.frombuffer(data, "<f4", offset=28), 0

    def take(*shape):
        nonlocal at
        at += math.prod(shape)
        return values[at - math.prod(shape) : at].reshape(shape)

    d = dim // heads
    embedding, attn_norm = take(vocabulary, dim), take(layers, dim)
    wq, wk, wv = take(layers, dim, dim), take(layers, kv_heads * d, dim), take(layers, kv_heads * d, dim)
    wo, ffn_norm, w1 = take(layers, dim, dim), take(layers, dim), take(layers, ffn, dim)
    w2, w3, last = take(layers, dim, ffn), take(layers, ffn, dim), take(dim)
    norm = lambda x, g: g * (x / numpy.sqrt(numpy.mean(x * x) + numpy.float32(1e-5)))  # noqa: E731
    frequency = 10000.0 ** (-2.0 * numpy.arange(d // 2) / d)

    def rope(x, position):
        c, s = (f(position * frequency).astype(numpy.float32) for f in (numpy.cos, numpy.sin))
        even, odd = x[:, 0::2].copy(), x[:, 1::2].copy()
        return numpy.stack((even * c - odd * s, even * s + odd * c), axis=-1).reshape(x.shape)

    ids, leads, cache = [1], [], [([], []) for _ in range(layers)]
    for position in range(200):
        h = embedding[ids[-1]].copy()
        for layer, (keys, below) in enumerate(cache):
            x = norm(h, attn_norm[layer])
            q = rope((wq[layer] @ x).reshape(heads, d), position)
            keys.append(rope((wk[layer] @ x).reshape(kv_heads, d), position))
            below.append((wv[layer] @ x).reshape(kv_heads, d))
            k, v = (numpy.repeat(numpy.stack(t), heads // kv_heads, axis=1) for t in (keys, below))
            z = numpy.einsum("hd,thd->ht", q, k) / numpy.sqrt(numpy.float32(d))
            p = numpy.exp(z - z.max(-1, keepdims=True))
            p /= p.sum(-1, keepdims=True)
            h = h + wo[layer] @ numpy.einsum("ht,thd->hd", p, v).reshape(-1)
            x = norm(h, ffn_norm[layer])
            g = w1[layer] @ x
            h = h + w2[layer] @ (g / (1 + numpy.exp(-g)) * (w3[layer] @ x))
        logits = embedding @ norm(h, last)
        best = numpy.sort(logits)[-2:]
        leads.append(float(best[1] - best[0]))
        ids.append(int(logits.argmax()))
    print(f"stories260k              least lead of the best id {min(leads):.4f}")
    save({"ids": torch.tensor(ids, dtype=torch.int32), "lead": torch.tensor(leads)}, path, {})


def main():
    here = pathlib.Path(__file__).resolve().parent
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--shared", type=pathlib.Path, default=here.parents[2] / "shared", help="the data that are not in the tree")
    p.add_argument("--only", help="make this one alone")
    a = p.parse_args()
    if a.only in (None, "smollm2-chat"):
        with torch.inference_mode():
            make_smollm2_chat(a.shared, here / "smollm2-chat.json")
    contract.configure_torch()
    install()
    with torch.inference_mode():
        for name in GOLDENS:
            if a.only in (None, name):
                write_directory(name, here / name)
                make_golden(name, here / name)
        if a.only in (None, "smollm2"):
            make_smollm2(a.shared, here / "smollm2.safetensors")
        if a.only in (None, "stories260k"):
            make_stories(a.shared, here / "stories260k.safetensors")


if __name__ == "__main__":
    main()
