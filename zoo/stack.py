"""Many small targets run at once: every tensor has a leading `model` axis, every product is a batched one.

The same function as `tracr_tasks.transformer.forward` where the answer is read (at BOS, or under causal attention at
the last token), for inputs of one full length (BOS first, no PAD) and for targets whose only biases are those of the
neurons and norms. The last layer is computed there only.
"""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from tracr_tasks.transformer import TargetConfig, activation, normalise, shapes
from zoo.training_config import Architecture

N_SPECIAL = 2
"""BOS and PAD come before the named tokens."""
LOWEST_SCORE = -80.0
"""Attention scores are raised to this far below the largest one, so that exp stays a normal float32."""

Params = dict[str, Tensor]
"""The trained tensors by their name in `shapes`, each with a leading `model` axis."""


def target_config(architecture: Architecture, vocab_size: int, n_answers: int, max_seq_len: int) -> TargetConfig:
    """Configuration of a trained target."""
    norm, causal = architecture.normalization_type, architecture.attention_dir == "causal"
    return TargetConfig(
        d_model=architecture.d_model,
        n_layers=architecture.n_layers,
        n_heads=architecture.n_heads,
        d_head=architecture.d_head,
        d_mlp=architecture.d_mlp,
        n_ctx=max_seq_len + 1,
        d_vocab=vocab_size + N_SPECIAL,
        d_vocab_out=n_answers,
        act_fn=cast(Any, architecture.act_fn),
        normalization_type=None if norm == "none" else cast(Any, norm),
        attention_dir=cast(Any, architecture.attention_dir),
        read_out="last" if causal else "first",
        pad_token=1,
    )


def training_flops(config: TargetConfig, steps: int, batch: int) -> float:
    """Operations that training a target takes, by its shape: three forward passes a sequence (one forward, two back).

    The last layer's queries, output and neurons are needed only where the answer is read. Table look-ups, norms and the
    optimizer are left out.
    """
    c, positions = config, config.n_ctx
    heads = c.n_heads * c.d_head
    total = 0.0
    for layer in range(c.n_layers):
        read = 1 if layer == c.n_layers - 1 else positions
        total += 2 * 2 * c.d_model * heads * positions  # keys and values
        total += 2 * 2 * c.d_model * heads * read  # queries and output
        total += 2 * 2 * heads * positions * read  # scores and mixing
        total += 2 * 2 * c.d_model * c.d_mlp * read
    return 3 * (total + 2 * c.d_model * c.d_vocab_out) * steps * batch


def is_trained(name: str) -> bool:
    """Whether a tensor is trained: all matrices, norms and the neurons' biases; the other biases stay zero."""
    return name.rsplit(".", 1)[1].startswith("W_") or name.endswith((".b_in", ".w", ".b"))


def initial_params(config: TargetConfig, seeds: list[int]) -> Params:
    """Random weights, each model's from its own seed alone. The PAD row, which no input uses, is zero."""
    std = {"W_E": 0.3, "W_pos": 0.3, "W_O": 0.5 / math.sqrt(config.n_heads * config.d_head), "b_in": 0.0}
    std |= {"W_out": 0.5 / math.sqrt(config.d_mlp), "w": 0.0, "b": 0.0}
    trained = {name: shape for name, shape in shapes(config).items() if is_trained(name)}
    rngs = [np.random.Generator(np.random.PCG64([seed, 0])) for seed in seeds]
    out = {}
    for name, shape in trained.items():
        scale = std.get(name.rsplit(".", 1)[1], 1 / math.sqrt(config.d_model))
        draws = np.stack([rng.standard_normal(shape, dtype=np.float32) for rng in rngs])
        out[name] = torch.from_numpy(draws * np.float32(scale)) + float(name.endswith(".w"))
    out["embed.W_E"][:, 1] = 0
    return out


def member_weights(config: TargetConfig, params: Params, member: int) -> dict[str, Tensor]:
    """Every tensor of one model of the stack, the untrained biases as zeros."""
    out = {}
    for name, shape in shapes(config).items():
        out[name] = params[name][member].detach().clone() if name in params else torch.zeros(shape)
    return out


def normalised(
    config: TargetConfig, params: Params, name: str, x: Float[Tensor, "model row d_model"]
) -> Float[Tensor, "model row d_model"]:
    """What is read of x through the norm called `name`."""
    held = {at: params[at][:, None] for at in (f"{name}.w", f"{name}.b") if at in params}
    return normalise(x, config, held, name)


