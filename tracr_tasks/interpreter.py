"""The interpreter: what a program means, one input at a time. Everything else is judged by it.

`run` follows the definitions word by word, with exact numbers; `tracr_tasks.batch` does the same for thousands of
inputs at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from tracr_tasks import rasp
from tracr_tasks.errors import InputError, ProgramError, Reason
from tracr_tasks.exact import Exact, Value, bounded, exact, is_number, plain, reduced
from tracr_tasks.trace import Node, trace


def run(program: rasp.Program, tokens: Sequence[Value]) -> list[Any]:
    """The program's value at each position.

    Raises:
        InputError: the input is empty, too long, or holds a token that is not in the vocabulary.
        ProgramError: the program is not defined on this input (a mean of strings, a None in a select, ...).
    """
    check_tokens(program, tokens)
    return evaluate(program.nodes, tokens, program.causal)


def check_tokens(program: rasp.Program, tokens: Sequence[Value]) -> None:
    """Refuse an input that is not the program's.

    Raises:
        InputError: the input is empty, too long, or holds a token that is not in the vocabulary.
    """
    if not 1 <= len(tokens) <= program.max_seq_len:
        raise InputError(f"an input has 1 to {program.max_seq_len} tokens, this one has {len(tokens)}")
    strange = [token for token in tokens if exact(token) not in program.exact_vocab]
    if strange:
        raise InputError(f"{strange[0]!r} is not in the vocabulary {list(program.vocab)}")


def evaluate(what: rasp.Expression | Sequence[Node], tokens: Sequence[Value], causal: bool = False) -> list[Any]:
    """An expression's value on any input: a list of values, or for a selector a list of rows, one a query.

    Raises:
        ProgramError: the expression is not defined on this input.
    """
    nodes = trace(what) if isinstance(what, rasp.Expression) else what
    inputs = [exact(token) for token in tokens]
    results: list[list[Any]] = []
    for node in nodes:
        try:
            result = _apply(node, [results[place] for place in node.args], inputs)
        except ProgramError as error:
            raise ProgramError([Reason(node.blame, reason.text) for reason in error.reasons]) from None
        if node.is_selector and causal:
            result = [[chosen and k <= q for k, chosen in enumerate(row)] for q, row in enumerate(result)]
        results.append(result)
    if nodes[-1].is_selector:
        return results[-1]
    return [plain(value) for value in results[-1]]


def _apply(node: Node, args: list[list[Any]], inputs: list[Exact]) -> list[Any]:
    n = len(inputs)
    match node.op:
        case "tokens":
            return inputs
        case "indices":
            return list(range(n))
        case "length":
            return [n] * n
        case "constant":
            return [node.params[0]] * n
        case "numerical" | "categorical":
            return args[0]
        case "map" | "sequence_map":
            return [node.params[0](*values) for values in zip(*args, strict=True)]
        case "linear":
            return [combine(node.params[0], x, node.params[1], y) for x, y in zip(*args, strict=True)]
        case "select":
            return [[related(node.params[0], key, query) for key in args[0]] for query in args[1]]
        case "selector_and":
            return _elementwise(lambda a, b: a and b, *args)
        case "selector_or":
            return _elementwise(lambda a, b: a or b, *args)
        case "selector_not":
            return [[not a for a in row] for row in args[0]]
        case "selector_width":
            return [sum(row) for row in args[0]]
        case "aggregate":
            return [mean([v for v, on in zip(args[1], row, strict=True) if on], node.params[0]) for row in args[0]]
    raise AssertionError(f"no rule for {node.op}")


def _elementwise(logic: Any, left: list[list[bool]], right: list[list[bool]]) -> list[list[bool]]:
    return [[logic(a, b) for a, b in zip(*rows, strict=True)] for rows in zip(left, right, strict=True)]


def combine(a: Any, x: Any, b: Any, y: Any) -> Exact:
    """a * x + b * y; None where x or y is.

    Raises:
        ProgramError: x or y is not a number.
    """
    if x is None or y is None:
        return None
    if not is_number(x) or not is_number(y):
        raise ProgramError([Reason(None, f"linear needs numbers, not {x!r} and {y!r}")])
    return bounded(reduced(a * x + b * y))


def related(predicate: Any, key: Exact, query: Exact) -> bool:
    """Whether a predicate holds for a key and a query.

    Raises:
        ProgramError: one of them is None, or the predicate is not defined for them.
    """
    if key is None or query is None:
        raise ProgramError([Reason(None, f"the {'key' if key is None else 'query'} of a select is none")])
    return bool(predicate(key, query))


def mean(values: list[Any], default: Exact) -> Exact:
    """The value if there is one (or many equal ones), the mean if there are more, the default if there is none.

    Raises:
        ProgramError: a mean over different values that are not all numbers.
    """
    if not values:
        return default
    if all(value == values[0] for value in values):
        return values[0]
    if not all(is_number(value) for value in values):
        raise ProgramError([Reason(None, f"a mean is over numbers, not {[plain(value) for value in values]}")])
    return bounded(reduced(sum(values) * Fraction(1, len(values))))
