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

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from oracle.batch import WeightBatch
from oracle.config import EncoderConfig
from oracle.extended import BareLinear, squash
from oracle.nodes import Group, Heads, Nodes, by_head, heads_of, nodes_of
from oracle.pairings import cleaned, paired
from oracle.rotary import DISTANCES, turned_pairings


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

    def forward(
        self, batch: WeightBatch, groups: Sequence[Group], mask: Bool[Tensor, "batch all_nodes"]
    ) -> Float[Tensor, "batch node node d_edge"]:
        """Edges between the nodes that exist, in their order; the first group holds the labels of the input."""
        nodes = nodes_of(groups, mask)
        meets = nodes.write_layer[:, :, None] < nodes.read_layer[:, None]
        pairings = squash(paired(nodes.writes, nodes.reads.transpose(1, 2)))
        pairings = torch.where(nodes.unsigned[..., None], pairings.abs(), pairings)
        read = self.read(pairings[..., None]) * meets[..., None]
        edges = read + read.transpose(1, 2)
        gram = squash(paired(nodes.labels, nodes.labels.transpose(1, 2)))[..., None]
        among = self.gram(gram) * (1 - batch.no_norm[..., None, None])
        if any(group.tokens is not None and group.n for group in groups):
            heads = heads_of(batch, groups, mask)
            compared, moved = self._through(batch, heads, nodes)
            own = self._of(batch, heads, groups, nodes)
            at = heads.node[:, :, None, None]
            among = among + compared
            edges[:, : nodes.n_labels] += moved
            edges[:, :, : nodes.n_labels] += moved.transpose(1, 2)
            edges = edges.scatter_add(1, at.expand(own.shape), own)
            edges = edges.scatter_add(2, at.transpose(1, 2).expand(own.transpose(1, 2).shape), own.transpose(1, 2))
        edges[:, : nodes.n_labels, : nodes.n_labels] += among * self._are_labels(nodes)
        return edges

    @staticmethod
    def _are_labels(nodes: Nodes) -> Bool[Tensor, "batch label label 1"]:
        """Which pairs of the first nodes are two labels of the input."""
        label = nodes.write_layer[:, : nodes.n_labels] < 0
        return (label[:, :, None] & label[:, None])[..., None]

    def _through(
        self, batch: WeightBatch, heads: Heads, nodes: Nodes
    ) -> tuple[Float[Tensor, "batch label label d_edge"], Float[Tensor, "batch label node d_edge"]]:
        """What heads compare among the input's labels, and what they move from these to readers behind them."""
        labels, on = nodes.labels, heads.exists[..., None]
        compared_by, moved_by = (
            ((1 + net(heads.tokens)) * on)[:, :, None, None] for net in (self.compared_by, self.moved_by)
        )
        query, key, value = (torch.einsum("bnd,bhdk->bhnk", labels, W) for W in (heads.W_Q, heads.W_K, heads.W_V))
        scores = squash(paired(query, key.transpose(-1, -2)))
        compared = self.compared[0](torch.stack([scores, scores.transpose(-1, -2)], -1))
        if batch.rates.shape[1]:
            change = squash(turned_pairings(query, key, batch.rates[:, : key.shape[3]], batch.kind[:, 4:5]))
            compared = compared + self.turned(torch.cat([change, change.transpose(2, 3)], -1))
        pair = squash(self._read_by(nodes, value @ heads.W_O))[..., None]
        label = (nodes.write_layer[:, : nodes.n_labels] < 0)[:, None, :, None]
        is_read = (self._is_read(batch, heads, nodes)[:, :, None] & label)[..., None]
        moved = (self.moved(pair) * moved_by * is_read).sum(1)
        return (self.compared[1](compared) * compared_by).sum(1), moved

    @staticmethod
    def _read_by(nodes: Nodes, moved: Float[Tensor, "batch head n d_model"]) -> Float[Tensor, "batch head n node"]:
        """What each node reads of vectors that heads write."""
        read = torch.einsum("bhnd,bmd->bhnm", moved, nodes.reads)
        return cleaned(read, moved.norm(dim=3)[..., None] * nodes.reads.norm(dim=2)[:, None, None])

    @staticmethod
    def _is_read(batch: WeightBatch, heads: Heads, nodes: Nodes) -> Bool[Tensor, "batch head node"]:
        """Whether a node reads what a head writes: from its layer on, in a parallel one from the next."""
        first = heads.layer + batch.has("parallel").long()
        return nodes.read_layer[:, None] >= first[..., None]

    def _of(
        self, batch: WeightBatch, heads: Heads, groups: Sequence[Group], nodes: Nodes
    ) -> Float[Tensor, "batch head node d_edge"]:
        """What each head compares and moves of the other nodes, seen from mixtures of channels and covectors."""
        channels = [self.probe(g.channels) for g in groups if g.channels is not None]
        covectors = [self.want(g.covectors) for g in groups if g.covectors is not None]
        mixtures, wants = (by_head(heads, groups, of_group) for of_group in (channels, covectors))
        query, key, value = (torch.einsum("bhdp,bhdk->bhkp", mixtures, W) for W in (heads.W_Q, heads.W_K, heads.W_V))
        met = (torch.cat([query, heads.query[..., None]], -1), key, torch.einsum("bhkd,bhdp->bhkp", heads.W_O, wants))
        sides = torch.cat([W @ m for W, m in zip((heads.W_K, heads.W_Q, heads.W_V), met, strict=True)], -1)
        met_by = torch.einsum("bnd,bhdp->bhnp", nodes.writes, sides)
        seen = squash(cleaned(met_by, nodes.writes.norm(dim=2)[:, None, :, None] * sides.norm(dim=2)[:, :, None]))
        seen = torch.where(nodes.unsigned[:, None, :, None], seen.abs(), seen)
        writes_before = nodes.write_layer[:, None] < heads.layer[..., None]
        writer = self.head_writer(seen) * writes_before[..., None]
        moved = value.transpose(-1, -2) @ heads.W_O
        reader = self.head_reader(squash(self._read_by(nodes, moved)).transpose(2, 3))
        own = writer + reader * self._is_read(batch, heads, nodes)[..., None]
        return own * heads.exists[..., None, None]


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
