#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Make the small BitNet directories of this folder and their goldens with transformers.

Every directory holds config.json, model.safetensors (what a download holds) and golden.safetensors (layout: README.md beside this
file). The weights are random and seeded; the graph is transformers' BitNetForCausalLM, loaded by from_pretrained from the very
directory that was written, with the substitutions of bitnet_contract.py. Each sequence is run in float64 and in float32; the
per-module records take the float32 run's inputs and give the float64 modules' outputs for them.

Usage: make_bitnet_goldens.py [--output DIRECTORY] [--only NAME]     (versions: requirements.txt)
"""

import argparse
import dataclasses
import json
import os
import pathlib
import zlib

import numpy
import safetensors
import safetensors.torch
import torch
import transformers
from transformers.models.bitnet import modeling_bitnet as modeling

import bitnet_contract as contract

SEED = 20_250
TOKENS = 132  # two whole key blocks of 64 and a third with four keys
RECORD_POSITIONS = range(64, 72)  # rows of the per-module records: the first ones that see two key blocks
LOGIT_POSITIONS = (0, 1, 2, 3, 7, 31, 62, 63, 64, 65, 96, 126, 127, 128, 131)

# Standard deviation of the latents of each kind, for two kinds of blocks in turn (they set the scales, 0.8 of it): those of q and k
# keep the attention soft, those of o and down keep the residual stream near its embedding, the others are free.
LATENT_STD = (
    {"q": 0.09, "k": 0.11, "v": 0.4, "o": 0.06, "gate": 1.1, "up": 2.0, "down": 0.05},
    {"q": 0.12, "k": 0.08, "v": 1.3, "o": 0.05, "gate": 0.3, "up": 0.09, "down": 0.07},
)
EMBEDDING_STD = 0.125

# Least distance of the float64 run from a rounding tie: of an activation code, in its steps, and of K and V, in float16's last place.
CODE_MARGIN, KV_MARGIN = 1e-4, 1e-3
NOISE = 1e-5  # most by which a float32 logit may be off at a position that took the same roundings


@dataclasses.dataclass(frozen=True)
class Golden:
    """One directory. `weights` names the seed of the weights: directories that share it hold the same network values."""

    name: str
    mode: str  # online | offline
    heads: int
    kv_heads: int
    weights: str
    ffn: int = 512
    layers: int = 2
    hidden: int = 256
    vocabulary: int = 320
    tied: bool = True
    act: str = "relu2"
    theta: float = 10_000.0
    hub_style: bool = False  # rope_theta and torch_dtype as the first uploads write them, else as transformers 5 does
    records: tuple = ()  # groups: linear, down (ffn_down of the last block alone), norm, rope, attention, act


EVERYTHING = ("linear", "norm", "rope", "attention", "act")
GOLDENS = (
    Golden("online-h64-gqa", "online", 4, 2, "a", theta=500_000.0, hub_style=True, records=EVERYTHING),
    Golden("online-h32-gqa-silu", "online", 8, 4, "a", act="silu", records=("act",)),
    Golden("offline-h64-gqa", "offline", 4, 2, "a", theta=500_000.0, hub_style=True),
    Golden("offline-h32-mha", "offline", 8, 8, "b", records=("rope", "attention")),
    Golden("offline-h64-mha", "offline", 4, 4, "b", theta=500_000.0),
    Golden("offline-h32-gqa-deep", "offline", 8, 4, "c", ffn=768, layers=3, records=("act", "down")),
)


# ---- directories ---------------------------------------------------------------------------------------------------------------


def random_generator(*words):
    """A generator that depends on SEED and on the words only."""
    return numpy.random.default_rng([SEED, *(zlib.crc32(word.encode()) for word in words)])


def latent_state(golden):
    """The network as bf16 latents under Hugging Face's names; the embedding is exact in float16."""

    def normal(name, shape, std, mean=0.0):
        values = mean + std * random_generator(golden.weights, name).standard_normal(shape)
        return torch.from_numpy(values).to(torch.float32)

    hidden, kv = golden.hidden, golden.hidden // golden.heads * golden.kv_heads
    state = {"model.embed_tokens.weight": normal("embedding", (golden.vocabulary, hidden), EMBEDDING_STD).to(torch.float16)}
    for layer in range(golden.layers):
        prefix, std = f"model.layers.{layer}.", LATENT_STD[layer % len(LATENT_STD)]
        for kind, name, out, inner in (
            ("q", "self_attn.q_proj", hidden, hidden), ("k", "self_attn.k_proj", kv, hidden),
            ("v", "self_attn.v_proj", kv, hidden), ("o", "self_attn.o_proj", hidden, hidden),
            ("gate", "mlp.gate_proj", golden.ffn, hidden), ("up", "mlp.up_proj", golden.ffn, hidden),
            ("down", "mlp.down_proj", hidden, golden.ffn),
        ):  # fmt: skip
            state[f"{prefix}{name}.weight"] = normal(prefix + name, (out, inner), std[kind])
        for name, size in (
            ("input_layernorm", hidden), ("post_attention_layernorm", hidden),
            ("self_attn.attn_sub_norm", hidden), ("mlp.ffn_sub_norm", golden.ffn),
        ):  # fmt: skip
            state[f"{prefix}{name}.weight"] = normal(prefix + name, (size,), 0.1, mean=1.0)
    state["model.norm.weight"] = normal("norm", (hidden,), 0.1, mean=1.0)
    state = {name: tensor.to(torch.bfloat16) for name, tensor in state.items()}
    embedding = state["model.embed_tokens.weight"].to(torch.float32)
    assert torch.equal(embedding, contract.float16_values(embedding, "embed_tokens"))
    return state


