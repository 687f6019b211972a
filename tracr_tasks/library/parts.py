"""Parts: S-ops, selectors and small functions that several programs of the library are made of.

A selector names the keys that a query looks at. All start from tokens and indices, never from `length`, so that they
compile under causal attention too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from tracr_tasks.exact import Exact, Value, exact, literal, sort_key
from tracr_tasks.functions import table
from tracr_tasks.rasp import (
    INDICES,
    TOKENS,
    Aggregate,
    LinearSequenceMap,
    Map,
    Select,
    Selector,
    SelectorWidth,
    SequenceMap,
    SOp,
    map_,
    select,
    sequence_map,
)

ALL = select(TOKENS, TOKENS, "true")
SAME = select(TOKENS, TOKENS, "==")
"""Positions with this token."""
UP_TO_HERE = select(INDICES, INDICES, "<=")
EARLIER = select(INDICES, INDICES, "<")
PREVIOUS = select(INDICES, INDICES, "k + 1 == q")
"""The position before this one."""

LENGTH = SelectorWidth(ALL)
"""The number of tokens; under causal attention the number up to here (`rasp.LENGTH` cannot be compiled there)."""
HIST = SelectorWidth(SAME)
"""How often this token occurs."""
OCCURRENCE = SelectorWidth(SAME & UP_TO_HERE)
"""Which occurrence of its token this is, from 1."""
REPEATS = SelectorWidth(SAME & PREVIOUS)
"""1 where the token before is the same, else 0."""
OPPOSITE = sequence_map("x - y - 1", LENGTH, INDICES)
"""The position as far from the end as this one is from the start."""


def where(x: SOp, text: str) -> Select:
    """The positions whose x satisfies a predicate of k."""
    return select(x, x, text)


def counted(x: SOp, text: str) -> SOp:
    """At how many positions x satisfies a predicate of k."""
    return SelectorWidth(where(x, text))


def is_token(token: Value, name: str = "x") -> str:
    """The text of the test whether something is this token."""
    return f"{name} == {literal(exact(token))}"


def flag(token: Value) -> SOp:
    """1 at this token, else 0."""
    return map_(is_token(token), TOKENS)


def share(token: Value, selector: Selector) -> SOp:
    """The share of a token among the selected positions."""
    return Aggregate(selector, flag(token), default=0)


def depth(opening: Value, closing: Value) -> SOp:
    """How many more of one token than of another there are up to here."""
    opened, closed = (SelectorWidth(where(TOKENS, is_token(token, "k")) & UP_TO_HERE) for token in (opening, closing))
    return LinearSequenceMap(1, -1, opened, closed)


def fetch(position: SOp) -> SOp:
    """The token at a position; none where there is no such position."""
    return Aggregate(select(INDICES, position, "=="), TOKENS)


def shifted(x: SOp, offset: int, default: Value = None) -> SOp:
    """x at the position `offset` before this one."""
    return Aggregate(select(INDICES, INDICES, f"k + {offset} == q"), x, default)


def position(selector: Selector, default: int = 0) -> SOp:
    """The one position that is selected.

    The compiler cannot know that it is one, and lists every mean of positions, which it gives up beyond some twenty
    positions; int() spares what follows those means.
    """
    return map_("int(x)", Aggregate(selector, INDICES, default))


def greatest(x: SOp) -> SOp:
    """The greatest value of a whole number from 0 to the length: how many of 0, 1, ... are exceeded somewhere."""
    exceeded = SelectorWidth(select(x, INDICES, ">"))
    return counted(exceeded, "k > 0")


def ranked(keys: SOp) -> SOp:
    """How many keys are smaller than this one."""
    return SelectorWidth(select(keys, keys, "<"))


def arranged(rank: SOp) -> SOp:
    """The tokens at the positions that `rank` gives them."""
    return Aggregate(select(rank, INDICES, "=="), TOKENS)


def ordinal(vocab: Sequence[Value]) -> SOp:
    """The tokens as whole numbers in the same order: the tokens themselves where they are that."""
    tokens: list[Exact] = [exact(token) for token in vocab]
    if all(isinstance(token, int) for token in tokens):
        return TOKENS
    return Map(table({token: place for place, token in enumerate(sorted(tokens, key=sort_key))}), TOKENS)


def kept(vocab: Sequence[Value], keep: SOp, mark: Value) -> SOp:
    """This token where `keep` is 1, the mark where it is 0."""
    rows = {(token, 1): token for token in vocab} | {(token, 0): mark for token in vocab}
    return SequenceMap(table(rows, ("x", "y")), TOKENS, keep)


def detected(pattern: Sequence[Value], default: Value = None) -> SOp:
    """1 where the tokens that end here are the pattern, else 0; the default where fewer tokens than that end here."""
    last, *before = reversed(list(pattern))
    flags = [shifted(flag(token), offset, default) for offset, token in enumerate(before, start=1)]
    return all_of([*reversed(flags), flag(last)])


def all_of(flags: Sequence[SOp]) -> SOp:
    """1 where all of the flags are 1, else 0."""
    return reduce(lambda x, y: sequence_map("x and y", x, y), flags)
