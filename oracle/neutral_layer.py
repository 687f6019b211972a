"""One block of a target after folding (neutral.py says what is folded)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from oracle.rotary import pair_order, turned_entries
from tracr_tasks.transformer import TargetConfig, Weights

NORM_KINDS: dict[str | None, int] = {None: 0, "LN": 1, "LNPre": 1, "RMS": 2, "RMSPre": 2}


@dataclass(frozen=True)
class NeutralLayer:
    """One block after folding; biases are what the block adds when it reads zero."""

    W_Q: Float[Tensor, "n_heads d_model d_head"]
    b_Q: Float[Tensor, "n_heads d_head"]
    W_K: Float[Tensor, "n_heads d_model d_head"]
    b_K: Float[Tensor, "n_heads d_head"]
    """Zero where it is a gauge: everywhere but under rotary positions (turned entries) or norms of queries and keys."""
    W_norm: Float[Tensor, "2 n_normed d_model d_head"]
    """Of queries and of keys with norms: what the norm takes the mean square of, over sqrt(d_head); else no heads."""
    b_norm: Float[Tensor, "2 n_normed d_head"]
    W_V: Float[Tensor, "n_heads d_model d_head"]
    W_O: Float[Tensor, "n_heads d_head d_model"]
    b_O: Float[Tensor, " d_model"]
    W_gate: Float[Tensor, "d_model d_gate"]
    """What the activation is taken of, d_gate = d_mlp, where neurons are gated; else d_gate = 0."""
    b_gate: Float[Tensor, " d_gate"]
    W_in: Float[Tensor, "d_model d_mlp"]
    b_in: Float[Tensor, " d_mlp"]
    W_out: Float[Tensor, "d_mlp d_model"]
    b_out: Float[Tensor, " d_model"]


OF_HEADS = {"W_Q": 0, "b_Q": 0, "W_K": 0, "b_K": 0, "W_norm": 1, "b_norm": 1, "W_V": 0, "W_O": 0}
"""Tensors of a layer with an axis for its heads, and this axis."""
OF_NEURONS = {"W_gate": 1, "b_gate": 0, "W_in": 1, "b_in": 0, "W_out": 0}
"""Those with an axis for its neurons."""


def arranged(layer: NeutralLayer, heads: Int[Tensor, " head"], neurons: Int[Tensor, " neuron"]) -> NeutralLayer:
    """A layer with these of its heads and neurons, in this order. An axis of none stays so."""
    found = dict[str, Tensor]()
    for axes, order in ((OF_HEADS, heads), (OF_NEURONS, neurons)):
        own = {name: (getattr(layer, name), axis) for name, axis in axes.items()}
        found |= {name: x.index_select(axis, order) for name, (x, axis) in own.items() if x.shape[axis]}
    return replace(layer, **found)


def shift_of(weights: Weights, name: str, like: Float[Tensor, " d_model"]) -> Float[Tensor, " d_model"]:
    """The shift of the norm called `name`, zero where it has none."""
    return weights.get(f"{name}.b", torch.zeros_like(like))


def gain_of(weights: Weights, name: str, like: Float[Tensor, " d_model"]) -> Float[Tensor, " d_model"]:
    """The gain of the norm called `name`, one where it has none."""
    return weights.get(f"{name}.w", torch.ones_like(like))


def centre(x: Float[Tensor, "... d_model"], on: bool) -> Float[Tensor, "... d_model"]:
    """x without its mean over d_model, if `on`: LayerNorm sees nothing of the ones direction.

    What is left of a row along that direction is rounding; it becomes exactly zero, as if it had been written as zero.
    """
    if not on:
        return x
    out = x - x.mean(-1, keepdim=True)
    rounding = 16 * torch.finfo(x.dtype).eps * x.abs().amax(-1, keepdim=True)
    return torch.where(out.abs().amax(-1, keepdim=True) <= rounding, torch.zeros_like(out), out)


def sees_ones(config: TargetConfig) -> bool:
    """Whether what is written along the ones direction counts: not under LayerNorm, unless states are normalised."""
    return NORM_KINDS[config.normalization_type] != 1 or config.normalize_states


def fold_layer(config: TargetConfig, weights: Weights, layer: int) -> NeutralLayer:
    """One block with its norms and value bias folded in; biases that it has not are zero, shared heads are copied.

    How a tensor lies in memory decides how its sums are rounded, so each is laid out in the order of its axes first.
    """
    is_ln = NORM_KINDS[config.normalization_type] == 1
    at = f"blocks.{layer}."
    block = {name.removeprefix(at): tensor.contiguous() for name, tensor in weights.items() if name.startswith(at)}
    return NeutralLayer(**_fold_heads(config, block, is_ln), **_fold_neurons(config, block, is_ln))


def _fold_read(
    W: Float[Tensor, "*heads d_model n"],
    b: Float[Tensor, "*heads n"] | None,
    block: Weights,
    norm: str,
    is_ln: bool,
) -> tuple[Float[Tensor, "*heads d_model n"], Float[Tensor, "*heads n"]]:
    """A matrix that reads behind the norm called `norm` and its bias, with the gain and the shift in them."""
    gain, shift = (f(block, norm, W.new_zeros(W.shape[-2])) for f in (gain_of, shift_of))
    b = torch.zeros_like(W[..., 0, :]) if b is None else b
    return centre((gain[:, None] * W).transpose(-1, -2), is_ln).transpose(-1, -2), b + shift @ W


def _fold_heads(config: TargetConfig, block: Weights, is_ln: bool) -> dict[str, Tensor]:
    """The tensors of the heads of a block, whose names begin with attn. or ln1."""
    W_O = block["attn.W_O"]
    n_heads, k, d_model = W_O.shape
    W, b = {}, {}
    for side in "QKV":
        shared, bias = block[f"attn.W_{side}"], block.get(f"attn.b_{side}")
        copies = n_heads // max(1, len(shared))
        W[side], b[side] = _fold_read(shared, bias, block, "ln1", is_ln)
        if copies > 1:
            W[side], b[side] = (x.repeat_interleave(copies, 0) for x in (W[side], b[side]))
    b_O = block.get("attn.b_O", W_O.new_zeros(d_model)) + torch.einsum("hk,hkd->d", b["V"], W_O)
    turned = turned_entries(config)
    order = pair_order(config) if turned else slice(None)
    W_norm, b_norm = W_O.new_zeros(2, 0, d_model, k), W_O.new_zeros(2, 0, k)
    if config.use_qk_norm:
        W_norm, b_norm = (torch.stack([x["Q"], x["K"]])[..., order] / math.sqrt(max(1, k)) for x in (W, b))
    for side in "QK":
        gain = block.get(f"attn.{side.lower()}_norm.w", W_O.new_ones(k)) if config.use_qk_norm else 1
        W[side], b[side] = (W[side] * gain)[..., order], (b[side] * gain)[..., order]
    scale = 1 / (math.sqrt(max(1, k)) if config.attn_scale is None else config.attn_scale)
    seen = k if config.use_qk_norm else turned
    return {
        "W_Q": W["Q"] * scale,
        "b_Q": b["Q"] * scale,
        "W_K": W["K"],
        "b_K": torch.cat([b["K"][:, :seen], torch.zeros_like(b["K"][:, seen:])], 1),
        "W_norm": W_norm,
        "b_norm": b_norm,
        "W_V": W["V"],
        "W_O": centre(W_O, not sees_ones(config)),
        "b_O": centre(b_O, not sees_ones(config)),
    }


def _fold_neurons(config: TargetConfig, block: Weights, is_ln: bool) -> dict[str, Tensor]:
    """The tensors of the neurons of a block, whose names begin with mlp. or ln2."""
    W_in, W_out = block["mlp.W_in"], block["mlp.W_out"]
    W_gate, b_gate = block.get("mlp.W_gate", W_in[:, :0]), block.get("mlp.b_gate")
    reads = {"gate": (W_gate, b_gate), "in": (W_in, block.get("mlp.b_in"))}
    folded = {side: _fold_read(W, b, block, "ln2", is_ln) for side, (W, b) in reads.items()}
    return {
        "W_gate": folded["gate"][0],
        "b_gate": folded["gate"][1],
        "W_in": folded["in"][0],
        "b_in": folded["in"][1],
        "W_out": centre(W_out, not sees_ones(config)),
        "b_out": centre(block.get("mlp.b_out", W_out.new_zeros(W_out.shape[1])), not sees_ones(config)),
    }
