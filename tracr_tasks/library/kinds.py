"""Kinds: what a parameter of a library program, or its vocabulary, may be, as an annotation that can be checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from tracr_tasks.errors import ProgramError
from tracr_tasks.exact import Value, exact
from tracr_tasks.rasp import SOp


@dataclass(frozen=True)
class Kind:
    """What a value may be."""

    words: str
    """As a message says it: a token of the vocabulary."""
    accepts: Callable[[Any, tuple[Value, ...]], bool]
    """Whether a value is of this kind, given the vocabulary."""


LARGEST = 10**6
"""The largest whole number that a parameter may be."""


def is_whole(value: Any, least: int = -LARGEST) -> bool:
    """Whether a value is a whole number from `least`."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= LARGEST


def is_value(value: Any) -> bool:
    """Whether a value is one that an S-op can have."""
    if not (value is None or isinstance(value, str | int | float)):
        return False
    try:
        exact(value)
    except ProgramError:  # not finite, or of too many decimals
        return False
    return True


def is_number(value: Any) -> bool:
    """Whether a value is a number that an S-op can have."""
    return isinstance(value, int | float) and is_value(value)


def is_sequence_of(value: Any, holds: Callable[[Any], bool], least: int = 1) -> bool:
    """Whether a value is a sequence of at least so many items that are all of one kind; a string is one of letters."""
    return isinstance(value, Sequence) and len(value) >= least and all(map(holds, value))


def is_token(value: Any, vocab: tuple[Value, ...]) -> bool:
    """Whether a value is a token."""
    return isinstance(value, str | int | float) and value in vocab


def is_pair(value: Any, vocab: tuple[Value, ...]) -> bool:
    """Whether a value is a pair of different tokens."""
    return is_sequence_of(value, lambda item: is_token(item, vocab), 2) and len(value) == 2 and value[0] != value[1]


def are_pairs(value: Any, vocab: tuple[Value, ...]) -> bool:
    """Whether a value is a sequence of pairs of tokens, no token twice."""
    if isinstance(value, str) or not is_sequence_of(value, lambda item: is_pair(item, vocab)):
        return False
    tokens = [token for pair in value for token in pair]
    return len(set(tokens)) == len(tokens)


Token = Annotated[Value, Kind("a token of the vocabulary", is_token)]
Tokens = Annotated[
    Sequence[Value],
    Kind(
        "a sequence of tokens of the vocabulary",
        lambda value, vocab: is_sequence_of(value, lambda item: is_token(item, vocab)),
    ),
]
Pairs = Annotated[
    Sequence[Sequence[Value]],
    Kind("a sequence of pairs of tokens of the vocabulary, opening and closing, no token twice", are_pairs),
]
Whole = Annotated[int, Kind("a whole number", lambda value, _: is_whole(value))]
Place = Annotated[int, Kind("a whole number from 0", lambda value, _: is_whole(value, 0))]
Positive = Annotated[int, Kind("a whole number from 1", lambda value, _: is_whole(value, 1))]
Gap = Annotated[int | float, Kind("a number above 0", lambda value, _: is_number(value) and value > 0)]
Mark = Annotated[Value, Kind("a number, a string or None", lambda value, _: is_value(value))]
Text = Annotated[str, Kind("a function as text", lambda value, _: isinstance(value, str))]
Sops = Annotated[
    Sequence[SOp | str],
    Kind(
        "a sequence of 2 to 6 S-ops (objects or text)",
        lambda value, _: (
            not isinstance(value, str)
            and is_sequence_of(value, lambda item: isinstance(item, str | SOp), 2)
            and len(value) <= 6
        ),
    ),
]

ANY_TOKENS = Kind("any tokens", lambda tokens, _: True)
NUMBERS = Kind("numbers", lambda tokens, _: all(map(is_number, tokens)))
ONLY_BITS = Kind("the bits 0 and 1", lambda tokens, _: set(tokens) <= {0, 1})
COMPARABLE = Kind(
    "numbers only or strings only",
    lambda tokens, _: all(map(is_number, tokens)) or all(isinstance(token, str) for token in tokens),
)
