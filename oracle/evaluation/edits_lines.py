"""Changes of one line of a RASP program: another constant, comparison, operator, table entry, weight or default.

A change keeps what the line is (its operation and arguments) and every other line. All changes of a program come in a
random order in which its lines take turns, so that a long table is not changed more often than a single constant.
Those to functions that the sampler draws too come first: of edited programs, few are then unlike all others.
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from tracr_tasks.canonical import canonical
from tracr_tasks.errors import ProgramError
from tracr_tasks.exact import Exact, exact, is_number, literal, reduced, sort_key
from tracr_tasks.families import MAPS, PREDICATES, SEQUENCE_MAPS
from tracr_tasks.functions import COMPARATORS, Function, function, predicate
from tracr_tasks.rasp import Program
from tracr_tasks.trace import Node, rebuild

COMPARISONS = COMPARATORS[:6]
"""Predicates that compare key and query; `true` and `false` compare nothing."""
SYMBOLS: tuple[dict[str, type[ast.AST]], ...] = (
    {"==": ast.Eq, "!=": ast.NotEq, "<": ast.Lt, "<=": ast.LtE, ">": ast.Gt, ">=": ast.GtE},
    {"+": ast.Add, "-": ast.Sub, "*": ast.Mult},
    {"and": ast.And, "or": ast.Or},
)
"""Operators of an expression that may stand for each other."""
WEIGHTS = (-3, -2, -1, 1, 2, 3)
"""Weights of a linear map that may stand for each other, as the sampler draws them."""
CONSTANT = r"(-?[\d./]+|'[^']*')"
DRAWN = {
    op: re.compile("|".join(re.sub(r"\\{[ct]\\}", lambda _: CONSTANT, re.escape(t)) for f in families for t in f.texts))
    for op, families in {"map": MAPS, "sequence_map": SEQUENCE_MAPS, "select": PREDICATES}.items()
}
"""Functions and predicates that the sampler draws, tables aside."""


def line_changes(program: Program, rng: random.Random) -> Iterator[tuple[str, Program]]:
    """Every change of one line of a canonical program that gives a canonical program, in a random order.

    Each is the line before and after, as in `v2 = map(x + 1, v1) -> map(x + 2, v1)`, and the changed program. Whether
    it computes anything else, or can be compiled, is not asked. A change that would put other lines in another order is
    left out.
    """
    changed = [[replace(n, op=op, params=p) for op, p in _others(n, program)] for n in program.nodes]
    for drawn in (True, False):
        kept = [[node for node in nodes if _is_drawn(node) == drawn] for nodes in changed]
        turns = [(place, rng.sample(nodes, len(nodes))) for place, nodes in enumerate(kept) if nodes]
        rng.shuffle(turns)
        while turns:
            for place, nodes in turns:
                if (change := _change(program, place, nodes.pop())) is not None:
                    yield change
            turns = [(place, nodes) for place, nodes in turns if nodes]


def _is_drawn(node: Node) -> bool:
    """Whether the sampler draws such functions."""
    if node.op not in DRAWN or node.params[0].text.startswith("{"):
        return True
    return DRAWN[node.op].fullmatch(node.params[0].text) is not None


def _change(program: Program, place: int, node: Node) -> tuple[str, Program] | None:
    """The program with another node in a place; None where it is no program, or more than one line is another."""
    parts: list[Any] = []
    for at, old in enumerate(program.nodes):
        new = node if at == place else old
        parts.append(rebuild(new.op, new.params, [parts[arg] for arg in new.args]))
    try:
        after = canonical(Program(parts[-1], program.vocab, program.max_seq_len, program.causal))
        old_lines, new_lines = program.text().splitlines(), after.text().splitlines()
    except ProgramError:
        return None
    if len(old_lines) != len(new_lines):
        return None
    differ = [(old, new) for old, new in zip(old_lines, new_lines, strict=True) if old != new]
    if len(differ) != 1 or not differ[0][0].startswith(f"{node.name} = "):
        return None
    old_line, new_line = differ[0]
    return f"{old_line} -> {new_line.partition(' = ')[2]}", after


def _others(node: Node, program: Program) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """What the node's operation and parameters may become."""
    match node.op, node.params:
        case (("map" | "sequence_map"), (Function() as fn,)):
            yield from ((node.op, (other,)) for other in _functions(fn, program))
        case "select", (Function() as fn,):
            yield from ((node.op, (other,)) for other in _predicates(fn, program))
        case "linear", (a, b):
            yield from ((node.op, (other, b)) for other in WEIGHTS if other != a)
            yield from ((node.op, (a, other)) for other in WEIGHTS if other != b)
        case "aggregate", (default,):
            yield from ((node.op, (other,)) for other in _values(0 if default is None else default, program))
        case "constant", (value,):
            yield from ((node.op, (other,)) for other in _values(value, program))
        case (("selector_and" | "selector_or"), ()):
            yield {"selector_and": "selector_or", "selector_or": "selector_and"}[node.op], ()


