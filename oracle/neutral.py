"""Weights with everything taken out that cannot matter: the first half of the encoder's blindness to gauge.

Folding is exact and uses no learned part (symmetries.md gives the gauges by name):

    L1  norm gains and shifts go into the reads behind them
    L2  the ones direction of LayerNorm leaves both reads and writes
    S4  b_K is dropped: a constant over keys that the softmax does not see
    S5  b_V goes through W_O into b_O: attention weights sum to one
    S7  W_E and W_pos are centred, their means become the first entry of the constant stream
    S8  W_U and b_U are centred over a categorical output's tokens

Other people's models: shared heads are copied, absent biases are zero, tied embeddings are read as W_U. Under rotary
positions b_K is dropped only where it is not turned, and the entries of a head are put in one order (rotary.py). Gains
of the norms of queries and keys go into W_Q and W_K; what these norms see is kept beside them.

Where the residual states themselves are normalised, their length counts: L2 is then taken out of the reads only.

What is left to the encoder (changes of basis, permutations, neuron scale) is handled by what it looks at: pairings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from oracle.neutral_layer import NORM_KINDS, NeutralLayer, centre, fold_layer, gain_of, sees_ones, shift_of
from oracle.rotary import rates_of
from tracr_tasks.errors import TargetError
from tracr_tasks.transformer import TargetConfig, Weights

if TYPE_CHECKING:
    from oracle.routes import Routes

MAX_NAME_TOKENS = 4
GELU = {"relu": False, "gelu": True, "gelu_new": True, "silu": False}
"""Activations that are read, and whether each is GELU; its tanh formula counts as one, being within 5e-4 of it."""


@dataclass(frozen=True)
class Neutral:
    """A target's weights after folding; W_Q carries the 1/sqrt(d_head) of the scores. W_pos may have no rows."""

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
    silu: bool
    gated: bool
    parallel: bool
    """Whether the neurons of a layer read what its heads read, and not what they wrote."""
    qk_norm: bool
    normalised: bool
    """Whether residual states are normalised: writes are then seen in full, though reads may be behind a norm."""
    rates: Float[Tensor, " d_turned"]
    """Radians a position of each turned entry of a head (rotary.py); none without rotary positions."""
    rest: tuple[Float[Tensor, "d_vocab d_model"], Float[Tensor, "n_ctx d_model"]] | None = None
    """What rounding took from W_E and W_pos as they were centred; None where layers are read on demand, and so
    no routes are asked for."""

    @cached_property
    def routes(self) -> Routes | None:
        """What each part does to the others (routes.py); None where that is not followed. Kept once asked for."""
        from oracle.routes import is_plain, routes_of

        return routes_of(self) if is_plain(self) else None


@runtime_checkable
class Parts(Protocol):
    """A target's weights, a part at a time: `zoo.readers.Source` for a folder, `Held` for what is in memory."""

    @property
    def config(self) -> TargetConfig:
        """Shape and kind."""

    def embedding(self) -> Weights:
        """embed.W_E and, where there is one, pos_embed.W_pos."""

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
        return fold_layer(self.parts.config, self.parts.block(layer), layer)


FOLDABLE = frozenset(
    {
        *("default_prepend_bos", "tie_word_embeddings", "qkv_bias", "attn_out_bias", "mlp_bias", "unembed_bias"),
        *("attn_scale", "n_key_value_heads", "use_qk_norm", "gated_mlp", "parallel_attn_mlp", "normalize_states"),
        *("positional_embedding_type", "rotary_dim", "rotary_base", "rotary_adjacent_pairs", "rotary_scaling_factor"),
        *("use_NTK_by_parts_rope", "NTK_by_parts_low_freq_factor", "NTK_by_parts_high_freq_factor"),
        *("NTK_by_parts_factor", "NTK_original_ctx_len"),
    }
)
"""Extensions of a configuration that the foldings cover."""


def check_foldable(config: TargetConfig) -> None:
    """The foldings of the module are exact for this kind of target.

    Every kind that `tracr_tasks.transformer` runs is covered today. What is refused is an activation or an extension
    that a `TargetConfig` has and this module does not know: to be read as something else would be worse.

    Raises:
        TargetError: an activation or an extension that is not covered.
    """
    if config.act_fn not in GELU:
        raise TargetError(
            f"act_fn = '{config.act_fn}' is not read by the oracle yet, expected one of {', '.join(GELU)}"
        )
    for name, value in config.extensions().items():
        if name not in FOLDABLE:
            expected = type(config).__dataclass_fields__[name].default
            raise TargetError(f"{name} = {value!r} is not read by the oracle yet, expected {expected!r}")


def positions_of(config: TargetConfig) -> int:
    """How many positions of a target have a row of W_pos, and so a name."""
    return config.n_ctx if config.positional_embedding_type == "standard" else 0


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
    W_E = centre(embedding["embed.W_E"], not sees_ones(config))
    W_pos = centre(embedding["pos_embed.W_pos"], not sees_ones(config)) if positions_of(config) else W_E[:0]
    one = W_E[0]
    everywhere = W_pos.mean(0) if len(W_pos) else torch.zeros_like(one)
    W_U = embedding["embed.W_E"].T if config.tie_word_embeddings else unembedding["unembed.W_U"]
    b_U = unembedding.get("unembed.b_U", W_U.new_zeros(W_U.shape[1])) + shift_of(unembedding, "ln_final", one) @ W_U
    W_U = gain_of(unembedding, "ln_final", one)[:, None] * W_U
    if config.output == "categorical":
        W_U, b_U = W_U - W_U.mean(1, keepdim=True), b_U - b_U.mean()
    layers = LayersOnDemand(parts)
    centred = W_E - W_E.mean(0), W_pos - everywhere
    return Neutral(
        W_E=centred[0],
        W_pos=centred[1],
        constant=W_E.mean(0) + everywhere,
        layers=layers if on_demand else tuple(layers),
        W_U=centre(W_U.T, is_ln).T,
        b_U=b_U,
        norm=NORM_KINDS[config.normalization_type],
        gelu=GELU[config.act_fn],
        causal=config.attention_dir == "causal",
        first=config.read_out == "first",
        silu=config.act_fn == "silu",
        gated=config.gated_mlp,
        parallel=config.parallel_attn_mlp,
        qk_norm=config.use_qk_norm,
        normalised=config.normalize_states,
        rates=rates_of(config, W_E),
        rest=None if on_demand else (lost(W_E, centred[0]), lost(W_pos, centred[1])),
    )


def lost(rows: Float[Tensor, "n d_model"], centred: Float[Tensor, "n d_model"]) -> Float[Tensor, "n d_model"]:
    """What rounding took from some rows when their mean was."""
    wide = rows.double()
    return (wide - (wide.mean(0) if len(wide) else 0.0) - centred.double()).to(rows.dtype)
