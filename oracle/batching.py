"""Batches for decoders that see pairs of nodes: of like size, and of like work.

A batch is padded to its largest target and its longest text. Compiled programs differ by a factor of ten in both, and
one step in twenty would take as long as ten others. Texts of like length are not put together, though it would save a
third of a step: programs of one length are of one kind, and a decoder that sees one kind at a time does not learn.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from oracle.neutral import Neutral
from oracle.routes import n_components, n_labels

JITTER = 0.06
"""How far a target may move among those sorted by work, as a share of them all: no two batches are alike."""
MOST = 2
"""Targets of a batch at most, in units of the size that was asked for."""
PAIR, WAY, NODE, PIECE = 8, 6, 3_000, 3_500
"""Work of a pair of nodes, of a head in it, of a node, and of a piece of text, in one unit; measured on one core."""


@dataclass(frozen=True)
class Load:
    """What a target is to read, and its text to write."""

    nodes: int
    heads: int
    pieces: int

    def joined(self, other: Load) -> Load:
        """What each of the two is when padded to both."""
        pairs = zip((self.nodes, self.heads, self.pieces), (other.nodes, other.heads, other.pieces), strict=True)
        return Load(*(max(pair) for pair in pairs))

    @property
    def work(self) -> float:
        """Of one target in a step."""
        return self.nodes**2 * (PAIR + WAY * self.heads) + NODE * self.nodes + PIECE * self.pieces


def load_of(target: Neutral, pieces: int) -> Load:
    """The load of a folded target with a text of so many pieces."""
    heads, neurons = n_components(target)
    return Load(n_labels(target) + heads + neurons, heads, pieces)


def even_batches(loads: Sequence[Load], size: int, rng: random.Random) -> Iterator[list[int]]:
    """Endless batches of places in `loads`, each as much work as `size` middling targets, at most `MOST` times as many.

    Every target comes once in each round. Batches come in random order, and are others in the next round.
    """
    budget = size * median(load.work for load in loads)
    by_work = sorted(range(len(loads)), key=lambda i: loads[i].work)
    while True:
        chunks = list(_cut(_ordered(by_work, rng), loads, budget, MOST * size))
        rng.shuffle(chunks)
        yield from chunks


def _ordered(by_work: Sequence[int], rng: random.Random) -> list[int]:
    """Places by work, but for some jitter."""
    far = JITTER * len(by_work)
    return [i for _, i in sorted((place + rng.uniform(-far, far), i) for place, i in enumerate(by_work))]


def _cut(order: Sequence[int], loads: Sequence[Load], budget: float, most: int) -> Iterator[list[int]]:
    """Neighbours together, as many as the budget has room for."""
    batch, padded = list[int](), Load(0, 0, 0)
    for i in order:
        grown = padded.joined(loads[i])
        if batch and (len(batch) == most or (len(batch) + 1) * grown.work > budget):
            yield batch
            batch, grown = [], loads[i]
        batch.append(i)
        padded = grown
    if batch:
        yield batch
