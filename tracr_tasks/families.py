"""What random programs are made of: kinds of S-ops, and families of functions and predicates over them, as tables.

The mixture that the published decompilers were tested on (Langosco et al.'s meta-models) is a part of these tables.
In a text, {c} stands for each value of the first argument and {t} for each place halfway between two neighbouring ones.
Of the functions that do the same on the values at hand only the first is used, so that a function has one text: it is
x == 4 and not x > 3 on the numbers 0 to 4.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

from tracr_tasks.errors import ProgramError
from tracr_tasks.exact import Exact, is_number, literal, reduced, sort_key
from tracr_tasks.functions import Function, function, predicate

KINDS = {
    "word": "a value that is only compared: a token of a vocabulary that is not all numbers",
    "categorical": "one of a few numbers, one direction each",
    "bool": "0 or 1",
    "float": "a number that is read as a number: a fraction, a mean, a linear combination",
}
"""Kinds of S-ops."""
MAX_VALUES = 40
"""Values that an S-op is known by; functions that would give more are not used."""
MAX_ROWS = 144
"""Pairs of values that a function of two is tried on."""
MAX_CONSTANTS = 12
"""Values that {c} and {t} stand for, spread evenly where there are more."""
MAX_TABLE = 10
"""Rows of a random table."""

Choice = tuple[Function, tuple[Exact, ...]]
"""A function and the values that it gives."""


@dataclass(frozen=True)
class Family:
    """Functions of one sort."""

    name: str
    weight: float
    """How often it is drawn, relative to the others that can be drawn at the same place."""
    takes: tuple[str, ...]
    """Kinds of arguments."""
    gives: str
    """Kind of the result; empty for a predicate."""
    texts: tuple[str, ...]
    """The functions; `x` alone is a change of encoding and no operation."""


MAPS = (
    Family("categorical_to_categorical", 1.0, ("categorical",), "categorical", ("x + 1", "x - 1")),
    Family("remainder", 0.3, ("categorical",), "categorical", ("x % 2", "x % 3")),
    Family("categorical_to_float", 0.7, ("categorical",), "float", ("x + 0.5", "x + 1", "x * 2")),
    Family("categorical_to_bool", 1.0, ("categorical",), "bool", ("x == {c}", "x != {c}", "x > {c}", "x < {c}")),
    Family("word_to_bool", 1.0, ("word",), "bool", ("x == {c}", "x != {c}")),
    Family("bool_to_bool", 1.0, ("bool",), "bool", ("not x",)),
    Family("float_to_bool", 1.0, ("float",), "bool", ("x > 0.5", "x > 3.5", "x < 3.5", "x == 0", "x > {t}", "x < {t}")),
    Family("float_to_categorical", 1.0, ("float",), "categorical", ("int(x)",)),
    Family("float_encoding", 0.1, ("categorical",), "float", ("x",)),
    Family("bool_encoding", 0.1, ("bool",), "bool", ("x",)),
    Family("categorical_encoding", 0.7, ("float",), "categorical", ("x",)),
    Family("table", 0.2, ("word", "categorical"), "categorical", ()),
)
"""Functions of maps. A `table` is drawn value by value; the encodings are rare where the compiler chooses by itself."""

SEQUENCE_MAPS = (
    Family("sum", 1.0, ("categorical", "bool"), "categorical", ("x + y", "x + y % 10", "(x + y) % 10")),
    Family("product", 1.0, ("categorical", "bool"), "categorical", ("x * y",)),
    Family("difference", 1.0, ("categorical", "bool"), "categorical", ("x - y",)),
    Family("logic", 1.5, ("categorical", "bool"), "categorical", ("x and y", "x or y")),
    Family("comparison", 1.0, ("categorical", "bool"), "bool", ("x == y", "x != y", "x > y", "x < y")),
    Family("word_comparison", 1.0, ("word",), "bool", ("x == y", "x != y")),
)
"""Functions of sequence maps; logic of two bools gives a bool."""

PREDICATES = (
    Family("select_by_comparison", 1.0, ("categorical", "bool"), "", ("==", "!=", "<", "<=", ">", ">=")),
    Family("select_word", 1.0, ("word",), "", ("==", "!=")),
    Family("select_by_offset", 0.3, ("categorical",), "", ("k + 1 == q", "k - 1 == q", "k + 2 == q", "k - 2 == q")),
    Family("select_key", 0.15, ("word", "categorical", "bool"), "", ("k == {c}",)),
)
"""Predicates of selectors, but for `true`."""

SELECTORS = {"select": 0.8, "select_all": 0.12, "selector_and": 0.15, "selector_or": 0.08, "selector_not": 0.08}
"""Forms of selectors and how often they are drawn; `select_all` is the predicate `true`."""

OPERATIONS = {
    "map": 1.5,
    "sequence_map": 0.8,
    "linear": 1.0,
    "numerical_aggregate": 1.0,
    "categorical_aggregate": 1.0,
    "selector_width": 0.8,
}
"""Operations and how often they are drawn: the published weights, with more maps and selector widths."""

LINEAR_WEIGHTS = (-3, -2, -1, 1, 2, 3)
"""Weights of linear sequence maps."""


def default_families() -> dict[str, float]:
    """The weight of every family and form of selector."""
    families = {family.name: family.weight for family in (*MAPS, *SEQUENCE_MAPS, *PREDICATES)}
    return families | SELECTORS


@lru_cache(maxsize=16384)
def functions_of(family: Family, *domains: tuple[Exact, ...], is_exact: bool = True) -> tuple[Choice, ...]:
    """The functions of a family that do something on the given values of each argument, each with what it gives.

    Left out are functions that are not defined on some of the values, constant ones, those with over `MAX_VALUES`
    results and, where the domains are exact, repetitions and a map that changes nothing (but for the encoding).
    """
    rows = list(itertools.product(*domains))
    if len(rows) > MAX_ROWS:
        return ()
    found: dict[object, Choice] = {}
    for text in filled(family.texts, domains[0]):
        fn = function(text, ("x", "y")[: len(domains)])
        try:
            results = tuple(fn(*row) for row in rows)
        except ProgramError:
            continue
        is_idle = len(set(results)) < 2 or (is_exact and results == domains[0] and text != "x")
        if not is_idle and len(set(results)) <= MAX_VALUES:
            found.setdefault(results if is_exact and text != "x" else text, (fn, ordered(results)))
    return tuple(found.values())


@lru_cache(maxsize=16384)
def predicates_of(family: Family, keys: tuple[Exact, ...], queries: tuple[Exact, ...]) -> tuple[Choice, ...]:
    """The predicates of a family that hold for some pairs of these values and not for all; they give no values."""
    found = []
    for text in filled(family.texts, keys):
        fn = predicate(text)
        held = (fn(key, query) for key, query in itertools.product(keys, queries))
        first = next(held)
        if any(value != first for value in held):
            found.append((fn, ()))
    return tuple(found)


def filled(texts: tuple[str, ...], values: tuple[Exact, ...], most: int = MAX_CONSTANTS) -> Iterator[str]:
    """The texts with {c} and {t} replaced by each of their values, or by so many of them at most."""
    numbers: list[Any] = [value for value in values if is_number(value)]
    steps = [reduced(Fraction(a + b) / 2) for a, b in itertools.pairwise(numbers)]
    for text in texts:
        if "{c}" in text:
            yield from (text.format(c=literal(value)) for value in spread(values, most))
        elif "{t}" in text:
            yield from (text.format(t=literal(step)) for step in spread(steps, most))
        else:
            yield text


def spread(values: Sequence[Exact], most: int) -> Sequence[Exact]:
    """At most so many of the values, evenly spaced."""
    return values[:: 1 + max(0, len(values) - 1) // most]


def ordered(values: Iterable[Exact]) -> tuple[Exact, ...]:
    """Distinct values in order, numbers before strings."""
    return tuple(sorted(set(values), key=sort_key))
