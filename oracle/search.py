"""Programs whose transformer has the target's own weights: written, compiled, compared.

A decoder writes a program from the weights of a compiled target, mostly right and often wrong in a constant. Whoever
has a compiler need not leave it at that: a proposal can be compiled, and its weights be compared with the target's in
what no gauge changes. Both are read by the same encoder; where all label, head and neuron tokens coincide and all
tables agree, path by path through the heads (`routes.paths_of`), the proposal is *certified*: up to symmetries its
weights are the target's. The target is never run.

    the likeliest texts
    -> each compiled; those with other numbers of layers, heads, neurons or answers are out, once one has the same
    -> read; distance = how far their tokens are from the target's
    -> the likeliest of those that differ from the nearest one in few pieces, and those that differ from it in one
    -> again, until one is certified or the budget is spent

This knows of one compiler. A target that was trained, or compiled by another one, has no program whose weights are its
own: nothing is certified, and what the decoder wrote first stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from oracle.batch import N_SPECIALS, LabelIds, collate
from oracle.decoder import CODEC, WeightDecoder
from oracle.neutral import Neutral, fold
from oracle.routes import KINDS, Routes, is_plain, n_components, paths_of
from tracr_tasks.compiler.compile import compile_program
from tracr_tasks.errors import WeightOracleError
from tracr_tasks.text import parse_program
from zoo.compiled import named_value, target_of

FAR = 1.0
"""Distance from which on a proposal has nothing of the target's weights: if none comes nearer, there is no search."""
BEAM = 64
"""Texts that are tried first, the decoder's likeliest."""
AROUND, PULL = 24, 3.0
"""Texts around the nearest one that are tried in a round, and how much likelier (nats) each of its pieces is there."""
DOUBTS = 24
"""Changes of one piece of it, those that the decoder finds likeliest."""
AT_ONCE = 8
"""Texts that are compiled and read before one looks whether any is the target's."""
LONGEST = 140
"""Pieces of the longest proposal."""
APART = 0.2
"""Distance from which on tables are not compared: the target itself, in another gauge, is 0.02 away at most so far."""
TOGETHER, LIKE = 16, 1.2
"""Proposals that are read at once, and by how much the largest of them may be larger than the smallest: one of 300
nodes among those of 60 would make each cost as much."""
CLOSE = 0.002
"""Largest difference between entries of tables (as asinh of three times them) of targets that are one and the same."""


@dataclass(frozen=True)
class Found:
    """The nearest of the programs that were proposed."""

    text: str
    log_prob: float
    """Of its text as the decoder writes it, in nats."""
    distance: float
    """Mean distance of its tokens from the target's nearest ones, and back, in units of their length; inf where nothing
    that was proposed compiles."""
    certified: bool
    """Whether its weights are the target's, up to symmetries."""
    tried: int
    """Programs that were compiled and compared."""


