"""The residual stream as the encoder follows it, and what normalised residual states show of it.

A state that is divided by its root mean square depends on the length of everything that is written, also in directions
that no later component reads. Where states are normalised, writes are therefore paired with writes: what a head or a
neuron adds with the channels before it and with itself, and in the end the constant stream with all channels. These
are entries of the write-write Gram matrix, which O(d) leaves as it is (symmetries.md, Invariants).

All of it is exactly zero for other targets, and enters through linear maps without biases.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from oracle.batch import LayerBatch, WeightBatch
from oracle.extended import squash


@dataclass
class Stream:
    """What the forward sweep carries: channels X and the constant stream."""

    X: Float[Tensor, "batch d_model channels"]
    constant: Float[Tensor, "batch d_model"]

    def seen_by_neurons(self, before: Stream, batch: WeightBatch) -> Stream:
        """What neurons read, of the stream behind the heads of their layer and of the one before them."""
        parallel = batch.has("parallel") > 0
        if not bool(parallel.any()):
            return self
        X = torch.where(parallel[..., None], before.X, self.X)
        return Stream(X, torch.where(parallel, before.constant, self.constant))


def channels_of(stream: Stream, batch: WeightBatch) -> Float[Tensor, "batch d_model all_channels"]:
    """X and, where lengths count, the constant stream as one more channel (else zero)."""
    return torch.cat([stream.X, (stream.constant * (1 - batch.no_norm))[..., None]], -1)


def head_gram(
    batch: WeightBatch, layer: LayerBatch, view: Float[Tensor, "batch d_model mixture"]
) -> Float[Tensor, "batch n_heads feature"]:
    """What every head moves of each mixture of the channels, paired with each mixture and with itself."""
    value = torch.einsum("bdc,bhdk->bhck", view, layer.W_V)
    moved = value @ layer.W_O
    seen = torch.cat([(moved @ view[:, None]).flatten(2), moved.norm(dim=-1)], -1)
    return squash(seen) * batch.normalised[..., None]


def neuron_gram(
    batch: WeightBatch,
    layer: LayerBatch,
    channels: Float[Tensor, "batch d_model all_channels"],
    size: Float[Tensor, "batch d_mlp"],
) -> Float[Tensor, "batch d_mlp feature"]:
    """What every neuron writes at unit size of what it reads, paired with the channels and with itself.

    The sign of a gated neuron's write is a gauge (G1), so its pairings count by their absolute values.
    """
    written = size[..., None] * layer.W_out
    pairs = written @ channels
    pairs = torch.where(batch.has("gated")[..., None] > 0, pairs.abs(), pairs)
    return squash(torch.cat([pairs, written.norm(dim=-1, keepdim=True)], -1)) * batch.normalised[..., None]


def final_gram(batch: WeightBatch, stream: Stream) -> Float[Tensor, "batch feature"]:
    """One for a target with normalised states, and the constant stream behind the last block with all channels."""
    seen = squash(torch.einsum("bd,bdc->bc", stream.constant, channels_of(stream, batch)))
    return torch.cat([torch.ones_like(seen[:, :1]), seen], -1) * batch.normalised
