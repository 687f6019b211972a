"""Many small targets run at once: every tensor has a leading `model` axis, every product is a batched one.

The same function as `tracr_tasks.transformer.forward` at position 0, for inputs of one full length (BOS first, no PAD)
and for targets whose only biases are those of the neurons. Only what BOS needs is computed in the last layer.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from tracr_tasks.transformer import TargetConfig, shapes
from zoo.training_config import Architecture

N_SPECIAL = 2
"""BOS and PAD come before the named tokens."""
LOWEST_SCORE = -80.0
"""Attention scores are raised to this far below the largest one, so that exp stays a normal float32."""

Params = dict[str, Tensor]
"""The trained tensors by their name in `shapes`, each with a leading `model` axis."""


def target_config(architecture: Architecture, vocab_size: int, n_answers: int, max_seq_len: int) -> TargetConfig:
    """Configuration of a trained target."""
    return TargetConfig(
        d_model=architecture.d_model,
        n_layers=architecture.n_layers,
        n_heads=architecture.n_heads,
        d_head=architecture.d_head,
        d_mlp=architecture.d_mlp,
        n_ctx=max_seq_len + 1,
        d_vocab=vocab_size + N_SPECIAL,
        d_vocab_out=n_answers,
        normalization_type="RMSPre",
        read_out="first",
        pad_token=1,
    )


def is_trained(name: str) -> bool:
    """Whether a tensor is trained: all matrices and the neurons' biases; the other biases stay zero."""
    return name.rsplit(".", 1)[1].startswith("W_") or name.endswith(".b_in")


def initial_params(config: TargetConfig, seeds: list[int]) -> Params:
    """Random weights, each model's from its own seed alone. The PAD row, which no input uses, is zero."""
    std = {"W_E": 0.3, "W_pos": 0.3, "W_O": 0.5 / math.sqrt(config.n_heads * config.d_head), "b_in": 0.0}
    std |= {"W_out": 0.5 / math.sqrt(config.d_mlp)}
    trained = {name: shape for name, shape in shapes(config).items() if is_trained(name)}
    rngs = [np.random.Generator(np.random.PCG64([seed, 0])) for seed in seeds]
    out = {}
    for name, shape in trained.items():
        scale = std.get(name.rsplit(".", 1)[1], 1 / math.sqrt(config.d_model))
        draws = np.stack([rng.standard_normal(shape, dtype=np.float32) for rng in rngs])
        out[name] = torch.from_numpy(draws * np.float32(scale))
    out["embed.W_E"][:, 1] = 0
    return out


def member_weights(config: TargetConfig, params: Params, member: int) -> dict[str, Tensor]:
    """Every tensor of one model of the stack, the untrained biases as zeros."""
    out = {}
    for name, shape in shapes(config).items():
        out[name] = params[name][member].detach().clone() if name in params else torch.zeros(shape)
    return out


def rms(x: Float[Tensor, "... d_model"], eps: float) -> Float[Tensor, "... d_model"]:
    """RMSNorm without gain."""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)


def codes(ids: Int[Tensor, "... seq"], vocab_size: int) -> Int[Tensor, "... pos"]:
    """Number of each (position, token) pair, BOS as 0; `ids` are token indices without BOS."""
    steps = torch.arange(ids.shape[-1]) * vocab_size + 1
    return functional.pad(ids + steps, (1, 0))


def read_in(config: TargetConfig, params: Params) -> Float[Tensor, "model code d_model"]:
    """Residual stream before the first layer, for each code."""
    tokens, positions = params["embed.W_E"], params["pos_embed.W_pos"]
    pairs = tokens[:, None, N_SPECIAL:] + positions[:, 1:, None]
    return torch.cat([tokens[:, :1] + positions[:, :1], pairs.flatten(1, 2)], 1)