def packed_state(state):
    """The same network with every projection packed: uint8 [out/4, in] and a bf16 weight_scale [1]."""
    packed = {}
    for name, tensor in state.items():
        if "_proj." in name:
            codes, scale = contract.weight_codes(tensor)
            packed[name] = contract.pack_codes(codes)
            packed[name + "_scale"] = scale.to(torch.bfloat16).reshape(1)
        else:
            packed[name] = tensor
    return packed


def config_json(golden):
    """config.json of a directory."""
    config = {
        "architectures": ["BitNetForCausalLM"], "model_type": "bitnet", "hidden_act": golden.act, "hidden_size": golden.hidden,
        "intermediate_size": golden.ffn, "num_hidden_layers": golden.layers, "num_attention_heads": golden.heads,
        "num_key_value_heads": golden.kv_heads, "max_position_embeddings": 256, "vocab_size": golden.vocabulary,
        "rms_norm_eps": 1e-05, "tie_word_embeddings": golden.tied, "bos_token_id": 0, "eos_token_id": 1, "initializer_range": 0.02,
        "use_cache": True,
    }  # fmt: skip
    if golden.hub_style:
        config |= {"rope_theta": golden.theta, "torch_dtype": "bfloat16"}
    else:
        config |= {"rope_parameters": {"rope_theta": golden.theta, "rope_type": "default"}, "dtype": "bfloat16"}
    config["quantization_config"] = {
        "quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": golden.mode,
    }  # fmt: skip
    return json.dumps(config, indent=1) + "\n"


def save(tensors, path, metadata):
    """Write a safetensors file that everyone may read (the library makes it private)."""
    safetensors.torch.save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, path, metadata=metadata)
    path.chmod(0o644)


