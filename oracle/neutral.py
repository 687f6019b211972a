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
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

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
    layers: Sequence[NeutralLayer]
    """All at once, or `LayersOnDemand` of a target that is not held in memory."""
    W_U: Float[Tensor, "d_model d_vocab_out"]
    b_U: Float[Tensor, " d_vocab_out"]
    norm: int
    gelu: bool
    causal: bool
    first: bool


@runtime_checkable
class Parts(Protocol):
    """A target's weights, a part at a time: `zoo.readers.Source` for a folder, `Held` for what is in memory."""

    @property
    def config(self) -> TargetConfig:
        """Shape and kind."""

    def embedding(self) -> Weights:
        """embed.W_E and pos_embed.W_pos."""

    def block(self, layer: int) -> Weights:
        """The tensors of a layer."""

    def unembedding(self) -> Weights:
        """ln_final, unembed.W_U unless it is tied, unembed.b_U where there is one."""


@dataclass(frozen=True)
class Held:
    """Weights in memory as parts."""

    config: TargetConfig
    weights: Weights

    def embedding(self) -> Weights:
        """All weights."""
        return self.weights

    def block(self, layer: int) -> Weights:
        """All weights."""
        return self.weights

    def unembedding(self) -> Weights:
        """All weights."""
        return self.weights


class LayersOnDemand(Sequence[NeutralLayer]):
    """The folded layers of a target, each read and folded whenever it is asked for and kept by nobody."""

    def __init__(self, parts: Parts):
        self.parts = parts

    def __len__(self) -> int:
        return self.parts.config.n_layers

    @property
    def n_components(self) -> int:
        """Heads and neurons."""
        return len(self) * (self.parts.config.n_heads + self.parts.config.d_mlp)

    def __getitem__(self, layer: int) -> NeutralLayer:  # type: ignore[override]
        if not 0 <= layer < len(self):
            raise IndexError(layer)
        return _fold_layer(self.parts.config, self.parts.block(layer), layer)


def _shift(weights: Weights, name: str, like: Tensor) -> Tensor:
    """The shift of the norm called `name`, zero where it has none."""
    return weights.get(f"{name}.b", torch.zeros_like(like))


def _gain(weights: Weights, name: str, like: Tensor) -> Tensor:
    """The gain of the norm called `name`, one where it has none."""
    return weights.get(f"{name}.w", torch.ones_like(like))


def _centre(x: Float[Tensor, "... d_model"], on: bool) -> Float[Tensor, "... d_model"]:
    """x without its mean over d_model, if `on`: LayerNorm sees nothing of the ones direction.

    What is left of a row along that direction is rounding; it becomes exactly zero, as if it had been written as zero.
    """
    if not on:
        return x
    out = x - x.mean(-1, keepdim=True)
    rounding = 16 * torch.finfo(x.dtype).eps * x.abs().amax(-1, keepdim=True)
    return torch.where(out.abs().amax(-1, keepdim=True) <= rounding, torch.zeros_like(out), out)


