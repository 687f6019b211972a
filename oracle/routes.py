"""Routes: every way in which one part of a small target acts on another, as numbers that no gauge changes.

A *writer* is a label of the input or a neuron, a *reader* a neuron or a label of the output. What a writer puts into
the residual stream reaches a reader directly, or carried by heads, one behind the other:

    U[0, i] = what writer i writes
    U[h, i] = (U[0, i] + sum over heads s of earlier layers of U[s, i]) W_V^h W_O^h

so U[h, i] is all that head h writes of writer i, whichever heads carried it there. A target is then its tables

    read      U[0, i] . r_j                   what reader j takes of writer i, directly
    moved     (U[s, i] W_V^h W_O^h) . r_j     what it takes of it from head h, to which it came by s
    compared  U[s, i] W_Q^h W_K^h^T U[t, k]   how head h scores i, come by s, against k, come by t

and under a norm the Gram matrix U[0, i] . U[0, k]. These are the invariants of symmetries.md (pairings, compositions of
heads with heads and with neurons) and nothing else: no basis, no order, no scale of a ReLU neuron. Of a target of up
to two layers without norms they are all: the tables alone run it (a test). The token basis alone would not do:
intermediate variables of compiled programs live in directions that neither W_E nor W_U touches.

ReLU neurons are taken at a unit of what they read (R1): the root of the squares of their bias and of what they read of
the labels, or of all that reaches them where these are zero. A unit of everything would hide a token beside a steep
neuron whose write is a hundred times as large.

All is multiplied in float64, whatever the weights are: what is rounding of theirs is then told from what is not, and a
target has the same routes in every gauge. In float32 one in five compiled programs had not.

What routes do not say is by which way the second of three heads in a row had what it gives the third; `paths_of` does.

Nothing here is learned. There are (1 + heads before it)^2 ways to a head; where these are many in all, what heads carry
is followed without telling which of them carried it. Large targets are read by channels (encoder.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from oracle.batch import kind_of, pad_stack
from oracle.neutral import Neutral
from oracle.neutral_layer import NeutralLayer, arranged
from oracle.pairings import cleaned, paired, smallest

MAX_NODES = 400
"""Labels, heads and neurons of the largest target that is read by its routes."""
NOT_READ = (
    f"its routes are not read, expected at most {MAX_NODES} labels, heads and neurons, learned positions, and no gated "
    "neurons or normalised queries, keys or states"
)
MAX_WAYS = 100
"""Ways of queries and keys to heads up to which those who carry are told apart."""
MAX_PATHS = 60
"""Paths through heads that are followed one by one."""
Path = tuple[int, ...]
"""Heads one behind the other, the last one first."""
SOME_HEAD = -1
"""The way of what was carried by heads that are not told apart."""
ABSENT = 3e-5
"""What a neuron reads of bias and labels is rounding below this share of all that reaches it. Of 8,500 neurons of
compiled programs in random gauges none lies between 1e-5 and 3e-4."""
FAINT = 1e-5
"""Share of the largest entry of a head's tables, or of what a reader takes, below which an entry is rounding: those of
compiled programs are 3e-5 of it and more, or, in random gauges, 1e-6 and less (but for 1 in 1,000)."""
LOOSE = 8
"""Times what is rounding in a product of two vectors (pairings.py) is so here: 2^-18 of its bound. As compiled, no
product of 800 programs lies between 2^-26 and 2^-10 of it; in random gauges the fewest lie there."""
AT_UNIT = 0.1
"""What a neuron at its unit takes of something, about: beside this, what it takes of others may be faint."""
KINDS = ("input token", "position", "target", "output token", "head", "neuron")


@dataclass(frozen=True)
class Ways:
    """Tables of heads, one for each way to come to a head that is used. Way 0 is direct, way 1 + h through head h."""

    table: Float[Tensor, "*batch way node node"]
    head: Int[Tensor, "*batch way"]
    """Whose table it is, counted as ways are."""
    row: Int[Tensor, "*batch way"]
    """How the nodes of its rows came."""
    column: Int[Tensor, "*batch way"]
    """How those of its columns came; direct where they read."""

    def to(self, device: torch.device | str) -> Ways:
        """The same on another device."""
        return Ways(*(getattr(self, field.name).to(device) for field in fields(self)))


@dataclass(frozen=True)
class Routes:
    """The tables of one target, or of a batch padded with zeros. Nodes are those of `places.places_of` that exist."""

    read: Float[Tensor, "*batch node node"]
    """Row writes, column reads."""
    gram: Float[Tensor, "*batch node node"]
    compared: Ways
    """Row asks, column is looked at."""
    moved: Ways
    """Row writes, column reads."""
    bias: Float[Tensor, "*batch node"]
    """Of neurons at their unit, and of labels of the output."""
    kind: Int[Tensor, "*batch node"]
    """Into KINDS; -1 for padding."""
    layer: Int[Tensor, "*batch node"]
    """Of heads and neurons, counted from 0; of labels 0."""
    head_node: Int[Tensor, "*batch way"]
    """Which node each head is, by its way; 0 for the direct one and for padding."""
    head_on: Bool[Tensor, "*batch way"]
    """Which ways are heads."""
    target: Float[Tensor, "*batch 6"]
    """As `WeightBatch.kind`."""
    depth: Int[Tensor, "*batch"]

    def to(self, device: torch.device | str) -> Routes:
        """The same on another device."""
        return Routes(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


@torch.no_grad()
def routes_of(target: Neutral) -> Routes:
    """The routes of a target that has them (`is_plain`)."""
    routes = _Tracing(target).run()
    dtype = target.W_E.dtype
    return converted(routes, dtype, compared=converted(routes.compared, dtype), moved=converted(routes.moved, dtype))


def is_plain(target: Neutral, spare: int = 0) -> bool:
    """Whether a target has routes, and would have with `spare` components more: it is small, without extensions, and
    its states are not normalised."""
    extended = target.silu or target.gated or target.parallel or target.qk_norm or len(target.rates) > 0
    if extended or target.normalised or not isinstance(target.layers, tuple):
        return False
    return n_labels(target) + sum(n_components(target)) + spare <= MAX_NODES


def n_labels(target: Neutral) -> int:
    """Labels of a target, and one for the target itself."""
    return len(target.W_E) + len(target.W_pos) + 1 + target.W_U.shape[1]


def n_components(target: Neutral) -> tuple[int, int]:
    """Heads and neurons of a target that write anything."""
    found = [writing(layer) for layer in target.layers]
    return sum(int(heads.sum()) for heads, _ in found), sum(int(neurons.sum()) for _, neurons in found)


def writing(layer: NeutralLayer) -> tuple[Bool[Tensor, " n_heads"], Bool[Tensor, " d_mlp"]]:
    """Which heads and neurons of a layer write anything: the others are not part of the function."""
    return (layer.W_O != 0).any(-1).any(-1), (layer.W_out != 0).any(-1)


def stacked(routes: Sequence[Routes]) -> Routes:
    """Routes of single targets as those of a batch."""

    def ways(each: Sequence[Ways]) -> Ways:
        return Ways(*(pad_stack([getattr(w, field.name) for w in each]) for field in fields(Ways)))

    own = [field.name for field in fields(Routes) if field.name not in ("kind", "compared", "moved")]
    return Routes(
        **{name: pad_stack([getattr(r, name) for r in routes]) for name in own},
        kind=pad_stack([r.kind + 1 for r in routes]) - 1,
        compared=ways([r.compared for r in routes]),
        moved=ways([r.moved for r in routes]),
    )


P = TypeVar("P", Neutral, NeutralLayer, Routes, Ways)
Table = tuple[Tensor, tuple[int, Any, Any]]
"""What one thing does to another, node by node; the head, and how rows and columns came."""


class _Tracing:
    """Follows what is written through the layers of one target."""

    def __init__(self, target: Neutral):
        self.share = LOOSE * smallest(target.W_E)  # of a product of weights that is rounding
        layers = tuple(converted(_trimmed(layer), torch.float64) for layer in target.layers)
        self.target = target = whole(converted(target, torch.float64, layers=layers))
        self.no_norm, self.smooth, self.layers = target.norm == 0, target.gelu, layers
        self.constant, self.W_U = target.constant, target.W_U
        first = torch.cat([target.W_E, target.W_pos, self.constant[None] * (not self.no_norm)])
        counts = (len(target.W_E), len(target.W_pos), 1, target.W_U.shape[1])
        kinds, at = [kind for kind, n in enumerate(counts) for _ in range(n)], [0] * sum(counts)
        for index, layer in enumerate(self.layers):
            kinds += [4] * len(layer.W_Q) + [5] * len(layer.b_in)
            at += [index] * (len(layer.W_Q) + len(layer.b_in))
        device = first.device
        self.kind, self.layer = torch.tensor(kinds, device=device), torch.tensor(at, device=device)
        self.n_first, self.last = len(first), sum(counts)
        self.writes = first.new_zeros(len(kinds), first.shape[1])
        self.reads, self.bias = torch.zeros_like(self.writes), first.new_zeros(len(kinds))
        self.target_read = self.bias.clone()
        self.writes[: self.n_first] = first
        self.reads[self.n_first : self.last] = self.W_U.T
        self.head_node = torch.cat([torch.zeros(1, dtype=torch.long, device=device), torch.where(self.kind == 4)[0]])
        self.carried: list[Tensor] = []  # of each head so far [node, d_model]
        before = [sum(len(layer.W_Q) for layer in self.layers[:i]) for i in range(len(self.layers))]
        n_ways = sum(len(layer.W_Q) * (1 + n) ** 2 for layer, n in zip(self.layers, before, strict=True))
        self.told_apart, self.n_heads = n_ways <= MAX_WAYS, 0
        self.compared: list[tuple[Tensor, tuple[int, Any, Any]]] = []
        self.moved: list[tuple[Tensor, int, Any]] = []

    def follow(self) -> None:
        """Layer by layer; what heads move is paired when all readers have their unit."""
        for index, layer in enumerate(self.layers):
            sources, ways = self.sources()
            for number in range(len(layer.W_Q)):
                self.n_heads += 1
                scores, way = self.compare(layer, number, sources), self.n_heads
                self.compared += [(scores[i, j], (way, s, t)) for i, s in enumerate(ways) for j, t in enumerate(ways)]
                parts = self.carry(layer, number, sources)
                self.moved += [(part, way, came) for came, part in zip(ways, parts, strict=True)]
                self.keep(way, ways, parts)
            through = torch.einsum("d,hdk,hke->e", self.constant * self.no_norm, layer.W_V, layer.W_O)
            self.add(layer.b_O + through)
            self.neurons(layer, (self.layer == index) & (self.kind == 5))
            self.add(layer.b_out)
        self.outputs()

    def keep(self, way: int, ways: Sequence[Any], parts: Float[Tensor, "source node d_model"]) -> None:
        """Keep what a head carries for those behind it."""
        self.carried.append(parts.sum(0))

    @property
    def taken_by_readers(self) -> list[tuple[Tensor, tuple[int, Any, Any]]]:
        """What readers take of what heads carry."""
        return [(self.taken(part, way), (way, came, 0)) for part, way, came in self.moved]

    @property
    def read(self) -> Float[Tensor, "node node"]:
        """What readers take of writers directly."""
        read = self.earlier(paired(self.writes, self.reads.T, self.share))
        read[self.n_first - 1] = self.target_read  # the constant stream as it was when it was read
        at_unit = (self.kind == KINDS.index("neuron")) & (not self.smooth)
        return cleared(read, torch.maximum(read.abs().amax(0), AT_UNIT * at_unit))

    @property
    def gram(self) -> Float[Tensor, "node node"]:
        """Products of writes with writes, where a norm takes their length."""
        return paired(self.writes, self.writes.T, self.share) * (not self.no_norm)

    def run(self) -> Routes:
        """The routes."""
        self.follow()
        return Routes(
            read=self.read,
            gram=self.gram,
            compared=self.ways(self.compared),
            moved=self.ways(self.taken_by_readers),
            bias=self.bias,
            kind=self.kind,
            layer=self.layer,
            head_node=self.head_node,
            head_on=torch.arange(len(self.head_node), device=self.kind.device) > 0,
            target=kind_of(self.target),
            depth=torch.tensor(len(self.layers), device=self.kind.device),
        )

    def used(self, found: Sequence[Table]) -> list[Table]:
        """The tables in which there is anything."""
        found = [(cleared(table, self.largest(found, which[0])), which) for table, which in found]
        return [(table, which) for table, which in found if bool((table != 0).any())]

    def ways(self, found: Sequence[Table]) -> Ways:
        """The tables in which there is anything, with what is known of each."""
        kept, n = self.used(found), len(self.kind)
        tables = torch.stack([table for table, _ in kept]) if kept else self.bias.new_zeros(0, n, n)
        which = torch.tensor([which for _, which in kept], dtype=torch.long, device=self.kind.device).reshape(-1, 3)
        return Ways(tables, *which.T)

    @staticmethod
    def largest(found: Sequence[Table], head: int) -> Float[Tensor, ""]:
        """The largest entry of all tables of a head."""
        return torch.stack([table.abs().max() for table, which in found if which[0] == head]).max()

    def sources(self) -> tuple[Float[Tensor, "source node d_model"], list[Any]]:
        """All that has been written, and how it came: directly, and by each head so far."""
        if not self.carried:
            return self.writes[None], [0]
        if self.told_apart:
            return torch.stack([self.writes, *self.carried]), list(range(1 + len(self.carried)))
        return torch.stack([self.writes, torch.stack(self.carried).sum(0)]), [0, SOME_HEAD]

    def compare(
        self, layer: NeutralLayer, number: int, sources: Float[Tensor, "source node d_model"]
    ) -> Float[Tensor, "source source node node"]:
        """Scores of a head, by the ways of query and key; the node of the target asks with an empty stream's query."""
        empty = layer.b_Q[number] + (self.constant * self.no_norm) @ layer.W_Q[number]
        query, key = (
            cleaned(sources @ W, sources.norm(dim=2)[..., None] * W.norm(dim=0), self.share)
            for W in (layer.W_Q[number], layer.W_K[number])
        )
        query[0, self.n_first - 1] += empty
        scores = paired(query.flatten(0, 1), key.flatten(0, 1).T, self.share)
        return scores.unflatten(1, key.shape[:2]).unflatten(0, query.shape[:2]).transpose(1, 2)

    def carry(
        self, layer: NeutralLayer, number: int, sources: Float[Tensor, "source node d_model"]
    ) -> Float[Tensor, "source node d_model"]:
        """What a head writes of every writer, by the way it came."""
        W_V, W_O = layer.W_V[number], layer.W_O[number]
        moved = sources @ (W_V @ W_O)
        bound = self.share * sources.norm(dim=2) * torch.linalg.matrix_norm(W_V) * torch.linalg.matrix_norm(W_O)
        return torch.where((moved.norm(dim=2) <= bound)[..., None], 0.0, moved)

    def add(self, constant: Float[Tensor, " d_model"]) -> None:
        """Let the constant stream grow. Under a norm the node of the target writes it, else it is in the biases."""
        self.constant = self.constant + constant
        self.writes[self.n_first - 1] = self.constant * (not self.no_norm)

    def neurons(self, layer: NeutralLayer, at: Bool[Tensor, " node"]) -> None:
        """Reads, writes and biases of a layer's neurons at their unit."""
        start = self.constant * self.no_norm
        bound = layer.b_in.abs() + start.norm() * layer.W_in.norm(dim=0)
        bias = cleaned(layer.b_in + start @ layer.W_in, bound, self.share)
        written = torch.stack([self.writes, *self.carried])
        seen = paired(written, layer.W_in.expand(len(written), -1, -1), self.share)
        every = (bias.square() + seen.square().sum((0, 1))).sqrt()
        own = (bias.square() + seen[0, : self.n_first].square().sum(0)).sqrt()
        size = torch.where(own > ABSENT * every, own, every)
        size = torch.ones_like(size) if self.smooth else size
        unit = torch.where(size > 0, 1 / size.clamp_min(1e-12), 0.0)
        self.writes[at], self.reads[at] = layer.W_out * size[:, None], (layer.W_in * unit).T
        at_unit = self.bias.new_tensor(0.0 if self.smooth else AT_UNIT)
        self.bias[at], self.target_read[at] = cleared(bias * unit, at_unit), seen[0, self.n_first - 1] * unit

    def outputs(self) -> None:
        """Biases of the labels of the output."""
        start = self.constant * self.no_norm
        bound = self.target.b_U.abs() + start.norm() * self.W_U.norm(dim=0)
        at = slice(self.n_first, self.last)
        self.bias[at] = cleaned(self.target.b_U + start @ self.W_U, bound, self.share)
        self.target_read[at] = paired(self.writes[self.n_first - 1][None], self.W_U, self.share)[0]

    def read_layer(self) -> Int[Tensor, " node"]:
        """Layer of what each node reads; -1 for those that read nothing."""
        layer = torch.where(self.kind == 5, self.layer, -1)
        return torch.where(self.kind == 3, len(self.layers), layer)

    def taken(self, moved: Float[Tensor, "node d_model"], way: int) -> Float[Tensor, "node node"]:
        """What readers take of what a head carries."""
        behind = self.read_layer() >= self.layer[self.head_node[way]]
        return paired(moved, self.reads.T, self.share) * behind

    def earlier(self, read: Float[Tensor, "node node"]) -> Float[Tensor, "node node"]:
        """What is written before it is read."""
        wrote = torch.where(self.kind < 3, -1, self.layer)
        return read * (wrote[:, None] < self.read_layer())


