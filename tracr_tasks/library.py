"""A library of named programs, each with what it does and an example.

from tracr_tasks import library_program

library_program("hist").run(["a", "b", "a"])        # [2, 1, 2]
library_program("hist", vocab=(1, 2, 3), max_seq_len=12)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tracr_tasks.errors import InputError
from tracr_tasks.exact import Value
from tracr_tasks.rasp import Program
from tracr_tasks.text import parse_program

LETTERS = ("a", "b", "c", "d")
DIGITS = (0, 1, 2, 3, 4)
BRACKETS = ("(", ")", "a")


@dataclass(frozen=True)
class Entry:
    """One program of the library."""

    name: str
    about: str
    """What it computes, in one sentence."""
    text: str
    """The program without its header."""
    example: tuple[tuple[Value, ...], tuple[Any, ...]]
    """An input and the values it gives."""
    vocab: tuple[Value, ...] = LETTERS
    max_seq_len: int = 5
    causal: bool = False


ENTRIES = (
    Entry(
        "length",
        "The number of tokens, at every position.",
        "out = selector_width(select(tokens, tokens, true))",
        (("a", "b", "a"), (3, 3, 3)),
    ),
    Entry(
        "hist",
        "How often this token occurs.",
        "out = selector_width(select(tokens, tokens, ==))",
        (("a", "b", "a"), (2, 1, 2)),
    ),
    Entry(
        "reverse",
        "The tokens in reverse order.",
        """
        last = map(x - 1, selector_width(select(tokens, tokens, true)))
        opposite = sequence_map(x - y, last, indices)
        out = aggregate(select(indices, opposite, ==), tokens)
        """,
        (("a", "b", "c"), ("c", "b", "a")),
    ),
    Entry(
        "sort_unique",
        "The tokens in ascending order, for inputs without repetition.",
        """
        rank = selector_width(select(tokens, tokens, <))
        out = aggregate(select(rank, indices, ==), tokens)
        """,
        ((3, 1, 2), (1, 2, 3)),
        DIGITS,
    ),
    Entry(
        "sort",
        "The tokens in ascending order.",
        """
        keys = sequence_map(x + y / 5, tokens, indices)
        rank = selector_width(select(keys, keys, <))
        out = aggregate(select(rank, indices, ==), tokens)
        """,
        ((3, 1, 3, 0), (0, 1, 3, 3)),
        DIGITS,
    ),
    Entry(
        "frac_prevs",
        "The share of `a` among the tokens up to here.",
        """
        is_a = map(x == 'a', tokens)
        out = numerical(aggregate(select(indices, indices, <=), is_a, default=0))
        """,
        (("a", "b", "a", "b"), (1, 0.5, 2 / 3, 0.5)),
    ),
    Entry(
        "shift_by_1",
        "The token before this one; none at the first position.",
        "out = aggregate(select(indices, indices, k + 1 == q), tokens)",
        (("a", "b", "c"), (None, "a", "b")),
    ),
    Entry(
        "shift_by_2",
        "The token two places before this one; none at the first two positions.",
        "out = aggregate(select(indices, indices, k + 2 == q), tokens)",
        (("a", "b", "c"), (None, None, "a")),
    ),
    Entry(
        "induction",
        "The mean of the tokens that followed earlier occurrences of this token; -1 where there is none.",
        """
        previous = aggregate(select(indices, indices, k + 1 == q), tokens, default=-1)
        follows = selector_and(select(previous, tokens, ==), select(indices, indices, <=))
        out = numerical(aggregate(follows, tokens, default=-1))
        """,
        ((1, 3, 1, 3, 4), (-1, -1, 3, 1, -1)),
        DIGITS,
        5,
        True,
    ),
    Entry(
        "count_a",
        "How often `a` occurs.",
        "out = selector_width(select(tokens, tokens, k == 'a'))",
        (("a", "b", "a"), (2, 2, 2)),
    ),
    Entry(
        "majority_a",
        "Whether more than half of the tokens are `a`.",
        """
        share = aggregate(select(tokens, tokens, true), map(x == 'a', tokens), default=0)
        out = map(x > 0.5, share)
        """,
        (("a", "b", "a"), (1, 1, 1)),
    ),
    Entry(
        "seen_before",
        "Whether this token occurred earlier.",
        """
        earlier = selector_and(select(tokens, tokens, ==), select(indices, indices, <))
        out = map(x > 0, selector_width(earlier))
        """,
        (("a", "b", "a"), (0, 0, 1)),
    ),
    Entry(
        "first",
        "The first token, at every position.",
        "out = aggregate(select(indices, indices, k == 0), tokens)",
        (("b", "a", "c"), ("b", "b", "b")),
    ),
    Entry(
        "palindrome",
        "Whether this token equals its mirror image.",
        """
        last = map(x - 1, selector_width(select(tokens, tokens, true)))
        opposite = sequence_map(x - y, last, indices)
        mirror = aggregate(select(indices, opposite, ==), tokens, default='none here')
        out = sequence_map(x == y, tokens, mirror)
        """,
        (("a", "b", "c", "a"), (1, 0, 0, 1)),
    ),
    Entry(
        "pair_balance",
        "The share of `(` minus the share of `)` up to here.",
        """
        before = select(indices, indices, <=)
        opened = aggregate(before, map(x == '(', tokens), default=0)
        closed = aggregate(before, map(x == ')', tokens), default=0)
        out = numerical(linear(1, -1, opened, closed))
        """,
        (("(", "(", ")", "a"), (1, 1, 1 / 3, 0.25)),
        BRACKETS,
    ),
    Entry(
        "dyck",
        "Whether the brackets are balanced and never close one that is not open.",
        """
        before = select(indices, indices, <=)
        opened = aggregate(before, map(x == '(', tokens), default=0)
        closed = aggregate(before, map(x == ')', tokens), default=0)
        balance = linear(1, -1, opened, closed)
        negative = map(x < 0, balance)
        never_negative = map(x == 0, aggregate(select(tokens, tokens, true), negative, default=0))
        last = map(x - 1, selector_width(select(tokens, tokens, true)))
        at_the_end = aggregate(select(indices, last, ==), map(x == 0, balance), default=0)
        out = sequence_map(x and y, never_negative, at_the_end)
        """,
        (("(", "a", ")"), (1, 1, 1)),
        BRACKETS,
    ),
)
"""The library, in the order in which it is listed."""


def library_program(
    name: str, vocab: Sequence[Value] | None = None, max_seq_len: int | None = None, causal: bool | None = None
) -> Program:
    """A program of the library, with another vocabulary, length or attention where given.

    Raises:
        InputError: no program has this name.
        ProgramError: the program does not fit the vocabulary.
    """
    for entry in ENTRIES:
        if entry.name == name:
            return parse_program(
                entry.text,
                entry.vocab if vocab is None else vocab,
                entry.max_seq_len if max_seq_len is None else max_seq_len,
                entry.causal if causal is None else causal,
            )
    raise InputError(f"no program {name!r} in the library; it holds {', '.join(entry.name for entry in ENTRIES)}")
