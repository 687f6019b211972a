"""Cells, shares and drawn inputs against every input there is."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.zoo.charts import INDEX, LENGTH, VOCAB, chart_of, conditions, trees
from tracr_tasks.errors import ProgramError
from zoo.automaton import automaton, reachable_cells
from zoo.branches import branch_shares, draw_each, draw_inputs, estimated_shares
from zoo.conditions import Before, Condition, Equals, LastIn
from zoo.flowchart import input_ids
from zoo.flowchart_config import MAX_STATES
from zoo.flowchart_parser import parse_flowchart
from zoo.tree import Tree

LONG = tuple("abcdefghijklmno")


@given(st.lists(conditions, max_size=4, unique=True))
def test_cells_are_those_of_all_inputs(asked: list[Condition]) -> None:
    truth = [c.holds_batch(input_ids(len(VOCAB), LENGTH), INDEX).tolist() for c in asked]
    found = Counter(zip(*truth, strict=True)) if asked else Counter({(): len(VOCAB) ** LENGTH})
    assert list(reachable_cells(tuple(asked), VOCAB, LENGTH)) == sorted(found)
    machine = automaton(tuple(asked), VOCAB, LENGTH)
    counted: Counter[tuple[bool, ...]] = Counter()
    for cell, inputs in zip(machine.truth.tolist(), machine.counts().tolist(), strict=True):
        counted[tuple(cell)] += inputs
    assert counted == found


@given(trees)
def test_shares_are_those_of_all_inputs(tree: Tree) -> None:
    chart = chart_of(tree)
    ids = input_ids(len(VOCAB), LENGTH)
    shares = np.bincount(chart.branch_batch(ids), minlength=len(chart.leaves())) / len(ids)
    assert chart.branch_shares() == branch_shares(chart) == tuple(shares)
    assert estimated_shares(chart, 4_000, 1) == pytest.approx(shares, abs=0.06)
    assert estimated_shares(chart, 50, 1) == estimated_shares(chart, 50, 1)


@given(trees, st.integers(0, 99))
def test_inputs_drawn_for_a_branch_reach_it(tree: Tree, seed: int) -> None:
    chart = chart_of(tree)
    for branch, share in enumerate(chart.branch_shares()):
        rng = np.random.default_rng(seed)
        if share == 0:
            with pytest.raises(ProgramError, match=f"no input reaches branch {branch} of "):
                draw_inputs(chart, branch, 10, rng)
            continue
        ids = draw_inputs(chart, branch, 10, rng)
        assert ids.shape == (10, LENGTH) and set(chart.branch_batch(ids)) == {branch}
    reached = [branch for branch, share in enumerate(chart.branch_shares()) if share > 0]
    each = draw_each(chart, 3, np.random.default_rng(seed))
    assert chart.branch_batch(each).tolist() == [branch for branch in reached for _ in range(3)]


@pytest.mark.parametrize(
    "text", ["if first a before first b then if 2 of c then p else q else r", "if has a then p else q"]
)
def test_every_input_of_a_branch_is_drawn_as_often(text: str) -> None:
    chart = parse_flowchart(text, VOCAB, ("p", "q", "r"), LENGTH)
    drawn = Counter(map(tuple, draw_inputs(chart, 0, 20_000, np.random.default_rng(0)).tolist()))
    ids = input_ids(len(VOCAB), LENGTH)
    inputs = {tuple(row) for row in ids[chart.branch_batch(ids) == 0].tolist()}
    mean = 20_000 / len(inputs)
    assert set(drawn) == inputs
    assert all(abs(times - mean) < 6 * mean**0.5 for times in drawn.values())


def test_long_inputs_are_counted_too() -> None:
    text = "if 3 of a then if pos 1 equals pos 64 then p else q else if last in {b, c} then r else s"
    chart = parse_flowchart(text, LONG, tuple("pqrs"), 64)
    shares = chart.branch_shares()
    assert sum(shares) == pytest.approx(1, abs=1e-12)
    assert shares == pytest.approx(estimated_shares(chart, 20_000, 0), abs=0.02)
    for branch in range(4):
        assert set(chart.branch_batch(draw_inputs(chart, branch, 50, np.random.default_rng(1)))) == {branch}


def test_a_branch_of_one_input_in_a_million_is_found() -> None:
    chart = parse_flowchart("if 6 of a then if pos 1 is b then p else q else r", tuple("abcdefghij"), tuple("pqr"), 7)
    assert chart.branch_shares()[0] == 1e-7
    assert draw_inputs(chart, 0, 3, np.random.default_rng(0)).tolist() == [[1, 0, 0, 0, 0, 0, 0]] * 3


def test_entangled_conditions_are_refused() -> None:
    asked = tuple(Equals(i, i + 8) for i in range(1, 7))
    with pytest.raises(
        ProgramError, match=f"more than {MAX_STATES} joint states; ask fewer questions than: pos 1 equals"
    ):
        automaton(asked, LONG, 16)
    few = (Before("a", "b"), Before("b", "c"), LastIn(("a", "b")))
    assert len(automaton(few, LONG, 64).truth) < 100
