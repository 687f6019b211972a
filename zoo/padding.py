"""The same function in a larger shape: zero heads, zero neurons and zero residual directions change nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from tracr_tasks.errors import TargetError
from tracr_tasks.transformer import TargetConfig, Weights, shapes


def pad_layers(
    config: TargetConfig, weights: Weights, *, d_model: int = 1, n_heads: int = 1, d_head: int = 1, d_mlp: int = 1
) -> tuple[TargetConfig, dict[str, Tensor]]:
    """Make all layers alike, each size rounded up to a multiple of the number given for it (and at least 1).

    Scores are divided by sqrt(d_head), so a head that grows from k to K gets W_Q and b_Q times sqrt(K / k).

    Raises:
        TargetError: d_model would grow under a norm, whose mean over directions it would change.
    """
    new = replace(
        config,
        d_model=_up(config.d_model, d_model),
        n_heads=_up(config.n_heads, n_heads),
        d_head=_up(config.d_head, d_head),
        d_mlp=_up(config.d_mlp, d_mlp),
    )
    if config.normalization_type is not None and new.d_model != config.d_model:
        raise TargetError(f"d_model {config.d_model} cannot become {new.d_model} under {config.normalization_type}")
    out = {}
    for name, shape in shapes(new).items():
        tensor = weights[name]
        if name.endswith((".W_Q", ".b_Q")):
            tensor = tensor * math.sqrt(new.d_head / max(1, tensor.shape[-1]))
        out[name] = _grown(tensor, shape)
    return new, out


def _up(size: int, multiple: int) -> int:
    return max(1, math.ceil(size / multiple)) * multiple


def _grown(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The tensor in the first corner of a zero tensor of `shape`."""
    if tuple(tensor.shape) == shape:
        return tensor
    out = torch.zeros(shape, dtype=tensor.dtype)
    out[tuple(slice(size) for size in tensor.shape)] = tensor
    return out
