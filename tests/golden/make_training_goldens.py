#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Make two small BitNet directories and what PyTorch trains on them: gradients of one batch, ten AdamW steps, a warm-up gradient.

The graph is transformers' BitNetForCausalLM with the substitutions of bitnet_contract.py, in training: the optimiser holds masters in
the run's dtype, the modules hold what the forward reads of them (docs/forward.md, `What is read`), and every rounding is the identity
in backward. Each figure is made in float64 and in float32; their difference is the yardstick. Layout: README.md beside this file.

Usage: make_training_goldens.py [--output DIRECTORY] [--only NAME]     (versions: requirements.txt)
"""

import argparse
import copy
import dataclasses
import json
import pathlib

import numpy
import torch
import transformers

import bitnet_contract as contract
import make_bitnet_goldens as goldens

BATCH = 2
FINAL_ROWS = 16  # rows of every master that are stored after the last step
STEPS, STEP_TOKENS = 10, 32
ATTEMPTS = 40  # batches tried for a step before the one before it is taken back
HYPER_PARAMETERS = {"lr": 1e-4, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.1}

# Ten steps stay one and the same function in float64 and float32 only where no master comes so near a rounding tie that float32's
# noise decides: what is read must not change when every master moves by MASTER_MARGIN of itself and STEP_MARGIN of the learning rate
# (either way), and no weight may be nearer than WEIGHT_CODE_MARGIN to a tie of its code.
MASTER_MARGIN, STEP_MARGIN, WEIGHT_CODE_MARGIN = 2.0**-20, 1e-4, 1e-5

# Standard deviations of the latents. Small enough for some hundred codes to change at each step.
LATENT_STD = {"q": 0.1, "k": 0.12, "v": 0.03, "o": 0.04, "gate": 0.05, "up": 0.02, "down": 0.03}


@dataclasses.dataclass(frozen=True)
class Training:
    """One directory."""

    network: goldens.Golden
    tokens: int  # T of the batch whose gradient is stored
    clip: float  # global norm to which the steps clip
    ternary_share: float | None = None  # lambda of the warm-up golden


TRAININGS = (
    Training(goldens.Golden("training-h64-gqa", "online", 2, 1, "training-a", ffn=256, hidden=128, vocabulary=256), tokens=32, clip=1.0),
    Training(
        goldens.Golden(
            "training-h32-gqa-silu", "online", 4, 2, "training-b", ffn=384, layers=1, hidden=128, vocabulary=256, tied=False, act="silu"
        ),
        tokens=72,  # two key blocks
        clip=3.12,  # below some of its steps' norms and above others
        ternary_share=0.5,
    ),
)


# ---- directories ---------------------------------------------------------------------------------------------------------------


def parameter_shapes(directory, tied):
    """Hugging Face name -> shape, as transformers builds the directory's config."""
    config = transformers.AutoConfig.from_pretrained(directory)
    with torch.device("meta"):
        model = transformers.BitNetForCausalLM(config)
    return {name: tuple(p.shape) for name, p in model.named_parameters() if not (tied and name == "lm_head.weight")}


def latent(weights, name, shape):
    """One tensor of random bf16 values.

    The steps move a value by up to ten learning rates. One value in 32 of the embedding is small enough to be read otherwise by then, and
    so are the gains below 0.2; the rest stays half a bf16 step away from that, or no batch would keep every value off its ties.
    """
    generator = goldens.random_generator(weights, name)
    if len(shape) == 1:
        low, high = (0.02, 0.1) if name == "model.norm.weight" else (0.05, 1.5)
        values = generator.uniform(low, high, shape)
    elif "_proj." in name:
        values = LATENT_STD[name.split("_proj.")[0].rsplit(".", 1)[1]] * generator.standard_normal(shape)
    else:
        values = generator.uniform(0.5, 0.99, shape) * generator.choice((-1, 1), shape)
        values = numpy.where(generator.uniform(size=shape) < 1 / 32, 0.05 * generator.standard_normal(shape), values)
    return torch.from_numpy(values).to(torch.float16).to(torch.bfloat16)


