"""Yes/no questions about a token sequence: the inner nodes of a flowchart.

    pos 3 is c      the third token is c (positions count from 1, BOS is not counted)
    has a           a occurs somewhere
    2 of a          a occurs at least twice

A condition is evaluated on one sequence of strings, or on a batch of token indices at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations_with_replacement, product

import numpy as np
from jaxtyping import Bool, Int

TokenIds = Int[np.ndarray, "batch pos"]
"""Sequences as indices into a vocabulary."""
Truth = Bool[np.ndarray, " batch"]
"""Whether a condition holds, by sequence."""


@dataclass(frozen=True, order=True)
class At:
    """The token at `position` (from 1) is `token`."""

    position: int
    token: str

    def text(self) -> str:
        """Canonical wording."""
        return f"pos {self.position} is {self.token}"

    def holds(self, tokens: Sequence[str]) -> bool:
        """Whether it is true of one sequence."""
        return self.position <= len(tokens) and tokens[self.position - 1] == self.token

    def holds_batch(self, ids: TokenIds, index: Mapping[str, int]) -> Truth:
        """Whether it is true of each sequence; `index` maps a token to its id."""
        if self.position > ids.shape[1]:
            return np.zeros(len(ids), dtype=bool)
        return np.equal(ids[:, self.position - 1], index[self.token])


@dataclass(frozen=True, order=True)
class Contains:
    """`token` occurs somewhere."""

    token: str

    def text(self) -> str:
        """Canonical wording."""
        return f"has {self.token}"

    def holds(self, tokens: Sequence[str]) -> bool:
        """Whether it is true of one sequence."""
        return self.token in tokens

    def holds_batch(self, ids: TokenIds, index: Mapping[str, int]) -> Truth:
        """Whether it is true of each sequence; `index` maps a token to its id."""
        return np.equal(ids, index[self.token]).any(1)


@dataclass(frozen=True, order=True)
class AtLeast:
    """`token` occurs at least `count` times (2 or more)."""

    count: int
    token: str

    def text(self) -> str:
        """Canonical wording."""
        return f"{self.count} of {self.token}"

    def holds(self, tokens: Sequence[str]) -> bool:
        """Whether it is true of one sequence."""
        return list(tokens).count(self.token) >= self.count

    def holds_batch(self, ids: TokenIds, index: Mapping[str, int]) -> Truth:
        """Whether it is true of each sequence; `index` maps a token to its id."""
        return np.equal(ids, index[self.token]).sum(1) >= self.count


Condition = At | Contains | AtLeast


def order_of(condition: Condition) -> tuple[int, int, str]:
    """Sort key: positions first, then `has`, then counts; the canonical form breaks ties with it."""
    match condition:
        case At(position, token):
            return (0, position, token)
        case Contains(token):
            return (1, 0, token)
        case AtLeast(count, token):
            return (2, count, token)


def renamed(
    condition: Condition, token: Callable[[str], str], position: Callable[[int], int] = lambda p: p
) -> Condition:
    """The same question about other tokens and positions."""
    match condition:
        case At(at, name):
            return At(position(at), token(name))
        case Contains(name):
            return Contains(token(name))
        case AtLeast(count, name):
            return AtLeast(count, token(name))


@lru_cache(maxsize=65_536)
def reachable_cells(
    conditions: tuple[Condition, ...], vocab_size: int, max_seq_len: int
) -> tuple[tuple[bool, ...], ...]:
    """Every combination of truth values that some sequence of the full length has, sorted. Exact for any size.

    Only the tokens and positions that the conditions name matter: unnamed tokens stand for each other, and so do
    unnamed positions, so it is enough to try every word over (named tokens, one other token if there is one) at the
    named positions and every multiset of those at the rest.
    """
    tokens = sorted({condition.token for condition in conditions})
    positions = sorted({condition.position for condition in conditions if isinstance(condition, At)})
    symbols = len(tokens) + (1 if vocab_size > len(tokens) else 0)
    words = _representatives(symbols, len(positions), max_seq_len - len(positions))
    token_index = {name: i for i, name in enumerate(tokens)}
    place = {position: i + 1 for i, position in enumerate(positions)}
    truth = [renamed(c, lambda t: t, place.__getitem__).holds_batch(words, token_index) for c in conditions]
    cells = np.unique(np.stack(truth, 1), axis=0) if truth else np.zeros((1, 0), dtype=bool)
    return tuple(tuple(bool(value) for value in cell) for cell in cells)


@lru_cache(maxsize=256)
def _representatives(symbols: int, named: int, free: int) -> TokenIds:
    """Words over `symbols` at `named` positions, each with every multiset of symbols at `free` further positions."""
    heads = list(product(range(symbols), repeat=named))
    tails = list(combinations_with_replacement(range(symbols), free))
    rows = [head + tail for head in heads for tail in tails]
    return np.array(rows, dtype=np.int64).reshape(len(rows), named + free)
