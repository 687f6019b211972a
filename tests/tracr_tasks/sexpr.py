"""A reader of the conformance file's s-expressions: text -> RASP expression."""

from __future__ import annotations

import re
from typing import Any

from tracr_tasks import rasp
from tracr_tasks.functions import function, predicate, table

PREDICATES = {"EQ": "==", "LT": "<", "LEQ": "<=", "GT": ">", "GEQ": ">=", "NEQ": "!=", "TRUE": "true", "FALSE": "false"}
INFIX = ("+", "-", "*", "/", "==", "!=", "<", "<=", ">", ">=", "and", "or")


class Word(str):
    """A bare word, as against a string value."""


def read(text: str) -> Any:
    """Nested lists of words and values; [..] becomes ["list", ..]."""
    stack: list[list[Any]] = [[]]
    for part in re.findall(r'"[^"]*"|[()\[\]]|[^\s()\[\]]+', text):
        if part in "([":
            stack.append([Word("list")] if part == "[" else [])
        elif part in ")]":
            done = stack.pop()
            stack[-1].append(done)
        else:
            stack[-1].append(atom(part))
    return stack[0][0]


def atom(part: str) -> Any:
    if part.startswith('"'):
        return part[1:-1]
    if part in ("#t", "#f"):
        return part == "#t"
    try:
        return int(part)
    except ValueError:
        pass
    try:
        return float(part)
    except ValueError:
        return Word(part)


def formula(tree: Any, names: dict[str, str]) -> str:
    """A function's body as the text of `tracr_tasks.functions`."""
    if isinstance(tree, Word):
        return names[tree]
    if not isinstance(tree, list):
        return repr(tree)
    head, parts = tree[0], [formula(part, names) for part in tree[1:]]
    if head == "tuple":
        return f"({', '.join(parts)})"
    if head == "item":
        return f"{parts[0]}[{parts[1]}]"
    if head == "not":
        return f"(not {parts[0]})"
    assert head in INFIX, head
    return f"({parts[0]} {head} {parts[1]})"


def fn(tree: Any, params: tuple[str, ...]) -> Any:
    """`(fn (args) body)` as a function of x, y or of k, q."""
    _, names, body = tree
    return function(formula(body, dict(zip(names, params, strict=True))), params)


def constant_selector(rows: list[list[bool]]) -> rasp.Select:
    on = [(k, q) for q, row in enumerate(rows) for k, chosen in enumerate(row) if chosen]
    listed = {(k, q): int((k, q) in on) for q, row in enumerate(rows) for k in range(len(row))}
    return rasp.Select(rasp.INDICES, rasp.INDICES, table(listed, ("k", "q")))


def expression(tree: Any, names: dict[str, Any] | None = None) -> Any:
    """The RASP expression that nested lists stand for."""
    names = names or {}
    if isinstance(tree, Word):
        inputs = {"tokens": rasp.TOKENS, "indices": rasp.INDICES, "length": rasp.LENGTH}
        return names[tree] if tree in names else inputs[tree]
    head, rest = tree[0], tree[1:]
    if head == "let":
        inner = dict(names)
        for name, value in rest[0]:
            inner[name] = expression(value, inner)
        return expression(rest[1], inner)
    if head in ("map", "map-nofuse"):
        return rasp.Map(fn(rest[0], ("x",)), expression(rest[1], names))
    if head == "seqmap":
        return rasp.SequenceMap(fn(rest[0], ("x", "y")), expression(rest[1], names), expression(rest[2], names))
    if head == "linear":
        return rasp.LinearSequenceMap(rest[0], rest[1], expression(rest[2], names), expression(rest[3], names))
    if head == "full":
        return rasp.Constant(rest[0])
    if head == "const-seq":
        return rasp.Map(table(dict(enumerate(rest[0][1:]))), rasp.INDICES)
    if head == "const-sel":
        return constant_selector([row[1:] for row in rest[0][1:]])
    if head == "select":
        chosen = predicate(PREDICATES[rest[2]]) if isinstance(rest[2], Word) else fn(rest[2], ("k", "q"))
        return rasp.Select(expression(rest[0], names), expression(rest[1], names), chosen)
    if head == "aggregate":
        default = None if len(rest) < 4 or rest[3] == "none" else rest[3]
        return rasp.Aggregate(expression(rest[0], names), expression(rest[1], names), default)
    if head in ("numerical", "categorical"):
        return rasp.Encoded(str(head), expression(rest[0], names))  # type: ignore[arg-type]
    kinds = {
        "sel-and": rasp.SelectorAnd,
        "sel-or": rasp.SelectorOr,
        "sel-not": rasp.SelectorNot,
        "selector-width": rasp.SelectorWidth,
    }
    return kinds[head](*(expression(part, names) for part in rest))
