"""From routes (routes.py) to tokens: label, head and neuron tokens that know what each does to the others.

    kind, place, name, bias -> tokens
    tables of pairs, by head -> edges between tokens, scaled by what the heads' tokens say (binding)
    a head's own tables, seen through its neighbours' tokens -> the head's token, anew before each mixing
    tokens mixed by self-attention in which an edge adds to the score and to the value of its pair

An entry of a table enters at several scales at once (`loudness`), as those of compiled programs span eight decades.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from oracle.codes import NameCode
from oracle.config import EncoderConfig
from oracle.edges import EdgeBlock
from oracle.routes import KINDS, Routes, Ways

N_SCALES = 4
N_CONTEXT = 6 + 3


def loudness(x: Float[Tensor, "*shape"], largest: Float[Tensor, "..."] | None = None) -> Float[Tensor, "*shape 4"]:
    """A number as features: its sign and logarithm from 1/3 and from 1/100 on, how near it is to 1, and its share of
    the largest of its kind, which tells 2 of 8 from 3 of 8 whatever the unit."""
    share = x.clamp(-1, 1) if largest is None else x / largest.clamp_min(1e-12)
    return torch.stack([torch.asinh(3 * x) / 2, torch.asinh(100 * x) / 4, x / (1 + x.abs()), share], -1)


def by_heads(ways: Ways, n: int) -> Float[Tensor, "batch way node node 4"]:
    """Features of tables; the largest of a kind is that of all tables of a head, of which there are `n`."""
    each = ways.table.abs().flatten(2).amax(2) if ways.table.numel() else ways.table.new_zeros(ways.head.shape)
    largest = each.new_zeros(len(each), n).scatter_reduce(1, ways.head, each, "amax")
    return loudness(ways.table, largest.gather(1, ways.head)[..., None, None])


def of_readers(table: Float[Tensor, "batch node node"]) -> Float[Tensor, "batch node node 4"]:
    """Features of a table whose columns read; the largest of a kind is that of a column."""
    return loudness(table, table.abs().amax(1, keepdim=True))


class WaySums(nn.Module):
    """Tables of heads to edges: the sum over ways of an entry's features times what the heads of the way say."""

    def __init__(self, d_token: int, d_edge: int):
        super().__init__()
        self.d_edge = d_edge
        self.row, self.column = nn.Linear(d_token, d_token, bias=False), nn.Linear(d_token, d_token, bias=False)
        self.gate = nn.Linear(d_token, 2 * N_SCALES * d_edge)

    def forward(
        self, ways: Ways, loud: Float[Tensor, "batch way node node 4"], heads: Float[Tensor, "batch head d_token"]
    ) -> Float[Tensor, "batch node node d_edge"]:
        """Edges; `heads` are the tokens of the ways through them, that of the direct way first."""
        head, row, column = (picked(heads, which) for which in (ways.head, ways.row, ways.column))
        gates = self.gate(head + self.row(row) + self.column(column)).unflatten(-1, (N_SCALES, 2 * self.d_edge))
        n = loud.shape[2]
        entries = loud.permute(0, 2, 3, 1, 4).flatten(3).flatten(1, 2)  # [batch, node * node, way * 4]
        both = (entries @ gates.flatten(1, 2)).unflatten(1, (n, n))
        there, back = both.chunk(2, -1)
        return there + back.transpose(1, 2)


def picked(x: Float[Tensor, "batch n width"], which: Int[Tensor, "batch way"]) -> Float[Tensor, "batch way width"]:
    """Rows of x; zero for `SOME_HEAD`."""
    return x.gather(1, which.clamp_min(0)[..., None].expand(-1, -1, x.shape[-1])) * (which >= 0)[..., None]


