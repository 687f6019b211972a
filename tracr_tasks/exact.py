"""Values of S-ops and their exact arithmetic.

Inside the package a number is an int or a `Fraction`, so that a mean of thirds times three is one, whatever the order
of the sum; booleans are the numbers 0 and 1. Outside, a value is an int, a float, a string or None.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from tracr_tasks.errors import ProgramError, Reason

Value = int | float | str | bool | None
"""What a caller gives and gets: a token or the value of an S-op at one position."""

Exact = int | Fraction | str | tuple[Any, ...] | None
"""The same inside the package; tuples are values of inner S-ops only."""

NUMBER = (int, Fraction)
LIMIT = 10**9
"""Numerators, denominators and lengths of strings beyond this make a program refused: they could grow for ever."""


def exact(value: Any) -> Exact:
    """A caller's value as an exact one: 0.5 -> Fraction(1, 2), True -> 1, 2.0 -> 2.

    Raises:
        ProgramError: the value is not a number of at most nine decimals, a string, None or a tuple of those.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return bounded(int(value))
    if isinstance(value, tuple):
        return tuple(exact(item) for item in value)
    if isinstance(value, Fraction):
        return bounded(reduced(value))
    if isinstance(value, float) and value == value and abs(value) < LIMIT:
        return bounded(reduced(Fraction(repr(float(value)))))
    if hasattr(value, "item"):  # a numpy scalar
        return exact(value.item())
    raise ProgramError([Reason(None, f"{value!r} is not a value: a number, a string or none was expected")])


def reduced(number: int | Fraction) -> int | Fraction:
    """A number as an int where it is whole."""
    return number.numerator if number.denominator == 1 else number


def bounded(value: Exact) -> Exact:
    """The value itself.

    Raises:
        ProgramError: a number or a string has grown beyond `LIMIT`.
    """
    if type(value) is int:
        too_big = not -LIMIT <= value <= LIMIT
    elif isinstance(value, str):
        too_big = len(value) > 200
    elif isinstance(value, NUMBER):
        too_big = abs(value.numerator) > LIMIT or value.denominator > LIMIT
    else:
        too_big = False
    if too_big:
        raise ProgramError([Reason(None, "a value grows beyond 10^9, nine decimals or 200 characters")])
    return value


def plain(value: Exact) -> Any:
    """An exact value as a caller sees it: fractions become floats."""
    if isinstance(value, Fraction):
        return float(value)
    if isinstance(value, tuple):
        return tuple(plain(item) for item in value)
    return value


def is_number(value: Exact) -> bool:
    """Whether a value can be averaged."""
    return type(value) is int or isinstance(value, NUMBER)  # asking a Fraction's class goes through abc, slowly


def sort_key(value: Any) -> tuple[Any, ...]:
    """Orders any values: numbers, then strings, then tuples, then None."""
    if is_number(value):
        return (0, float(value), value)  # floats compare fast; the exact value decides where they are equal
    if isinstance(value, str):
        return (1, value)
    if isinstance(value, tuple):
        return (2, tuple(sort_key(item) for item in value))
    return (3, 0)


def format_value(value: Any) -> str:
    """A value's name in a vocabulary: 3, 0.5, a string as it is, none, true, false."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "(" + ", ".join(format_value(item) for item in value) + ")"
    if isinstance(value, float | Fraction):
        return repr(float(value)) if value != int(value) else str(int(value))
    return str(value)


def literal(value: Exact) -> str:
    """A value as program text, which reads back to the same value: 3, 0.5, 1/3, 'a', none, (0, 1)."""
    if value is None:
        return "none"
    if isinstance(value, str):
        return repr(value)
    if isinstance(value, tuple):
        return "(" + ", ".join(literal(item) for item in value) + ("," if len(value) == 1 else "") + ")"
    if isinstance(value, Fraction):
        short = repr(float(value))
        return short if Fraction(short) == value else f"{value.numerator}/{value.denominator}"
    return str(value)
