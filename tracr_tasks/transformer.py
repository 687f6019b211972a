"""The one transformer that everything here reads, writes and runs: a configuration and named weights.

Row-vector convention, TransformerLens names. A weight dictionary holds

    embed.W_E               [d_vocab, d_model]
    pos_embed.W_pos         [n_ctx, d_model]
    blocks.{l}.attn.W_Q     [n_heads, d_model, d_head]      also W_K, W_V; biases b_Q, b_K, b_V [n_heads, d_head]
    blocks.{l}.attn.W_O     [n_heads, d_head, d_model]      bias b_O [d_model]
    blocks.{l}.mlp.W_in     [d_model, d_mlp]                bias b_in [d_mlp]
    blocks.{l}.mlp.W_out    [d_mlp, d_model]                bias b_out [d_model]
    blocks.{l}.ln1.w, .b    [d_model]                       ln2 likewise, only where the normalisation has a gain
    ln_final.w, .b          [d_model]
    unembed.W_U             [d_model, d_vocab_out]          bias b_U [d_vocab_out]

The sizes of one layer are those of its tensors: layers may differ in n_heads, d_head and d_mlp (a compiled program is
not padded to its widest layer), and the configuration holds the largest of each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

Weights = Mapping[str, Tensor]
"""Named float tensors, as the module's docstring lists them."""

ATTENTION = ("W_Q", "W_K", "W_V", "W_O", "b_Q", "b_K", "b_V", "b_O")
MLP = ("W_in", "W_out", "b_in", "b_out")


@dataclass(frozen=True)
class TargetConfig:
    """Shape and kind of a target. Field names are TransformerLens's where it has one."""

    d_model: int
    """Width of the residual stream."""
    n_layers: int
    """Blocks of attention followed by an MLP."""
    n_heads: int
    """Heads of the layer that has most."""
    d_head: int
    """Width of a head, of the layer whose heads are widest."""
    d_mlp: int
    """Neurons of the layer that has most."""
    n_ctx: int
    """Positions, the leading BOS included."""
    d_vocab: int
    """Input tokens, BOS and PAD included."""
    d_vocab_out: int
    """Output tokens; 1 for a numerical output."""
    act_fn: Literal["relu", "gelu"] = "relu"
    """The MLP's activation."""
    normalization_type: Literal["LN", "LNPre", "RMS", "RMSPre"] | None = None
    """None, LayerNorm or RMSNorm before each read; "Pre" is without gain and bias."""
    attention_dir: Literal["bidirectional", "causal"] = "bidirectional"
    """Whether a position sees later ones."""
    eps: float = 1e-5
    """Added to the variance by the normalisation."""
    read_out: Literal["all", "first"] = "all"
    """Where the answer is read: at every position after BOS, or at BOS only (one answer a sequence)."""
    output: Literal["categorical", "numerical"] = "categorical"
    """Arg-max over the output vocabulary, or the single logit as a number."""
    pad_token: int | None = None
    """Input token that no position attends to."""

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object."""
        return asdict(self)


def shapes(config: TargetConfig) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor of a target whose layers are all alike, by name, in the order of the computation."""
    d, h, k, m = config.d_model, config.n_heads, config.d_head, config.d_mlp
    has_gain, has_shift = config.normalization_type in ("LN", "RMS"), config.normalization_type == "LN"

    def norm(name: str) -> dict[str, tuple[int, ...]]:
        row: tuple[int, ...] = (d,)
        return ({f"{name}.w": row} if has_gain else {}) | ({f"{name}.b": row} if has_shift else {})

    out: dict[str, tuple[int, ...]] = {"embed.W_E": (config.d_vocab, d), "pos_embed.W_pos": (config.n_ctx, d)}
    for layer in range(config.n_layers):
        at = f"blocks.{layer}."
        out |= norm(at + "ln1")
        out |= {at + f"attn.{name}": (h, d, k) for name in ("W_Q", "W_K", "W_V")}
        out |= {at + f"attn.{name}": (h, k) for name in ("b_Q", "b_K", "b_V")}
        out |= {at + "attn.W_O": (h, k, d), at + "attn.b_O": (d,)}
        out |= norm(at + "ln2")
        out |= {at + "mlp.W_in": (d, m), at + "mlp.b_in": (m,), at + "mlp.W_out": (m, d), at + "mlp.b_out": (d,)}
    out |= norm("ln_final")
    return out | {"unembed.W_U": (d, config.d_vocab_out), "unembed.b_U": (config.d_vocab_out,)}


def normalise(
    x: Float[Tensor, "... d_model"], config: TargetConfig, weights: Weights, name: str
) -> Float[Tensor, "... d_model"]:
    """What a block reads: x itself, or its LayerNorm or RMSNorm with the gain and shift called `name`."""
    kind = config.normalization_type
    if kind is None:
        return x
    if kind in ("LN", "LNPre"):
        x = x - x.mean(-1, keepdim=True)
    x = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + config.eps)
    x = x * weights[f"{name}.w"] if kind in ("LN", "RMS") else x
    return x + weights[f"{name}.b"] if kind == "LN" else x


def attention_mask(tokens: Int[Tensor, "batch pos"], config: TargetConfig) -> Float[Tensor, "batch 1 query key"]:
    """0 where a query may look at a key, -inf where it may not (later positions if causal, PAD always)."""
    n = tokens.shape[1]
    blocked = torch.zeros(tokens.shape[0], 1, n, n, dtype=torch.bool, device=tokens.device)
    if config.attention_dir == "causal":
        blocked |= torch.ones(n, n, dtype=torch.bool, device=tokens.device).triu(1)
    if config.pad_token is not None:
        blocked |= (tokens == config.pad_token)[:, None, None, :]
    return torch.zeros(blocked.shape, device=tokens.device).masked_fill(blocked, -math.inf)


def forward(
    config: TargetConfig, weights: Weights, tokens: Int[Tensor, "batch pos"]
) -> Float[Tensor, "batch pos d_vocab_out"]:
    """Run a target on token ids (BOS first) and return its logits at every position."""
    x = weights["embed.W_E"][tokens] + weights["pos_embed.W_pos"][: tokens.shape[1]]
    mask = attention_mask(tokens, config).to(x.dtype)
    activate = torch.relu if config.act_fn == "relu" else torch.nn.functional.gelu
    for layer in range(config.n_layers):
        attn = {name: weights[f"blocks.{layer}.attn.{name}"] for name in ATTENTION}
        read = normalise(x, config, weights, f"blocks.{layer}.ln1")
        q, k, v = (
            torch.einsum("bpd,hdk->bhpk", read, attn[f"W_{side}"]) + attn[f"b_{side}"][:, None] for side in "QKV"
        )
        scores = q @ k.transpose(-1, -2) / math.sqrt(max(1, q.shape[-1])) + mask
        x = x + torch.einsum("bhpk,hkd->bpd", scores.softmax(-1) @ v, attn["W_O"]) + attn["b_O"]
        mlp = {name: weights[f"blocks.{layer}.mlp.{name}"] for name in MLP}
        read = normalise(x, config, weights, f"blocks.{layer}.ln2")
        x = x + activate(read @ mlp["W_in"] + mlp["b_in"]) @ mlp["W_out"] + mlp["b_out"]
    return normalise(x, config, weights, "ln_final") @ weights["unembed.W_U"] + weights["unembed.b_U"]