@dataclass
class _Search:
    """The state of a search: what was tried, and how near it came."""

    decoder: WeightDecoder
    target: Neutral
    labels: LabelIds
    budget: int
    tried: int = 0
    passed_over: int = 0
    is_shaped: bool = False
    """Whether one of those tried has the target's shape."""
    near: dict[str, float] = field(default_factory=dict)
    pieces: dict[str, list[int]] = field(default_factory=dict)
    certified: str | None = None

    def __post_init__(self) -> None:
        self.shape = shape_of(self.target)
        with torch.no_grad():
            self.tokens = self.decoder.encoder(collate([self.target], [self.labels]), self.decoder.table)

    @property
    def over(self) -> bool:
        """Whether there is nothing left to do. As many programs may be passed over as may be compared."""
        return self.certified is not None or max(self.tried, self.passed_over) >= self.budget

    def follow(self, width: int, near: list[int] | None = None) -> None:
        """Try the decoder's likeliest texts, of all or of those near another one."""
        self.add([pieces for _, pieces in self.decoder.likeliest(self.tokens, width, LONGEST, near, PULL)])

    def add(self, texts: Sequence[list[int]]) -> None:
        """Compile, read and compare texts that were not yet tried, until one is certified or the budget is spent."""
        for i in range(0, len(texts), AT_ONCE):
            if not self.over:
                self._add(texts[i : i + AT_ONCE])

    def _add(self, texts: Iterable[list[int]]) -> None:
        fresh: dict[str, Proposal] = {}
        for pieces in texts:
            text = self.decoder.codec.decode(pieces)
            if text in self.near or text in fresh or self.tried >= self.budget:
                continue
            self.pieces[text], self.near[text] = pieces, float("inf")
            if (compiled := proposal(text, self.target, self.labels)) is None:
                continue
            has_shape = shape_of(compiled.neutral) == self.shape
            if self.is_shaped and not has_shape:
                self.passed_over += 1
                continue
            self.is_shaped = self.is_shaped or has_shape
            self.tried += 1
            fresh[text] = compiled
        for part in alike(fresh):
            batch = collate([each.neutral for each in part.values()], [each.labels for each in part.values()])
            with torch.no_grad():
                read = self.decoder.encoder(batch, self.decoder.table)
            for (text, compiled), tokens in zip(part.items(), read, strict=True):
                own = tokens[: len(compiled.routes.kind)]
                self.near[text] = distance(self.tokens[0], own)
                if self.certified is None and self.near[text] < APART and self.is_target(compiled, own):
                    self.certified = text

    def is_target(self, compiled: Proposal, tokens: Float[Tensor, "n d"]) -> bool:
        """Whether a proposal's routes are the target's, node for node as their tokens say, under the same labels."""
        own, other = self.target.routes, compiled.routes
        if own is None or len(own.kind) != len(other.kind) or not same_names(compiled.labels, self.labels):
            return False
        order = matched(own, other, self.tokens[0], tokens)
        return order is not None and same_weights(self.target, compiled.neutral, order)

    @property
    def nearest(self) -> str:
        """The text that came nearest; of those that do not compile the likeliest one."""
        return min(self.near, key=self.near.__getitem__)


def shape_of(target: Neutral) -> tuple[int, ...]:
    """Layers, heads and neurons that write, and answers."""
    return len(target.layers), *n_components(target), target.W_U.shape[1]


def can_be_searched(target: Neutral, labels: LabelIds) -> bool:
    """Whether a target may be what a program compiles to: small, without norms, answering at every position, with BOS
    and PAD among its tokens."""
    specials = [CODEC.name_of(ids) for ids in labels.tokens[:N_SPECIALS].tolist()]
    plain = target.routes is not None and target.norm == 0 and not target.gelu and not target.first
    return plain and specials == ["BOS", "PAD"]


@torch.no_grad()
def searched(decoder: WeightDecoder, target: Neutral, labels: LabelIds, budget: int) -> Found:
    """The program nearest to a target's weights among at most `budget` that are compiled.

    Args: a decoder over routes; a folded target (`can_be_searched`), its components in order (order.py) if the search
    is to end alike in every gauge; and the names of its labels as pieces.
    """
    search = _Search(decoder, target, labels, budget)
    search.follow(1)
    if not search.over:
        search.follow(BEAM)
    expanded = set[str]()
    is_near = search.near[search.nearest] < FAR
    while is_near and not search.over:
        left = [text for text in search.near if text not in expanded and search.near[text] < float("inf")]
        if not left:
            break
        text = min(left, key=search.near.__getitem__)
        expanded.add(text)
        pieces = search.pieces[text]
        search.follow(AROUND, pieces)
        search.add(changes(decoder, search.tokens, pieces))
    best = search.certified or search.nearest
    pieces = search.pieces[best]
    log_prob = decoder.log_prob(search.tokens, pieces)
    return Found(best, log_prob, search.near[best], search.certified is not None, search.tried)


def changes(decoder: WeightDecoder, tokens: Float[Tensor, "1 n d"], pieces: list[int]) -> list[list[int]]:
    """A text changed in one piece each, where the decoder was most in doubt."""
    log_probs = decoder.log_probs(tokens, pieces)[: len(pieces)]
    log_probs[torch.arange(len(pieces)), torch.tensor(pieces)] = -torch.inf
    best = log_probs.flatten().topk(min(DOUBTS, log_probs.numel())).indices.tolist()
    places = [divmod(i, log_probs.shape[1]) for i in best]
    return [[*pieces[:place], piece, *pieces[place + 1 :]] for place, piece in places]


