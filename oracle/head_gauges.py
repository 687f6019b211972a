"""Gauges of the heads of a layer: S1 to S5, and Q1 in place of S2 where queries and keys have norms.

Heads that share keys and values are a group: groups change place, heads change place in their group, and a change of
basis is one for the whole group. Under rotary positions the basis of a turned pair only turns and grows with the pair.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from oracle.gauge_parts import normal, random_invertible, signs, with_row
from oracle.rotary import pair_order, turned_entries
from tracr_tasks.transformer import TargetConfig, Weights


def groups_of(weights: Weights, at: str) -> Iterator[tuple[int, range]]:
    """Each head of W_K and W_V of a layer, with the heads that read it."""
    n_heads, n_groups = (len(weights[f"{at}W_{side}"]) for side in "QK")
    for group in range(n_groups):
        yield group, range(group * n_heads // n_groups, (group + 1) * n_heads // n_groups)


def permute_heads(config: TargetConfig, weights: Weights, rng: torch.Generator) -> dict[str, Tensor]:
    """S1: the heads of every layer in another order; those that share keys and values stay together."""
    out = dict(weights)
    for layer in range(config.n_layers):
        at = f"blocks.{layer}.attn."
        groups = [heads for _, heads in groups_of(weights, at)]
        order: list[int] = torch.randperm(len(groups), generator=rng).tolist()
        heads = [h for g in order for h in _shuffled(groups[g], rng)]
        names = {"W_Q": heads, "b_Q": heads, "W_O": heads, **dict.fromkeys(("W_K", "W_V", "b_K", "b_V"), order)}
        out |= {at + n: weights[at + n][rows] for n, rows in names.items() if at + n in weights}
    return out


def _shuffled(heads: range, rng: torch.Generator) -> list[int]:
    if len(heads) < 2:
        return list(heads)
    return [heads[i] for i in torch.randperm(len(heads), generator=rng).tolist()]


def change_query_basis(config: TargetConfig, weights: Weights, rng: torch.Generator) -> dict[str, Tensor]:
    """S2: W_Q M, b_Q M, W_K M^-T, b_K M^-T for every head, one M a group; no norms of queries and keys."""
    out = dict(weights)
    for layer in range(config.n_layers):
        at = f"blocks.{layer}.attn."
        for group, heads in groups_of(weights, at):
            M = _query_basis(config, weights[at + "W_Q"], rng)
            for side, rows, matrix in (("Q", heads, M), ("K", [group], torch.linalg.inv(M).T)):
                _multiply(out, at, side, rows, matrix)
    return out


def _multiply(
    out: dict[str, Tensor], at: str, side: str, rows: range | list[int], matrix: Float[Tensor, "d_head d_head"]
) -> None:
    """The matrices and biases of some heads in another basis."""
    for name in (f"{at}W_{side}", f"{at}b_{side}"):
        for row in rows if name in out else ():
            out[name] = with_row(out[name], row, out[name][row] @ matrix)


def _query_basis(
    config: TargetConfig, like: Float[Tensor, "n_heads d_model d_head"], rng: torch.Generator
) -> Float[Tensor, "d_head d_head"]:
    """A random change of basis of queries that leaves scores as they are if keys follow."""
    turned, k = turned_entries(config), like.shape[-1]
    if not turned:
        return random_invertible(k, like, rng)
    inner = torch.zeros(k, k, dtype=like.dtype)
    for i in range(0, turned, 2):
        angle, grown = 2 * math.pi * torch.rand((), generator=rng), torch.exp(0.3 * normal((), like, rng))
        inner[i, i] = inner[i + 1, i + 1] = grown * angle.cos()
        inner[i, i + 1], inner[i + 1, i] = grown * angle.sin(), -grown * angle.sin()
    inner[turned:, turned:] = random_invertible(k - turned, like, rng)
    order = torch.tensor(pair_order(config))
    M = torch.zeros_like(inner)
    M[order[:, None], order] = inner
    return M


def change_query_norms(config: TargetConfig, weights: Weights, rng: torch.Generator) -> dict[str, Tensor]:
    """Q1: gain of queries s, of keys 1 / s; signs of W_Q and W_K; entries that are not turned in another order.

    s and the signs are one number a turned pair; the order is one for all heads of a layer, the signs for a group.
    """
    out, turned = dict(weights), turned_entries(config)
    for layer in range(config.n_layers):
        at = f"blocks.{layer}.attn."
        like = weights[at + "q_norm.w"]
        s = _by_pair(config, torch.exp(0.3 * normal((config.d_head,), like, rng)) * signs(config.d_head, like, rng))
        out |= {at + "q_norm.w": weights[at + "q_norm.w"] * s, at + "k_norm.w": weights[at + "k_norm.w"] / s}
        for group, heads in groups_of(weights, at):
            matrix = torch.diag(_by_pair(config, signs(config.d_head, like, rng)))
            for side, rows in (("Q", heads), ("K", [group])):
                _multiply(out, at, side, rows, matrix)
        rest = [turned + i for i in torch.randperm(config.d_head - turned, generator=rng).tolist()]
        order = [*range(turned), *rest]
        names = [at + n for n in ("W_Q", "W_K", "b_Q", "b_K", "q_norm.w", "k_norm.w") if at + n in weights]
        out |= {name: out[name][..., order] for name in names}
    return out


def _by_pair(config: TargetConfig, x: Float[Tensor, " d_head"]) -> Float[Tensor, " d_head"]:
    """Numbers of a head's entries with one for both entries of a turned pair."""
    order, turned = torch.tensor(pair_order(config), dtype=torch.long), turned_entries(config)
    out = x.clone()
    out[order[1:turned:2]] = out[order[:turned:2]]
    return out


