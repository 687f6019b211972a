from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.zoo.charts import INDEX, LENGTH, VOCAB, all_inputs, conditions, movable
from zoo.conditions import (
    At,
    AtLeast,
    Before,
    Condition,
    Contains,
    Equals,
    FirstIn,
    LastIn,
    depends_on_order,
    order_of,
    renamed,
)
from zoo.flowchart import input_ids


@given(conditions, st.integers(1, LENGTH))
def test_a_batch_is_judged_as_each_sequence_is(condition: Condition, length: int) -> None:
    batch = condition.holds_batch(input_ids(len(VOCAB), length), INDEX)
    assert batch.tolist() == [condition.holds(row) for row in all_inputs(VOCAB, length)]


@settings(max_examples=40)
@given(conditions, st.permutations(VOCAB))
def test_renaming_tokens_commutes_with_judging(condition: Condition, order: list[str]) -> None:
    name = dict(zip(VOCAB, order, strict=True))
    other = renamed(condition, name.__getitem__)
    assert renamed(other, {new: old for old, new in name.items()}.__getitem__) == condition
    assert all(other.holds([name[t] for t in row]) == condition.holds(row) for row in all_inputs())


@settings(max_examples=40)
@given(movable, st.permutations(range(LENGTH)))
def test_renaming_positions_commutes_with_judging(condition: Condition, order: list[int]) -> None:
    other = renamed(condition, lambda t: t, lambda p: order[p - 1] + 1)
    rows = np.array(all_inputs())
    moved = rows[:, np.argsort(order)]
    assert not depends_on_order(condition)
    assert [other.holds(list(row)) for row in moved] == [condition.holds(list(row)) for row in rows]


@given(conditions, conditions)
def test_conditions_differ_in_text_and_in_order(one: Condition, other: Condition) -> None:
    assert (one == other) == (one.text() == other.text()) == (order_of(one) == order_of(other))


@pytest.mark.parametrize(
    ("condition", "text", "true", "false"),
    [
        (At(2, "b"), "pos 2 is b", ["ab", "bb"], ["ba", "b", ""]),
        (Contains("b"), "has b", ["ab", "b"], ["aa", ""]),
        (AtLeast(2, "b"), "2 of b", ["bab", "bbb"], ["ab", ""]),
        (Before("a", "b"), "first a before first b", ["cab", "aba", "ca"], ["cba", "cb", "c", ""]),
        (Equals(4, 1), "pos 1 equals pos 4", ["abca", "cccc"], ["abcd", "a", ""]),
        (FirstIn(("c", "a", "c")), "first in {a, c}", ["ab", "cb", "a"], ["ba", ""]),
        (LastIn(("c", "a")), "last in {a, c}", ["ba", "bc", "a"], ["ab", ""]),
    ],
)
def test_known_answers(condition: Condition, text: str, true: list[str], false: list[str]) -> None:
    assert condition.text() == text
    assert [condition.holds(list(word)) for word in true + false] == [True] * len(true) + [False] * len(false)