def forward_codes(
    config: TargetConfig, params: Params, inputs: Int[Tensor, "model batch pos"]
) -> Float[Tensor, "model batch d_vocab_out"]:
    """Logits at BOS of every model on its own inputs, given as codes."""
    n_models, batch, pos = inputs.shape
    if config.n_layers == 1:
        table = read_in(config, params)
        hot = torch.zeros(n_models, batch, table.shape[1]).scatter_(2, inputs, 1.0)
        return one_layer(config, params, hot)
    index = inputs.flatten(1)[..., None].expand(-1, -1, config.d_model)
    x = read_in(config, params).gather(1, index).view(n_models, batch, pos, config.d_model)
    for layer in range(config.n_layers):
        mixed = _attention(config, params, layer, x, only_first=layer == config.n_layers - 1)
        x = x[:, :, : mixed.shape[2]] + mixed
        x = x + _mlp(config, params, layer, x.flatten(1, 2)).view_as(x)
    return torch.bmm(rms(x[:, :, 0], config.eps), params["unembed.W_U"])


def one_layer(
    config: TargetConfig, params: Params, hot: Float[Tensor, "model batch code"]
) -> Float[Tensor, "model batch d_vocab_out"]:
    """`forward_codes` of one-layer models; `hot` is 1 at each code that an input has.

    BOS asks the same query of every input, and a key or a value depends on the code alone. So softmax over positions is
    the quotient of two sums over the codes at hand: exp(score) times value, and exp(score).
    """
    n_models, n_codes = hot.shape[0], hot.shape[2]
    x = read_in(config, params)
    read = rms(x, config.eps)
    q, k, v = (
        torch.einsum("mcd,mhdk->mhck", r, params[f"blocks.0.attn.W_{side}"])
        for side, r in (("Q", read[:, :1]), ("K", read), ("V", read))
    )
    scores = (q * k).sum(-1, keepdim=True) / math.sqrt(config.d_head)
    scores = (scores - scores.detach().amax(2, keepdim=True)).clamp_min(LOWEST_SCORE)
    masses = scores.exp()
    sums = torch.cat([masses * v, masses], -1).permute(0, 2, 1, 3).reshape(n_models, n_codes, -1)
    sums = torch.bmm(hot, sums).view(n_models, -1, config.n_heads, config.d_head + 1)
    mixed = (sums[..., :-1] / sums[..., -1:]).flatten(2)
    x = x[:, :1] + torch.bmm(mixed, params["blocks.0.attn.W_O"].flatten(1, 2))
    x = x + _mlp(config, params, 0, x)
    return torch.bmm(rms(x, config.eps), params["unembed.W_U"])


def _attention(
    config: TargetConfig, params: Params, layer: int, x: Float[Tensor, "model batch pos d_model"], only_first: bool
) -> Float[Tensor, "model batch query d_model"]:
    """What a layer's heads write at every position, or at the first only."""
    n_models, batch = x.shape[:2]
    read = rms(x, config.eps)
    sides = []
    for side in "QKV":
        source = read[:, :, :1] if only_first and side == "Q" else read
        matrix = params[f"blocks.{layer}.attn.W_{side}"].transpose(1, 2).flatten(2)
        flat = torch.bmm(source.flatten(1, 2), matrix)
        sides.append(flat.view(n_models * batch, -1, config.n_heads, config.d_head).transpose(1, 2))
    mixed = functional.scaled_dot_product_attention(sides[0], sides[1], sides[2])
    mixed = mixed.transpose(1, 2).reshape(n_models, -1, config.n_heads * config.d_head)
    out = torch.bmm(mixed, params[f"blocks.{layer}.attn.W_O"].flatten(1, 2))
    return out.view(n_models, batch, -1, config.d_model)


def _mlp(
    config: TargetConfig, params: Params, layer: int, x: Float[Tensor, "model row d_model"]
) -> Float[Tensor, "model row d_model"]:
    """What a layer's neurons write."""
    at = f"blocks.{layer}.mlp."
    hidden = torch.baddbmm(params[at + "b_in"][:, None], rms(x, config.eps), params[at + "W_in"]).relu()
    return torch.bmm(hidden, params[at + "W_out"])
