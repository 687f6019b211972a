"""Targets of zoos as examples, made when they are needed: a training begins at once, whatever it learns from."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import overload

from tqdm import tqdm

from oracle.history_questions import prepared
from oracle.neutral import Neutral
from oracle.reader import Reader
from oracle.subjects import Example, example_of
from oracle.symmetry import random_gauge
from tracr_tasks.errors import InputError
from zoo.rows import ZooRow
from zoo.store import Zoo

Cost = tuple[int, int, int]
"""Labels, heads and neurons, of which pairs are looked at; then depth and width."""


@dataclass(frozen=True)
class Entry:
    """A target of a zoo, and the seed of everything random about its example."""

    zoo: Zoo
    row: ZooRow
    seed: int

    @property
    def cost(self) -> Cost:
        """What the target costs to read, from the index alone."""
        config = self.zoo.families[self.row.family]
        sizes = self.row.labels.get("layers") or [(config.n_heads, config.d_head, config.d_mlp)] * config.n_layers
        labels = config.d_vocab + config.n_ctx + config.d_vocab_out
        return labels + sum(heads + neurons for heads, _, neurons in sizes), len(sizes), config.d_model


class Examples(Sequence[Example]):
    """Targets of zoos, each folded and asked what it answers when it is first looked at, and kept from then on.

    Each is read in a random gauge of its own: in float32 a changed basis costs the steep weights of compiled programs
    some precision, and an oracle that never met that would trust what a stranger's basis does not keep.
    """

    def __init__(self, entries: Sequence[Entry], reader: Reader, gauge: bool = True):
        self.entries, self.reader, self.gauge = tuple(entries), reader, gauge
        self._made: dict[int, Example] = {}

    def __len__(self) -> int:
        return len(self.entries)

    @overload
    def __getitem__(self, place: int) -> Example: ...

    @overload
    def __getitem__(self, place: slice) -> list[Example]: ...

    def __getitem__(self, place: int | slice) -> Example | list[Example]:
        """An example, or a list of some."""
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        i = range(len(self))[place]
        if i not in self._made:
            self._made[i] = self._make(i)
        return self._made[i]

    def _make(self, i: int) -> Example:
        zoo, row, seed = self.entries[i].zoo, self.entries[i].row, self.entries[i].seed
        target, program = zoo.target(row.id), zoo.program(row.id)
        shown = random_gauge(target.config, target.weights, seed) if self.gauge else None
        return example_of(row.id, target, program, row.regime, self.reader, seed, row.labels, shown)

    def even_out(self, seed: int) -> None:
        """Make all now, the answers about histories evened out over them (`history_questions.prepared`)."""
        made = [self._make(i) for i in tqdm(range(len(self)), desc="targets", leave=False, delay=2)]
        subjects = prepared([example.subject for example in made], seed)
        self._made = {i: replace(made[i], subject=subject) for i, subject in enumerate(subjects)}

    def and_then(self, others: Examples) -> Examples:
        """These, then others; those that are made already stay so."""
        both = Examples((*self.entries, *others.entries), self.reader, self.gauge)
        both._made = self._made | {len(self) + i: example for i, example in others._made.items()}
        return both


def rows_of(zoo: Zoo, split: str | None, limit: int | None, seed: int, regimes: Sequence[str] = ()) -> list[ZooRow]:
    """Rows of a zoo (of one split and of some regimes, if named) in its order; a seeded sample of them under a limit.

    Raises:
        InputError: the split has no targets of these regimes.
    """
    rows = [row for row in zoo.rows(split=split) if not regimes or row.regime in regimes]
    if regimes and not rows:
        there = sorted({row.regime for row in zoo.rows(split=split)})
        raise InputError(
            f"no targets of {', '.join(regimes)} in the zoo's split '{split}', which has {', '.join(there)}"
        )
    return random.Random(seed).sample(rows, limit) if limit is not None and limit < len(rows) else rows


def examples_of(
    zoo: Zoo,
    reader: Reader,
    *,
    split: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    gauge: bool = True,
    regimes: Sequence[str] = (),
) -> Examples:
    """Targets of a zoo (of one split and of some regimes, if named) in its order; a seeded sample of them under a
    limit.

    Raises:
        InputError: the split has no targets of these regimes.
    """
    rows = rows_of(zoo, split, limit, seed, regimes)
    found = Examples([Entry(zoo, row, seed + i) for i, row in enumerate(rows)], reader, gauge)
    if any("history" in row.labels for row in rows):
        found.even_out(seed)
    return found


def load_examples(
    zoo: Zoo,
    reader: Reader,
    *,
    split: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    regimes: Sequence[str] = (),
) -> list[Example]:
    """The examples of `examples_of`, all made now (which raises what it raises)."""
    found = examples_of(zoo, reader, split=split, limit=limit, seed=seed, regimes=regimes)
    bar = tqdm(
        range(len(found)), desc=f"{split or 'all'} targets", leave=False, disable=True if len(found) < 500 else None
    )
    return [found[i] for i in bar]


def batches_of(
    examples: Sequence[Example], size: int, rng: random.Random, rank: int = 0, n_ranks: int = 1
) -> Iterator[list[Example]]:
    """Endless batches; targets of like size come together, so that little is padding, in an order that is random.

    Under several ranks with equal generators, those of one step are disjoint and of like size. Of `Examples` only those
    of the own batches are made.
    """
    by_size = sorted(range(len(examples)), key=costs_of(examples).__getitem__)
    while True:
        jitter = [(i + rng.uniform(-0.1, 0.1) * len(by_size), j) for i, j in enumerate(by_size)]
        order = [j for _, j in sorted(jitter)]
        chunks = [order[i : i + size * n_ranks] for i in range(0, len(order), size * n_ranks)]
        rng.shuffle(chunks)
        for chunk in chunks:
            if len(chunk) >= n_ranks:
                yield [examples[j] for j in chunk[rank::n_ranks]]


def costs_of(examples: Sequence[Example]) -> list[Cost]:
    """What each example costs to read."""
    if isinstance(examples, Examples):
        return [entry.cost for entry in examples.entries]
    return [cost_of(example.neutral) for example in examples]


def cost_of(neutral: Neutral) -> Cost:
    """What folded weights cost to read."""
    labels = neutral.W_E.shape[0] + neutral.W_pos.shape[0] + neutral.W_U.shape[1]
    components = sum(len(layer.b_Q) + len(layer.b_in) for layer in neutral.layers)
    return labels + components, len(neutral.layers), neutral.W_E.shape[1]
