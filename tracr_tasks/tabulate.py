"""Python functions in a program become printable ones: a formula where one says the same, else a table.

A Python function is called once for every value (or pair of values) that its arguments can have, as the compiler infers
them. What it gives is looked up among short formulas (`x + 1`, `x == 'a'`, `k == q`, `k + 1 == q`); if none agrees on
all of these values, the function becomes the table of its results. A Python function never sees None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from itertools import product
from typing import Any

from tracr_tasks import rasp
from tracr_tasks.errors import ProgramError, Reason
from tracr_tasks.exact import Exact, exact, is_number, literal, plain
from tracr_tasks.functions import COMPARATORS, MAX_TEXT, Function, function, predicate, table
from tracr_tasks.trace import Node, rebuild

Results = Mapping[tuple[Any, ...], Any]
"""What a function gives for each tuple of arguments."""

OF_TWO = ("x + y", "x - y", "y - x", "x * y", "(x + y) % 10", "x and y", "x or y")
COMPARISONS = ("x == y", "x != y", "x < y", "x <= y", "x > y", "x >= y")


def tabulated(program: rasp.Program) -> Any:
    """A program's output with every Python function in it replaced.

    Raises:
        ProgramError: with every reason: a function fails on a value that its argument can have, gives what is not a
            value, or its argument has too many values to be listed.
    """
    if not any(is_python(param) for node in program.nodes for param in node.params):
        return program.output
    made: list[Any] = []  # None for what cannot be made
    reasons: list[Reason] = []
    for node in program.nodes:
        args = [made[place] for place in node.args]
        params = list(node.params)
        try:
            if None not in args and params and is_python(params[0]):
                params[0] = _printable(params[0], node, args, program)
        except ProgramError as error:
            reasons += [Reason(node.blame, reason.text) for reason in error.reasons]
            args = [None]
        made.append(None if None in args else rebuild(node.op, params, args))
    if reasons:
        raise ProgramError(reasons)
    return made[-1]


def is_python(param: Any) -> bool:
    """Whether a node's parameter is a Python function."""
    return callable(param) and not isinstance(param, Function)


def _printable(python: Callable[..., Any], node: Node, args: list[Any], program: rasp.Program) -> Function:
    """The printable function that agrees with a Python one."""
    results: dict[tuple[Any, ...], Any] = {}
    for values in _arguments(node, args, program):
        results[values] = None if None in values else _called(python, values)
    if node.op == "select":
        results = {values: int(bool(result)) for values, result in results.items() if None not in values}
    for candidate in CANDIDATES[node.op](results):
        if _agrees(candidate, results):
            return candidate
    params = PARAMS[node.op]
    rows = {values[0] if len(params) == 1 else values: r for values, r in results.items() if None not in values}
    found = table(rows, params)
    if len(found.text) > MAX_TEXT:
        raise ProgramError([Reason(None, f"the table of a Python function would have over {MAX_TEXT} characters")])
    return found


def _arguments(node: Node, args: list[Any], program: rasp.Program) -> list[tuple[Exact, ...]]:
    """Every tuple of values that the arguments can have: together at one position, or as any key and any query."""
    if node.op == "sequence_map":
        pair = rasp.SequenceMap(function("(x, y)", ("x", "y")), *args)
        return [value for value in _value_set(pair, program) if isinstance(value, tuple)]
    return list(product(*(_value_set(arg, program) for arg in args)))


def _value_set(sop: rasp.SOp, program: rasp.Program) -> tuple[Exact, ...]:
    """The values that an S-op can have.

    Raises:
        ProgramError: they are too many to be listed, or the S-op itself is refused.
    """
    from tracr_tasks.compiler.values import Inference

    inference = Inference(rasp.Program(sop, program.vocab, program.max_seq_len, program.causal)).run()
    if inference.reasons:
        raise ProgramError([Reason(None, reason.text) for reason in inference.reasons])
    values: tuple[Exact, ...] | None = inference.facts[-1].values
    if values is None:
        raise ProgramError([Reason(None, "a Python function of an S-op with too many values to be listed")])
    return values


def _called(python: Callable[..., Any], values: tuple[Exact, ...]) -> Exact:
    """What a Python function gives, as an exact value.

    Raises:
        ProgramError: it raises, or what it gives is not a value.
    """
    try:
        return exact(python(*map(plain, values)))
    except ProgramError:
        raise
    except Exception as error:  # whatever the user's function may raise becomes a reason with its line
        shown = ", ".join(map(literal, values))
        raise ProgramError([Reason(None, f"the Python function is not defined for {shown}: {error!r}")]) from error


# formulas


def _of_one(results: Results) -> Iterator[Function]:
    """Formulas in x, tuned to the results: the first value gives the constant."""
    known = [(x, y) for (x,), y in results.items() if x is not None]
    yield from map(function, ("x", "not x", "bool(x)", "int(x)"))
    for x, y in known[:2]:
        if is_number(x) and is_number(y):
            yield from (function(f"x {sign} {literal(exact(n))}") for sign, n in _constants(x, y))
    for sign, (value, _) in product(("==", "!=", ">", "<", ">=", "<="), known):
        yield function(f"x {sign} {literal(value)}")
    yield from (function(f"x % {n}") for n in range(2, 11))


def _constants(x: Any, y: Any) -> Iterator[tuple[str, Any]]:
    """Operators and constants that take the number x to the number y."""
    yield ("+", y - x) if y >= x else ("-", x - y)
    if x != 0:
        yield "*", exact(Fraction(y) / x)


def _of_two(results: Results) -> Iterator[Function]:
    return (function(text, ("x", "y")) for text in OF_TWO + COMPARISONS)


def _of_key_and_query(results: Results) -> Iterator[Function]:
    """Comparators, key at a distance from the query, one key."""
    yield from map(predicate, COMPARATORS)
    for k, q in [pair for pair, holds in results.items() if holds][:1]:
        yield predicate(f"k == {literal(k)}")
        if is_number(k) and is_number(q) and k != q:
            yield predicate(f"k + {literal(q - k)} == q" if q > k else f"k - {literal(k - q)} == q")


def _agrees(candidate: Function, results: Results) -> bool:
    """Whether a formula gives every result; where it is not defined it does not."""
    try:
        return all(candidate(*values) == result for values, result in results.items())
    except ProgramError:
        return False


CANDIDATES: dict[str, Callable[[Results], Iterator[Function]]] = {
    "map": _of_one,
    "sequence_map": _of_two,
    "select": _of_key_and_query,
}
"""Formulas to try, by the operation that the function is of."""
PARAMS = {"map": ("x",), "sequence_map": ("x", "y"), "select": ("k", "q")}