def answer_position(config: TargetConfig) -> slice:
    """The position that the answer is read at: BOS, or the last one."""
    return slice(0, 1) if config.read_out == "first" else slice(-1, None)


def codes(ids: Int[Tensor, "... seq"], vocab_size: int) -> Int[Tensor, "... pos"]:
    """Number of each (position, token) pair, BOS as 0; `ids` are token indices without BOS."""
    steps = torch.arange(ids.shape[-1], device=ids.device) * vocab_size + 1
    return functional.pad(ids + steps, (1, 0))


def read_in(config: TargetConfig, params: Params) -> Float[Tensor, "model code d_model"]:
    """Residual stream before the first layer, for each code."""
    tokens, positions = params["embed.W_E"], params["pos_embed.W_pos"]
    pairs = tokens[:, None, N_SPECIAL:] + positions[:, 1:, None]
    return torch.cat([tokens[:, :1] + positions[:, :1], pairs.flatten(1, 2)], 1)


def forward_codes(
    config: TargetConfig, params: Params, inputs: Int[Tensor, "model batch pos"]
) -> Float[Tensor, "model batch d_vocab_out"]:
    """The logits that are the answer of every model to its own inputs, given as codes."""
    n_models, batch, pos = inputs.shape
    if config.n_layers == 1 and config.attention_dir == "bidirectional":
        table = read_in(config, params)
        hot = torch.zeros(n_models, batch, table.shape[1], device=inputs.device).scatter_(2, inputs, 1.0)
        return one_layer(config, params, hot)
    index = inputs.flatten(1)[..., None].expand(-1, -1, config.d_model)
    x = read_in(config, params).gather(1, index).view(n_models, batch, pos, config.d_model)
    for layer in range(config.n_layers):
        queries = answer_position(config) if layer == config.n_layers - 1 else slice(None)
        x = x[:, :, queries] + _attention(config, params, layer, x, queries)
        x = x + _mlp(config, params, layer, x.flatten(1, 2)).view_as(x)
    return torch.bmm(normalised(config, params, "ln_final", x[:, :, 0]), params["unembed.W_U"])


def one_layer(
    config: TargetConfig, params: Params, hot: Float[Tensor, "model batch code"]
) -> Float[Tensor, "model batch d_vocab_out"]:
    """`forward_codes` of one-layer models that answer at BOS; `hot` is 1 at each code that an input has.

    BOS asks the same query of every input, and a key or a value depends on the code alone. So softmax over positions is
    the quotient of two sums over the codes at hand: exp(score) times value, and exp(score).
    """
    n_models, n_codes = hot.shape[0], hot.shape[2]
    x = read_in(config, params)
    read = normalised(config, params, "blocks.0.ln1", x)
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
    return torch.bmm(normalised(config, params, "ln_final", x), params["unembed.W_U"])


def _attention(
    config: TargetConfig, params: Params, layer: int, x: Float[Tensor, "model batch pos d_model"], queries: slice
) -> Float[Tensor, "model batch query d_model"]:
    """What a layer's heads write at the positions `queries`: all of them, or the one that the answer is read at."""
    n_models, batch = x.shape[:2]
    read = normalised(config, params, f"blocks.{layer}.ln1", x.flatten(1, 2)).view_as(x)
    sides = []
    for side in "QKV":
        source = read[:, :, queries] if side == "Q" else read
        matrix = params[f"blocks.{layer}.attn.W_{side}"].transpose(1, 2).flatten(2)
        flat = torch.bmm(source.flatten(1, 2), matrix)
        sides.append(flat.view(n_models * batch, -1, config.n_heads, config.d_head).transpose(1, 2))
    is_masked = config.attention_dir == "causal" and sides[0].shape[2] > 1  # the last position sees all
    mixed = functional.scaled_dot_product_attention(sides[0], sides[1], sides[2], is_causal=is_masked)
    mixed = mixed.transpose(1, 2).reshape(n_models, -1, config.n_heads * config.d_head)
    out = torch.bmm(mixed, params[f"blocks.{layer}.attn.W_O"].flatten(1, 2))
    return out.view(n_models, batch, -1, config.d_model)


def _mlp(
    config: TargetConfig, params: Params, layer: int, x: Float[Tensor, "model row d_model"]
) -> Float[Tensor, "model row d_model"]:
    """What a layer's neurons write."""
    at = f"blocks.{layer}.mlp."
    read = normalised(config, params, f"blocks.{layer}.ln2", x)
    hidden = activation(config, torch.baddbmm(params[at + "b_in"][:, None], read, params[at + "W_in"]))
    return torch.bmm(hidden, params[at + "W_out"])