def write_directory(golden, directory, earlier):
    """Write config.json and model.safetensors; the latter is a symbolic link where an earlier directory holds the same bytes."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(config_json(golden))
    target = directory / "model.safetensors"
    target.unlink(missing_ok=True)
    key = (golden.weights, golden.mode, golden.kv_heads * golden.hidden // golden.heads, golden.ffn, golden.layers)
    if key in earlier:
        target.symlink_to(os.path.join("..", earlier[key], target.name))
        return
    earlier[key] = golden.name
    state = latent_state(golden)
    state = packed_state(state) if golden.mode == "offline" else state
    save(state, target, {"format": "pt"})


# ---- runs ----------------------------------------------------------------------------------------------------------------------


def gguf_name(module_name):
    """GGUF-like name of a module: model.layers.0.self_attn.q_proj -> blk.0.attn_q."""
    kinds = {
        "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
        "self_attn.attn_sub_norm": "attn_sub_norm", "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm",
        "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.ffn_sub_norm": "ffn_sub_norm", "mlp.down_proj": "ffn_down",
    }  # fmt: skip
    if module_name == "model.norm":
        return "output_norm"
    _, _, layer, kind = module_name.split(".", 3)
    return f"blk.{layer}.{kinds[kind]}"


def leaf_modules(model):
    """GGUF-like name -> BitLinear or RMSNorm."""
    kinds = (contract.integration.AutoBitLinear, modeling.BitNetRMSNorm)
    return {gguf_name(name): module for name, module in model.named_modules() if isinstance(module, kinds)}


class Recorder:
    """Keeps what goes into every leaf module, rope and attention core of `model` during the forward inside its `with`."""

    def __init__(self, model):
        self.values = {}  # batch first, as transformers passes them
        self.leaves = leaf_modules(model)
        self.layer = 0

    def _leaf(self, name):
        def hook(module, inputs, output):
            self.values[name + ".input"] = inputs[0].clone()
            self.values[name + ".result"] = output.clone()

        return hook

    def _rope(self, q, k, cos, sin, unsqueeze_dim=1):
        self.values[f"blk.{self.layer}.attn_rope_q.input"] = q.clone()
        self.values[f"blk.{self.layer}.attn_rope_k.input"] = k.clone()
        return self.originals[0](q, k, cos, sin, unsqueeze_dim)

    def _attention(self, module, query, key, value, attention_mask, **kwargs):
        assert module.layer_idx == self.layer
        for name, tensor in (("q", query), ("k", key), ("v", value)):
            self.values[f"blk.{self.layer}.attn.{name}"] = tensor.clone()  # K and V before they pass through float16
        self.layer += 1
        return self.originals[1](module, query, key, value, attention_mask, **kwargs)

    def __enter__(self):
        self.originals = (modeling.apply_rotary_pos_emb, modeling.eager_attention_forward)
        modeling.apply_rotary_pos_emb, modeling.eager_attention_forward = self._rope, self._attention
        self.hooks = [module.register_forward_hook(self._leaf(name)) for name, module in self.leaves.items()]
        return self

    def __exit__(self, *_):
        modeling.apply_rotary_pos_emb, modeling.eager_attention_forward = self.originals
        for hook in self.hooks:
            hook.remove()


def tie_distances(recorder):
    """How near a recorded forward comes to a rounding tie, [B, T] each: of an activation code, of a float16 K or V.

    Units: steps of the code; units in the last place of float16.
    """
    codes, kv = [], []
    for name, module in recorder.leaves.items():
        if isinstance(module, contract.integration.AutoBitLinear):
            x = recorder.values[name + ".input"]
            codes.append(x * (127 / x.abs().amax(-1, keepdim=True)))
    for name, x in recorder.values.items():
        if name.endswith(("attn.k", "attn.v")):
            x = x.transpose(1, 2).flatten(2)
            kv.append(x / torch.exp2(torch.floor(torch.log2(x.abs())).clamp(min=-14) - 10))
    return tuple((z - z.floor() - 0.5).abs().amin(-1) for z in (torch.cat(codes, -1), torch.cat(kv, -1)))


def draw_sequence(generator, tokens, model64, model32):
    """Random ids [tokens], at every position of which float64 and float32 take the same roundings.

    A flipped activation code or float16 value moves all that follows by about 1e-2, so without this two correct float32 runs differ by
    that much; with it they differ by float32 noise alone. Drawn position by position: the float64 run keeps CODE_MARGIN and KV_MARGIN
    from every rounding tie, and the float32 run's logits stay within NOISE of it.
    """
    batch, vocabulary = 8, model64.config.vocab_size
    ids = torch.empty(0, dtype=torch.long)
    while len(ids) < tokens:
        candidates = torch.from_numpy(generator.integers(0, vocabulary, (batch, 1)))
        with Recorder(model64) as recorder:
            sequences = torch.cat((ids.expand(batch, -1), candidates), dim=1)
            logits64 = model64(input_ids=sequences, use_cache=False, logits_to_keep=1).logits[:, 0]
        code, kv = (distance[:, -1] for distance in tie_distances(recorder))
        for index in torch.nonzero((code > CODE_MARGIN) & (kv > KV_MARGIN))[:, 0]:
            logits32 = model32(input_ids=sequences[index, None], use_cache=False, logits_to_keep=1).logits[0, 0]
            if (logits32 - logits64[index]).abs().max() < NOISE:
                ids = sequences[index]
                break
    return ids


def token_ids(golden, model64, model32):
    """The ids of a golden."""
    generator = random_generator(golden.weights, str(golden.heads), golden.act, "ids")
    return draw_sequence(generator, TOKENS, model64, model32)


def heads_last(tensor):
    """[1, heads, T, d] -> [T, heads, d]."""
    return tensor[0].transpose(0, 1)


def is_recorded(golden, name, linear):
    """Whether this BitLinear or norm has a record in this golden: BitLinears of the first and last block, norms of the first."""
    block = int(name.split(".")[1]) if name.startswith("blk.") else 0
    if linear and block == golden.layers - 1 and name.endswith("ffn_down") and "down" in golden.records:
        return True
    group, blocks = ("linear", (0, golden.layers - 1)) if linear else ("norm", (0,))
    return group in golden.records and block in blocks


def module_records(golden, recorder, model64):
    """Tensors of the per-module records: float32 inputs of the float32 run, float64 outputs of model64's modules for them."""
    out, rows = {}, torch.tensor(list(RECORD_POSITIONS))
    seen, leaves = {name: tensor[0] for name, tensor in recorder.values.items()}, leaf_modules(model64)

    def put(name, value, dtype=None):
        out[name] = value.detach().to(dtype or value.dtype).contiguous().clone()

    for name, module in leaves.items():
        linear = isinstance(module, contract.integration.AutoBitLinear)
        if not is_recorded(golden, name, linear):
            continue
        x = seen[name + ".input"][rows]
        assert x.dtype == torch.float32
        put(name + ".output", module(x.double()))
        if linear:
            put(name + ".scale", linear_scale(module), torch.float32)
        if name.endswith(("attn_k", "attn_v", "ffn_up")):
            source = name[: name.rindex(".")] + (".ffn_gate" if name.endswith("ffn_up") else ".attn_q")
            assert torch.equal(x, seen[source + ".input"][rows])
            continue
        put(name + ".input", x)
        if linear:
            codes, amax = contract.activation_codes(x.double())
            put(name + ".codes", codes, torch.int8)
            put(name + ".amax", amax[:, 0], torch.float32)

    if "act" in golden.records:
        block = golden.layers - 1
        mlp = model64.model.layers[block].mlp
        gate, up = (seen[f"blk.{block}.ffn_{kind}.result"][rows] for kind in ("gate", "up"))
        put(f"blk.{block}.ffn_act.gate", gate)
        put(f"blk.{block}.ffn_act.up", up)
        put(f"blk.{block}.ffn_act.output", mlp.act_fn(gate.double()) * up.double())

    if "rope" in golden.records:
        q, k = (seen[f"blk.0.attn_rope_{kind}.input"][None, :, rows] for kind in "qk")
        cos, sin = model64.model.rotary_emb(q.double(), rows[None])
        for kind, x, y in zip("qk", (q, k), modeling.apply_rotary_pos_emb(q.double(), k.double(), cos, sin)):
            put(f"blk.0.attn_rope_{kind}.input", heads_last(x))
            put(f"blk.0.attn_rope_{kind}.output", heads_last(y))
        half = cos.shape[-1] // 2
        put("rope_cos", cos[0, :, :half], torch.float32)
        put("rope_sin", sin[0, :, :half], torch.float32)

    if "attention" in golden.records:
        keys = rows[-1].item() + 1
        q = seen["blk.0.attn.q"][None, :, rows]
        k, v = (contract.float16_values(seen[f"blk.0.attn.{kind}"][None, :, :keys], kind) for kind in "kv")
        future = torch.arange(keys)[None, :] > rows[:, None]
        mask = torch.zeros(future.shape, dtype=torch.float64).masked_fill(future, -torch.inf)[None, None]
        module = model64.model.layers[0].self_attn
        y, _ = modeling.eager_attention_forward(module, q.double(), k.double(), v.double(), mask, scaling=module.scaling)
        for kind, x in zip("qkv", (q, k, v)):
            put(f"blk.0.attn.{kind}", heads_last(x))
        put("blk.0.attn.output", y[0])
    return out


