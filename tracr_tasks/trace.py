"""Trace: the nodes of a program in order, each once.

Nodes that are equal (same operation, parameters and arguments) become one, so a shared sub-expression is one line of
text and one set of components. The order is that of a depth-first walk from the output, arguments from left to right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tracr_tasks import rasp
from tracr_tasks.errors import ProgramError, Reason
from tracr_tasks.exact import exact

INPUTS = ("tokens", "indices", "length")
SELECTORS = ("select", "selector_and", "selector_or", "selector_not")
MAX_NODES = 400
"""Operations of the largest program (twice as many before equal ones are merged)."""


@dataclass(frozen=True)
class Node:
    """One operation of a program, its arguments by their places in the order."""

    op: str
    """`tokens`, `map`, `select`, ... as in the text form."""
    args: tuple[int, ...]
    """Places of the arguments."""
    params: tuple[Any, ...]
    """What is not an argument: a function, weights, a default, a constant."""
    name: str = ""
    """Name in the text: an input's own, v1, v2, ... or out."""
    line: int | None = None
    """Line in the text without its header, from 1; None for an input."""
    source_line: int | None = None
    """Line of the text that it was read from; None if it was made in Python."""

    @property
    def blame(self) -> int | None:
        """The line that a refusal names: where it was read, else its line in the canonical text."""
        return self.line if self.source_line is None else self.source_line

    @property
    def is_selector(self) -> bool:
        """Whether the node is a selector."""
        return self.op in SELECTORS


Parts = tuple[str, tuple[rasp.Expression, ...], tuple[Any, ...]]

PARTS: dict[type[rasp.Expression], Callable[[Any], Parts]] = {
    rasp.Tokens: lambda e: ("tokens", (), ()),
    rasp.Indices: lambda e: ("indices", (), ()),
    rasp.Length: lambda e: ("length", (), ()),
    rasp.Constant: lambda e: ("constant", (), (exact(e.value),)),
    rasp.Map: lambda e: ("map", (e.x,), (e.fn,)),
    rasp.SequenceMap: lambda e: ("sequence_map", (e.x, e.y), (e.fn,)),
    rasp.LinearSequenceMap: lambda e: ("linear", (e.x, e.y), (exact(e.a), exact(e.b))),
    rasp.Select: lambda e: ("select", (e.keys, e.queries), (e.predicate,)),
    rasp.SelectorAnd: lambda e: ("selector_and", (e.left, e.right), ()),
    rasp.SelectorOr: lambda e: ("selector_or", (e.left, e.right), ()),
    rasp.SelectorNot: lambda e: ("selector_not", (e.selector,), ()),
    rasp.SelectorWidth: lambda e: ("selector_width", (e.selector,), ()),
    rasp.Aggregate: lambda e: ("aggregate", (e.selector, e.sop), (exact(e.default),)),
    rasp.Encoded: lambda e: (e.kind, (e.x,), ()),
}
TAKES_SELECTOR = {"selector_and": (0, 1), "selector_or": (0, 1), "selector_not": (0,), "selector_width": (0,)}
TAKES_SELECTOR |= {"aggregate": (0,)}


def trace(output: rasp.Expression) -> tuple[Node, ...]:
    """The nodes that an expression needs, arguments first, the expression itself last.

    Raises:
        ProgramError: an argument is a selector where an S-op was expected or the reverse, or the program is too large.
    """
    order: list[Node] = []
    places: dict[tuple[Any, ...], int] = {}
    seen: dict[int, int] = {}
    parts_of: dict[int, Parts] = {}
    reasons: list[Reason] = []
    stack = [output]
    while stack:
        expression = stack[-1]
        if id(expression) in seen:
            stack.pop()
            continue
        if id(expression) not in parts_of:
            parts_of[id(expression)] = PARTS[type(expression)](expression)
        op, parts, params = parts_of[id(expression)]
        if missing := [part for part in parts if id(part) not in seen]:
            stack += reversed(missing)
            if len(stack) > 2 * MAX_NODES:
                raise ProgramError([Reason(None, f"a program of over {MAX_NODES} operations")])
            continue
        stack.pop()
        reasons.extend(_type_reasons(op, parts))
        key = (op, tuple(seen[id(part)] for part in parts), params)
        if key not in places:
            places[key] = len(order)
            order.append(Node(*key, source_line=expression.source_line))
        seen[id(expression)] = places[key]
        if len(seen) > 2 * MAX_NODES:
            raise ProgramError([Reason(None, f"a program of over {MAX_NODES} operations")])
    if reasons:
        raise ProgramError(reasons)
    return _named(order)


def _type_reasons(op: str, parts: tuple[rasp.Expression, ...]) -> list[Reason]:
    reasons = []
    for place, part in enumerate(parts):
        expected = rasp.Selector if place in TAKES_SELECTOR.get(op, ()) else rasp.SOp
        if not isinstance(part, expected):
            kind = "a selector" if expected is rasp.Selector else "an S-op"
            reasons.append(Reason(None, f"argument {place + 1} of {op} must be {kind}"))
    return reasons


def _named(order: list[Node]) -> tuple[Node, ...]:
    named, count = [], 0
    for place, node in enumerate(order):
        is_last = place == len(order) - 1
        if node.op in INPUTS and not is_last:
            name, line = node.op, None
        else:
            count += 1
            name, line = "out" if is_last else f"v{count}", count
        named.append(Node(node.op, node.args, node.params, name, line, node.source_line))
    return tuple(named)


def rebuild(op: str, params: Sequence[Any], x: Sequence[Any]) -> Any:
    """The expression that a node stands for, over its arguments' expressions."""
    match op:
        case "tokens":
            return rasp.TOKENS
        case "indices":
            return rasp.INDICES
        case "length":
            return rasp.LENGTH
        case "constant":
            return rasp.Constant(params[0])
        case "map":
            return rasp.Map(params[0], x[0])
        case "sequence_map":
            return rasp.SequenceMap(params[0], x[0], x[1])
        case "linear":
            return rasp.LinearSequenceMap(params[0], params[1], x[0], x[1])
        case "select":
            return rasp.Select(x[0], x[1], params[0])
        case "selector_and":
            return rasp.SelectorAnd(x[0], x[1])
        case "selector_or":
            return rasp.SelectorOr(x[0], x[1])
        case "selector_not":
            return rasp.SelectorNot(x[0])
        case "selector_width":
            return rasp.SelectorWidth(x[0])
        case "aggregate":
            return rasp.Aggregate(x[0], x[1], params[0])
        case "numerical":
            return rasp.Encoded("numerical", x[0])
        case "categorical":
            return rasp.Encoded("categorical", x[0])
    raise AssertionError(f"no rule for {op}")