def write_directory(network, directory):
    """Write config.json and model.safetensors."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(goldens.config_json(network))
    shapes = parameter_shapes(directory, network.tied)
    state = {name: latent(network.weights, name, shape) for name, shape in shapes.items()}
    goldens.save(state, directory / "model.safetensors", {"format": "pt"})


# ---- one run -------------------------------------------------------------------------------------------------------------------


def tensor_name(parameter):
    """GGUF's name without `.weight`: model.layers.0.self_attn.q_proj.weight -> blk.0.attn_q."""
    module = parameter.removesuffix(".weight")
    return {"model.embed_tokens": "token_embd", "lm_head": "output"}.get(module) or goldens.gguf_name(module)


def value_read(name, master):
    """What the forward reads of a master, in its dtype. (From float64, torch rounds by way of float32; `instability` sees to it that no
    value in use is so near a tie that this matters.)"""
    value = master.detach().to(torch.bfloat16).to(master.dtype)
    return contract.float16_values(value, name) if name in ("token_embd", "output") else value


def is_bit_linear(name, master):
    """Whether the tensor of this name is a BitLinear's weight."""
    return master.dim() == 2 and name not in ("token_embd", "output")


class Trainer:
    """A run in one dtype: the model, whose parameters hold what is read, the masters by GGUF's names, and their optimiser."""

    def __init__(self, directory, dtype):
        self.model = contract.load(directory, dtype)
        self.parameters = {tensor_name(name): p for name, p in self.model.named_parameters()}
        stored = {tensor_name(name): p for name, p in contract.from_pretrained(directory).named_parameters()}
        self.masters = {name: torch.nn.Parameter(p.detach().to(dtype)) for name, p in stored.items()}
        decay = HYPER_PARAMETERS["weight_decay"]
        groups = [
            {"params": [m for m in self.masters.values() if m.dim() >= 2], "weight_decay": decay},
            {"params": [m for m in self.masters.values() if m.dim() < 2], "weight_decay": 0.0},
        ]
        others = {key: HYPER_PARAMETERS[key] for key in ("lr", "betas", "eps")}
        self.optimiser = torch.optim.AdamW(groups, foreach=False, **others)
        self.read()

    @torch.no_grad()
    def read(self):
        """Put what is read of the masters into the model."""
        for name, parameter in self.parameters.items():
            parameter.copy_(value_read(name, self.masters[name]))

    def gradients(self, ids):
        """NLL [B, T-1] in float64 of ids [B, T]; gradients of its mean, taken in the run's dtype, are then in the masters."""
        self.model.zero_grad()
        logits, targets = self.model(input_ids=ids, use_cache=False).logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()
        torch.nn.functional.cross_entropy(logits, targets).backward()
        for name, parameter in self.parameters.items():
            self.masters[name].grad = parameter.grad.clone()
        return contract.negative_log_likelihood(logits.detach(), targets).reshape(len(ids), -1)

    def step(self, ids, clip):
        """One step on ids: the NLL before it and the global norm of the gradient before clipping."""
        nll = self.gradients(ids)
        norm = torch.nn.utils.clip_grad_norm_(self.masters.values(), clip, foreach=False)
        self.optimiser.step()
        self.read()
        return nll, norm

    def state(self):
        """All that a step changes, to come back to."""
        return copy.deepcopy(({name: m.detach() for name, m in self.masters.items()}, self.optimiser.state_dict()))

    @torch.no_grad()
    def restore(self, state):
        masters, optimiser = copy.deepcopy(state)
        for name, master in self.masters.items():
            master.copy_(masters[name])
        self.optimiser.load_state_dict(optimiser)
        self.read()


# ---- the same function in both dtypes ------------------------------------------------------------------------------------------


def quantity_used(name, master):
    """What the forward uses of a tensor, exactly: the values read, or codes and scale of a BitLinear."""
    value = value_read(name, master)
    return contract.weight_codes(value) if is_bit_linear(name, master) else (value.float(),)


