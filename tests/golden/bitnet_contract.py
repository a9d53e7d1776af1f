# SPDX-License-Identifier: MIT
"""The forward contract (docs/forward.md) as substitutions inside transformers' BitNet modules.

`install()` replaces, inside the imported transformers package, exactly what the contract states otherwise; the graph that then
runs is transformers' own (BitNetForCausalLM, AutoBitLinear, eager attention):

  WeightQuant              returns code * bf16(1/inv), codes and inv by the rule `online_absmean`; inside `warm_up(share)`,
                           (1 - share) * W + share * that
  ActQuant                 the same formula without the cast to float32: it follows the run's dtype
  BitNetRMSNorm            the same formula without the cast to float32
  BitNetRotaryEmbedding    cos and sin from angles in float64, rounded to float32
  eager_attention_forward  K (after rope) and V pass through float16, the identity in backward; softmax in the run's dtype
  BitNetDeserialize        not touched: a packed directory is unpacked by transformers, `load` then widens codes and scale

`load()` reads a Hugging Face directory with `from_pretrained` (in bfloat16, which loses nothing of what such a directory holds),
widens it to the run's dtype and rounds the embedding and the head to float16 values.
"""

import contextlib
import json
import math
import pathlib
import struct

import torch
import transformers
from transformers.integrations import bitnet as integration
from transformers.models.bitnet import modeling_bitnet as modeling

EPSILON = 1e-5  # lower bound of mean|W| and of a token's max|x|


# ---- the rules, as plain functions ---------------------------------------------------------------------------------------------


def weight_codes(weight):
    """Codes and scale of a weight of bf16 values under `online_absmean`.

    Returns (codes of weight's shape in float32, scale as a bf16 value in a float32 scalar).
    """
    w = weight.detach().to(torch.float32)
    assert torch.equal(w, w.to(torch.bfloat16).to(torch.float32)), "latents must be bf16 values"
    mean = max(w.to(torch.float64).abs().mean().item(), EPSILON)
    inv = torch.tensor(1.0, dtype=torch.float32) / torch.tensor(mean, dtype=torch.float32)
    codes = (w * inv).round().clamp(-1, 1)
    scale = (1.0 / inv).to(torch.bfloat16).to(torch.float32)
    return codes, scale


def activation_codes(x):
    """Int8 codes and amax of every token, in x's dtype: (codes like x, amax [..., 1])."""
    amax = x.abs().max(dim=-1, keepdim=True).values.clamp(min=EPSILON)
    return (x * (127 / amax)).round().clamp(-128, 127), amax


