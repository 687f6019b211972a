"""Programs that compare tokens: ranks, extremes and order. Strings are compared by the alphabet."""

from __future__ import annotations

from tracr_tasks.exact import Value
from tracr_tasks.library import parts
from tracr_tasks.library.entry import DIGITS, entry
from tracr_tasks.library.kinds import COMPARABLE
from tracr_tasks.library.parts import OCCURRENCE, PREVIOUS
from tracr_tasks.rasp import INDICES, TOKENS, Aggregate, SelectorWidth, SOp, map_, select, sequence_map

SMALLER = select(TOKENS, TOKENS, "<")


def _place(vocab: tuple[Value, ...], max_seq_len: int, sign: str = "+") -> SOp:
    """Each position's place, from 0, in ascending (-: descending) order; of equal tokens the earlier comes first."""
    return parts.ranked(sequence_map(f"y / {max_seq_len} {sign} x", parts.ordinal(vocab), INDICES))


def _at_place(rank: SOp, x: SOp) -> SOp:
    return Aggregate(parts.where(rank, "k == 0"), x)


@entry(example=((3, 1, 4, 1), (1, 1, 1, 1)), vocab=DIGITS, needs=COMPARABLE)
def minimum(vocab: tuple[Value, ...], max_seq_len: int) -> SOp:
    """The smallest token."""
    return _at_place(_place(vocab, max_seq_len), TOKENS)


@entry(example=((3, 1, 4, 1), (4, 4, 4, 4)), vocab=DIGITS, needs=COMPARABLE)
def maximum(vocab: tuple[Value, ...], max_seq_len: int) -> SOp:
    """The greatest token."""
    return _at_place(_place(vocab, max_seq_len, "-"), TOKENS)


@entry(example=((3, 4, 1, 4), (1, 1, 1, 1)), vocab=DIGITS, needs=COMPARABLE)
def argmax(vocab: tuple[Value, ...], max_seq_len: int) -> SOp:
    """The position of the greatest token, the first of several."""
    return _at_place(_place(vocab, max_seq_len, "-"), INDICES)


@entry(example=((3, 4, 1, 4), (3, 3, 3, 3)), vocab=DIGITS, needs=COMPARABLE)
def median(vocab: tuple[Value, ...], max_seq_len: int) -> SOp:
    """The token in the middle of the ascending order, the smaller of two."""
    middle = map_("int((x - 1) / 2)", parts.LENGTH)
    return Aggregate(select(_place(vocab, max_seq_len), middle, "=="), TOKENS)


@entry(example=((3, 1, 3, 0), (2, 1, 2, 0)), vocab=DIGITS, needs=COMPARABLE)
def count_smaller() -> SOp:
    """How many tokens are smaller than this one."""
    return SelectorWidth(SMALLER)


@entry(example=((3, 1, 1, 0), (2, 1, 1, 0)), vocab=DIGITS, needs=COMPARABLE)
def rank() -> SOp:
    """How many different tokens are smaller than this one."""
    return SelectorWidth(SMALLER & parts.where(OCCURRENCE, "k == 1"))


@entry(example=((1, 3, 2, 4), (1, 1, 0, 1)), vocab=DIGITS, needs=COMPARABLE)
def record() -> SOp:
    """Whether no earlier token is greater than this one."""
    return map_("x == 0", SelectorWidth(select(TOKENS, TOKENS, ">") & parts.EARLIER))


@entry(example=((1, 1, 3), (1, 1, 1)), vocab=DIGITS, needs=COMPARABLE)
def is_sorted() -> SOp:
    """Whether the tokens are in ascending order; equal neighbours are allowed."""
    descents = SelectorWidth(select(TOKENS, TOKENS, ">") & PREVIOUS)
    return map_("x == 0", parts.counted(descents, "k == 1"))
