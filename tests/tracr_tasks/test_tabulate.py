from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tracr_tasks.corpus import mismatches
from tracr_tasks import rasp
from tracr_tasks.compiler.compile import compile_program
from tracr_tasks.errors import ProgramError
from tracr_tasks.rasp import INDICES, TOKENS, Program
from tracr_tasks.text import format_program, parse_program

VOCAB = (0, 1, 2, 3)


def program(output: rasp.SOp, vocab: tuple[object, ...] = VOCAB, length: int = 4) -> Program:
    return Program(output, vocab, length)  # type: ignore[arg-type]


@settings(max_examples=60)
@given(st.lists(st.integers(-3, 3), min_size=4, max_size=4), st.integers(0, 2**16 - 1))
def test_any_python_functions_are_kept(values: list[int], bits: int) -> None:
    """A map from a list of results, a predicate from a bit a pair, and the sum of what both give."""
    mapped = rasp.map_(lambda x: values[x], TOKENS)
    chosen = rasp.select(INDICES, TOKENS, lambda k, q: bool(bits >> (4 * k + q) & 1))
    width = rasp.SelectorWidth(chosen)
    made = program(rasp.sequence_map(lambda x, y: 10 * x + y, mapped, width))
    tokens = [3, 1, 0, 2]
    widths = [sum(bits >> (4 * k + q) & 1 for k in range(4)) for q in tokens]
    assert made.run(tokens) == [10 * values[t] + w for t, w in zip(tokens, widths, strict=True)]
    assert parse_program(format_program(made)) == made
    assert mismatches(compile_program(made)) == 0


@pytest.mark.parametrize(
    ("python", "text"),
    [
        (lambda x: x, "x"),
        (lambda x: x + 1, "x + 1"),
        (lambda x: x - 0.5, "x - 0.5"),
        (lambda x: x * 2, "x * 2"),
        (lambda x: x % 3, "x % 3"),
        (lambda x: x == 2, "x == 2"),
        (lambda x: x != 3, "x != 3"),
        (lambda x: x > 1, "x > 1"),
        (lambda x: not x, "not x"),
        (lambda x: x * x, "{0: 0, 1: 1, 2: 4, 3: 9}"),
        (lambda x: "odd" if x % 2 else None, "{0: none, 1: 'odd', 2: none, 3: 'odd'}"),
    ],
)
def test_formulas_of_one(python: Callable[[int], object], text: str) -> None:
    assert program(rasp.map_(python, TOKENS)).text() == f"out = map({text}, tokens)"


@pytest.mark.parametrize(
    ("python", "text"),
    [
        (lambda k, q: k == q, "=="),
        (lambda k, q: q >= k, "<="),
        (lambda k, q: True, "true"),
        (lambda k, q: k == 2, "k == 2"),
        (lambda k, q: k == q - 1, "k + 1 == q"),
        (lambda k, q: k == q + 2, "k - 2 == q"),
    ],
)
def test_predicates(python: Callable[[int, int], bool], text: str) -> None:
    made = program(rasp.SelectorWidth(rasp.select(INDICES, INDICES, python)))
    assert made.text().splitlines()[0] == f"v1 = select(indices, indices, {text})"


def test_formulas_of_two_that_move_together() -> None:
    """Only pairs that can occur together count: here y is always x + 1."""
    made = program(rasp.sequence_map(lambda x, y: y - x, TOKENS, TOKENS + 1))
    assert made.text().endswith("out = sequence_map(y - x, tokens, v1)")


def test_none_is_never_seen() -> None:
    previous = rasp.Aggregate(rasp.select(INDICES, INDICES, "k + 1 == q"), TOKENS)
    made = program(rasp.map_(lambda x: x.upper() + "!", previous), ("a", "b"), 3)
    assert made.run(["a", "b"]) == [None, "A!"]


def test_refused_with_every_reason() -> None:
    bad = rasp.sequence_map(lambda x, y: x + y, rasp.map_(lambda x: 1 / x, TOKENS), rasp.map_(lambda x: [x], INDICES))
    with pytest.raises(ProgramError) as caught:
        program(bad)
    assert [reason.line for reason in caught.value.reasons] == [1, 2]
    assert "not defined for 0: ZeroDivisionError" in str(caught.value) and "[0] is not a value" in str(caught.value)
    many = rasp.Aggregate(rasp.select(TOKENS, TOKENS, "true"), INDICES)
    with pytest.raises(ProgramError, match="too many values"):
        Program(rasp.map_(lambda x: x > 1, many), VOCAB, 100)