def change_value_basis(config: TargetConfig, weights: Weights, rng: torch.Generator) -> dict[str, Tensor]:
    """S3: W_V N, b_V N, N^-1 W_O for every head, one N a group."""
    out = dict(weights)
    for layer in range(config.n_layers):
        at = f"blocks.{layer}.attn."
        for group, heads in groups_of(weights, at):
            N = random_invertible(weights[at + "W_V"].shape[-1], weights[at + "W_V"], rng)
            _multiply(out, at, "V", [group], N)
            for h in heads:
                out[at + "W_O"] = with_row(out[at + "W_O"], h, torch.linalg.inv(N) @ weights[at + "W_O"][h])
    return out


def shift_key_bias(config: TargetConfig, weights: Weights, rng: torch.Generator) -> dict[str, Tensor]:
    """S4: any other b_K, of the entries that are not turned; no norms of keys."""
    out, rest = dict(weights), pair_order(config)[turned_entries(config) :] if turned_entries(config) else slice(None)
    for layer in range(config.n_layers):
        name = f"blocks.{layer}.attn.b_K"
        change = torch.zeros_like(weights[name])
        change[:, rest] = normal(tuple(weights[name].shape), weights[name], rng)[:, rest]
        out[name] = weights[name] + change
    return out


def move_value_bias(config: TargetConfig, weights: Weights, rng: torch.Generator) -> dict[str, Tensor]:
    """S5: b_V + c, b_O - c W_O."""
    out = dict(weights)
    for layer in range(config.n_layers):
        at = f"blocks.{layer}.attn."
        c = normal(tuple(weights[at + "b_V"].shape), weights[at + "b_V"], rng)
        out[at + "b_V"] = weights[at + "b_V"] + c
        copies = len(weights[at + "W_O"]) // max(1, len(c))
        c = c.repeat_interleave(copies, 0) if copies > 1 else c
        out[at + "b_O"] = weights[at + "b_O"] - torch.einsum("hk,hkd->d", c, weights[at + "W_O"])
    return out