@dataclass(frozen=True)
class Proposal:
    """The transformer that a text compiles to."""

    neutral: Neutral
    labels: LabelIds

    @cached_property
    def routes(self) -> Routes:
        """Its routes, which it has: `proposal` gives no other."""
        routes = self.neutral.routes
        assert routes is not None
        return routes


def proposal(text: str, like: Neutral, labels: LabelIds) -> Proposal | None:
    """What a text compiles to, for the tokens, length and direction of a target; None if it does not, or to what is too
    large."""
    vocab = tuple(named_value(CODEC.name_of(ids)) for ids in labels.tokens[N_SPECIALS:].tolist())
    try:
        target = target_of(compile_program(parse_program(text, vocab, len(like.W_pos) - 1, like.causal)))
    except WeightOracleError:
        return None
    neutral = fold(target.config, target.weights)
    if not is_plain(neutral):
        return None
    return Proposal(neutral, CODEC.label_ids(target.vocab.input, target.config.n_ctx, target.vocab.output))


def alike(proposals: Mapping[str, Proposal]) -> Iterator[dict[str, Proposal]]:
    """Proposals in parts to be read at once, of like numbers of nodes, the smallest ones first."""
    part, least = dict[str, Proposal](), 0
    for text, each in sorted(proposals.items(), key=lambda item: len(item[1].routes.kind)):
        size = len(each.routes.kind)
        if part and (len(part) == TOGETHER or size > LIKE * least):
            yield part
            part = {}
        least = least if part else size
        part[text] = each
    if part:
        yield part


def same_names(one: LabelIds, other: LabelIds) -> bool:
    """Whether the labels of two targets are called alike."""
    return all(torch.equal(getattr(one, kind), getattr(other, kind)) for kind in ("tokens", "positions", "outputs"))


def distance(one: Float[Tensor, "n d"], other: Float[Tensor, "m d"]) -> float:
    """Mean distance of tokens from their nearest in the other set, both ways, in units of their length."""
    apart = torch.cdist(one, other) / one.norm(dim=1).mean()
    return float(apart.amin(1).mean() + apart.amin(0).mean())


def matched(
    own: Routes, other: Routes, tokens: Float[Tensor, "n d"], others: Float[Tensor, "n d"]
) -> Int[Tensor, " n"] | None:
    """Which node of another target is which; None if kinds and layers differ. Labels, which are called alike, are
    themselves; heads and neurons are told by their tokens."""
    place = lambda routes: routes.kind * 1000 + routes.layer  # noqa: E731
    if not torch.equal(place(own).sort().values, place(other).sort().values):
        return None
    apart = torch.cdist(tokens, others) + 1e6 * (place(own)[:, None] != place(other))
    is_label = own.kind < KINDS.index("head")
    apart[is_label] += 1e6 * (1 - torch.eye(len(own.kind)))[is_label]
    rows, columns = linear_sum_assignment(apart.cpu().numpy().astype(np.float64))
    return torch.from_numpy(columns[np.argsort(rows)])


def same_weights(own: Neutral, other: Neutral, order: Int[Tensor, " n"]) -> bool:
    """Whether two targets are one up to symmetries, if node i of the first is node order[i] of the second: all that is
    read directly, and all that heads compare and move, path by path."""
    one, two = paths_of(own), paths_of(other)
    if one is None or two is None or own.routes is None or other.routes is None:
        return False

    def near(a: Tensor, b: Tensor) -> bool:
        return bool(((torch.asinh(3 * a) - torch.asinh(3 * b)).abs() <= CLOSE).all())

    if not near(one.bias, two.bias[order]):
        return False
    if not all(near(getattr(one, name), getattr(two, name)[order][:, order]) for name in ("read", "gram")):
        return False
    way_of = {int(node): way for way, node in enumerate(other.routes.head_node.tolist()) if way}
    ways = {way: way_of[int(order[node])] for way, node in enumerate(own.routes.head_node.tolist()) if way}
    renamed = {
        (name, ways[head], tuple(ways[w] for w in row), tuple(ways[w] for w in column)): table
        for (name, head, row, column), table in one.tables.items()
    }
    nothing = torch.zeros_like(one.read)
    return all(
        near(renamed.get(which, nothing), two.tables.get(which, nothing)[order][:, order])
        for which in renamed.keys() | two.tables.keys()
    )
