"""A program's text from the output down, as one expression: the order in which a model of language finds it in weights.

    v1 = map(x == 3, tokens)
    v2 = linear(1, -2, indices, v1)
    v3 = linear(2, -1, v1, v2)
    out = numerical(v3)

    out = numerical(linear(2, -1, v1 = map(x == 3, tokens), linear(1, -2, indices, v1)))

Canonical text begins with the line that is farthest from the output, and gives every operation a number: whoever writes
it has to know the whole program before the first word. Nested text names only what is used again, where it is first
met, and says what an operation does before what it does it to. It is a third shorter. Both functions work on text
alone, so that what is refused is refused by the parser, in its own words.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from tracr_tasks.arguments import split_arguments

OUT = "out = "
MAX_LINES = 300
"""Longer texts are left as they are."""
MAX_DEPTH = 100
"""So are deeper ones."""
LINE = re.compile(r"(\w+) = (.*)")
CALL = re.compile(r"(\w+)\((.*)\)")
NAMED = re.compile(r"(v\d+) = (.*)")
N_OPERANDS = {
    "map": 1,
    "sequence_map": 2,
    "linear": 2,
    "select": 2,
    "aggregate": 2,
    "selector_and": 2,
    "selector_or": 2,
}
N_OPERANDS |= {"selector_not": 1, "selector_width": 1, "numerical": 1, "categorical": 1, "constant": 0}
"""S-ops and selectors that an operation takes; its other arguments say what it does to them."""
OPERANDS_FIRST = ("select", "aggregate")
"""Operations whose operands stand before the other arguments in a line of a program."""


class _Strange(Exception):
    """A text that is not of the form that is turned."""


def nested(text: str) -> str:
    """Canonical text of a RASP program as one nested expression; any other text as it is."""
    lines = [LINE.fullmatch(line) for line in text.split("\n")]
    if not text.rpartition("\n")[2].startswith(OUT) or len(lines) > MAX_LINES or None in lines:
        return text
    try:
        return OUT + _Nesting({match[1]: match[2] for match in lines if match}).of("out", 0)
    except _Strange:
        return text


def assignments(text: str) -> str:
    """The inverse of `nested`: an operation a line, equal ones once, numbered as in canonical text."""
    if not text.startswith(OUT) or "\n" in text:
        return text
    lines = _Lines()
    try:
        last = lines.of(text.removeprefix(OUT), 0)
    except _Strange:
        return text
    made = list(lines.names)
    right = made.pop() if made and lines.names[made[-1]] == last else last
    return "\n".join([*(f"{lines.names[each]} = {each}" for each in made), OUT + right])


class _Nesting:
    """Lines of a program by name, written into each other; each is named at its first mention if there are more."""

    def __init__(self, lines: Mapping[str, str]):
        self.calls = {name: _operation(right) for name, right in lines.items()}
        self.places = {name: place for place, name in enumerate(lines)}
        self.uses = Counter(word for _, _, operands in self.calls.values() for word in operands)
        self.names: dict[str, str] = {}

    def of(self, name: str, depth: int) -> str:
        """What stands for a name where it is mentioned."""
        if name not in self.calls or name in self.names:
            return self.names.get(name, name)
        mark = ""
        if self.uses[name] > 1:
            self.names[name] = f"v{len(self.names) + 1}"
            mark = f"{self.names[name]} = "
        op, others, operands = self.calls[name]
        if depth > MAX_DEPTH or any(self.places.get(word, -1) >= self.places[name] for word in operands):
            raise _Strange
        if op in self.places:
            raise _Strange
        if not operands and not others:
            return mark + op
        return f"{mark}{op}({', '.join([*others, *(self.of(word, depth + 1) for word in operands)])})"


class _Lines:
    """Right-hand sides of lines to their names, in order."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.known: dict[str, str] = {}

    def of(self, text: str, depth: int) -> str:
        """The name of the line that computes an expression, or a word that is no operation."""
        if depth > MAX_DEPTH:
            raise _Strange
        if named := NAMED.fullmatch(text):
            self.known[named[1]] = self.of(named[2], depth + 1)
            return self.known[named[1]]
        if not CALL.fullmatch(text):
            return self.known.get(text, text)
        op, others, operands = _operation(text, turned=True)
        below = [self.of(word, depth + 1) for word in operands]
        right = f"{op}({', '.join([*below, *others] if op in OPERANDS_FIRST else [*others, *below])})"
        return self.names.setdefault(right, f"v{len(self.names) + 1}")


def _operation(text: str, turned: bool = False) -> tuple[str, list[str], list[str]]:
    """A right-hand side's operation, what it does, and its operands, which stand last where the text is `turned`."""
    match = CALL.fullmatch(text)
    if match is None:
        return text, [], []
    op, parts = match[1], split_arguments(match[2])
    if op not in N_OPERANDS or len(parts) < (n := N_OPERANDS[op]):
        raise _Strange
    if op in OPERANDS_FIRST and not turned:
        return op, parts[n:], parts[:n]
    return op, parts[: len(parts) - n], parts[len(parts) - n :]
