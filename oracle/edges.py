"""Edges: the pairings between any two of a target's label, head and neuron tokens, as features of their attention.

Labels and neurons are vectors of the residual stream: labels of the input and neurons *write*, labels of the output and
neurons *read*. A head is neither; it is seen between two others, what it compares and what it moves:

    writer a, reader r     <a, r>
    labels a, b            a W_Q W_K^T b and b W_Q W_K^T a of each head, and under a norm <a, b>
    label a, reader r      a W_V W_O r of each head
    head, writer a         a W_K W_Q^T x and a W_Q W_K^T x for mixtures x of the channels and for the query's bias,
                           a W_V W_O y for mixtures y of the covectors
    head, reader r         x W_V W_O r

What each head compares and moves is summed over heads, scaled by what the head's token says: without that the sum
forgets that the head which moves a token to a neuron is the one that looks at this position, and not another.

A gated neuron reads here what its activation is taken of. The sign of its write is a gauge (G1), so what is paired with
the write counts by its absolute value. In a parallel layer no neuron reads a head. Under rotary positions what labels
compare has what each distance adds (rotary.py) through a linear map without bias.

Every one is a product that no gauge changes (symmetries.md, Invariants), of a write with a later read (S9). Channels
say the same through a fixed number of mixtures for targets of any size; edges name the pair, as long as pairs are few.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from oracle.batch import WeightBatch
from oracle.config import EncoderConfig
from oracle.extended import BareLinear, squash
from oracle.rotary import DISTANCES, turned_pairings

Edge = Float[Tensor, "batch from to d_edge"]


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


def sized(pairings: Float[Tensor, "batch from to feature"], group: Group) -> Float[Tensor, "batch from to feature"]:
    """Pairings with the writes of a group, by their absolute value where the sign of a write means nothing."""
    return pairings if group.unsigned is None else torch.where(group.unsigned, pairings.abs(), pairings)


class EdgeSum:
    """Edges by pairs of groups, summed, then laid out as one array."""

    def __init__(self, groups: Sequence[Group]):
        self.groups = groups
        self.blocks: dict[tuple[int, int], Edge] = {}

    def add(self, i: int, j: int, edge: Edge) -> None:
        """What groups i and j see of each other: which is which follows from their kinds."""
        self._add(i, j, edge)
        if i != j:
            self._add(j, i, edge.transpose(1, 2))

    def _add(self, i: int, j: int, edge: Edge) -> None:
        self.blocks[i, j] = self.blocks[i, j] + edge if (i, j) in self.blocks else edge

    def whole(self, like: Float[Tensor, "batch ..."], d_edge: int) -> Float[Tensor, "batch node node d_edge"]:
        """All nodes beside all nodes, in the order of the groups; zero where nothing joins two."""
        rows = []
        for i, row in enumerate(self.groups):
            cells = [
                self.blocks[i, j] if (i, j) in self.blocks else like.new_zeros(len(like), row.n, column.n, d_edge)
                for j, column in enumerate(self.groups)
            ]
            rows.append(torch.cat(cells, 2))
        return torch.cat(rows, 1)


def pair_net(n_features: int, d_edge: int) -> nn.Sequential:
    """Pairings to an edge. What attention makes of edges is linear, a second layer for all pairs at once."""
    return nn.Sequential(nn.Linear(n_features, d_edge), nn.GELU())


class EdgeNet(nn.Module):
    """Pairings of a batch to edges [batch, node, node, d_edge]: entry (i, j) is what i sees of j."""

    def __init__(self, config: EncoderConfig):
        super().__init__()
        e, p = config.d_edge, config.edge_probes
        self.probe = nn.Linear(config.channels + 1, p, bias=False)
        self.want = nn.Linear(config.out_channels, p, bias=False)
        self.read, self.gram, self.compared, self.moved = (pair_net(n, e) for n in (1, 1, 2, 1))
        self.head_writer, self.head_reader = pair_net(3 * p + 1, e), pair_net(p, e)
        self.compared_by, self.moved_by = nn.Linear(config.d_token, e), nn.Linear(config.d_token, e)
        self.turned = BareLinear(2 * len(DISTANCES), e)
        self.d_edge = e

    def forward(self, batch: WeightBatch, groups: Sequence[Group]) -> Float[Tensor, "batch node node d_edge"]:
        """Edges between all nodes, in the order of the groups; the first group holds the labels of the input."""
        edges = EdgeSum(groups)
        for i, writer in enumerate(groups):
            for j, other in enumerate(groups):
                if writer.writes is not None and other.reads is not None and writer.layer < other.layer:
                    pairings = squash(writer.writes @ other.reads.transpose(1, 2))[..., None]
                    edges.add(i, j, self.read(sized(pairings, writer)))
        labels = groups[0].writes
        assert labels is not None
        gram = squash(labels @ labels.transpose(1, 2))[..., None]
        edges.add(0, 0, self.gram(gram) * (1 - batch.kind[:, :1, None, None]))
        for i, heads in enumerate(groups):
            if heads.channels is not None:
                self._through(batch, heads, groups, edges)
                self._of(batch, i, groups, edges)
        return edges.whole(batch.W_E, self.d_edge)

    def _through(self, batch: WeightBatch, heads: Group, groups: Sequence[Group], edges: EdgeSum) -> None:
        """What the heads of a layer compare and move, added to the edges of the input's labels."""
        layer, labels = batch.layers[heads.layer], groups[0].writes
        assert heads.tokens is not None
        on = layer.heads[..., None]
        compared_by, moved_by = (
            ((1 + net(heads.tokens)) * on)[:, :, None, None] for net in (self.compared_by, self.moved_by)
        )
        query, key, value = (torch.einsum("bnd,bhdk->bhnk", labels, W) for W in (layer.W_Q, layer.W_K, layer.W_V))
        scores = squash(query @ key.transpose(-1, -2))
        compared = self.compared[0](torch.stack([scores, scores.transpose(-1, -2)], -1))
        if batch.rates.shape[1]:
            change = squash(turned_pairings(query, key, batch.rates[:, : key.shape[3]], batch.kind[:, 4:5]))
            compared = compared + self.turned(torch.cat([change, change.transpose(2, 3)], -1))
        edges.add(0, 0, (self.compared[1](compared) * compared_by).sum(1))
        moved = value @ layer.W_O
        for j, reader in enumerate(groups):
            if reader.reads is not None and reader.layer >= heads.layer:
                pair = squash(torch.einsum("bhnd,bmd->bhnm", moved, reader.reads))[..., None]
                edges.add(0, j, (self.moved(pair) * moved_by).sum(1) * self._is_read(batch, heads, reader))

    @staticmethod
    def _is_read(batch: WeightBatch, heads: Group, reader: Group) -> Float[Tensor, "batch 1 1 1"] | float:
        """Whether readers from the heads' layer on read them: neurons of a parallel layer do not."""
        return 1 - batch.has("parallel")[..., None, None] if reader.layer == heads.layer else 1.0

    def _of(self, batch: WeightBatch, i: int, groups: Sequence[Group], edges: EdgeSum) -> None:
        """What each head of a layer compares and moves, added to its own edges."""
        heads = groups[i]
        assert heads.channels is not None and heads.covectors is not None and heads.query is not None
        layer, mixtures = batch.layers[heads.layer], self.probe(heads.channels)
        query, key, value = (torch.einsum("bdp,bhdk->bhkp", mixtures, W) for W in (layer.W_Q, layer.W_K, layer.W_V))
        query = torch.cat([query, heads.query[..., None]], -1)
        wanted = torch.einsum("bhkd,bdp->bhkp", layer.W_O, self.want(heads.covectors))
        moved = value.transpose(-1, -2) @ layer.W_O
        for j, other in enumerate(groups):
            if other.writes is not None and other.layer < heads.layer:
                sides = [
                    torch.einsum("bnd,bhdk->bhnk", other.writes, W) @ met
                    for W, met in ((layer.W_K, query), (layer.W_Q, key), (layer.W_V, wanted))
                ]
                edges.add(i, j, self.head_writer(sized(squash(torch.cat(sides, -1)), other)))
            if other.reads is not None and other.layer >= heads.layer:
                pair = self.head_reader(squash(torch.einsum("bhpd,bmd->bhmp", moved, other.reads)))
                edges.add(i, j, pair * self._is_read(batch, heads, other))


