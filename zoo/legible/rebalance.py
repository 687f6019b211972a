"""The same function with other gains: a compiled program's weights, rescaled until no part is steeper than its partner.

A neuron's ReLU lets a positive factor through, a head's scores and values are products of two matrices, and a residual
coordinate can be held at any scale. Each factor is chosen so that the two sides that it divides have the same norm,
which is where the sum of their squares is least; only coordinates stay within 1 and `LOUDEST`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tracr_tasks.transformer import TargetConfig, Weights

ROUNDS = 60
"""Of rescaling coordinates, heads and neurons in turn; their sum of squares falls in each."""
LOUDEST = 4.0
"""A residual coordinate is scaled by 1 to this: readers beside the program's own hear what it holds, and the scale at
which the sum of squares is least would be over 20 for a share and 0.3 for an output."""
WRITERS = ("W_E", "W_pos", "W_O", "W_out", "b_O", "b_out")
"""Tensors whose last axis is the residual stream."""
READERS = ("W_Q", "W_K", "W_V", "W_in", "W_U")
"""Tensors whose last axis but one is the residual stream."""


@dataclass(frozen=True, eq=False)
class Rebalanced:
    """Weights with equal gains."""

    weights: dict[str, Tensor]
    """float64."""
    scales: Float[Tensor, " d_model"]
    """What each residual coordinate was multiplied by."""
    largest_before: float
    """Largest absolute entry of all tensors."""
    largest_after: float


def rebalanced(config: TargetConfig, weights: Weights) -> Rebalanced:
    """Rescale residual coordinates, heads and neurons; at the end |W_Q| = |W_K| and |W_V| = |W_O| for each head and
    |w_in| = |w_out| for each neuron, where both sides are not zero.

    Args:
        config: of a ReLU network without norm; layers may differ in size.
        weights: its tensors, biases included.
    """
    assert config.normalization_type is None and config.act_fn == "relu"
    out = {name: tensor.double().clone() for name, tensor in weights.items()}
    scales = torch.ones(config.d_model, dtype=torch.float64)
    before = largest(out)
    for _ in range(ROUNDS):
        aimed = (scales * _stream_factors(out, config.d_model)).clamp(1.0, LOUDEST)
        _scale_stream(out, aimed / scales)
        scales = aimed
        for layer in range(config.n_layers):
            _balance_heads(out, f"blocks.{layer}.attn.")
            _balance_neurons(out, f"blocks.{layer}.mlp.")
    return Rebalanced(out, scales, before, largest(out))


def largest(weights: Weights) -> float:
    """Largest absolute entry."""
    return max(float(tensor.abs().max()) for tensor in weights.values() if tensor.numel())


def _last(name: str) -> str:
    return name.rsplit(".", 1)[1]


def _ratio(over: Float[Tensor, " part"], under: Float[Tensor, " part"], power: float) -> Float[Tensor, " part"]:
    """(over / under) ** power, and 1 where one of them is zero."""
    both = (over > 0) & (under > 0)
    safe = torch.where(both, under, torch.ones_like(under))
    return torch.where(both, over / safe, torch.ones_like(over)) ** power


def _stream_factors(weights: Weights, d_model: int) -> Float[Tensor, " d_model"]:
    """Per residual coordinate, the factor that makes what is written to it as large as what reads it."""
    written, read = torch.zeros(d_model, dtype=torch.float64), torch.zeros(d_model, dtype=torch.float64)
    for name, tensor in weights.items():
        if _last(name) in WRITERS:
            written += tensor.square().reshape(-1, d_model).sum(0)
        elif _last(name) in READERS:
            read += tensor.square().transpose(-1, -2).reshape(-1, d_model).sum(0)
    return _ratio(read, written, 0.25)


def _scale_stream(weights: dict[str, Tensor], factors: Float[Tensor, " d_model"]) -> None:
    for name, tensor in weights.items():
        if _last(name) in WRITERS:
            weights[name] = tensor * factors
        elif _last(name) in READERS:
            weights[name] = tensor / factors[:, None]


def _balance_heads(weights: dict[str, Tensor], at: str) -> None:
    """|W_Q| = |W_K| and |W_V| = |W_O|, biases going with their matrices (b_O stands after the sum, so it stays)."""
    for first, second in (("Q", "K"), ("V", "O")):
        norms = [weights[f"{at}W_{side}"].square().sum((1, 2)).sqrt() for side in (first, second)]
        factor = _ratio(norms[1], norms[0], 0.5)
        for side, by in ((first, factor), (second, 1 / factor)):
            weights[f"{at}W_{side}"] = weights[f"{at}W_{side}"] * by[:, None, None]
            if side != "O":
                weights[f"{at}b_{side}"] = weights[f"{at}b_{side}"] * by[:, None]


def _balance_neurons(weights: dict[str, Tensor], at: str) -> None:
    """|w_in| = |w_out|; b_in goes with w_in."""
    w_in, w_out = weights[f"{at}W_in"], weights[f"{at}W_out"]
    factor = _ratio(w_out.square().sum(1).sqrt(), w_in.square().sum(0).sqrt(), 0.5)
    weights[f"{at}W_in"], weights[f"{at}b_in"] = w_in * factor, weights[f"{at}b_in"] * factor
    weights[f"{at}W_out"] = w_out / factor[:, None]
