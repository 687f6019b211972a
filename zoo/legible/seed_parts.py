"""The weights of a seeded network while it is made: the program's entries, the fresh ones, and the zeros between."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tracr_tasks.transformer import TargetConfig, Weights
from zoo.legible.rebalance import READERS, WRITERS
from zoo.padding import layer_sizes

TURN, SHUFFLE = 2, 3
"""Streams of a network's seed, beside 0 for its initial weights and 1 for its data."""
NORMS = (".w", ".b")
"""End the names of a norm's gain and shift, which lie along the residual stream."""


class Parts:
    """Weights (float64) and, entry by entry, what came from the program and what is held for its sake."""

    def __init__(self, params: dict[str, Tensor]):
        self.params = params
        self.seeded = {name: torch.zeros(tensor.shape, dtype=torch.bool) for name, tensor in params.items()}
        self.guarded = {name: torch.zeros(tensor.shape, dtype=torch.bool) for name, tensor in params.items()}

    def put(self, name: str, tensor: Float[Tensor, "..."]) -> None:
        """Set a tensor's first entries along every axis to the program's."""
        at = tuple(slice(size) for size in tensor.shape)
        self.params[name][at] = tensor
        self.seeded[name][at] = True
        self.guarded[name][at] = False

    def hold(self, name: str, at: tuple[Any, ...], value: float = 0.0) -> None:
        """Set entries to a constant that must stay."""
        self.params[name][at] = value
        self.guarded[name][at] = True

    def turn_by(self, by: Float[Tensor, "d_model d_model"]) -> None:
        """Turn the residual stream: x becomes x `by`. An entry that holds some of a seeded one counts as seeded; one
        beside it as guarded, where the whole of its line through the stream is."""
        moved = (by - torch.eye(len(by), dtype=by.dtype)).abs().sum(0) > 0
        for name, tensor in self.params.items():
            axis = stream_axis(name)
            if axis is None or name.endswith(".w"):  # a gain is the same wherever the turn moves anything
                continue
            wide = tensor.movedim(axis, -1)
            self.params[name] = (wide @ by).movedim(-1, axis).contiguous()
            seeded, guarded = (masks[name].movedim(axis, -1) for masks in (self.seeded, self.guarded))
            whole = (seeded | guarded)[..., moved].all(-1, keepdim=True)
            some = seeded[..., moved].any(-1, keepdim=True)
            seeded[..., moved], guarded[..., moved] = some, whole & ~some


def stream_axis(name: str) -> int | None:
    """Which axis of a tensor is the residual stream; None: none."""
    last = name.rsplit(".", 1)[1]
    if last in WRITERS or name.endswith(NORMS):
        return -1
    return -2 if last in READERS else None


def put_program(parts: Parts, config: TargetConfig, plain: TargetConfig, weights: Weights) -> None:
    """Put a program's embedding and layers in; after its last layer everything stays fresh.

    Args:
        parts: of the network, fresh.
        config: of the network.
        plain: of the program, without norm; its layers may differ in size.
        weights: of the program.
    """
    for name in ("embed.W_E", "pos_embed.W_pos"):
        parts.put(name, weights[name])
    for layer, (heads, width, neurons) in enumerate(layer_sizes(plain, weights)):
        _put_heads(parts, config, plain.d_model, f"blocks.{layer}.attn.", weights, (heads, width))
        _put_neurons(parts, plain.d_model, f"blocks.{layer}.mlp.", weights, neurons)


def _put_heads(parts: Parts, config: TargetConfig, d: int, at: str, weights: Weights, sizes: tuple[int, int]) -> None:
    """Scores are divided by sqrt(d_head), so queries are scaled for the network's. What a head has beyond the program's
    width has no say in its scores and nothing to write to the program's coordinates."""
    mine, own, rest = slice(sizes[0]), slice(sizes[1]), slice(sizes[1], None)
    scale = math.sqrt(config.d_head / max(1, sizes[1]))
    for side in "QKV":
        by = scale if side == "Q" else 1.0
        parts.hold(f"{at}W_{side}", (mine, slice(d, None), own))
        parts.put(f"{at}W_{side}", weights[f"{at}W_{side}"] * by)
        parts.put(f"{at}b_{side}", weights[f"{at}b_{side}"] * by)
    parts.hold(f"{at}W_Q", (mine, slice(None), rest))
    parts.hold(f"{at}b_Q", (mine, rest))
    parts.hold(f"{at}W_O", (mine, own))
    parts.hold(f"{at}W_O", (slice(None), slice(None), slice(d)))
    parts.put(f"{at}W_O", weights[f"{at}W_O"])
    parts.put(f"{at}b_O", weights[f"{at}b_O"])


def _put_neurons(parts: Parts, d: int, at: str, weights: Weights, neurons: int) -> None:
    parts.hold(f"{at}W_in", (slice(d, None), slice(neurons)))
    parts.hold(f"{at}W_out", (slice(neurons),))
    parts.hold(f"{at}W_out", (slice(None), slice(d)))
    for name in ("W_in", "b_in", "W_out", "b_out"):
        parts.put(at + name, weights[at + name])


def shuffle(parts: Parts, seed: int) -> None:
    """Shuffle the seeded entries of each tensor among themselves."""
    rng = np.random.Generator(np.random.PCG64([seed, SHUFFLE]))
    for name, mask in parts.seeded.items():
        held = parts.params[name][mask]
        parts.params[name][mask] = held[torch.from_numpy(rng.permutation(len(held)))]


def turn(d_model: int, still: Sequence[int], ones: bool, seed: int) -> Float[Tensor, "d_model d_model"]:
    """A random orthogonal matrix, drawn evenly (Mezzadri 2007), float64.

    Args:
        d_model: its size.
        still: coordinates that it leaves alone.
        ones: whether it leaves the direction of ones among the others alone.
        seed: of the network.
    """
    rng = np.random.Generator(np.random.PCG64([seed, TURN]))
    free = [i for i in range(d_model) if i not in still]
    size = len(free) - ones
    q, r = np.linalg.qr(rng.standard_normal((size, size)))
    q = q * np.sign(np.diag(r))
    if ones:
        frame = np.linalg.qr(np.column_stack([np.ones(len(free)), np.eye(len(free))[:, 1:]]))[0]
        q = np.outer(frame[:, 0], frame[:, 0]) + frame[:, 1:] @ q @ frame[:, 1:].T
    out = np.eye(d_model)
    out[np.ix_(free, free)] = q
    return torch.from_numpy(out)