def agree(one, other):
    """Whether two quantities of `quantity_used` are the same."""
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def instability(run64, run32):
    """The name of a tensor of which float32 noise could change what the forward uses, or None."""
    for name, master in run64.masters.items():
        used = quantity_used(name, master)
        nudge = MASTER_MARGIN * master.detach().abs() + STEP_MARGIN * HYPER_PARAMETERS["lr"]
        variants = (run32.masters[name], master.detach() + nudge, master.detach() - nudge)
        if not all(agree(used, quantity_used(name, variant)) for variant in variants):
            return name
        if is_bit_linear(name, master):
            value = value_read(name, master).abs()
            if ((value / value.mean() - 0.5).abs() < WEIGHT_CODE_MARGIN).any():
                return name
    return None


def draw_batch(generator, tokens, run64, run32):
    """Ids [BATCH, tokens] at which both runs take the same roundings of activations, K and V."""
    with torch.inference_mode():
        rows = [goldens.draw_sequence(generator, tokens, run64.model, run32.model) for _ in range(BATCH)]
    return torch.stack(rows)


def tie_distances(run64, ids):
    """Least distance [B, T] of an activation code, and of K and V, from a rounding tie (units: goldens.tie_distances)."""
    with torch.inference_mode(), goldens.Recorder(run64.model) as recorder:
        run64.model(input_ids=ids, use_cache=False)
    return goldens.tie_distances(recorder)


# ---- goldens -------------------------------------------------------------------------------------------------------------------


def gradient_tensors(network, tokens, run64, run32, *words):
    """Loss and gradients of one batch."""
    ids = draw_batch(goldens.random_generator(network.weights, "gradient", *words), tokens, run64, run32)
    code, kv = tie_distances(run64, ids)
    nll64, nll32 = run64.gradients(ids), run32.gradients(ids)
    out = {
        "ids": ids.to(torch.int32), "code_tie_distance": code, "kv_tie_distance": kv,
        "nll_float64": nll64, "nll_rms_difference": goldens.root_mean_square(nll32 - nll64),
        "loss_float64": nll64.mean().reshape(1), "loss_float32": nll32.mean().reshape(1),
    }  # fmt: skip
    for name, master in run64.masters.items():
        out[f"grad.{name}"] = master.grad.to(torch.float32)
        out[f"spread.{name}"] = goldens.root_mean_square(run32.masters[name].grad.double() - master.grad)
    return out


def restore(runs, states):
    """Take both runs back to their states."""
    for run, state in zip(runs, states, strict=True):
        run.restore(state)


def find_step(generator, clip, runs):
    """Take one step of both runs, on a batch after which float64 and float32 read the same network.

    Returns its row of figures, or None, with both runs as before, where ATTEMPTS batches were not enough. (What the steps before it did
    to an embedding row that no batch holds is not to be changed by another batch.)
    """
    run64, run32 = runs
    before = [run.state() for run in runs]
    for _ in range(ATTEMPTS):
        ids = draw_batch(generator, STEP_TOKENS, *runs)
        code, kv = (distance.min() for distance in tie_distances(run64, ids))
        (nll64, norm), (nll32, _) = (run.step(ids, clip) for run in runs)
        if instability(*runs) is None:
            return ids, code, kv, nll64, nll64.mean(), nll32.mean(), goldens.root_mean_square(nll32 - nll64)[0], norm
        restore(runs, before)
    return None


def describe_step(number, row, used, masters):
    """Print a step: `used` is what the forward used of each tensor before it."""
    changed = {linear: 0 for linear in (True, False)}
    for name, master in masters.items():
        changed[is_bit_linear(name, master)] += (used[name] != quantity_used(name, master)[0]).sum().item()
    loss64, loss32, nll, norm = (x.item() for x in row[-4:])
    print(f"  step {number}: loss {loss64:.6f} difference {loss32 - loss64:.1e} nll rms {nll:.1e} norm {norm:.3f} "
          f"codes changed {changed[True]} other values {changed[False]}", flush=True)  # fmt: skip


