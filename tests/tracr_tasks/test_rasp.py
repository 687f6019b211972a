"""Expressions made in Python: operators on S-ops and selectors."""

from __future__ import annotations

import operator
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracr_tasks.errors import ProgramError
from tracr_tasks.interpreter import evaluate
from tracr_tasks.rasp import INDICES, LENGTH, TOKENS, SelectorWidth, SOp, select

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": lambda a, b: a / b if isinstance(a, SOp) or isinstance(b, SOp) else float(Fraction(a) / b),
    "%": operator.mod,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
INPUTS = st.lists(st.integers(1, 5), min_size=1, max_size=6)


@given(INPUTS, st.sampled_from(list(OPERATORS)), st.integers(1, 4))
def test_operators_are_pythons_position_by_position(tokens: list[int], sign: str, constant: int) -> None:
    apply = OPERATORS[sign]
    assert evaluate(apply(TOKENS, constant), tokens) == pytest.approx([float(apply(t, constant)) for t in tokens])
    assert evaluate(apply(constant, TOKENS), tokens) == pytest.approx([float(apply(constant, t)) for t in tokens])
    pairs = list(zip(tokens, range(1, len(tokens) + 1), strict=True))
    assert evaluate(apply(TOKENS, INDICES + 1), tokens) == pytest.approx([float(apply(t, i)) for t, i in pairs])


@given(INPUTS)
def test_logic_and_equality(tokens: list[int]) -> None:
    small, even = TOKENS < 3, (TOKENS % 2).equals(0)
    assert evaluate(small & even, tokens) == [int(t < 3 and t % 2 == 0) for t in tokens]
    assert evaluate(small | even, tokens) == [int(t < 3 or t % 2 == 0) for t in tokens]
    assert evaluate(~small, tokens) == [int(t >= 3) for t in tokens]
    assert evaluate(-TOKENS, tokens) == [-t for t in tokens]
    assert evaluate(TOKENS.differs(LENGTH), tokens) == [int(t != len(tokens)) for t in tokens]


@given(INPUTS)
def test_selectors_combine(tokens: list[int]) -> None:
    same, before = select(TOKENS, TOKENS, "=="), select(INDICES, INDICES, "<")
    both, n = enumerate(tokens), len(tokens)
    assert evaluate(SelectorWidth(same & before), tokens) == [tokens[:i].count(t) for i, t in both]
    assert evaluate(SelectorWidth(~(same | before)), tokens) == [
        n - sum(tokens[k] == tokens[q] or k < q for k in range(n)) for q in range(n)
    ]


def test_what_is_not_a_value_is_refused_where_it_is_written() -> None:
    with pytest.raises(ProgramError, match="is not a value"):
        TOKENS * [1]
