"""Functions of RASP programs: printable expressions over x (and y), or over k and q for a selector's predicate.

    x + 1        x * y        x % 10        x == 2        x and not y        int(x)        (x, y)        x[0]
    {0: 1, 1: 2}              a table: what each listed value becomes; for two arguments {(0, 1): 2}

`and` and `or` return one of their operands, as in Python; comparisons give 0 or 1; None in gives None out.
Text is read with Python's parser and walked by hand; nothing is ever evaluated as code.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Any

from tracr_tasks.errors import ProgramError, Reason
from tracr_tasks.exact import Exact, bounded, exact, is_number, literal, reduced, sort_key

Closure = Callable[[tuple[Exact, ...]], Exact]

COMPARATORS = ("==", "!=", "<", "<=", ">", ">=", "true", "false")
"""Predicates with a name of their own: key OP query, always, never."""

ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda a, b: Fraction(a) / b,
    ast.Mod: operator.mod,
}
COMPARISON: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
CONSTANTS: dict[str, Exact] = {"none": None, "true": 1, "false": 0}
MAX_TEXT = 10_000
MAX_KNOWN = 1_000
"""Values that one function remembers."""


@dataclass(frozen=True)
class Function:
    """A function by its canonical text and its parameters; make one with `function` or `predicate`."""

    text: str
    params: tuple[str, ...]

    def __call__(self, *arguments: Exact) -> Exact:
        """The function's value; None where an argument is None.

        Raises:
            ProgramError: the function is not defined there (a division by zero, a sum of a number and a string, ...).
        """
        known = self._known
        if arguments in known:
            return known[arguments]
        value = None if None in arguments else call(_closure(self.text, self.params), arguments, self.text)
        if len(known) < MAX_KNOWN:
            known[arguments] = value
        return value

    @cached_property
    def _known(self) -> dict[tuple[Exact, ...], Exact]:
        """Values that were asked for: a zoo's programs ask for the same ones again and again."""
        return {}


def call(closure: Closure, arguments: tuple[Exact, ...], text: str) -> Exact:
    """Run a closure, with Python's errors told as a program's."""
    try:
        return bounded(closure(arguments))
    except ZeroDivisionError:
        what = "a division by zero"
    except (TypeError, LookupError) as error:
        what = str(error)
    shown = ", ".join(literal(a) for a in arguments)
    raise ProgramError([Reason(None, f"{text!r} is not defined for {shown}: {what}")])


@lru_cache(maxsize=65536)
def function(text: str, params: tuple[str, ...] = ("x",)) -> Function:
    """Read a function and bring its text into canonical form.

    Raises:
        ProgramError: the text is not a function of these parameters.
    """
    if len(text) > MAX_TEXT:
        raise ProgramError([Reason(None, f"a function of over {MAX_TEXT} characters")])
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ProgramError([Reason(None, f"{text.strip()!r} is not an expression")]) from None
    _build(tree, params)
    return Function(_canonical(tree), params)


@lru_cache(maxsize=4096)
def predicate(text: str) -> Function:
    """A predicate over a key k and a query q: a comparator such as `<=`, or an expression.

    Raises:
        ProgramError: the text is neither.
    """
    text = text.strip()
    return Function(text, ("k", "q")) if text in COMPARATORS else function(text, ("k", "q"))


@lru_cache(maxsize=65536)
def _closure(text: str, params: tuple[str, ...]) -> Closure:
    if text in ("true", "false"):
        value = CONSTANTS[text]
        return lambda arguments: value
    if text in COMPARATORS:
        text = f"k {text} q"
    return _build(ast.parse(text, mode="eval").body, params)


def table(mapping: dict[Any, Any], params: tuple[str, ...] = ("x",)) -> Function:
    """A function as a table of its values."""
    rows = sorted(((exact(key), exact(value)) for key, value in mapping.items()), key=lambda row: sort_key(row[0]))
    return Function("{" + ", ".join(f"{literal(key)}: {literal(value)}" for key, value in rows) + "}", params)


def _canonical(tree: ast.expr) -> str:
    if isinstance(tree, ast.Dict):
        return table({_constant(k): _constant(v) for k, v in zip(tree.keys, tree.values, strict=True)}).text
    return ast.unparse(tree)


def _constant(tree: ast.expr | None) -> Exact:
    if tree is None:
        raise ProgramError([Reason(None, "`**` is not part of a table")])
    return call(_build(tree, ()), (), ast.unparse(tree))


def _build(tree: ast.expr, params: tuple[str, ...]) -> Closure:
    """The closure of one node of an expression.

    Raises:
        ProgramError: the node is not part of the language.
    """
    for kind, build in BUILDERS:
        if isinstance(tree, kind):
            return build(tree, params)
    raise ProgramError([Reason(None, f"{ast.unparse(tree)!r} is not part of a function")])


def _build_name(tree: ast.Name, params: tuple[str, ...]) -> Closure:
    if tree.id in params:
        place = params.index(tree.id)
        return lambda arguments: arguments[place]
    if tree.id in CONSTANTS:
        value = CONSTANTS[tree.id]
        return lambda arguments: value
    expected = " and ".join(params) or "constants only"
    raise ProgramError([Reason(None, f"unknown name {tree.id!r} in a function of {expected}")])


