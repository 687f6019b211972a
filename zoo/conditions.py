"""Yes/no questions about a token sequence: the inner nodes of a flowchart.

    pos 3 is c               the third token is c (positions count from 1, BOS is not counted)
    has a                    a occurs somewhere
    2 of a                   a occurs at least twice
    first a before first b   a occurs, and b does not occur before it (nor need it occur at all)
    pos 1 equals pos 4       the first and the fourth token are the same
    first in {a, c}          the first token is a or c
    last in {a, c}           the last token is a or c

A condition is evaluated on one sequence of strings, or on a batch of token indices at once. Sequences have the full
length, so the last token is the one at position `max_seq_len`; of a shorter one it would be the last that it has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

TokenIds = Int[np.ndarray, "batch pos"]
"""Sequences as indices into a vocabulary."""
Truth = Bool[np.ndarray, " batch"]
"""Whether a condition holds, by sequence."""
SortKey = tuple[int, tuple[int, ...], tuple[str, ...]]
"""Kind, numbers and tokens of a condition, to be compared."""


@dataclass(frozen=True, order=True)
class At:
    """The token at `position` (from 1) is `token`."""

    position: int
    token: str

    @property
    def tokens(self) -> tuple[str, ...]:
        """Tokens that it names."""
        return (self.token,)

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

    @property
    def tokens(self) -> tuple[str, ...]:
        """Tokens that it names."""
        return (self.token,)

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

    @property
    def tokens(self) -> tuple[str, ...]:
        """Tokens that it names."""
        return (self.token,)

    def text(self) -> str:
        """Canonical wording."""
        return f"{self.count} of {self.token}"

    def holds(self, tokens: Sequence[str]) -> bool:
        """Whether it is true of one sequence."""
        return list(tokens).count(self.token) >= self.count

    def holds_batch(self, ids: TokenIds, index: Mapping[str, int]) -> Truth:
        """Whether it is true of each sequence; `index` maps a token to its id."""
        return np.equal(ids, index[self.token]).sum(1) >= self.count


@dataclass(frozen=True, order=True)
class Before:
    """`token` occurs, and its first occurrence is before that of `other`, if `other` occurs at all."""

    token: str
    other: str

    @property
    def tokens(self) -> tuple[str, ...]:
        """Tokens that it names."""
        return (self.token, self.other)

    def text(self) -> str:
        """Canonical wording."""
        return f"first {self.token} before first {self.other}"

    def holds(self, tokens: Sequence[str]) -> bool:
        """Whether it is true of one sequence."""
        return next((token == self.token for token in tokens if token in (self.token, self.other)), False)

    def holds_batch(self, ids: TokenIds, index: Mapping[str, int]) -> Truth:
        """Whether it is true of each sequence; `index` maps a token to its id."""
        mine = np.equal(ids, index[self.token])
        first = (mine | np.equal(ids, index[self.other])).argmax(1)
        return np.asarray(mine[np.arange(len(ids)), first])


@dataclass(frozen=True, order=True)
class Equals:
    """The tokens at two positions (from 1, the smaller one first) are the same."""

    position: int
    other: int

    def __post_init__(self) -> None:
        low, high = sorted((self.position, self.other))
        object.__setattr__(self, "position", low)
        object.__setattr__(self, "other", high)

    @property
    def tokens(self) -> tuple[str, ...]:
        """Tokens that it names: none."""
        return ()

    def text(self) -> str:
        """Canonical wording."""
        return f"pos {self.position} equals pos {self.other}"

    def holds(self, tokens: Sequence[str]) -> bool:
        """Whether it is true of one sequence."""
        return self.other <= len(tokens) and tokens[self.position - 1] == tokens[self.other - 1]

    def holds_batch(self, ids: TokenIds, index: Mapping[str, int]) -> Truth:
        """Whether it is true of each sequence; `index` maps a token to its id."""
        if self.other > ids.shape[1]:
            return np.zeros(len(ids), dtype=bool)
        return np.equal(ids[:, self.position - 1], ids[:, self.other - 1])


@dataclass(frozen=True, order=True)
class FirstIn:
    """The first token is one of `tokens` (kept sorted, each once)."""

    tokens: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "tokens", tuple(sorted(set(self.tokens))))

    def text(self) -> str:
        """Canonical wording."""
        return f"first in {{{', '.join(self.tokens)}}}"

    def holds(self, tokens: Sequence[str]) -> bool:
        """Whether it is true of one sequence."""
        return bool(tokens) and tokens[0] in self.tokens

    def holds_batch(self, ids: TokenIds, index: Mapping[str, int]) -> Truth:
        """Whether it is true of each sequence; `index` maps a token to its id."""
        return np.isin(ids[:, 0], [index[token] for token in self.tokens])


@dataclass(frozen=True, order=True)
class LastIn:
    """The last token is one of `tokens` (kept sorted, each once)."""

    tokens: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "tokens", tuple(sorted(set(self.tokens))))

    def text(self) -> str:
        """Canonical wording."""
        return f"last in {{{', '.join(self.tokens)}}}"

    def holds(self, tokens: Sequence[str]) -> bool:
        """Whether it is true of one sequence."""
        return bool(tokens) and tokens[-1] in self.tokens

    def holds_batch(self, ids: TokenIds, index: Mapping[str, int]) -> Truth:
        """Whether it is true of each sequence; `index` maps a token to its id."""
        return np.isin(ids[:, -1], [index[token] for token in self.tokens])


Condition = At | Contains | AtLeast | Before | Equals | FirstIn | LastIn


def depends_on_order(condition: Condition) -> bool:
    """Whether it speaks of first or last, so that positions cannot be renamed in it."""
    return isinstance(condition, Before | FirstIn | LastIn)


def order_of(condition: Condition) -> SortKey:
    """Sort key: by kind, in the order of the module's docstring, then by numbers and tokens."""
    match condition:
        case At(position, token):
            return (0, (position,), (token,))
        case Contains(token):
            return (1, (), (token,))
        case AtLeast(count, token):
            return (2, (count,), (token,))
        case Before(token, other):
            return (3, (), (token, other))
        case Equals(position, other_position):
            return (4, (position, other_position), ())
        case FirstIn(tokens):
            return (5, (len(tokens),), tokens)
        case LastIn(tokens):
            return (6, (len(tokens),), tokens)


def renamed(
    condition: Condition, token: Callable[[str], str], position: Callable[[int], int] = lambda p: p
) -> Condition:
    """The same question about other tokens and positions; first and last stay where they are."""
    match condition:
        case At(at, name):
            return At(position(at), token(name))
        case Contains(name):
            return Contains(token(name))
        case AtLeast(count, name):
            return AtLeast(count, token(name))
        case Before(name, other):
            return Before(token(name), token(other))
        case Equals(at, other_at):
            return Equals(position(at), position(other_at))
        case FirstIn(names):
            return FirstIn(tuple(token(name) for name in names))
        case LastIn(names):
            return LastIn(tuple(token(name) for name in names))
