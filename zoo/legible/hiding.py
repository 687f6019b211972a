"""A target's weights in a random basis, so that neither zeros nor the order of parts says how it was made.

What is unused is filled first: neurons or heads that read alike and whose writes cancel change nothing. Then the
residual stream is turned as far as the norm allows it, each head's queries and values are turned within the head, and
heads and neurons are put in random order, and a vector moves from positions to tokens.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tracr_tasks.transformer import TargetConfig, Weights
from zoo.legible.initial import standard_deviation

STREAM = 11
"""Of a target's seed that its basis comes from."""
WRITES = ("W_E", "W_pos", "W_O", "b_O", "W_out", "b_out")
"""Tensors whose last axis is the residual stream."""
READS = ("W_Q", "W_K", "W_V", "W_in", "W_U")
"""Tensors whose last axis but one is the residual stream."""


def hidden(
    config: TargetConfig, weights: Weights, seed: int
) -> tuple[dict[str, Tensor], Float[Tensor, "d_model d_model"]]:
    """The same function by other weights, from a seed, and the turn M: what was written as x is written as x M.

    Under a norm without gain M is orthogonal, under LayerNorm it also keeps the direction of ones, and beside a gain it
    is a permutation.

    Args:
        config: of a target of one kind of layer, without extensions other than `normalize_states`.
        weights: its tensors, float32; what is given back is computed in float64 and rounded.
    """
    rng = np.random.Generator(np.random.PCG64([seed, STREAM]))
    out = {name: tensor.detach().double().clone() for name, tensor in weights.items()}
    for layer in range(config.n_layers):
        _fill_heads(config, out, f"blocks.{layer}.attn.", rng)
        _fill_neurons(config, out, f"blocks.{layer}.mlp.", rng)
        _turn_heads(config, out, f"blocks.{layer}.attn.", rng)
        _permute(config, out, layer, rng)
    _move_embedding(config, out, rng)
    turn = _turn(config, rng)
    for name, tensor in out.items():
        last = name.rsplit(".", 1)[1]
        if last in WRITES or last in ("w", "b"):  # a norm's gain and shift, where the turn is a permutation
            out[name] = tensor @ turn
        elif last in READS:
            out[name] = turn.T @ tensor
    return {name: tensor.float() for name, tensor in out.items()}, turn.float()


def _move_embedding(config: TargetConfig, out: dict[str, Tensor], rng: np.random.Generator) -> None:
    """W_E + c and W_pos - c: a program that takes no notice of positions is compiled with a W_pos of zeros."""
    move = _normal(rng, config, "W_pos", config.d_model)
    used = [i for i in range(config.d_vocab) if i != config.pad_token]
    out["embed.W_E"][used] += move
    out["pos_embed.W_pos"] -= move


def _turn(config: TargetConfig, rng: np.random.Generator) -> Float[Tensor, "d_model d_model"]:
    d = config.d_model
    if config.normalization_type in ("LN", "RMS"):
        return torch.eye(d, dtype=torch.float64)[torch.from_numpy(rng.permutation(d))]
    if config.normalization_type is None or config.normalization_type == "RMSPre":
        return _orthogonal(d, rng)
    frame = np.concatenate([np.ones((d, 1)), rng.standard_normal((d, d - 1))], 1)
    basis = torch.from_numpy(np.linalg.qr(frame)[0])
    inner = torch.eye(d, dtype=torch.float64)
    inner[1:, 1:] = _orthogonal(d - 1, rng)
    return basis @ inner @ basis.T


def _orthogonal(size: int, rng: np.random.Generator) -> Float[Tensor, "size size"]:
    """Evenly over all frames (Mezzadri 2007)."""
    q, r = np.linalg.qr(rng.standard_normal((size, size)))
    return torch.from_numpy(q * np.sign(np.diag(r)))


def _normal(rng: np.random.Generator, config: TargetConfig, name: str, *shape: int) -> Float[Tensor, "..."]:
    return torch.from_numpy(rng.standard_normal(shape)) * standard_deviation(config, name)


def _groups(unused: list[int]) -> list[list[int]]:
    """Pairs, the last a triple where the number is odd; none of a single one."""
    pairs = [unused[i : i + 2] for i in range(0, len(unused) - 1, 2)]
    if len(unused) % 2 and pairs:
        pairs[-1].append(unused[-1])
    return pairs


