"""Changes of weights that look like gauges and are none: the function changes, so its encoding must move.

The negative controls of symmetry.py, of the same form as its gauges.
"""

from __future__ import annotations

import torch
from torch import Tensor

from oracle.gauge_parts import Gauge, normal, random_invertible, random_orthogonal, reads_of, writes_of
from oracle.rotary import pair_order
from oracle.symmetry import fold_norms, in_residual_basis, offset_writes, scale_neurons
from tracr_tasks.transformer import TargetConfig, Weights

IMPORTANT = ("blocks.{layer}.attn.W_V", "blocks.{layer}.attn.W_O", "unembed.W_U")
"""Matrices whose largest weight is changed: what they carry reaches the answer whatever a ReLU does."""


def scale_keys(config: TargetConfig, weights: Weights, rng: torch.Generator) -> dict[str, Tensor]:
    """W_K alone times 1.3, in every layer: unlike S2, W_Q does not follow."""
    names = [f"blocks.{layer}.attn.W_K" for layer in range(config.n_layers)]
    return dict(weights) | {name: 1.3 * weights[name] for name in names}


def change_query_bias(config: TargetConfig, weights: Weights, rng: torch.Generator) -> dict[str, Tensor]:
    """Another b_Q in every layer: unlike that of b_K (S4), what it adds to a score differs between keys."""
    names = [f"blocks.{layer}.attn.b_Q" for layer in range(config.n_layers)]
    noise = {n: torch.randn(weights[n].shape, generator=rng, dtype=torch.float64) for n in names}
    return dict(weights) | {n: weights[n] + noise[n].to(weights[n].dtype) for n in names}


def rotate_all(config: TargetConfig, weights: Weights, rng: torch.Generator) -> dict[str, Tensor]:
    """A rotation of the residual stream that moves the ones direction, which LayerNorm takes out (not as L3)."""
    return in_residual_basis(fold_norms(config, weights), random_orthogonal(config.d_model, weights["embed.W_E"], rng))


def stretch_all(config: TargetConfig, weights: Weights, rng: torch.Generator) -> dict[str, Tensor]:
    """An invertible change of the residual basis (R2) under a norm, which sees the stream's length."""
    return in_residual_basis(fold_norms(config, weights), random_invertible(config.d_model, weights["embed.W_E"], rng))


def permute_one_block(config: TargetConfig, weights: Weights, rng: torch.Generator) -> dict[str, Tensor]:
    """The residual axis in another order in one block only: no residual direction keeps its place there."""
    block = f"blocks.{_drawn(config.n_layers, rng)}."
    cycle = torch.randperm(config.d_model, generator=rng)
    order = torch.empty_like(cycle)
    order[cycle] = cycle.roll(1)
    out = dict(weights)
    for norm, reads in reads_of(config).items():
        names = [norm + ".w", norm + ".b"]
        out |= {n: weights[n][order] for n in names if n.startswith(block) and n in weights}
        out |= {W: weights[W][..., order, :] for W, _ in reads if W.startswith(block)}
    return out | {n: weights[n][..., order] for n in writes_of(config) if n.startswith(block)}


def change_one_weight(config: TargetConfig, weights: Weights, rng: torch.Generator) -> dict[str, Tensor]:
    """1% more of one weight: the largest of a matrix that matters."""
    name = IMPORTANT[_drawn(len(IMPORTANT), rng)].format(layer=_drawn(config.n_layers, rng))
    changed = weights[name].flatten()
    largest = torch.arange(len(changed)) == changed.abs().argmax()
    return dict(weights) | {name: torch.where(largest, 1.01 * changed, changed).reshape(weights[name].shape)}


def _drawn(n: int, rng: torch.Generator) -> int:
    """A random number below n."""
    return int(torch.randint(n, (), generator=rng))


CONTROLS: dict[str, Gauge] = {
    "W_K": scale_keys,
    "b_Q": change_query_bias,
    "neuron scale": scale_neurons,
    "rotation": rotate_all,
    "invertible": stretch_all,
    "one block": permute_one_block,
    "one weight": change_one_weight,
}
"""Every negative control by name; `controls_of` says which of them a target has."""


def turn_queries(config: TargetConfig, weights: Weights, rng: torch.Generator) -> dict[str, Tensor]:
    """A turn inside each head's first turned pair, of queries alone: unlike S2, keys do not follow."""
    out, (one, other) = dict(weights), pair_order(config)[:2]
    angle = 0.5 + torch.rand((), generator=rng)
    for layer in range(config.n_layers):
        for name in (n for n in ("W_Q", "b_Q") if f"blocks.{layer}.attn.{n}" in weights):
            x = weights[f"blocks.{layer}.attn.{name}"].clone()
            a, b = x[..., one].clone(), x[..., other].clone()
            x[..., one], x[..., other] = a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()
            out[f"blocks.{layer}.attn.{name}"] = x
    return out


def change_query_gain(config: TargetConfig, weights: Weights, rng: torch.Generator) -> dict[str, Tensor]:
    """1.3 times the largest gain of the norm of queries in every layer: unlike Q1, that of keys does not follow."""
    out = dict(weights)
    for layer in range(config.n_layers):
        name = f"blocks.{layer}.attn.q_norm.w"
        gain = weights[name]
        out[name] = torch.where(gain.abs() == gain.abs().amax(), 1.3 * gain, gain)
    return out


EXTENDED_CONTROLS: dict[str, Gauge] = {"pair": turn_queries, "gain": change_query_gain, "gate scale": scale_neurons}
"""Those of rotary positions, of norms of queries and keys, and of gated neurons that are not ReLU."""


def write_ones(config: TargetConfig, weights: Weights, rng: torch.Generator) -> dict[str, Tensor]:
    """More of the ones direction in what every neuron writes: no L2, as the state's length counts."""
    names = [f"blocks.{layer}.mlp.W_out" for layer in range(config.n_layers)]
    return dict(weights) | {n: weights[n] + 0.5 * normal((len(weights[n]), 1), weights[n], rng) for n in names}


STATE_CONTROLS: dict[str, Gauge] = {"invertible": stretch_all, "offset": offset_writes, "ones": write_ones}
"""Those of normalised states: R2 and R3, gauges without a norm, and the half of L2 that changes what is written."""


def controls_of(config: TargetConfig) -> dict[str, Gauge]:
    """The controls that change the function of a target of this kind, by name.

    Neuron scale is a gauge of ReLU, a rotation one of everything but LayerNorm, an invertible basis one where
    neither a norm nor a normalised state sees lengths.
    """
    gauges = {"neuron scale"} if config.act_fn == "relu" else set()
    gauges |= set() if config.normalization_type in ("LN", "LNPre") else {"rotation"}
    gauges |= {"invertible"} if config.normalization_type is None and not config.normalize_states else set()
    return {name: control for name, control in CONTROLS.items() if name not in gauges}
