"""What the operations of a program's text take: one small reader an operation, over its arguments as text."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from tracr_tasks import rasp
from tracr_tasks.exact import Exact, is_number
from tracr_tasks.functions import function, predicate


class Refused(Exception):
    """Why a line is refused; caught by the reader of lines, which goes on with the next."""


class Arguments:
    """The arguments of one operation; every method reads one and refuses it with its place."""

    def __init__(self, inner: Callable[[str], rasp.Expression], op: str, texts: Sequence[str]):
        self.inner, self.op, self.texts = inner, op, list(texts)  # `inner` reads an expression inside this one

    def expect(self, count: int, form: str) -> None:
        """Refuse any other number of arguments."""
        if len(self.texts) != count:
            raise Refused(f"{self.op} has {len(self.texts)} arguments where {form} was expected")

    def sop(self, place: int) -> Any:
        """The S-op at a place."""
        found = self.inner(self.texts[place])
        if not isinstance(found, rasp.SOp):
            raise Refused(f"argument {place + 1} of {self.op} must be an S-op; {self.texts[place]!r} is a selector")
        return found

    def selector(self, place: int) -> Any:
        """The selector at a place."""
        found = self.inner(self.texts[place])
        if not isinstance(found, rasp.Selector):
            raise Refused(f"argument {place + 1} of {self.op} must be a selector; {self.texts[place]!r} is an S-op")
        return found

    def value(self, place: int) -> Any:
        """The number, string or none at a place."""
        return plain_literal(self.texts[place])


def plain_literal(text: str) -> Any:
    """A number, a string or none as written."""
    return function(text, ())()


def split_arguments(text: str) -> list[str]:
    """The parts of an argument list between commas that are in no bracket and no string."""
    parts, depth, quote, start = [], 0, "", 0
    for place, char in enumerate(text):
        if quote:
            quote = "" if char == quote and text[place - 1] != "\\" else quote
        elif char in "'\"":
            quote = char
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(text[start:place].strip())
            start = place + 1
    parts.append(text[start:].strip())
    return [] if parts == [""] else parts


def _read_map(a: Arguments) -> rasp.Expression:
    a.expect(2, "map(function, s-op)")
    return rasp.Map(function(a.texts[0]), a.sop(1))


def _read_sequence_map(a: Arguments) -> rasp.Expression:
    a.expect(3, "sequence_map(function, s-op, s-op)")
    return rasp.SequenceMap(function(a.texts[0], ("x", "y")), a.sop(1), a.sop(2))


def _read_linear(a: Arguments) -> rasp.Expression:
    a.expect(4, "linear(number, number, s-op, s-op)")
    weights = [a.value(place) for place in (0, 1)]
    if not all(is_number(weight) for weight in weights):
        raise Refused("the weights of linear must be numbers")
    return rasp.LinearSequenceMap(weights[0], weights[1], a.sop(2), a.sop(3))


def _read_select(a: Arguments) -> rasp.Expression:
    a.expect(3, "select(keys, queries, predicate)")
    return rasp.Select(a.sop(0), a.sop(1), predicate(a.texts[2]))


def _read_aggregate(a: Arguments) -> rasp.Expression:
    default: Exact = None
    if len(a.texts) == 3 and (match := re.fullmatch(r"default\s*=\s*(.+)", a.texts[2], re.DOTALL)):
        default = plain_literal(match[1])
        a.texts.pop()
    a.expect(2, "aggregate(selector, s-op) or aggregate(selector, s-op, default=value)")
    return rasp.Aggregate(a.selector(0), a.sop(1), default)


def _read_constant(a: Arguments) -> rasp.Expression:
    a.expect(1, "constant(value)")
    return rasp.Constant(a.value(0))


def _read_selector_width(a: Arguments) -> rasp.Expression:
    a.expect(1, "selector_width(selector)")
    return rasp.SelectorWidth(a.selector(0))


def _read_selector_not(a: Arguments) -> rasp.Expression:
    a.expect(1, "selector_not(selector)")
    return rasp.SelectorNot(a.selector(0))


def _read_two_selectors(a: Arguments) -> rasp.Expression:
    a.expect(2, f"{a.op}(selector, selector)")
    kind = rasp.SelectorAnd if a.op == "selector_and" else rasp.SelectorOr
    return kind(a.selector(0), a.selector(1))


def _read_encoded(a: Arguments) -> rasp.Expression:
    a.expect(1, f"{a.op}(s-op)")
    return rasp.Encoded("numerical" if a.op == "numerical" else "categorical", a.sop(0))


READERS: dict[str, Callable[[Arguments], rasp.Expression]] = {
    "map": _read_map,
    "sequence_map": _read_sequence_map,
    "linear": _read_linear,
    "select": _read_select,
    "selector_width": _read_selector_width,
    "aggregate": _read_aggregate,
    "constant": _read_constant,
    "numerical": _read_encoded,
    "categorical": _read_encoded,
    "selector_and": _read_two_selectors,
    "selector_or": _read_two_selectors,
    "selector_not": _read_selector_not,
}
