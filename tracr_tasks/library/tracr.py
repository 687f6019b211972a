"""The programs of Tracr's library (Lindner et al. 2023, tracr/compiler/lib.py), under Tracr's names."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from tracr_tasks.errors import InputError, ProgramError
from tracr_tasks.exact import Value, exact, literal, reduced
from tracr_tasks.functions import function
from tracr_tasks.library import parts
from tracr_tasks.library.entry import BRACKETS, DIGITS, entry
from tracr_tasks.library.kinds import NUMBERS, Gap, Pairs, Positive, Sops, Text, Token, Tokens, Whole
from tracr_tasks.library.parts import HIST, LENGTH, OPPOSITE
from tracr_tasks.rasp import (
    INDICES,
    TOKENS,
    Aggregate,
    LinearSequenceMap,
    SOp,
    map_,
    numerical,
    select,
    sequence_map,
)
from tracr_tasks.text import parse_program

NAMES = ("x", "y", "z", "u", "v", "w")
"""Arguments of an n-ary function."""


@entry(example=("aba", (3, 3, 3)))
def length() -> SOp:
    """The number of tokens, at every position (up to the position under causal attention)."""
    return LENGTH


@entry(example=("abc", ("c", "b", "a")))
def reverse() -> SOp:
    """The tokens in reverse order."""
    return parts.fetch(OPPOSITE)


@entry(example=("(()a", (1, 1, 1 / 3, 0.25)), vocab=BRACKETS)
def pair_balance(*, open: Token = "(", close: Token = ")") -> SOp:
    """The share of the opening token minus the share of the closing one up to here."""
    shares = (parts.share(token, parts.UP_TO_HERE) for token in (open, close))
    return numerical(LinearSequenceMap(1, -1, *shares))


@entry(example=("(a)", (1, 1, 1)), vocab=BRACKETS)
def shuffle_dyck(*, pairs: Pairs = ("()",)) -> SOp:
    """Whether the brackets of each pair, taken by themselves, are balanced; other tokens and pairs may lie between."""
    return _shuffle_dyck(pairs)


@entry(example=("({)}", (1, 1, 1, 1)), vocab=("(", ")", "{", "}"))
def shuffle_dyck2() -> SOp:
    """Whether both the round and the curly brackets are balanced, whatever lies between."""
    return _shuffle_dyck(("()", "{}"))


def _shuffle_dyck(pairs: Sequence[Sequence[Value]]) -> SOp:
    # counts where Tracr has shares: they have the same sign, and fewer values
    depths = [parts.depth(*pair) for pair in pairs]
    never_negative = parts.all_of([map_("x >= 0", depth) for depth in depths])
    is_zero = parts.all_of([map_("x == 0", depth) for depth in depths])
    at_the_end = Aggregate(select(INDICES, LENGTH, "k + 1 == q"), is_zero, default=0)
    return sequence_map("x == 0 and y", parts.counted(never_negative, "k == 0"), at_the_end)


@entry(example=("aba", (2, 1, 2)))
def hist() -> SOp:
    """How often this token occurs."""
    return HIST


@entry(example=((3, 1, 2), (1, 2, 3)), vocab=DIGITS, needs=NUMBERS)
def sort_unique() -> SOp:
    """The tokens in ascending order, for inputs without repetition (of equal tokens one is left, and none)."""
    return parts.arranged(parts.ranked(TOKENS))


@entry(example=((3, 1, 3, 0), (0, 1, 3, 3)), vocab=DIGITS, needs=NUMBERS)
def sort(vocab: tuple[Value, ...], max_seq_len: int, *, min_key: Gap = 1) -> SOp:
    """The tokens in ascending order; `min_key` is at most the smallest difference between two tokens.

    Raises:
        InputError: two tokens are closer than `min_key`.
    """
    tokens = sorted(map(_fraction, vocab))
    gap = min((high - low for low, high in pairwise(tokens)), default=_fraction(min_key))
    if _fraction(min_key) > gap:
        raise InputError(
            f"sort: min_key={min_key} is more than {literal(reduced(gap))}, the least difference between two tokens"
        )
    step = literal(reduced(_fraction(min_key) / max_seq_len))
    return parts.arranged(parts.ranked(sequence_map(f"x + {step} * y", TOKENS, INDICES)))


def _fraction(number: Value) -> Fraction:
    """A number as an exact fraction."""
    value = exact(number)
    assert isinstance(value, int | Fraction), "the kind of the parameter or the tokens has been checked"
    return Fraction(value)


@entry(example=((2, 4, 2, 1), (2, 2, 4, 1)), vocab=DIGITS)
def sort_freq(max_seq_len: int) -> SOp:
    """The tokens by how often they occur, the most frequent first; equally frequent ones stay in their order."""
    return parts.arranged(parts.ranked(sequence_map(f"y / {max_seq_len} - x", HIST, INDICES)))


@entry(example=("abab", (1, 0.5, 2 / 3, 0.5)))
def frac_prevs(*, token: Token = "a") -> SOp:
    """The share of a token among the tokens up to here."""
    return numerical(parts.share(token, parts.UP_TO_HERE))


@entry(example=("abc", (None, "a", "b")))
def shift_by(*, offset: Whole = 1) -> SOp:
    """The token `offset` places before this one (after it if negative); none where there is no such place."""
    return parts.shifted(TOKENS, offset)


@entry(example=("abcab", (None, None, 1, 0, 0)))
def detect_pattern(*, pattern: Tokens = ("a", "b", "c")) -> SOp:
    """Whether the pattern ends here; none at the first places, where fewer tokens than the pattern has end."""
    return parts.detected(pattern)


@entry(example=("aaabb", (2, 2, 2, 2, 2)))
def count_less_freq(*, n: Positive = 2) -> SOp:
    """How many tokens occur at most n times in the input (as Tracr computes it: not fewer than n)."""
    return parts.counted(HIST, f"k <= {n}")


@entry(example=("aba", (2, 2, 2)))
def count(*, token: Token = "a") -> SOp:
    """How often a token occurs."""
    return parts.counted(TOKENS, parts.is_token(token, "k"))


@entry(example=((3, 1, 2), (6, 1, 2)), vocab=DIGITS)
def nary_sequencemap(
    vocab: tuple[Value, ...],
    max_seq_len: int,
    *,
    fn: Text = "x + y - z",
    sops: Sops = ("tokens", "tokens", "indices"),
) -> SOp:
    """A function of two to six S-ops, position by position; its arguments are called x, y, z, u, v, w.

    Raises:
        InputError: the function or an S-op cannot be read.
    """
    try:
        read = [
            parse_program(f"out = {sop}", vocab, max_seq_len).output if isinstance(sop, str) else sop for sop in sops
        ]
        text = function(fn, NAMES[: len(sops)]).text
    except ProgramError as error:
        raise InputError(f"nary_sequencemap: {error}") from None
    values: SOp = sequence_map("(x, y)", read[0], read[1])
    for size, sop in enumerate(read[2:], start=2):
        values = sequence_map("(" + ", ".join(f"x[{place}]" for place in range(size)) + ", y)", values, sop)
    return map_(ast.unparse(_Items().visit(ast.parse(text, mode="eval"))), values)


class _Items(ast.NodeTransformer):
    """Turns the names of arguments into items of a tuple x."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id not in NAMES:
            return node
        return ast.Subscript(ast.Name("x", ast.Load()), ast.Constant(NAMES.index(node.id)), ast.Load())
