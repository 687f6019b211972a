"""Programs that calculate with tokens or their places in the vocabulary."""

from __future__ import annotations

from collections.abc import Sequence

from tracr_tasks.exact import Value, exact, literal
from tracr_tasks.functions import table
from tracr_tasks.library import parts
from tracr_tasks.library.entry import BITS, DIGITS, entry
from tracr_tasks.library.kinds import NUMBERS, ONLY_BITS, Positive, Whole
from tracr_tasks.library.parts import ALL
from tracr_tasks.rasp import (
    INDICES,
    TOKENS,
    Aggregate,
    Constant,
    LinearSequenceMap,
    Map,
    SelectorWidth,
    SOp,
    map_,
    numerical,
    select,
    sequence_map,
)


@entry(example=((1, 4, 0, 4), (2.25, 2.25, 2.25, 2.25)), vocab=DIGITS, needs=NUMBERS)
def mean() -> SOp:
    """The mean of the tokens."""
    return numerical(Aggregate(ALL, TOKENS, default=0))


@entry(example=((3, 4, 4), (11, 11, 11)), vocab=DIGITS, needs=NUMBERS)
def total(vocab: tuple[Value, ...]) -> SOp:
    """The sum of the tokens."""
    return numerical(_sum(vocab))


@entry(example=((3, 4, 4), (1, 1, 1)), vocab=DIGITS, needs=NUMBERS)
def modular_sum(vocab: tuple[Value, ...], *, modulus: Positive = 5) -> SOp:
    """The sum of the tokens modulo a number."""
    return map_(f"x % {modulus}", _sum(vocab))


def _sum(vocab: tuple[Value, ...]) -> SOp:
    """Each token times how often it occurs; a mean times the length would need an output for every such product."""
    counts = {token: parts.counted(TOKENS, parts.is_token(token, "k")) for token in vocab if token != 0}
    return _added([map_(f"x * {literal(exact(token))}", times) for token, times in counts.items()] or [Constant(0)])


def _added(terms: Sequence[SOp]) -> SOp:
    """The sum of S-ops, as a tree, which is less deep than a chain."""
    if len(terms) == 1:
        return terms[0]
    half = len(terms) // 2
    return LinearSequenceMap(1, 1, _added(terms[:half]), _added(terms[half:]))


@entry(example=((3, 4, 1), (None, 1, -3)), vocab=DIGITS, needs=NUMBERS)
def difference() -> SOp:
    """This token minus the one before it; none at the first position."""
    return sequence_map("x - y", TOKENS, parts.shifted(TOKENS, 1))


@entry(example=("abcd", ("b", "c", "d", "a")))
def caesar(vocab: tuple[Value, ...], *, shift: Whole = 1) -> SOp:
    """The token `shift` places on in the vocabulary, which starts again at its end."""
    return Map(table({token: vocab[(i + shift) % len(vocab)] for i, token in enumerate(vocab)}), TOKENS)


@entry(example=("abac", (0, 1, 0, 1)))
def position_parity() -> SOp:
    """Whether the position, counted from 0, is odd."""
    return map_("x % 2", INDICES)


@entry(example=((1, 1, 0, 1), (1, 0, 1, 1)), vocab=BITS, needs=ONLY_BITS)
def xor_previous() -> SOp:
    """This bit xor the one before it, the first as it is: the Gray code of a binary number."""
    return sequence_map("(x + y) % 2", TOKENS, parts.shifted(TOKENS, 1, default=0))


@entry(example=((1, 1, 0, 1), (1, 0, 0, 1)), vocab=BITS, needs=ONLY_BITS)
def running_xor() -> SOp:
    """The xor of the bits up to here: the binary number of a Gray code."""
    return map_("x % 2", SelectorWidth(parts.where(TOKENS, "k == 1") & parts.UP_TO_HERE))


@entry(example=((0, 1, 0, 1, 1), (0, 1, 1, 0, 0)), vocab=BITS, needs=ONLY_BITS)
def increment() -> SOp:
    """The bits of a binary number, highest first, plus one; all ones become all zeros."""
    zeros_after = SelectorWidth(select(INDICES, INDICES, ">") & parts.where(TOKENS, "k == 0"))
    return sequence_map("(x + (y == 0)) % 2", TOKENS, zeros_after)