@dataclass(frozen=True)
class Paths:
    """A target told by whole paths: which heads, one behind the other, carried what is compared and moved."""

    read: Float[Tensor, "node node"]
    gram: Float[Tensor, "node node"]
    bias: Float[Tensor, " node"]
    tables: dict[tuple[str, int, Path, Path], Float[Tensor, "node node"]]
    """By compared or moved, the head, and the heads on the paths of rows and columns, the last one first."""


@torch.no_grad()
def paths_of(target: Neutral) -> Paths | None:
    """A target that has routes, told by whole paths; None where there are more than `MAX_PATHS` of them.

    Routes say of a head's input which head it came from, and not by which this one had it: two programs whose third
    head in a row differs in that alone have the same routes. Paths tell them apart.
    """
    tracing = _PathTracing(target)
    try:
        tracing.follow()
    except _TooMany:
        return None
    named = (("compared", tracing.compared), ("moved", [(t, (w, s, ())) for t, (w, s, _) in tracing.taken_by_readers]))
    tables = {(name, *which): table for name, found in named for table, which in tracing.used(found)}
    return Paths(tracing.read, tracing.gram, tracing.bias, tables)


class _TooMany(Exception):
    """More paths than are followed."""


class _PathTracing(_Tracing):
    """Keeps what came by different paths apart."""

    def __init__(self, target: Neutral):
        super().__init__(target)
        self.paths: list[Path] = []

    def keep(self, way: int, ways: Sequence[Any], parts: Float[Tensor, "source node d_model"]) -> None:
        """Keep every path on which anything comes."""
        for path, part in zip(ways, parts, strict=True):
            if bool((part != 0).any()):
                self.carried.append(part)
                self.paths.append((way, *path))
        if len(self.paths) > MAX_PATHS:
            raise _TooMany

    def sources(self) -> tuple[Float[Tensor, "source node d_model"], list[Any]]:
        """All that has been written, and the path on which it came."""
        return torch.stack([self.writes, *self.carried]), [(), *self.paths]


def converted(part: P, dtype: torch.dtype, **others: Any) -> P:
    """A dataclass with its floating tensors in another precision, and some fields replaced."""
    found = {field.name: getattr(part, field.name) for field in fields(part)}
    floats = {name: x.to(dtype) for name, x in found.items() if isinstance(x, Tensor) and x.is_floating_point()}
    return replace(part, **floats | others)


def whole(target: Neutral) -> Neutral:
    """A target in float64 with what rounding took from its embeddings."""
    if target.rest is None:
        return target
    of_tokens, of_positions = (lost.double() for lost in target.rest)
    return replace(target, W_E=target.W_E + of_tokens, W_pos=target.W_pos + of_positions)


def cleared(x: Float[Tensor, "..."], largest: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """x, and zero where it is faint beside the largest of its kind."""
    return torch.where(x.abs() <= FAINT * largest, 0.0, x)


def _trimmed(layer: NeutralLayer) -> NeutralLayer:
    """A layer with the heads and neurons that write."""
    return arranged(layer, *(on.nonzero()[:, 0] for on in writing(layer)))
