"""One text for programs that differ only in how they are written.

Arguments of x + y, x * y, x == y, x != y, of linear (with its weights) and of selector_and and selector_or are put in
order; a predicate `true` or `false` is over tokens; not not s is s; an annotation of an annotation is the outer one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from tracr_tasks import rasp
from tracr_tasks.functions import Function
from tracr_tasks.trace import rebuild

COMMUTATIVE = ("x + y", "x * y", "x == y", "x != y")
ENCODINGS = ("numerical", "categorical")
MAX_KEY = 500
"""Longer ordering texts are hashed: a shared sub-expression could double them at every line."""


def canonical(program: rasp.Program) -> rasp.Program:
    """The program in its one form: the same function, line for line at most as long."""
    rebuilt: list[_Part] = []
    for node in program.nodes:
        rebuilt.append(_rebuild(node.op, node.params, [rebuilt[place] for place in node.args]))
    return rasp.Program(rebuilt[-1].expression, program.vocab, program.max_seq_len, program.causal)


@dataclass(frozen=True)
class _Part:
    """A rebuilt node: a text that orders it among others, and its own arguments."""

    op: str
    key: str
    expression: Any
    args: tuple[_Part, ...] = ()


def _rebuild(op: str, params: tuple[Any, ...], parts: list[_Part]) -> _Part:
    args = tuple(parts)
    if op == "selector_not" and args[0].op == "selector_not":
        return args[0].args[0]
    if op in ENCODINGS and args[0].op in ENCODINGS:
        args = args[0].args
    if op == "select" and params[0].text in ("true", "false"):
        args = (_Part("tokens", "tokens", rasp.TOKENS),) * 2
    if op in ("selector_and", "selector_or") or (op == "sequence_map" and params[0].text in COMMUTATIVE):
        args = tuple(sorted(args, key=_order))
    if op == "linear" and _order(args[1]) < _order(args[0]):
        args, params = args[::-1], params[::-1]
    shown = [p.text if isinstance(p, Function) else str(p) for p in params]
    key = f"{op}({', '.join([*shown, *(part.key for part in args)])})" if args or params else op
    key = key if len(key) <= MAX_KEY else hashlib.sha256(key.encode()).hexdigest()
    return _Part(op, key, rebuild(op, params, [part.expression for part in args]), args)


def _order(part: _Part) -> tuple[int, str]:
    return len(part.key), part.key
