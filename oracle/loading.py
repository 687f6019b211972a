"""Targets of zoos as examples, made when they are needed: a training begins at once, whatever it learns from."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
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


class Examples(Sequence[Example]):
    """Targets of a zoo, each folded and asked what it answers when it is first looked at, and kept from then on.

    Each is read in a random gauge of its own: in float32 a changed basis costs the steep weights of compiled programs
    some precision, and an oracle that never met that would trust what a stranger's basis does not keep.
    """

    def __init__(self, zoo: Zoo, rows: Sequence[ZooRow], reader: Reader, seed: int = 0, gauge: bool = True):
        self.zoo, self.rows, self.reader, self.seed, self.gauge = zoo, tuple(rows), reader, seed, gauge
        self._made: dict[int, Example] = {}
        if any("history" in row.labels for row in self.rows):
            self._even_out()

    def __len__(self) -> int:
        return len(self.rows)

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
        row, seed = self.rows[i], self.seed + i
        target, program = self.zoo.target(row.id), self.zoo.program(row.id)
        shown = random_gauge(target.config, target.weights, seed) if self.gauge else None
        return example_of(row.id, target, program, row.regime, self.reader, seed, row.labels, shown)

    def _even_out(self) -> None:
        """Answers about histories are evened out over all targets (`history_questions.prepared`): make them now."""
        made = [self._make(i) for i in tqdm(range(len(self)), desc="targets", leave=False, delay=2)]
        subjects = prepared([example.subject for example in made], self.seed)
        self._made = {i: replace(made[i], subject=subject) for i, subject in enumerate(subjects)}

    def cost(self, i: int) -> Cost:
        """What a target costs to read, from the index alone."""
        row = self.rows[i]
        config = self.zoo.families[row.family]
        sizes = row.labels.get("layers") or [(config.n_heads, config.d_head, config.d_mlp)] * config.n_layers
        labels = config.d_vocab + config.n_ctx + config.d_vocab_out
        return labels + sum(heads + neurons for heads, _, neurons in sizes), len(sizes), config.d_model


class Joined(Sequence[Example]):
    """The examples of several zoos, one after the other."""

    def __init__(self, parts: Sequence[Examples]):
        self.parts = parts
        self.places = [(part, i) for part in parts for i in range(len(part))]

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, place: int) -> Example: ...

    @overload
    def __getitem__(self, place: slice) -> list[Example]: ...

    def __getitem__(self, place: int | slice) -> Example | list[Example]:
        """An example, or a list of some."""
        if isinstance(place, slice):
            return [part[i] for part, i in self.places[place]]
        part, i = self.places[place]
        return part[i]

    def cost(self, place: int) -> Cost:
        """What a target costs to read."""
        part, i = self.places[place]
        return part.cost(i)


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
    rows = [row for row in zoo.rows(split=split) if not regimes or row.regime in regimes]
    if regimes and not rows:
        there = sorted({row.regime for row in zoo.rows(split=split)})
        raise InputError(
            f"no targets of {', '.join(regimes)} in the zoo's split '{split}', which has {', '.join(there)}"
        )
    if limit is not None and limit < len(rows):
        rows = random.Random(seed).sample(rows, limit)
    return Examples(zoo, rows, reader, seed, gauge)


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
    if isinstance(examples, Examples | Joined):
        return [examples.cost(i) for i in range(len(examples))]
    return [cost_of(example.neutral) for example in examples]


def cost_of(neutral: Neutral) -> Cost:
    """What folded weights cost to read."""
    labels = neutral.W_E.shape[0] + neutral.W_pos.shape[0] + neutral.W_U.shape[1]
    components = sum(len(layer.b_Q) + len(layer.b_in) for layer in neutral.layers)
    return labels + components, len(neutral.layers), neutral.W_E.shape[1]
