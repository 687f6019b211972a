"""What value inference finds out: facts about S-ops and selectors, and the small sums that they are made with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import lcm
from typing import Any

import numpy as np

from tracr_tasks.errors import ProgramError, Reason
from tracr_tasks.exact import Exact, is_number, sort_key

MAX_VALUES = 4096
"""Values of one S-op; beyond it only the range is known."""
MAX_SUMS = 1_000_000
"""Sums of values that the set of means is taken from."""


@dataclass(frozen=True)
class Fact:
    """What is known about an S-op. `values` is None where there are too many; then `low` and `high` bound them."""

    values: tuple[Exact, ...] | None
    """Possible values, in order, None last."""
    bases: tuple[int, ...]
    """Nodes that the value is a function of, ascending."""
    codes: np.ndarray
    """Places in `values` for every combination of the bases' values, one axis a base."""
    low: Any = 0
    high: Any = 0

    @property
    def may_be_none(self) -> bool:
        """Whether None is among the values (it is the last then)."""
        return bool(self.values) and self.values[-1] is None  # type: ignore[index]

    @property
    def is_numeric(self) -> bool:
        """Whether every value is a number."""
        return self.values is None or all(is_number(value) for value in self.values)


@dataclass(frozen=True)
class Term:
    """One factor of a selector: a relation [query values, key values] over joint values of some S-ops."""

    keys: tuple[int, ...]
    key_values: tuple[tuple[Exact, ...], ...]
    queries: tuple[int, ...]
    query_values: tuple[tuple[Exact, ...], ...]
    relation: np.ndarray


@dataclass(frozen=True)
class SelectorFact:
    """A selector as a conjunction of terms (none: always true), and what is sure about it."""

    terms: tuple[Term, ...]
    never_empty: bool
    """Every query selects at least one key."""
    single: bool
    """Every query selects at most one key."""


def refusal(text: str) -> ProgramError:
    """An error whose line is filled in by the pass that catches it."""
    return ProgramError([Reason(None, text)])


def base(place: int, values: Any) -> Fact:
    """The fact of an S-op that depends on nothing else at its position."""
    values = tuple(values)
    return Fact(values, (place,), np.arange(len(values)))


def ordered(values: Any) -> tuple[Exact, ...]:
    """Distinct values in the order of `sort_key`."""
    return tuple(sorted(set(values), key=sort_key))


def limits(fact: Fact) -> tuple[Any, Any]:
    """The least and the greatest value of a numeric S-op."""
    if fact.values is None:
        return fact.low, fact.high
    numbers: list[Any] = [value for value in fact.values if is_number(value)]
    return (min(numbers), max(numbers)) if numbers else (0, 0)


def along(values: Any, axis: int, shape: tuple[int, ...]) -> np.ndarray:
    """Values along one axis of a grid."""
    return np.array(values).reshape([-1 if i == axis else 1 for i in range(len(shape))])


@lru_cache(maxsize=4096)
def mean_set(numbers: tuple[int, ...], scale: int, most: int) -> frozenset[tuple[int, int]] | None:
    """Every mean of 1 to `most` of some numbers over a scale, with repetition; None if they are too many.

    A mean is a numerator and a denominator in lowest terms: these hash faster than fractions.
    """
    first = np.array(numbers)
    if np.abs(first).max(initial=0) * most * scale > 2**52:
        return None
    most = 1 if len(numbers) == 1 else most
    sums, means = first, [np.stack([first, np.full_like(first, scale)])]
    for count in range(2, most + 1):
        if len(sums) * len(first) > MAX_SUMS:
            return None
        sums = np.unique(sums[:, None] + first)
        means.append(np.stack([sums, np.full_like(sums, scale * count)]))
    parts = np.concatenate(means, axis=1)
    parts = parts // np.gcd(parts[0], parts[1])
    distinct = frozenset(zip(*parts.tolist(), strict=True))
    return None if len(distinct) > MAX_VALUES else distinct


def distinct_rows(relation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct rows of a Bool[a, b], ascending, and the place of each row among them.

    As `np.unique` along an axis, which takes ten times as long for small ones.
    """
    rows = [row.tobytes() for row in relation]
    places = {row: place for place, row in enumerate(sorted(set(rows)))}
    unique = np.frombuffer(b"".join(places), dtype=bool).reshape(len(places), relation.shape[1])
    return unique, np.array([places[row] for row in rows], dtype=np.int64)


def scaled(values: Sequence[Any]) -> tuple[int, list[int]]:
    """Numbers as integers over a common scale; what is not a number counts as 0."""
    numbers = [value if is_number(value) else 0 for value in values]
    scale = lcm(*(number.denominator for number in numbers))
    return scale, [number.numerator * (scale // number.denominator) for number in numbers]


def flat_codes(columns: Sequence[Sequence[int]], sizes: Sequence[int], count: int) -> np.ndarray:
    """One integer a tuple of codes, in the order of the tuples."""
    flat = np.zeros(count, dtype=np.int64)
    for column, size in zip(columns, sizes, strict=True):
        flat = flat * size + np.asarray(column)
    return flat
