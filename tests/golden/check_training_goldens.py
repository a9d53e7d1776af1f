#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compute the training goldens once more with numpy alone: forward, straight-through backward and AdamW written out by hand.

Reads config.json, model.safetensors and the goldens of make_training_goldens.py. In float64 this must give what they hold; in float32 it
is a second float32 engine, and every figure must stay within LIMIT of the distance at which PyTorch's own float32 is from float64.
Prints the ratios and ends with 1 where one is beyond its limit.

Usage: check_training_goldens.py [DIRECTORY ...]     (default: the training directories beside this file; needs numpy only)
"""

import json
import pathlib
import sys

import numpy as np

LIMIT = 4  # of a float32 engine's distance from float64, in PyTorch's
EXACT = 0.35  # the same of float64, for which little but the rounding of the stored gradients to float32 is left


# ---- files ---------------------------------------------------------------------------------------------------------------------


def read_safetensors(path):
    """Tensors of a file by name, and its metadata; bf16 as float32."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            kind = {"F32": "<f4", "F64": "<f8", "I32": "<i4", "BF16": "<u2"}[entry["dtype"]]
            values = np.frombuffer(body[slice(*entry["data_offsets"])], kind).reshape(entry["shape"])
            tensors[name] = (values.astype("<u4") << 16).view("<f4") if kind == "<u2" else values
    return tensors, header.get("__metadata__", {})


def stored_masters(directory, layers, tied):
    """GGUF name -> stored value, in float64."""
    names = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"} | ({} if tied else {"output": "lm_head"})
    for layer in range(layers):
        for name, theirs in (
            ("attn_norm", "input_layernorm"), ("attn_q", "self_attn.q_proj"), ("attn_k", "self_attn.k_proj"),
            ("attn_v", "self_attn.v_proj"), ("attn_sub_norm", "self_attn.attn_sub_norm"), ("attn_output", "self_attn.o_proj"),
            ("ffn_norm", "post_attention_layernorm"), ("ffn_gate", "mlp.gate_proj"), ("ffn_up", "mlp.up_proj"),
            ("ffn_sub_norm", "mlp.ffn_sub_norm"), ("ffn_down", "mlp.down_proj"),
        ):  # fmt: skip
            names[f"blk.{layer}.{name}"] = f"model.layers.{layer}.{theirs}"
    tensors, _ = read_safetensors(directory / "model.safetensors")
    return {name: tensors[theirs + ".weight"].astype(np.float64) for name, theirs in names.items()}


# ---- what is read --------------------------------------------------------------------------------------------------------------


def bf16(x):
    """x rounded to eight significant bits, half to even, in one rounding."""
    mantissa, exponent = np.frexp(x)
    return np.ldexp(np.rint(mantissa * 256) / 256, exponent).astype(x.dtype)


class Linear:
    """A BitLinear's weight with codes and scale; y = (1 - share) dense + share ternary, in the masters' dtype."""

    def __init__(self, master, share):
        self.dense, self.share = bf16(master), master.dtype.type(share)
        inv = np.float32(1) / np.float32(max(np.abs(self.dense).mean(dtype=np.float64), 1e-5))
        self.codes = np.clip(np.rint(self.dense.astype(np.float32) * inv), -1, 1).astype(master.dtype)
        self.scale = bf16(np.float32(1) / inv).astype(master.dtype)

    def forward(self, x):
        """y [T, N] of x [T, K]; keeps what backward needs beside it: (y, quantised x)."""
        amax = np.maximum(np.abs(x).max(-1, keepdims=True), x.dtype.type(1e-5))
        codes = np.clip(np.rint(x * (127 / amax)), -128, 127)
        quantised = codes * (amax / 127)
        ternary = (codes @ self.codes.T) * ((self.scale * amax) / 127)
        if self.share == 1:
            return ternary, quantised
        return (1 - self.share) * (quantised @ self.dense.T) + self.share * ternary, quantised

    def backward(self, dy, quantised):
        """Gradients of x and of the weight."""
        dx = self.scale * (dy @ self.codes)
        if self.share != 1:
            dx = (1 - self.share) * (dy @ self.dense) + self.share * dx
        return dx, dy.T @ quantised


# ---- layers --------------------------------------------------------------------------------------------------------------------