def linear_scale(module):
    """The scale [1] of a BitLinear: of its latents, or as stored."""
    return (contract.weight_codes(module.weight)[1] if module.online_quant else module.weight_scale).reshape(1)


def share_of_zeros(module):
    """The share of a BitLinear's codes that are 0."""
    codes = contract.weight_codes(module.weight)[0] if module.online_quant else module.weight
    return codes.eq(0).double().mean().item()


def root_mean_square(x):
    """Root of the mean square of all values."""
    return x.double().pow(2).mean().sqrt().reshape(1)


def versions():
    """Versions of the packages that a golden's values rest on."""
    return {
        "torch": torch.__version__.split("+")[0], "transformers": transformers.__version__, "numpy": numpy.__version__,
        "safetensors": safetensors.__version__,
    }  # fmt: skip


def make_golden(golden, directory, known_ids):
    """Run the directory in both dtypes and write golden.safetensors; returns a line for the table.

    known_ids keeps the ids by network: a packed twin runs those of its latents.
    """
    model64, model32 = contract.load(directory, torch.float64), contract.load(directory, torch.float32)
    assert model64.config.rope_parameters["rope_theta"] == golden.theta and model64.config.hidden_act == golden.act
    with torch.inference_mode():
        network = (golden.weights, golden.heads, golden.act)
        ids = known_ids[network] if network in known_ids else token_ids(golden, model64, model32)
        known_ids[network] = ids
        with Recorder(model64) as recorder:
            logits64 = model64(input_ids=ids[None], use_cache=False).logits[0]
        code_tie, kv_tie = (distance[0] for distance in tie_distances(recorder))
        with Recorder(model32) as recorder:
            logits32 = model32(input_ids=ids[None], use_cache=False).logits[0]
        assert torch.equal(logits32, model32(input_ids=ids[None], use_cache=False).logits[0]), "the float32 run must repeat itself"
        records = module_records(golden, recorder, model64)
    nll64, nll32 = (contract.negative_log_likelihood(x[:-1], ids[1:]) for x in (logits64, logits32))
    top, margin = contract.top_and_margin(logits64)
    rows = torch.tensor(LOGIT_POSITIONS)
    tensors = {
        "ids": ids.to(torch.int32), "logit_positions": rows.to(torch.int32),
        "logits_float64": logits64[rows], "logits_float32": logits32[rows],
        "logits_rms_difference": root_mean_square(logits32 - logits64),
        "logits_rms_difference_by_position": (logits32 - logits64).pow(2).mean(-1).sqrt(),
        "nll_float64": nll64, "nll_float32": nll32, "nll_rms_difference": root_mean_square(nll32 - nll64),
        "code_tie_distance": code_tie, "kv_tie_distance": kv_tie,
        "top": top.to(torch.int32), "margin": margin,
        "record_positions": torch.tensor(list(RECORD_POSITIONS), dtype=torch.int32),
        **records,
    }  # fmt: skip
    metadata = {
        "generator": pathlib.Path(__file__).name, "name": golden.name, "seed": SEED,
        "versions": versions(),
    }  # fmt: skip
    save(tensors, directory / "golden.safetensors", {"golden": json.dumps(metadata)})
    zeros = [share_of_zeros(leaf) for leaf in leaf_modules(model64).values() if isinstance(leaf, contract.integration.AutoBitLinear)]
    return (f"{golden.name:22} logits rms {root_mean_square(logits64).item():.3f}  difference: logits rms "
            f"{tensors['logits_rms_difference'].item():.3e}  nll rms {tensors['nll_rms_difference'].item():.3e}  mean nll "
            f"{nll64.mean().item():.6f} {nll32.mean().item():.6f}  zeros {min(zeros):.2f}-{max(zeros):.2f}")  # fmt: skip


def main():
    here = pathlib.Path(__file__).resolve().parent
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--output", type=pathlib.Path, default=here, help="folder of the directories (default: this one)")
    p.add_argument("--only", help="print and run this directory alone (all are written)")
    a = p.parse_args()
    contract.configure_torch()
    contract.install()
    earlier, known_ids = {}, {}
    for golden in GOLDENS:
        write_directory(golden, a.output / golden.name, earlier)
    for golden in GOLDENS:
        if a.only in (None, golden.name):
            print(make_golden(golden, a.output / golden.name, known_ids), flush=True)


if __name__ == "__main__":
    main()