def step_tensors(network, clip, run64, run32):
    """Ten steps in both dtypes, and the masters after them."""
    generator, runs = goldens.random_generator(network.weights, "steps"), (run64, run32)
    rows, states = [], []
    while len(rows) < STEPS:
        used = {name: quantity_used(name, master)[0] for name, master in run64.masters.items()}
        states.append([run.state() for run in runs])
        row = find_step(generator, clip, runs)
        if row is not None:
            describe_step(len(rows), row, used, run64.masters)
            rows.append(row)
        elif rows:
            rows.pop()
            del states[-1]
            restore(runs, states.pop())
            print(f"  step {len(rows)} is taken back", flush=True)
        else:
            raise RuntimeError(f"{network.name}: no first step")
    names = ("ids", "code_tie_distance", "kv_tie_distance", "nll_float64", "loss_float64", "loss_float32", "nll_rms_difference",
             "gradient_norm")  # fmt: skip
    out = {f"steps.{name}": torch.stack(column) for name, column in zip(names, zip(*rows), strict=True)}
    out["steps.ids"] = out["steps.ids"].to(torch.int32)
    for name, master in run64.masters.items():
        last = master.detach()[:FINAL_ROWS] if master.dim() == 2 else master.detach()
        out[f"steps.master.{name}"] = last
        out[f"steps.master_difference.{name}"] = (run32.masters[name].detach() - master.detach()).abs().mean().reshape(1)
    return out


def metadata(network, **more):
    """The JSON text below `golden` in a file's metadata."""
    margins = {
        "code": goldens.CODE_MARGIN, "kv": goldens.KV_MARGIN, "master": MASTER_MARGIN, "step": STEP_MARGIN,
        "weight_code": WEIGHT_CODE_MARGIN,
    }  # fmt: skip
    return {"golden": json.dumps({
        "generator": pathlib.Path(__file__).name, "name": network.name, "seed": goldens.SEED, "versions": goldens.versions(),
        "margins": margins, **more,
    })}  # fmt: skip


def report(title, tensors):
    """One line: the loss, its difference, and the range of spread / rms gradient over the tensors."""
    relative = [
        (tensors[f"spread.{name[5:]}"] / goldens.root_mean_square(x)).item() for name, x in tensors.items() if name.startswith("grad.")
    ]
    loss = tensors["loss_float64"].item()
    print(f"{title}: loss {loss:.6f} difference {tensors['loss_float32'].item() - loss:.1e} nll rms "
          f"{tensors['nll_rms_difference'].item():.1e} spread/rms of gradients {min(relative):.1e}-{max(relative):.1e}", flush=True)  # fmt: skip


def make_training(training, directory):
    """Write training.safetensors and, where asked for, training-warm-up.safetensors."""
    network = training.network
    run64, run32 = Trainer(directory, torch.float64), Trainer(directory, torch.float32)
    assert instability(run64, run32) is None, "other latents are needed"
    if training.ternary_share is not None:
        with contract.warm_up(training.ternary_share):
            tensors = gradient_tensors(network, training.tokens, run64, run32, "warm-up")
        report(f"{network.name} warm-up", tensors)
        tensors["ternary_share"] = torch.tensor([training.ternary_share], dtype=torch.float64)
        goldens.save(tensors, directory / "training-warm-up.safetensors", metadata(network))
    tensors = gradient_tensors(network, training.tokens, run64, run32)
    report(network.name, tensors)
    tensors |= step_tensors(network, training.clip, run64, run32)
    hyper_parameters = {**HYPER_PARAMETERS, "clip": training.clip}
    goldens.save(tensors, directory / "training.safetensors", metadata(network, hyper_parameters=hyper_parameters))


def main():
    here = pathlib.Path(__file__).resolve().parent
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--output", type=pathlib.Path, default=here, help="folder of the directories (default: this one)")
    p.add_argument("--only", help="make this directory alone")
    a = p.parse_args()
    contract.configure_torch()
    contract.install()
    for training in TRAININGS:
        if a.only in (None, training.network.name):
            write_directory(training.network, a.output / training.network.name)
            make_training(training, a.output / training.network.name)


if __name__ == "__main__":
    main()