def norm_forward(x, gain, eps):
    r = 1 / np.sqrt((x * x).mean(-1, keepdims=True) + x.dtype.type(eps))
    return (x * r) * gain, r


def norm_backward(dy, x, r, gain):
    """Gradients of x and gain."""
    normal, dn = x * r, dy * gain
    return r * (dn - normal * (dn * normal).mean(-1, keepdims=True)), (dy * normal).sum(0)


def rope(x, theta, sign):
    """x [T, heads, d] turned by its position's angles; sign -1 turns back, which is the gradient."""
    positions, _, d = x.shape
    angle = np.arange(positions)[:, None] * np.power(theta, -2.0 * np.arange(d // 2) / d)
    cos, sin = (f(angle).astype(np.float32).astype(x.dtype)[:, None] for f in (np.cos, np.sin))
    a, b = x[..., : d // 2], x[..., d // 2 :]
    return np.concatenate((a * cos - sign * b * sin, b * cos + sign * a * sin), -1)


def attention_forward(q, k, v):
    """Causal attention of q [T, A, d] over k, v [T, G, d], G dividing A: (output [T, A, d], probabilities [A, T, T])."""
    groups = q.shape[1] // k.shape[1]
    k, v = (np.repeat(x, groups, 1) for x in (k, v))
    z = np.einsum("tad,sad->ats", q, k) * q.dtype.type(1 / np.sqrt(q.shape[-1]))
    z[:, np.triu(np.ones(z.shape[1:], bool), 1)] = -np.inf
    p = np.exp(z - z.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    return np.einsum("ats,sad->tad", p, v), p


def attention_backward(dy, q, k, v, p):
    """Gradients of q, k and v."""
    heads, kv_heads = q.shape[1], k.shape[1]
    wide_k, wide_v = (np.repeat(x, heads // kv_heads, 1) for x in (k, v))
    dp = np.einsum("tad,sad->ats", dy, wide_v)
    dz = p * (dp - (dp * p).sum(-1, keepdims=True)) * q.dtype.type(1 / np.sqrt(q.shape[-1]))
    dq, dk, dv = np.einsum("ats,sad->tad", dz, wide_k), np.einsum("ats,tad->sad", dz, q), np.einsum("ats,tad->sad", p, dy)
    narrow = (len(k), kv_heads, heads // kv_heads, -1)
    return dq, dk.reshape(narrow).sum(2), dv.reshape(narrow).sum(2)


def gate_forward(act, gate):
    if act == "relu2":
        return np.maximum(gate, 0) ** 2
    return gate / (1 + np.exp(-gate))


def gate_slope(act, gate):
    if act == "relu2":
        return 2 * np.maximum(gate, 0)
    sigmoid = 1 / (1 + np.exp(-gate))
    return sigmoid * (1 + gate * (1 - sigmoid))


# ---- the network ---------------------------------------------------------------------------------------------------------------


class Network:
    """What the forward reads of the masters, in their dtype."""

    def __init__(self, config, masters, share=1.0):
        self.config, self.linears, self.values = config, {}, {}
        for name, master in masters.items():
            if master.ndim == 1:
                self.values[name] = bf16(master)
            elif name in ("token_embd", "output"):
                self.values[name] = bf16(master).astype(np.float16).astype(master.dtype)
            else:
                self.linears[name] = Linear(master, share)
        self.head = "output" if "output" in masters else "token_embd"

    def sequence(self, ids, weight, gradients):
        """NLL [T-1] of ids [T]; adds the gradient of weight * their sum to `gradients`."""
        config, linears, values, eps = self.config, self.linears, self.values, self.config["rms_norm_eps"]
        heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
        theta, act, tokens = config["rope_parameters"]["rope_theta"], config["hidden_act"], len(ids)
        h = values["token_embd"][ids]
        kept = []
        for layer in range(config["num_hidden_layers"]):
            b = f"blk.{layer}."
            x, r = norm_forward(h, values[b + "attn_norm"], eps)
            (q, xq), (k, _), (v, _) = (linears[b + "attn_" + n].forward(x) for n in "qkv")
            q, k, v = (y.reshape(tokens, n, -1) for y, n in ((q, heads), (k, kv_heads), (v, kv_heads)))
            q, k = rope(q, theta, 1), rope(k, theta, 1)
            k, v = (y.astype(np.float16).astype(h.dtype) for y in (k, v))
            a, p = attention_forward(q, k, v)
            a = a.reshape(tokens, -1)
            n, ra = norm_forward(a, values[b + "attn_sub_norm"], eps)
            o, nq = linears[b + "attn_output"].forward(n)
            middle = h + o
            y, rm = norm_forward(middle, values[b + "ffn_norm"], eps)
            (gate, yq), (up, _) = (linears[b + "ffn_" + n].forward(y) for n in ("gate", "up"))
            product = gate_forward(act, gate) * up
            f, rf = norm_forward(product, values[b + "ffn_sub_norm"], eps)
            down, fq = linears[b + "ffn_down"].forward(f)
            kept.append((h, r, xq, q, k, v, p, a, ra, nq, middle, rm, yq, gate, up, product, rf, fq))
            h = middle + down
        final, r_out = norm_forward(h, values["output_norm"], eps)
        logits = (final @ values[self.head].T)[:-1]

        targets, rows = ids[1:], np.arange(tokens - 1)
        wide = logits.astype(np.float64)
        top = wide.max(-1)
        nll = top + np.log(np.exp(wide - top[:, None]).sum(-1)) - wide[rows, targets]

        def add(name, value):
            gradients[name] += value

        def linear(name, dy, quantised):
            dx, dw = linears[name].backward(dy, quantised)
            add(name, dw)
            return dx

        def norm(name, dy, x, r):
            dx, dgain = norm_backward(dy, x, r, values[name])
            add(name, dgain)
            return dx

        d_logits = np.exp(logits - logits.max(-1, keepdims=True))
        d_logits /= d_logits.sum(-1, keepdims=True)
        d_logits[rows, targets] -= 1
        d_logits *= h.dtype.type(weight)
        add(self.head, d_logits.T @ final[:-1])
        d_final = np.zeros_like(final)
        d_final[:-1] = d_logits @ values[self.head]
        dh = norm("output_norm", d_final, h, r_out)
        for layer in reversed(range(config["num_hidden_layers"])):
            b = f"blk.{layer}."
            h, r, xq, q, k, v, p, a, ra, nq, middle, rm, yq, gate, up, product, rf, fq = kept[layer]
            d = norm(b + "ffn_sub_norm", linear(b + "ffn_down", dh, fq), product, rf)
            dy = linear(b + "ffn_gate", d * up * gate_slope(act, gate), yq) + linear(b + "ffn_up", d * gate_forward(act, gate), yq)
            dh = dh + norm(b + "ffn_norm", dy, middle, rm)
            d = norm(b + "attn_sub_norm", linear(b + "attn_output", dh, nq), a, ra)
            dq, dk, dv = attention_backward(d.reshape(q.shape), q, k, v, p)
            dq, dk = rope(dq, theta, -1), rope(dk, theta, -1)
            dx = sum(linear(b + "attn_" + n, g.reshape(tokens, -1), xq) for n, g in zip("qkv", (dq, dk, dv)))
            dh = dh + norm(b + "attn_norm", dx, h, r)
        np.add.at(gradients["token_embd"], ids, dh)
        return nll


def gradient(config, masters, ids, share=1.0):
    """NLL [B, T-1] of ids [B, T] and the gradient of its mean by name."""
    gradients = {name: np.zeros_like(master) for name, master in masters.items()}
    network = Network(config, masters, share)
    weight = 1 / (ids.shape[0] * (ids.shape[1] - 1))
    return np.stack([network.sequence(row, weight, gradients) for row in ids]), gradients


def adamw(masters, gradients, moments, step, p):
    """One step, in place: gradients clipped to a global norm, decoupled decay of what has two dimensions. Returns the norm."""
    norm = np.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in gradients.values()))
    clip = min(1.0, p["clip"] / (norm + 1e-6))
    beta1, beta2 = p["betas"]
    for name, master in masters.items():
        t = master.dtype.type
        g, (m, v) = gradients[name] * t(clip), moments[name]
        m *= t(beta1)
        m += t(1 - beta1) * g
        v *= t(beta2)
        v += t(1 - beta2) * (g * g)
        if master.ndim == 2:
            master *= t(1 - p["lr"] * p["weight_decay"])
        master -= t(p["lr"] / (1 - beta1**step)) * m / (np.sqrt(v) / t(np.sqrt(1 - beta2**step)) + t(p["eps"]))
    return norm


# ---- checks --------------------------------------------------------------------------------------------------------------------


def rms(x):
    return np.sqrt((np.asarray(x, np.float64) ** 2).mean())


class Report:
    """Prints ratios of distances to yardsticks and remembers whether one was beyond its limit."""

    def __init__(self):
        self.failed = False

    def line(self, title, ratios, limit):
        name, worst = max(ratios.items(), key=lambda item: item[1])
        wrong = not all(ratio <= limit for ratio in ratios.values())
        self.failed |= wrong
        print(f"{'WRONG ' if wrong else ''}{title}: at most {worst:.3f} yardsticks ({name}), median {np.median(list(ratios.values())):.3f}")


def check_gradient(report, title, config, masters, golden, limit):
    share = float(golden["ternary_share"][0]) if "ternary_share" in golden else 1.0
    nll, gradients = gradient(config, masters, golden["ids"], share)
    assert {"grad." + name for name in masters} == {name for name in golden if name.startswith("grad.")}
    yardstick = golden["nll_rms_difference"][0]
    report.line(f"{title} loss", {"mean": abs(nll.mean() - golden["loss_float64"][0]) / yardstick,
                                  "tokens": rms(nll - golden["nll_float64"]) / yardstick}, limit)  # fmt: skip
    ratios = {name: rms(g - golden["grad." + name].astype(np.float64)) / golden["spread." + name][0] for name, g in gradients.items()}
    report.line(f"{title} gradients", ratios, limit)


def check_steps(report, title, config, masters, golden, hyper_parameters, limit):
    moments = {name: (np.zeros_like(m), np.zeros_like(m)) for name, m in masters.items()}
    untrained = {name: m.copy() for name, m in masters.items()}
    yardstick = np.abs(golden["steps.loss_float32"] - golden["steps.loss_float64"]).max()
    ratios, tokens, effect = {}, {}, []
    for step, ids in enumerate(golden["steps.ids"]):
        nll, gradients = gradient(config, masters, ids)
        norm = adamw(masters, gradients, moments, step + 1, hyper_parameters)
        assert abs(norm / golden["steps.gradient_norm"][step] - 1) < 1e-5
        ratios[f"step {step}"] = abs(nll.mean() - golden["steps.loss_float64"][step]) / yardstick
        tokens[f"step {step}"] = rms(nll - golden["steps.nll_float64"][step]) / golden["steps.nll_rms_difference"].max()
        effect.append(abs(gradient(config, untrained, ids)[0].mean() - nll.mean()))
    report.line(f"{title} losses", ratios, limit)
    report.line(f"{title} NLLs", tokens, limit)
    print(f"{title} the steps change the losses by {min(effect[1:]) / yardstick:.0f} to {max(effect) / yardstick:.0f} yardsticks")
    ratios = {}
    for name, master in masters.items():
        stored = golden["steps.master." + name]
        difference = np.abs(master[: len(stored)].astype(np.float64) - stored).mean()
        ratios[name] = difference / golden["steps.master_difference." + name][0]
    report.line(f"{title} masters", ratios, limit)


def check_directory(report, directory):
    config = json.loads((directory / "config.json").read_text())
    masters64 = stored_masters(directory, config["num_hidden_layers"], config["tie_word_embeddings"])
    for dtype, limit in ((np.float64, EXACT), (np.float32, LIMIT)):
        title = f"{directory.name} {np.dtype(dtype).name}"
        masters = {name: m.astype(dtype) for name, m in masters64.items()}
        if (directory / "training-warm-up.safetensors").exists():
            golden, _ = read_safetensors(directory / "training-warm-up.safetensors")
            check_gradient(report, title + " warm-up", config, masters, golden, limit)
        golden, metadata = read_safetensors(directory / "training.safetensors")
        check_gradient(report, title, config, masters, golden, limit)
        check_steps(report, title, config, masters, golden, json.loads(metadata["golden"])["hyper_parameters"], limit)


def main():
    here = pathlib.Path(__file__).resolve().parent
    report = Report()
    for directory in [pathlib.Path(name) for name in sys.argv[1:]] or sorted(here.glob("training-*")):
        check_directory(report, directory)
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