def _build_literal(tree: ast.Constant, params: tuple[str, ...]) -> Closure:
    if type(tree.value) not in (int, float, str):
        raise ProgramError([Reason(None, f"{tree.value!r} is not a value")])
    value = exact(tree.value)
    return lambda arguments: value


def _build_arithmetic(tree: ast.BinOp, params: tuple[str, ...]) -> Closure:
    if type(tree.op) not in ARITHMETIC:
        raise ProgramError([Reason(None, f"the operator of {ast.unparse(tree)!r} is not part of a function")])
    left, right, apply = _build(tree.left, params), _build(tree.right, params), ARITHMETIC[type(tree.op)]
    adds = isinstance(tree.op, ast.Add)

    def run(arguments: tuple[Exact, ...]) -> Exact:
        """The operation on both sides; None if either is None."""
        a, b = left(arguments), right(arguments)
        if a is None or b is None:
            return None
        if is_number(a) and is_number(b):
            return bounded(reduced(apply(a, b)))
        if adds and isinstance(a, str) and isinstance(b, str):
            return bounded(a + b)
        raise TypeError("arithmetic needs two numbers (or + two strings)")

    return run


def _build_comparison(tree: ast.Compare, params: tuple[str, ...]) -> Closure:
    if len(tree.ops) != 1 or type(tree.ops[0]) not in COMPARISON:
        raise ProgramError([Reason(None, f"{ast.unparse(tree)!r} is not a comparison of two values")])
    left, right = _build(tree.left, params), _build(tree.comparators[0], params)
    apply = COMPARISON[type(tree.ops[0])]

    def run(arguments: tuple[Exact, ...]) -> Exact:
        a, b = left(arguments), right(arguments)
        return None if a is None or b is None else int(apply(a, b))

    return run


def _build_logic(tree: ast.BoolOp, params: tuple[str, ...]) -> Closure:
    parts, is_and = [_build(value, params) for value in tree.values], isinstance(tree.op, ast.And)

    def run(arguments: tuple[Exact, ...]) -> Exact:
        value: Exact = None
        for part in parts:
            value = part(arguments)
            if value is None or bool(value) != is_and:
                break
        return value

    return run


def _build_unary(tree: ast.UnaryOp, params: tuple[str, ...]) -> Closure:
    part = _build(tree.operand, params)
    if isinstance(tree.op, ast.Not):
        return lambda arguments: None if (value := part(arguments)) is None else int(not value)
    if not isinstance(tree.op, ast.USub):
        raise ProgramError([Reason(None, f"the operator of {ast.unparse(tree)!r} is not part of a function")])

    def negate(arguments: tuple[Exact, ...]) -> Exact:
        value = part(arguments)
        if value is None:
            return None
        if not isinstance(value, int | Fraction):
            raise TypeError("- needs a number")
        return -value

    return negate


def _build_call(tree: ast.Call, params: tuple[str, ...]) -> Closure:
    name = tree.func.id if isinstance(tree.func, ast.Name) else ""
    if name not in ("int", "bool") or len(tree.args) != 1 or tree.keywords:
        raise ProgramError([Reason(None, f"unknown function {ast.unparse(tree)!r}: int(x) or bool(x) was expected")])
    part = _build(tree.args[0], params)

    def run(arguments: tuple[Exact, ...]) -> Exact:
        """The call on its argument; None stays None."""
        value = part(arguments)
        if value is None:
            return None
        if name == "bool":
            return int(bool(value))
        if not isinstance(value, int | Fraction):
            raise TypeError("int needs a number")
        return int(value)

    return run


def _build_tuple(tree: ast.Tuple, params: tuple[str, ...]) -> Closure:
    parts = [_build(item, params) for item in tree.elts]
    return lambda arguments: tuple(part(arguments) for part in parts)


def _build_item(tree: ast.Subscript, params: tuple[str, ...]) -> Closure:
    whole, place = _build(tree.value, params), _constant(tree.slice)

    def run(arguments: tuple[Exact, ...]) -> Exact:
        value = whole(arguments)
        if not isinstance(value, tuple) or not isinstance(place, int):
            raise TypeError("[] needs a tuple and a whole number")
        return value[place]

    return run


def _build_table(tree: ast.Dict, params: tuple[str, ...]) -> Closure:
    rows = {_constant(key): _constant(value) for key, value in zip(tree.keys, tree.values, strict=True)}

    def run(arguments: tuple[Exact, ...]) -> Exact:
        key = arguments[0] if len(arguments) == 1 else arguments
        if key not in rows:
            raise LookupError("the table does not list it")
        return rows[key]

    return run


BUILDERS: tuple[tuple[type[ast.expr], Callable[[Any, tuple[str, ...]], Closure]], ...] = (
    (ast.Name, _build_name),
    (ast.Constant, _build_literal),
    (ast.BinOp, _build_arithmetic),
    (ast.Compare, _build_comparison),
    (ast.BoolOp, _build_logic),
    (ast.UnaryOp, _build_unary),
    (ast.Call, _build_call),
    (ast.Tuple, _build_tuple),
    (ast.Subscript, _build_item),
    (ast.Dict, _build_table),
)
