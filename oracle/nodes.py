"""The labels, heads and neurons of a batch as nodes: what each writes into the residual stream and reads out of it.

The sweeps give them layer by layer, padded to the widest target of the batch; here padding is taken out between them,
so that pairs are looked at among as many nodes as the largest target has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from oracle.attention import valid_order
from oracle.batch import WeightBatch

NEVER = 1 << 20
"""The layer behind all layers, at which those write that write nothing."""


@dataclass(frozen=True)
class Group:
    """Nodes of one kind and layer. Those of a kind that neither writes nor reads are heads."""

    n: int
    layer: int
    """-1 for labels of the input, the depth of the batch for those of the output."""
    writes: Float[Tensor, "batch n d_model"] | None = None
    """What each adds to the residual stream."""
    reads: Float[Tensor, "batch n d_model"] | None = None
    """What each takes from it."""
    unsigned: Bool[Tensor, "batch 1 1 1"] | None = None
    """Of neurons that may be gated: whether the sign of their writes means nothing."""
    channels: Float[Tensor, "batch d_model all_channels"] | None = None
    """Of heads: what the stream carries before them."""
    covectors: Float[Tensor, "batch d_model out_channels"] | None = None
    """Of heads: what it is read for behind them."""
    query: Float[Tensor, "batch n d_head"] | None = None
    """Of heads: the query of an empty stream."""
    tokens: Float[Tensor, "batch n d_token"] | None = None
    """Of heads: what is known of each, so that what it moves is tied to where it looks."""


@dataclass(frozen=True)
class Nodes:
    """The nodes of each target, those that exist first; zero vectors for what a node does not write or read."""

    writes: Float[Tensor, "batch node d_model"]
    reads: Float[Tensor, "batch node d_model"]
    write_layer: Int[Tensor, "batch node"]
    """Layer of what it writes: -1 for labels of the input, NEVER for nodes that write nothing."""
    read_layer: Int[Tensor, "batch node"]
    """Layer of what it reads, -1 for nodes that read nothing."""
    unsigned: Bool[Tensor, "batch node"]
    n_labels: int
    """Labels of the input are among so many first nodes."""

    @property
    def labels(self) -> Float[Tensor, "batch label d_model"]:
        """What labels of the input write; zero for other nodes in between."""
        first = slice(0, self.n_labels)
        return self.writes[:, first] * (self.write_layer[:, first] < 0)[..., None]


@dataclass(frozen=True)
class Heads:
    """The heads of all layers of each target, those that exist first."""

    W_Q: Float[Tensor, "batch head d_model d_head"]
    W_K: Float[Tensor, "batch head d_model d_head"]
    W_V: Float[Tensor, "batch head d_model d_head"]
    W_O: Float[Tensor, "batch head d_head d_model"]
    query: Float[Tensor, "batch head d_head"]
    """The query of an empty stream."""
    tokens: Float[Tensor, "batch head d_token"]
    layer: Int[Tensor, "batch head"]
    exists: Bool[Tensor, "batch head"]
    node: Int[Tensor, "batch head"]
    """Which node each is."""


def take(x: Shaped[Tensor, "batch m *rest"], order: Int[Tensor, "batch n"]) -> Shaped[Tensor, "batch n *rest"]:
    """Rows of axis 1 of x [batch, m, ...] in another order, as many as the order has."""
    return x.gather(1, order[(...,) + (None,) * (x.ndim - 2)].expand(*order.shape, *x.shape[2:]))


def nodes_of(groups: Sequence[Group], mask: Bool[Tensor, "batch all_nodes"]) -> Nodes:
    """The nodes that exist, out of the groups; the first group holds the labels of the input."""
    first, n_batch = groups[0], len(mask)
    assert first.writes is not None
    like, order = first.writes, valid_order(mask)

    def each(values: Sequence[int]) -> Int[Tensor, "batch all_nodes"]:
        rows = [torch.full((n_batch, g.n), value, device=mask.device) for g, value in zip(groups, values, strict=True)]
        return torch.cat(rows, 1)

    none = [like.new_zeros(n_batch, g.n, like.shape[2]) for g in groups]
    unsigned = [
        mask.new_zeros(n_batch, g.n) if g.unsigned is None else g.unsigned[:, 0, :, 0].expand(-1, g.n) for g in groups
    ]
    return Nodes(
        writes=take(
            torch.cat([z if g.writes is None else g.writes for g, z in zip(groups, none, strict=True)], 1), order
        ),
        reads=take(torch.cat([z if g.reads is None else g.reads for g, z in zip(groups, none, strict=True)], 1), order),
        write_layer=take(each([NEVER if g.writes is None else g.layer for g in groups]), order),
        read_layer=take(each([-1 if g.reads is None else g.layer for g in groups]), order),
        unsigned=take(torch.cat(unsigned, 1), order),
        n_labels=int(mask[:, : first.n].sum(1).max()),
    )


def heads_of(batch: WeightBatch, groups: Sequence[Group], mask: Bool[Tensor, "batch all_nodes"]) -> Heads:
    """The heads that exist, out of the groups."""
    found = [
        (g, batch.layers[g.layer], at) for g, at in zip(groups, _starts(groups), strict=True) if g.tokens is not None
    ]
    layers = [layer for _, layer, _ in found]
    width = max(layer.W_Q.shape[3] for layer in layers)
    exists = torch.cat([layer.heads for layer in layers], 1)
    order = valid_order(exists)

    def joined(
        tensors: Sequence[Shaped[Tensor, "batch _ ..."]], axis: int | None = None
    ) -> Shaped[Tensor, "batch head ..."]:
        if axis is not None:
            tensors = [_widened(x, axis, width) for x in tensors]
        return take(torch.cat(list(tensors), 1), order)

    place = torch.cat([torch.arange(at, at + g.n, device=mask.device) for g, _, at in found]).expand(len(mask), -1)
    number = torch.cat([torch.full((g.n,), g.layer, device=mask.device) for g, _, _ in found]).expand(len(mask), -1)
    rank = (mask.cumsum(1) - 1).clamp_min(0)
    return Heads(
        W_Q=joined([layer.W_Q for layer in layers], 3),
        W_K=joined([layer.W_K for layer in layers], 3),
        W_V=joined([layer.W_V for layer in layers], 3),
        W_O=joined([layer.W_O for layer in layers], 2),
        query=joined([g.query for g, _, _ in found if g.query is not None], 2),
        tokens=joined([g.tokens for g, _, _ in found if g.tokens is not None]),
        layer=joined([number]),
        exists=joined([exists]),
        node=joined([rank.gather(1, place)]),
    )


def by_head(
    heads: Heads,
    groups: Sequence[Group],
    of_group: Sequence[Float[Tensor, "batch *rest"]],  # noqa: F821
) -> Float[Tensor, "batch head *rest"]:
    """What belongs to a layer's heads alike (a tensor for each group of heads), for each head."""
    layers = [g.layer for g in groups if g.tokens is not None]
    which = torch.zeros_like(heads.layer)
    for i, layer in enumerate(layers):
        which = which + i * (heads.layer == layer)
    return take(torch.stack(list(of_group), 1), which)


def _starts(groups: Sequence[Group]) -> list[int]:
    """Where each group begins among all nodes."""
    return [sum(g.n for g in groups[:i]) for i in range(len(groups))]


def _widened(x: Float[Tensor, "..."], axis: int, width: int) -> Float[Tensor, "..."]:
    """x with zeros behind it on one axis."""
    pads = [0, 0] * (x.ndim - 1 - axis) + [0, width - x.shape[axis]]
    return torch.nn.functional.pad(x, pads)
