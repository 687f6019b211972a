"""Programs that find a position or bring a token from one."""

from __future__ import annotations

from tracr_tasks.library import parts
from tracr_tasks.library.entry import entry
from tracr_tasks.library.kinds import Place, Positive, Whole
from tracr_tasks.library.parts import HIST, LENGTH, OCCURRENCE, SAME
from tracr_tasks.rasp import INDICES, TOKENS, Aggregate, SOp, select, sequence_map

AGAIN = SAME & select(OCCURRENCE, OCCURRENCE, "k + 1 == q")
"""The latest earlier position with this token."""


@entry(example=("bac", ("b", "b", "b")))
def first() -> SOp:
    """The first token, at every position."""
    return Aggregate(parts.where(INDICES, "k == 0"), TOKENS)


@entry(example=("bac", ("c", "c", "c")))
def last() -> SOp:
    """The last token, at every position."""
    return Aggregate(select(INDICES, LENGTH, "k + 1 == q"), TOKENS)


@entry(example=("bac", ("a", "a", "a")))
def token_at(*, place: Place = 1) -> SOp:
    """The token at a place, counted from 0, at every position; none where the input is shorter."""
    return Aggregate(parts.where(INDICES, f"k == {place}"), TOKENS)


@entry(example=("abcd", ("d", "a", "b", "c")))
def rotate(*, offset: Whole = 1) -> SOp:
    """The tokens moved on by `offset` places, those that leave at one end coming back at the other."""
    return parts.fetch(sequence_map(f"(x - {offset}) % y", INDICES, LENGTH))


@entry(example=("abcda", ("b", "a", "d", "c", "a")))
def swap_pairs() -> SOp:
    """The tokens with the first and second exchanged, the third and fourth, and so on; an odd last one stays."""
    # odd places look one back, even ones one ahead if there is one
    return parts.fetch(sequence_map("x - x % 2 + (x % 2 == 0 and x + 1 < y)", INDICES, LENGTH))


@entry(example=("abcd", ("a", "c", "b", "d")))
def interleave() -> SOp:
    """The first and the second half of the tokens in turn, the first half being the longer if one is."""
    return parts.fetch(sequence_map("int(x / 2) + x % 2 * int((y + 1) / 2)", INDICES, LENGTH))


@entry(example=("aabcb", (0, 0, 2, 3, 2)))
def first_occurrence() -> SOp:
    """The position of the first occurrence of this token."""
    return parts.position(SAME & parts.where(OCCURRENCE, "k == 1"))


@entry(example=("aabcb", (1, 1, 4, 3, 4)))
def last_occurrence() -> SOp:
    """The position of the last occurrence of this token."""
    return parts.position(SAME & select(OCCURRENCE, HIST, "=="))


@entry(example=("abbca", (0, 0, 1, 0, 4)))
def previous_distance() -> SOp:
    """How many places ago this token last occurred; 0 where it has not occurred before."""
    # x > y is sure, but not for the compiler, which would list negative distances as possible
    return sequence_map("y >= 0 and x > y and x - y", INDICES, parts.position(AGAIN, default=-1))


@entry(example=("abcab", (None, None, None, "b", "c")), causal=True)
def induction(*, offset: Positive = 1) -> SOp:
    """The token that came `offset` places after the latest earlier occurrence of this one; none where there is none."""
    found = parts.position(AGAIN, default=-1 - offset)
    return Aggregate(select(INDICES, found, f"k == q + {offset}"), TOKENS)
