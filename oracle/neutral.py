"""Weights with everything taken out that cannot matter: the first half of the encoder's blindness to gauge.

Folding is exact and uses no learned part (symmetries.md gives the gauges by name):

    L1  norm gains and shifts go into the reads behind them
    L2  the ones direction of LayerNorm leaves both reads and writes
    S4  b_K is dropped: a constant over keys that the softmax does not see
    S5  b_V goes through W_O into b_O: attention weights sum to one
    S7  W_E and W_pos are centred, their means become the first entry of the constant stream
    S8  W_U and b_U are centred over a categorical output's tokens

What is left to the encoder (changes of basis, permutations, neuron scale) is handled by what it looks at: pairings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tracr_tasks.errors import TargetError
from tracr_tasks.transformer import TargetConfig, Weights

MAX_NAME_TOKENS = 4
GELU = {"relu": False, "gelu": True, "gelu_new": True}
"""Whether an activation is GELU; its tanh formula counts as one, being within 5e-4 of it."""
NORM_KINDS: dict[str | None, int] = {None: 0, "LN": 1, "LNPre": 1, "RMS": 2, "RMSPre": 2}


@dataclass(frozen=True)
class NeutralLayer:
    """One block after folding; biases are what the block adds when it reads zero."""

    W_Q: Float[Tensor, "n_heads d_model d_head"]
    b_Q: Float[Tensor, "n_heads d_head"]
    W_K: Float[Tensor, "n_heads d_model d_head"]
    W_V: Float[Tensor, "n_heads d_model d_head"]
    W_O: Float[Tensor, "n_heads d_head d_model"]
    b_O: Float[Tensor, " d_model"]
    W_in: Float[Tensor, "d_model d_mlp"]
    b_in: Float[Tensor, " d_mlp"]
    W_out: Float[Tensor, "d_mlp d_model"]
    b_out: Float[Tensor, " d_model"]


@dataclass(frozen=True)
class Neutral:
    """A target's weights after folding; W_Q carries the 1/sqrt(d_head) of the scores."""

    W_E: Float[Tensor, "d_vocab d_model"]
    W_pos: Float[Tensor, "n_ctx d_model"]
    constant: Float[Tensor, " d_model"]
    layers: tuple[NeutralLayer, ...]
    W_U: Float[Tensor, "d_model d_vocab_out"]
    b_U: Float[Tensor, " d_vocab_out"]
    norm: int
    gelu: bool
    causal: bool
    first: bool


def _shift(weights: Weights, name: str, like: Tensor) -> Tensor:
    """The shift of the norm called `name`, zero where it has none."""
    return weights.get(f"{name}.b", torch.zeros_like(like))


def _gain(weights: Weights, name: str, like: Tensor) -> Tensor:
    """The gain of the norm called `name`, one where it has none."""
    return weights.get(f"{name}.w", torch.ones_like(like))


def _centre(x: Float[Tensor, "... d_model"], on: bool) -> Float[Tensor, "... d_model"]:
    """x without its mean over d_model, if `on`: LayerNorm sees nothing of the ones direction."""
    return x - x.mean(-1, keepdim=True) if on else x


def _fold_layer(weights: Weights, layer: int, is_ln: bool) -> NeutralLayer:
    """One block with its norms and value bias folded in."""
    attn = {n: weights[f"blocks.{layer}.attn.{n}"] for n in ("W_Q", "W_K", "W_V", "W_O", "b_Q", "b_V", "b_O")}
    mlp = {n: weights[f"blocks.{layer}.mlp.{n}"] for n in ("W_in", "b_in", "W_out", "b_out")}
    one = attn["b_O"]
    gain1, shift1 = (f(weights, f"blocks.{layer}.ln1", one) for f in (_gain, _shift))
    gain2, shift2 = (f(weights, f"blocks.{layer}.ln2", one) for f in (_gain, _shift))

    def read(W: Tensor) -> Tensor:
        return _centre((gain1[:, None] * W).transpose(-1, -2), is_ln).transpose(-1, -2)

    scale = 1 / math.sqrt(max(1, attn["W_Q"].shape[-1]))
    b_V = attn["b_V"] + torch.einsum("d,hdk->hk", shift1, attn["W_V"])
    b_O = attn["b_O"] + torch.einsum("hk,hkd->d", b_V, attn["W_O"])
    return NeutralLayer(
        W_Q=read(attn["W_Q"]) * scale,
        b_Q=(attn["b_Q"] + torch.einsum("d,hdk->hk", shift1, attn["W_Q"])) * scale,
        W_K=read(attn["W_K"]),
        W_V=read(attn["W_V"]),
        W_O=_centre(attn["W_O"], is_ln),
        b_O=_centre(b_O, is_ln),
        W_in=_centre((gain2[:, None] * mlp["W_in"]).T, is_ln).T,
        b_in=mlp["b_in"] + shift2 @ mlp["W_in"],
        W_out=_centre(mlp["W_out"], is_ln),
        b_out=_centre(mlp["b_out"], is_ln),
    )


def check_foldable(config: TargetConfig) -> None:
    """The foldings of the module are exact for this kind of target, and its first position is BOS.

    Raises:
        TargetError: rotary positions, grouped heads, a gated or parallel MLP or another part that is not covered yet.
    """
    if config.act_fn not in GELU:
        raise TargetError(
            f"act_fn = '{config.act_fn}' is not read by the oracle yet, expected one of {', '.join(GELU)}"
        )
    for name, value in config.extensions().items():
        expected = TargetConfig.__dataclass_fields__[name].default
        raise TargetError(f"{name} = {value!r} is not read by the oracle yet, expected {expected!r}")


def fold(config: TargetConfig, weights: Weights) -> Neutral:
    """A target's weights after the exact foldings that the module lists; the dtype is kept.

    Raises:
        TargetError: a kind of target that cannot be folded yet (`check_foldable`).
    """
    check_foldable(config)
    is_ln = NORM_KINDS[config.normalization_type] == 1
    W_E, W_pos = _centre(weights["embed.W_E"], is_ln), _centre(weights["pos_embed.W_pos"], is_ln)
    one = W_E[0]
    W_U = _gain(weights, "ln_final", one)[:, None] * weights["unembed.W_U"]
    b_U = weights["unembed.b_U"] + _shift(weights, "ln_final", one) @ weights["unembed.W_U"]
    if config.output == "categorical":
        W_U, b_U = W_U - W_U.mean(1, keepdim=True), b_U - b_U.mean()
    return Neutral(
        W_E=W_E - W_E.mean(0),
        W_pos=W_pos - W_pos.mean(0),
        constant=W_E.mean(0) + W_pos.mean(0),
        layers=tuple(_fold_layer(weights, layer, is_ln) for layer in range(config.n_layers)),
        W_U=_centre(W_U.T, is_ln).T,
        b_U=b_U,
        norm=NORM_KINDS[config.normalization_type],
        gelu=GELU[config.act_fn],
        causal=config.attention_dir == "causal",
        first=config.read_out == "first",
    )