class EdgeBlock(nn.Module):
    """Pre-norm self-attention in which an edge adds to the score and to the value of its pair, and a GELU MLP."""

    def __init__(self, width: int, n_heads: int, d_edge: int):
        super().__init__()
        self.n_heads, self.scale = n_heads, (width // n_heads) ** -0.5
        self.norm, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.edge_out = nn.Linear(n_heads * d_edge, width, bias=False)
        self.mlp = nn.Sequential(nn.Linear(width, 3 * width), nn.GELU(), nn.Linear(3 * width, width))

    def forward(
        self,
        x: Float[Tensor, "batch node width"],
        mask: Bool[Tensor, "batch node"],
        edges: Float[Tensor, "batch node node d_edge"],
        edge_scores: Float[Tensor, "batch node node n_heads"],
    ) -> Float[Tensor, "batch node width"]:
        """x after attention and MLP; nodes where `mask` is False are not seen. `edge_scores` come from the edges."""
        q, k, v = (t.unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for t in self.qkv(self.norm(x)).chunk(3, -1))
        scores = q @ k.transpose(-1, -2) * self.scale + edge_scores.permute(0, 3, 1, 2)
        hidden = torch.zeros_like(mask, dtype=scores.dtype).masked_fill(~mask, -torch.inf)
        shares = (scores + hidden[:, None, None]).softmax(-1).to(v.dtype)
        seen = shares.transpose(1, 2) @ edges  # [batch, query, head, d_edge]
        x = x + self.out((shares @ v).transpose(1, 2).flatten(-2)) + self.edge_out(seen.flatten(-2))
        return x + self.mlp(self.norm_mlp(x))