def rope_table(theta, head_dim, positions):
    """cos and sin [T, head_dim/2] at `positions`: angles and functions in float64, results rounded to float32."""
    frequency = torch.tensor([math.pow(theta, -2.0 * i / head_dim) for i in range(head_dim // 2)], dtype=torch.float64)
    angle = positions.to(torch.float64)[..., None] * frequency
    return angle.cos().to(torch.float32), angle.sin().to(torch.float32)


def pack_codes(codes):
    """uint8 [out/4, in] of codes [out, in]: byte [r, c] holds rows r, r + R, r + 2R, r + 3R (R = out/4), low bits first."""
    rows = codes.shape[0] // 4
    assert codes.shape[0] == 4 * rows
    u = (codes + 1).to(torch.uint8)
    return u[:rows] | u[rows : 2 * rows] << 2 | u[2 * rows : 3 * rows] << 4 | u[3 * rows :] << 6


def float16_values(x, name):
    """x rounded to float16 and widened again; a value beyond its range is an error that names the tensor."""
    if x.abs().max().item() > 65504:
        raise ValueError(f"{name}: a value is beyond the range of float16")
    return x.to(torch.float16).to(x.dtype)


# ---- the substitutions ---------------------------------------------------------------------------------------------------------


_ternary_share = 1.0  # lambda of quantisation warm-up


@contextlib.contextmanager
def warm_up(share):
    """Inside, every online BitLinear computes (1 - share) * dense(W, x^) + share * ternary; both terms see the quantised x^."""
    global _ternary_share
    before, _ternary_share = _ternary_share, share
    try:
        yield
    finally:
        _ternary_share = before


def _weight_quant(ctx, weight):
    codes, scale = weight_codes(weight)
    ternary = (codes * scale).to(weight.dtype)
    return ternary if _ternary_share == 1 else (1 - _ternary_share) * weight + _ternary_share * ternary


def _act_quant(ctx, activation):
    codes, amax = activation_codes(activation)
    return codes / (127 / amax)


def _rms_norm(self, hidden_states):
    variance = hidden_states.pow(2).mean(-1, keepdim=True)
    return self.weight * (hidden_states * torch.rsqrt(variance + self.variance_epsilon))


def _rotary_embedding(self, x, position_ids):
    if self.rope_type != "default":
        raise ValueError(f"rope_type {self.rope_type!r} is not part of the contract")
    head_dim = 2 * self.inv_freq.shape[0]
    cos, sin = rope_table(self.config.rope_parameters["rope_theta"], head_dim, position_ids)
    return torch.cat((cos, cos), dim=-1).to(x.dtype), torch.cat((sin, sin), dim=-1).to(x.dtype)


class _Float16Values(torch.autograd.Function):
    """Values rounded to float16 and widened again; the gradient passes unchanged (a plain cast would round it too)."""

    @staticmethod
    def forward(ctx, x):
        return x.to(torch.float16).to(x.dtype)

    @staticmethod
    def backward(ctx, gradient):
        return gradient.clone()


def _eager_attention(module, query, key, value, attention_mask, scaling, dropout=0.0, **kwargs):
    key = modeling.repeat_kv(_Float16Values.apply(key), module.num_key_value_groups)
    value = modeling.repeat_kv(_Float16Values.apply(value), module.num_key_value_groups)
    weights = torch.matmul(query, key.transpose(2, 3)) * scaling
    if attention_mask is not None:
        weights = weights + attention_mask
    weights = torch.nn.functional.softmax(weights, dim=-1)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), weights


def install():
    """Put the substitutions into the imported transformers package, for this whole process."""
    integration.WeightQuant.forward = staticmethod(_weight_quant)
    integration.ActQuant.forward = staticmethod(_act_quant)
    modeling.BitNetRMSNorm.forward = _rms_norm
    modeling.BitNetRotaryEmbedding.forward = _rotary_embedding
    modeling.eager_attention_forward = _eager_attention


# ---- directories ---------------------------------------------------------------------------------------------------------------


def configure_torch(threads=1):
    """Deterministic eager torch on `threads` threads, without compiled functions (transformers compiles its quantisers)."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    torch.compiler.set_stance("force_eager")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def quantization_mode(directory):
    """`online` or `offline`, as the directory's config.json declares; anything else is an error."""
    config = json.loads((pathlib.Path(directory) / "config.json").read_text())
    declared = config.get("quantization_config") or {}
    if config.get("model_type") != "bitnet" or declared.get("linear_class") != "autobitlinear":
        raise ValueError(f"{directory}: not a BitNet directory of class autobitlinear")
    if declared.get("quantization_mode") not in ("online", "offline"):
        raise ValueError(f"{directory}: quantization_mode is {declared.get('quantization_mode')!r}")
    return declared["quantization_mode"]


def stored_dtypes(directory):
    """Name -> dtype string of every tensor in the directory's safetensors files, from their headers."""
    dtypes = {}
    for path in sorted(pathlib.Path(directory).glob("*.safetensors")):
        if path.name.startswith(("golden", "training")):
            continue
        with open(path, "rb") as file:
            header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        dtypes.update({name: entry["dtype"] for name, entry in header.items() if name != "__metadata__"})
    return dtypes


def from_pretrained(directory):
    """The directory as transformers loads it: bfloat16, eager attention, inference."""
    wrong = {name: dtype for name, dtype in stored_dtypes(directory).items() if dtype not in ("BF16", "U8")}
    if wrong:
        name, dtype = next(iter(wrong.items()))
        raise ValueError(f"{directory}: {name} is {dtype}; this script reads BF16 tensors and packed U8 ones")
    model, info = transformers.BitNetForCausalLM.from_pretrained(
        str(directory), dtype=torch.bfloat16, attn_implementation="eager", output_loading_info=True
    )
    problems = {key: sorted(map(str, value)) for key, value in info.items() if value}
    if problems:
        raise ValueError(f"{directory}: {problems}")
    return model.eval()


def load(directory, dtype):
    """The directory in the run's dtype, under the contract. Call `install` first."""
    assert modeling.eager_attention_forward is _eager_attention, "install() first"
    model = from_pretrained(directory).to(dtype)
    with torch.no_grad():
        for module, name in ((model.model.embed_tokens, "embed_tokens"), (model.lm_head, "lm_head")):
            module.weight.copy_(float16_values(module.weight, name))
    return model


def negative_log_likelihood(logits, targets):
    """-log softmax(logits)[target] in float64, row by row: [N, V], [N] -> [N]."""
    logits = logits.to(torch.float64)
    return torch.logsumexp(logits, dim=-1) - logits.gather(-1, targets[:, None])[:, 0]


def top_and_margin(logits):
    """Lowest id of the largest logit and its distance to the second one, row by row: [N, V] -> [N], [N]."""
    top = logits.argmax(dim=-1)
    best = logits.topk(2, dim=-1).values.to(torch.float64)
    return top, best[:, 0] - best[:, 1]
