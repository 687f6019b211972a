"""Initial weights of a stack of networks, by family and scale; each network's come from its own seed alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from tracr_tasks.errors import InputError
from tracr_tasks.transformer import TargetConfig, shapes
from zoo.legible.training_options import Family as Family
from zoo.stack import Params

DEGREES = 3
"""Of freedom of the heavy-tailed family."""


def initial_params(config: TargetConfig, seeds: Sequence[int], scale: float = 1.0, family: Family = "normal") -> Params:
    """Random matrices, biases of zero, gains of one. The PAD row, which no input uses, is zero.

    Raises:
        InputError: a scale that is not positive.
    """
    if not 0 < scale < 1e3:
        raise InputError(f"initial scale {scale}: expected more than 0 and under 1000")
    rngs = [np.random.Generator(np.random.PCG64([seed, 0])) for seed in seeds]
    out: Params = {}
    for name, shape in shapes(config).items():
        last = name.rsplit(".", 1)[1]
        if last.startswith("W_"):
            std = scale * standard_deviation(config, last)
            out[name] = torch.from_numpy(np.stack([std * _draw(rng, shape, family) for rng in rngs]).astype(np.float32))
        else:
            out[name] = torch.full((len(rngs), *shape), float(last == "w"))
    if config.pad_token is not None:
        out["embed.W_E"][:, config.pad_token] = 0
    return out


def standard_deviation(config: TargetConfig, name: str) -> float:
    """Of the entries of a matrix (W_E, W_Q, ...) at scale 1, as for the zoo's trained targets."""
    known = {"W_E": 0.3, "W_pos": 0.3, "W_O": 0.5 / math.sqrt(config.n_heads * config.d_head)}
    known |= {"W_out": 0.5 / math.sqrt(config.d_mlp)}
    return known.get(name, 1 / math.sqrt(config.d_model))


def _draw(rng: np.random.Generator, shape: tuple[int, ...], family: Family) -> np.ndarray:
    """Entries of variance one."""
    if family == "uniform":
        return rng.uniform(-math.sqrt(3), math.sqrt(3), shape)
    if family == "heavy-tailed":
        return rng.standard_t(DEGREES, shape) / math.sqrt(DEGREES / (DEGREES - 2))
    draws = rng.standard_normal(shape)
    if family == "normal":
        return draws
    rows, columns = shape[-2:]
    flat = draws.reshape(-1, rows, columns)
    sides = [np.linalg.qr(each if rows >= columns else each.T) for each in flat]
    turned = [
        q * np.sign(np.diag(r)) for q, r in sides
    ]  # signs of the diagonal: evenly over all frames (Mezzadri 2007)
    frames = np.stack([q if rows >= columns else q.T for q in turned])
    return (frames * math.sqrt(max(rows, columns))).reshape(shape)
