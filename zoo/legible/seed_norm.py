"""A seed under a norm: the coordinates and gains that make LayerNorm or RMSNorm start as the identity.

Loud coordinates hold a constant C (under LayerNorm C and -C) so large that what else is in the stream does not change
its spread sigma; the gain is sigma on the other coordinates and zero on the loud ones. LayerNorm also takes the mean
away. Nothing is written to one more coordinate, the ground, and what a seeded reader has there makes the sum of its
weights zero: then the mean does not matter to it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from tracr_tasks.transformer import TargetConfig, Weights
from zoo.legible.network import run
from zoo.legible.seed_parts import Parts, stream_axis
from zoo.padding import layer_sizes, pad_layers

LOUDNESS = 4_096.0
"""C at least. A power of two, so that adding it and taking it away rounds as little as can be."""
PER_STATE = 512.0
"""C is at least so many times the largest norm of a state: what is read is off by norm^2 / (4 C^2), relatively."""
INPUTS = 256
"""Random inputs that the largest state is looked for on."""


@dataclass(frozen=True)
class Room:
    """Coordinates that a norm takes, after those of the program."""

    ground: int | None
    loud: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many they are."""
        return len(self.loud) + (self.ground is not None)


def room_for(norm: str | None, d: int) -> Room:
    """What a norm takes after a program's d coordinates."""
    if norm == "LN":
        return Room(d, (d + 1, d + 2))
    return Room(None, (d,)) if norm == "RMS" else Room(None, ())


def put_norm(parts: Parts, config: TargetConfig, plain: TargetConfig, weights: Weights, room: Room) -> None:
    """Make the norm of a network with a program in it the identity, as far as its readers can tell.

    Args:
        parts: of the network; changed.
        config: of the network.
        plain: of the program.
        weights: of the program.
        room: what the norm takes.
    """
    if not room.loud:
        return
    loudness = max(LOUDNESS, 2.0 ** math.ceil(math.log2(PER_STATE * _largest_state(plain, weights))))
    loud, apart = list(room.loud), [*room.loud] + ([] if room.ground is None else [room.ground])
    for name in parts.params:
        axis, seeded_layer = stream_axis(name), not name.startswith("blocks") or _layer(name) < plain.n_layers
        if name.endswith((".w", ".b")):
            value = math.sqrt(len(loud) * loudness**2 / config.d_model + config.eps) if name.endswith(".w") else 0.0
            parts.hold(name, (slice(None),), value)
            parts.hold(name, (loud,))
            parts.guarded[name][:] = seeded_layer and name.startswith("blocks")
        elif axis == -1:
            parts.hold(name, (..., apart if seeded_layer else loud))
        elif axis == -2:
            parts.params[name][..., loud, :] = 0
    for place, sign in zip(loud, (1, -1), strict=False):
        parts.hold("pos_embed.W_pos", (slice(None), place), sign * loudness)
    if room.ground is not None:
        _earth(parts, plain, weights, room.ground)


def _earth(parts: Parts, plain: TargetConfig, weights: Weights, ground: int) -> None:
    """Make the weights of every seeded reader sum to zero."""
    for layer, (heads, width, neurons) in enumerate(layer_sizes(plain, weights)):
        for name, at in (
            *((f"attn.W_{side}", (slice(heads), slice(None), slice(width))) for side in "QKV"),
            ("mlp.W_in", (slice(None), slice(neurons))),
        ):
            tensor = parts.params[f"blocks.{layer}.{name}"][at]
            tensor[..., ground, :] = -tensor[..., : plain.d_model, :].sum(-2)


def _layer(name: str) -> int:
    return int(name.split(".")[1])


def _largest_state(plain: TargetConfig, weights: Weights) -> float:
    """The largest norm of a program's residual states, over random inputs."""
    config, alike = pad_layers(plain, weights)
    ids = np.random.Generator(np.random.PCG64(0)).integers(2, plain.d_vocab, (1, INPUTS, plain.n_ctx))
    ids[..., 0] = 0
    trace = run(config, {name: tensor[None].double() for name, tensor in alike.items()}, torch.from_numpy(ids))
    return max(float(state.norm(dim=-1).max()) for state in trace.states)