def _fold_layer(config: TargetConfig, weights: Weights, layer: int) -> NeutralLayer:
    """One block with its norms and value bias folded in; biases that it has not are zero, shared heads are copied."""
    is_ln, at = NORM_KINDS[config.normalization_type] == 1, f"blocks.{layer}."
    attn = {n: weights[f"{at}attn.{n}"] for n in ("W_Q", "W_K", "W_V", "W_O")}
    (n_heads, _, k), one = attn["W_Q"].shape, attn["W_O"].new_zeros(config.d_model)
    for name in ("W_K", "W_V"):
        attn[name] = attn[name].repeat_interleave(n_heads // max(1, len(attn[name])), 0) if n_heads else attn[name]
    zero = {"b_Q": one.new_zeros(n_heads, k), "b_V": one.new_zeros(n_heads, k), "b_O": one}
    attn |= {n: weights.get(f"{at}attn.{n}", value) for n, value in zero.items()}
    if attn["b_V"].shape[0] != n_heads:
        attn["b_V"] = attn["b_V"].repeat_interleave(n_heads // len(attn["b_V"]), 0)
    mlp = {n: weights[f"{at}mlp.{n}"] for n in ("W_in", "W_out")}
    zero = {"b_in": one.new_zeros(mlp["W_in"].shape[1]), "b_out": one}
    mlp |= {n: weights.get(f"{at}mlp.{n}", value) for n, value in zero.items()}
    gain1, shift1 = (f(weights, f"{at}ln1", one) for f in (_gain, _shift))
    gain2, shift2 = (f(weights, f"{at}ln2", one) for f in (_gain, _shift))

    def read(W: Tensor) -> Tensor:
        return _centre((gain1[:, None] * W).transpose(-1, -2), is_ln).transpose(-1, -2)

    scale = 1 / (math.sqrt(max(1, k)) if config.attn_scale is None else config.attn_scale)
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


FOLDABLE = (
    *("default_prepend_bos", "tie_word_embeddings", "qkv_bias", "attn_out_bias", "mlp_bias", "unembed_bias"),
    *("attn_scale", "n_key_value_heads"),
)
"""Extensions of a configuration that the foldings cover; `positional_embedding_type` = "standard" is the other one."""


def check_foldable(config: TargetConfig) -> None:
    """The foldings of the module are exact for this kind of target.

    Raises:
        TargetError: rotary positions, a gated or parallel MLP or another part that is not covered yet.
    """
    if config.act_fn not in GELU:
        raise TargetError(
            f"act_fn = '{config.act_fn}' is not read by the oracle yet, expected one of {', '.join(GELU)}"
        )
    for name, value in config.extensions().items():
        if name not in FOLDABLE:
            expected = TargetConfig.__dataclass_fields__[name].default
            raise TargetError(f"{name} = {value!r} is not read by the oracle yet, expected {expected!r}")


def fold(config: TargetConfig, weights: Weights) -> Neutral:
    """A target's weights after the exact foldings that the module lists; the dtype is kept.

    Raises:
        TargetError: a kind of target that cannot be folded yet (`check_foldable`).
    """
    return fold_parts(Held(config, weights), on_demand=False)


def fold_parts(parts: Parts, *, on_demand: bool = True) -> Neutral:
    """As `fold`, of a target whose layers are read when they are looked at: memory holds one of them.

    Raises:
        TargetError: a kind of target that cannot be folded yet (`check_foldable`); a part that cannot be read.
    """
    config = parts.config
    check_foldable(config)
    is_ln = NORM_KINDS[config.normalization_type] == 1
    embedding, unembedding = parts.embedding(), parts.unembedding()
    W_E, W_pos = _centre(embedding["embed.W_E"], is_ln), _centre(embedding["pos_embed.W_pos"], is_ln)
    one = W_E[0]
    W_U = embedding["embed.W_E"].T if config.tie_word_embeddings else unembedding["unembed.W_U"]
    b_U = unembedding.get("unembed.b_U", W_U.new_zeros(W_U.shape[1])) + _shift(unembedding, "ln_final", one) @ W_U
    W_U = _gain(unembedding, "ln_final", one)[:, None] * W_U
    if config.output == "categorical":
        W_U, b_U = W_U - W_U.mean(1, keepdim=True), b_U - b_U.mean()
    layers = LayersOnDemand(parts)
    return Neutral(
        W_E=W_E - W_E.mean(0),
        W_pos=W_pos - W_pos.mean(0),
        constant=W_E.mean(0) + W_pos.mean(0),
        layers=layers if on_demand else tuple(layers),
        W_U=_centre(W_U.T, is_ln).T,
        b_U=b_U,
        norm=NORM_KINDS[config.normalization_type],
        gelu=GELU[config.act_fn],
        causal=config.attention_dir == "causal",
        first=config.read_out == "first",
    )