class HeadSummary(nn.Module):
    """A head's own tables, seen through a few mixtures of the tokens on both sides."""

    def __init__(self, d_token: int, n_probes: int):
        super().__init__()
        self.norm = nn.LayerNorm(d_token)
        self.sides = nn.Linear(d_token, 4 * n_probes)
        self.out = nn.Linear(2 * N_SCALES * n_probes**2, d_token)

    def forward(
        self,
        tokens: Float[Tensor, "batch node d_token"],
        on: Float[Tensor, "batch node 1"],
        compared: Float[Tensor, "batch head node node 4"],
        moved: Float[Tensor, "batch head node node 4"],
    ) -> Float[Tensor, "batch head d_token"]:
        """What is added to the token of each head."""
        asks, looked_at, writes, reads = (self.sides(self.norm(tokens)) * on).chunk(4, -1)
        seen = []
        for table, left, right in ((compared, asks, looked_at), (moved, writes, reads)):
            half = torch.einsum("bhijf,bjp->bhifp", table, right)
            seen.append(torch.einsum("bhifp,biq->bhfpq", half, left).flatten(2))
        return self.out(torch.cat(seen, -1) / 4)


class Binding(nn.Module):
    """What a token is told by its neighbours: the sum of their tokens, each times its edge, entry by entry.

    Attention adds up tokens and edges apart from each other: of a neuron that reads two labels with two weights it says
    which labels and which weights, and not which of one goes with which of the other.
    """

    def __init__(self, d_token: int, d_edge: int):
        super().__init__()
        self.norm, self.told = nn.LayerNorm(d_token), nn.Linear(d_token, d_edge)
        self.out = nn.Linear(d_edge, d_token, bias=False)

    def forward(
        self,
        tokens: Float[Tensor, "batch node d_token"],
        on: Float[Tensor, "batch node 1"],
        edges: Float[Tensor, "batch node node d_edge"],
    ) -> Float[Tensor, "batch node d_token"]:
        """What is added to each token."""
        told = self.told(self.norm(tokens)) * on
        return self.out(torch.asinh(torch.einsum("bije,bje->bie", edges, told)))


class RouteNet(nn.Module):
    """Tokens of the nodes of small targets."""

    def __init__(self, config: EncoderConfig, d_llm: int):
        super().__init__()
        d, e, heads = config.d_token, config.d_edge, config.n_attention_heads
        self.name = nn.ModuleList(NameCode(d_llm, d) for _ in range(3))
        self.kind = nn.Parameter(0.3 * torch.randn(len(KINDS), d))
        self.context = nn.Linear(N_CONTEXT + N_SCALES, d)
        self.direct = nn.Parameter(0.3 * torch.randn(d))
        self.read, self.gram = nn.Linear(N_SCALES, 2 * e), nn.Linear(N_SCALES, e)
        self.compared, self.moved = WaySums(d, e), WaySums(d, e)
        self.of_head = nn.Linear(N_OWN * N_SCALES, 2 * e)
        self.summaries = nn.ModuleList(HeadSummary(d, config.edge_probes) for _ in range(config.n_mix_layers))
        self.scores = nn.Linear(e, config.n_mix_layers * heads)
        self.bind = nn.ModuleList(Binding(d, e) for _ in range(config.n_mix_layers))
        self.mix = nn.ModuleList(EdgeBlock(d, heads, e) for _ in range(config.n_mix_layers))

    def forward(
        self, routes: Routes, names: Int[Tensor, "batch node name"], table: Float[Tensor, "vocab d_llm"]
    ) -> Float[Tensor, "batch node d_token"]:
        """Tokens of the nodes, in their order. `names` are token ids of the labels' names, zero for other nodes."""
        there = routes.kind >= 0
        on = there[..., None].to(table.dtype)
        tokens = self.first(routes, names, table) * on
        n_ways = routes.head_node.shape[1]
        compared, moved = by_heads(routes.compared, n_ways), by_heads(routes.moved, n_ways)
        by_head = [summed(ways, loud, n_ways) for ways, loud in ((routes.compared, compared), (routes.moved, moved))]
        at = routes.head_node[..., None].expand(-1, -1, tokens.shape[2])
        tokens = tokens.scatter_add(1, at, self.summaries[0](tokens, on, *by_head) * routes.head_on[..., None])
        heads = torch.where(routes.head_on[..., None], tokens.gather(1, at), self.direct)
        heads = heads * torch.rsqrt(heads.square().mean(-1, keepdim=True) + 1e-6)
        edges = self.edges(routes, compared, moved, heads)
        scores = self.scores(edges).chunk(len(self.mix), -1)
        for i, (block, score) in enumerate(zip(self.mix, scores, strict=True)):
            if i:
                summary = self.summaries[i](tokens, on, *by_head) * routes.head_on[..., None]
                tokens = tokens.scatter_add(1, at, summary)
            tokens = tokens + self.bind[i](tokens, on, edges)
            tokens = block(tokens, there, edges, score)
        return tokens

    def first(
        self, routes: Routes, names: Int[Tensor, "batch node name"], table: Float[Tensor, "vocab d_llm"]
    ) -> Float[Tensor, "batch node d_token"]:
        """Kind, place among the layers, name and bias."""
        depth = routes.depth[:, None].to(table.dtype)
        layer = routes.layer.to(table.dtype)
        where = torch.stack([layer / 4, (depth - 1 - layer) / 4, depth.expand_as(layer) / 4], -1)
        where = where * (routes.kind >= 4)[..., None]
        kind = routes.target[:, None].expand(-1, layer.shape[1], -1)
        tokens = self.context(torch.cat([kind, where, loudness(routes.bias)], -1))
        tokens = tokens + self.kind[routes.kind.clamp_min(0)]
        for code, number in zip(self.name, (0, 1, 3), strict=True):
            tokens = tokens + code(names * (routes.kind == number)[..., None], table)
        return tokens

    def edges(
        self,
        routes: Routes,
        compared: Float[Tensor, "batch compared node node 4"],
        moved: Float[Tensor, "batch moved node node 4"],
        heads: Float[Tensor, "batch head d_token"],
    ) -> Float[Tensor, "batch node node d_edge"]:
        """What each node sees of each other."""
        there, back = self.read(of_readers(routes.read)).chunk(2, -1)
        edges = there + back.transpose(1, 2)
        if bool((routes.target[:, 0] == 0).any()):
            edges = edges + self.gram(of_readers(routes.gram)) * (1 - routes.target[:, :1, None, None])
        edges = edges + self.compared(routes.compared, compared, heads) + self.moved(routes.moved, moved, heads)
        there, back = self.of_head(of_head(own_tables(routes)).flatten(3)).chunk(2, -1)  # [batch, way, node, d_edge]
        there, back = (x * routes.head_on[..., None, None] for x in (there, back))
        at = routes.head_node[..., None, None].expand_as(there)
        edges = edges.scatter_add(1, at, there)
        edges = edges.scatter_add(2, at.transpose(1, 2), back.transpose(1, 2))
        return nn.functional.gelu(edges)