def _fill_neurons(config: TargetConfig, out: dict[str, Tensor], at: str, rng: np.random.Generator) -> None:
    """Unused neurons in groups that read alike and whose writes cancel; a single one shares another's work."""
    w_in, b_in, w_out = out[at + "W_in"], out[at + "b_in"], out[at + "W_out"]
    unused = torch.nonzero((w_in == 0).all(0) & (b_in == 0) & (w_out == 0).all(1))[:, 0].tolist()
    used = [i for i in range(len(w_out)) if i not in set(unused)]
    for group in _groups(unused):
        w_in[:, group] = _normal(rng, config, "W_in", config.d_model, 1)
        w_out[group[1:]] = _normal(rng, config, "W_out", len(group) - 1, config.d_model)
        w_out[group[0]] = -w_out[group[1:]].sum(0)
    if len(unused) == 1 and used:
        one, other, share = unused[0], used[int(rng.integers(len(used)))], rng.uniform(0.2, 0.8)
        w_in[:, one], b_in[one] = w_in[:, other], b_in[other]
        w_out[one], w_out[other] = share * w_out[other], (1 - share) * w_out[other]
    if config.act_fn == "relu":
        scale = torch.from_numpy(np.exp(0.3 * rng.standard_normal(len(w_out))))
        out[at + "W_in"], out[at + "b_in"], out[at + "W_out"] = w_in * scale, b_in * scale, w_out / scale[:, None]


def _fill_heads(config: TargetConfig, out: dict[str, Tensor], at: str, rng: np.random.Generator) -> None:
    """Unused heads likewise."""
    matrices, written = [out[f"{at}W_{side}"] for side in "QKVO"], out[f"{at}W_O"]
    unused = [i for i in range(config.n_heads) if not any(matrix[i].any() for matrix in matrices)]
    used = [i for i in range(config.n_heads) if i not in unused]
    for group in _groups(unused):
        for side in "QKV":
            out[f"{at}W_{side}"][group] = _normal(rng, config, f"W_{side}", 1, config.d_model, config.d_head)
        written[group[1:]] = _normal(rng, config, "W_O", len(group) - 1, config.d_head, config.d_model)
        written[group[0]] = -written[group[1:]].sum(0)
    if len(unused) == 1 and used:
        one, other, share = unused[0], used[int(rng.integers(len(used)))], rng.uniform(0.2, 0.8)
        for name in ("W_Q", "W_K", "W_V", "b_Q", "b_K", "b_V"):
            out[f"{at}{name}"][one] = out[f"{at}{name}"][other]
        written[one], written[other] = share * written[other], (1 - share) * written[other]


def _turn_heads(config: TargetConfig, out: dict[str, Tensor], at: str, rng: np.random.Generator) -> None:
    """Queries with keys, and values with what is written of them, turned within each head."""
    for head in range(config.n_heads):
        scores, values = _orthogonal(config.d_head, rng), _orthogonal(config.d_head, rng)
        for side, by in (("Q", scores), ("K", scores), ("V", values)):
            out[f"{at}W_{side}"][head] = out[f"{at}W_{side}"][head] @ by
            out[f"{at}b_{side}"][head] = out[f"{at}b_{side}"][head] @ by
        out[f"{at}W_O"][head] = values.T @ out[f"{at}W_O"][head]


def _permute(config: TargetConfig, out: dict[str, Tensor], layer: int, rng: np.random.Generator) -> None:
    heads = torch.from_numpy(rng.permutation(config.n_heads))
    for name in ("W_Q", "W_K", "W_V", "W_O", "b_Q", "b_K", "b_V"):
        out[f"blocks.{layer}.attn.{name}"] = out[f"blocks.{layer}.attn.{name}"][heads]
    neurons, at = torch.from_numpy(rng.permutation(config.d_mlp)), f"blocks.{layer}.mlp."
    out[at + "W_in"], out[at + "b_in"] = out[at + "W_in"][:, neurons], out[at + "b_in"][neurons]
    out[at + "W_out"] = out[at + "W_out"][neurons]
