"""The same function in another shape: zero heads and neurons change nothing, so layers can be made alike and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from tracr_tasks.errors import TargetError
from tracr_tasks.transformer import TargetConfig, Weights, shapes

FIXED_HEADS = ("positional_embedding_type", "n_key_value_heads", "attn_scale", "use_qk_norm")
"""Fields of a configuration under which a head is not the same with zeros added."""
LayerSizes = tuple[int, int, int]
"""n_heads, d_head and d_mlp of one layer."""


def layer_sizes(config: TargetConfig, weights: Weights) -> list[LayerSizes]:
    """Sizes of every layer."""
    out = []
    for layer in range(config.n_layers):
        n_heads, _, d_head = weights[f"blocks.{layer}.attn.W_Q"].shape
        out.append((n_heads, d_head, weights[f"blocks.{layer}.mlp.W_in"].shape[1]))
    return out


def ragged_shapes(config: TargetConfig, sizes: Sequence[LayerSizes]) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor of a target whose layers have the sizes given."""
    out = dict(shapes(config))
    d = config.d_model
    for layer, (h, k, m) in enumerate(sizes):
        at = f"blocks.{layer}."
        out |= {at + f"attn.W_{side}": (h, d, k) for side in "QKV"} | {at + f"attn.b_{side}": (h, k) for side in "QKV"}
        out |= {at + "attn.W_O": (h, k, d), at + "mlp.W_in": (d, m), at + "mlp.b_in": (m,), at + "mlp.W_out": (m, d)}
    return out


def pad_layers(
    config: TargetConfig, weights: Weights, *, d_model: int = 1, n_heads: int = 1, d_head: int = 1, d_mlp: int = 1
) -> tuple[TargetConfig, dict[str, Tensor]]:
    """Make all layers alike, each size rounded up to a multiple of the number given for it (and at least 1).

    Scores are divided by sqrt(d_head), so a head that grows from k to K gets W_Q and b_Q times sqrt(K / k).

    Raises:
        TargetError: d_model would grow under a norm, whose mean over directions it would change; or heads would, in a
            model whose heads are grouped, turned by position or normalised, or have a scale of their own.
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
    tied = [name for name in config.extensions() if name in FIXED_HEADS]
    if tied and any(size[:2] != (new.n_heads, new.d_head) for size in layer_sizes(config, weights)):
        raise TargetError(f"heads cannot be made more or wider where {tied[0]} = {getattr(config, tied[0])!r}")
    out = {name: _resized(name, weights[name], shape) for name, shape in shapes(new).items()}
    return new, out


def crop_layers(
    config: TargetConfig, weights: Weights, sizes: Sequence[LayerSizes]
) -> tuple[TargetConfig, dict[str, Tensor]]:
    """Undo `pad_layers` (d_model aside), given the sizes that the layers had; the configuration holds the largest."""
    largest = [max((size[i] for size in sizes), default=0) for i in range(3)]
    new = replace(config, n_heads=largest[0], d_head=largest[1], d_mlp=largest[2])
    return new, {name: _resized(name, weights[name], shape) for name, shape in ragged_shapes(new, sizes).items()}


def _up(size: int, multiple: int) -> int:
    return max(1, math.ceil(size / multiple)) * multiple


def _resized(name: str, tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The tensor cut or filled with zeros to `shape`; queries are scaled for the new width of their head."""
    if tuple(tensor.shape) == shape:
        return tensor
    both = tuple(slice(min(old, new)) for old, new in zip(tensor.shape, shape, strict=True))
    out = torch.zeros(shape, dtype=tensor.dtype)
    out[both] = tensor[both]
    if name.endswith((".W_Q", ".b_Q")) and tensor.shape[-1] and shape[-1]:
        out *= math.sqrt(shape[-1] / tensor.shape[-1])
    return out