N_OWN = 8


def of_head(own: Float[Tensor, "batch way node 8"]) -> Float[Tensor, "batch way node 8 4"]:
    """Features of what heads do with nodes; the largest of a kind is that of a head."""
    return loudness(own, own.abs().amax(2, keepdim=True))


def summed(ways: Ways, loud: Float[Tensor, "batch way node node 4"], n: int) -> Float[Tensor, "batch head node node 4"]:
    """Features of tables, summed over the ways to each head."""
    out = loud.new_zeros(loud.shape[0], n, *loud.shape[2:])
    return out.scatter_add(1, ways.head[..., None, None, None].expand_as(loud), loud)


@torch.no_grad()
def own_tables(routes: Routes) -> Float[Tensor, "batch way node 8"]:
    """What each head does with each node: largest and smallest entry of what the node asks, is looked at for, gives to
    readers, and takes. A head that carries something to another stands for what it carries."""
    n_ways, n = routes.head_node.shape[1], routes.bias.shape[1]
    found = []
    for ways in (routes.compared, routes.moved):
        for axis, came in ((3, ways.row), (2, ways.column)):
            for largest in (True, False):
                table = ways.table
                entry = table.amax(axis) if largest else table.amin(axis)  # [batch, way, node]
                out = entry.new_zeros(len(table), n_ways, n)
                put = out.scatter_reduce(1, ways.head[..., None].expand_as(entry), entry, "amax" if largest else "amin")
                # the head that carried it there
                extreme = entry.amax(2) if largest else entry.amin(2)
                carrier = routes.head_node.gather(1, came.clamp_min(0))
                place = torch.where(came > 0, ways.head * n + carrier, 0)
                extreme = torch.where(came > 0, extreme, 0.0)
                put = put.flatten(1).scatter_reduce(1, place, extreme, "amax" if largest else "amin")
                found.append(put.unflatten(1, (n_ways, n)))
    return torch.stack(found, -1)