def _predicates(fn: Function, program: Program) -> Iterator[Function]:
    """Other predicates: another comparison, or an expression with one thing changed."""
    if fn.text in COMPARATORS:
        yield from (predicate(text) for text in COMPARISONS if text != fn.text)
    else:
        yield from _functions(fn, program)


def _functions(fn: Function, program: Program) -> Iterator[Function]:
    """Functions whose text differs in one operator, one constant or one entry of a table."""
    tree = ast.parse(fn.text, mode="eval").body
    texts = _tables(tree, program) if isinstance(tree, ast.Dict) else _expressions(tree, program)
    for text in dict.fromkeys(texts):
        try:
            other = function(text, fn.params)
        except ProgramError:
            continue
        if other.text != fn.text:
            yield other


def _tables(tree: ast.Dict, program: Program) -> Iterator[str]:
    """A table's text with one value replaced by another of its own, or by a neighbour."""
    values = [_value(value) for value in tree.values]
    rows = [ast.unparse(key) for key in tree.keys if key is not None]
    own = sorted(set(values), key=sort_key)
    for at, value in enumerate(values):
        for other in dict.fromkeys([*own, *_values(value, program)]):
            if other != value:
                shown = [literal(other if i == at else v) for i, v in enumerate(values)]
                yield "{" + ", ".join(f"{key}: {result}" for key, result in zip(rows, shown, strict=True)) + "}"


def _expressions(tree: ast.expr, program: Program) -> Iterator[str]:
    """An expression's text with one constant or one operator changed."""
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value):
                yield from _texts(tree, node, "value", _constants(value, program))
            case ast.Compare(ops=[op]):
                yield from _texts(tree, node, "ops", [[other()] for other in _alike(op)])
            case ast.BinOp(op=op) | ast.BoolOp(op=op):
                yield from _texts(tree, node, "op", [other() for other in _alike(op)])


def _texts(tree: ast.expr, node: ast.AST, field: str, others: Sequence[Any]) -> Iterator[str]:
    """The expression's text with each of some things in a field of one of its nodes."""
    before = getattr(node, field)
    for other in others:
        setattr(node, field, other)
        text = ast.unparse(tree)
        setattr(node, field, before)
        yield text


def _alike(operator: ast.AST) -> list[type[ast.AST]]:
    """Operators that may stand for one."""
    for symbols in SYMBOLS:
        if type(operator) in symbols.values():
            return [other for other in symbols.values() if other is not type(operator)]
    return []


def _constants(value: Any, program: Program) -> list[Any]:
    """What a number or string in an expression may become, as Python's parser holds it."""
    others = [other for other in _values(exact(value), program) if not is_number(other) or other >= 0]  # type: ignore[operator]
    return [float(other) if isinstance(other, Fraction) else other for other in others]


def _values(value: Exact, program: Program) -> list[Exact]:
    """Values near one: a number's neighbours, the other strings of the vocabulary."""
    if is_number(value):
        return [reduced(Fraction(value) + step) for step in (1, -1)]  # type: ignore[arg-type]
    return [token for token in program.exact_vocab if isinstance(token, str) and token != value]


def _value(tree: ast.expr) -> Exact:
    """The constant that stands in a table."""
    return function(ast.unparse(tree), ())()
