"""One function, one text: canonical forms and structures against all inputs and all renamings."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations, permutations, product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.zoo.charts import ANSWERS, LENGTH, VOCAB, chart_of, movable, trees, trees_of
from tracr_tasks.errors import ProgramError
from zoo.canonical import canonical, minimal_trees
from zoo.conditions import At, AtLeast, Before, Condition, Contains, Equals, FirstIn, LastIn
from zoo.flowchart import Flowchart, input_ids
from zoo.flowchart_config import FlowchartConfig, Kinds
from zoo.flowchart_parser import parse_flowchart
from zoo.sampling import sample_flowchart
from zoo.tree import Question, Tree

EVERY = Kinds(2, 1, 2, 2, 2, 1, 1)
renamings = st.tuples(*(st.permutations(range(n)) for n in (len(VOCAB), len(ANSWERS), LENGTH)))


@given(trees)
def test_canonical_keeps_the_function_and_is_a_fixed_point(tree: Tree) -> None:
    chart = chart_of(tree)
    small = canonical(chart)
    ids = input_ids(len(VOCAB), LENGTH)
    assert (chart.run_batch(ids) == small.run_batch(ids)).all()
    assert canonical(small) == small
    assert len(small.conditions()) <= len(chart.conditions())
    assert len(set(small.branch_batch(ids))) == len(small.leaves())
    assert small.function_hash() == chart.function_hash()


@given(trees)
def test_smallest_trees_are_all_the_same_function(tree: Tree) -> None:
    chart = chart_of(tree)
    ids = input_ids(len(VOCAB), LENGTH)
    small = [chart_of(one) for one in minimal_trees(chart)[:10]]
    assert canonical(chart).root in minimal_trees(chart)
    assert all((one.run_batch(ids) == chart.run_batch(ids)).all() for one in small)
    assert {len(one.conditions()) for one in small} == {len(canonical(chart).conditions())}


@given(trees_of(movable))
def test_canonical_does_not_depend_on_how_the_tree_was_written(tree: Tree) -> None:
    chart = chart_of(tree)
    texts = {canonical(chart_of(small)).text() for small in minimal_trees(chart)[:20]}
    assert texts == {canonical(chart).text()}


def single_questions(vocab: tuple[str, ...], length: int) -> list[Condition]:
    """Every condition over a small space."""
    sets = [chosen for size in range(1, len(vocab) + 1) for chosen in combinations(vocab, size)]
    places = range(1, length + 1)
    return [
        *(At(place, token) for place in places for token in vocab),
        *(Contains(token) for token in vocab),
        *(AtLeast(count, token) for count in places[1:] for token in vocab),
        *(Equals(*two) for two in combinations(places, 2)),
        *(Before(*two) for two in permutations(vocab, 2)),
        *(kind(chosen) for kind in (FirstIn, LastIn) for chosen in sets),
    ]


@pytest.mark.parametrize(("vocab_size", "length"), [(2, 1), (2, 3), (2, 4), (3, 1), (3, 3), (3, 4), (4, 4), (5, 2)])
def test_equal_questions_have_one_text(vocab_size: int, length: int) -> None:
    vocab = tuple("abcde"[:vocab_size])
    texts, ids = defaultdict(set), input_ids(vocab_size, length)
    for condition, answers in product(single_questions(vocab, length), [("p", "q"), ("q", "p")]):
        chart = Flowchart(Question(condition, *answers), vocab, ("p", "q"), length)
        texts[chart.run_batch(ids).tobytes()].add(canonical(chart).text())
    assert [found for found in texts.values() if len(found) > 1] == []


def test_nearly_every_function_has_one_text() -> None:
    """What is left: sets that are asked for token by token, and coincidences of short inputs (3 of b in 4 places)."""
    texts = defaultdict(set)
    config = FlowchartConfig(4, 2, 4, max_conditions=2, kinds=EVERY, max_count=4, max_answer=1.0, min_branch=0.0)
    for seed in range(250):
        chart = sample_flowchart(seed, config)
        texts[chart.function_hash()].add(chart.text())
    assert len(texts) < 250
    assert sum(len(found) > 1 for found in texts.values()) <= 0.01 * len(texts)


@settings(max_examples=40)
@given(trees, renamings)
def test_structures_do_not_change_when_names_do(tree: Tree, order: tuple[list[int], list[int], list[int]]) -> None:
    chart = chart_of(tree)
    tokens, answers = (
        {names[i]: names[j] for i, j in enumerate(o)} for names, o in zip((VOCAB, ANSWERS), order, strict=False)
    )
    places = {i + 1: j + 1 for i, j in enumerate(order[2])} if chart.positions_move else {}
    renamed = chart.relabel(tokens, answers, places)
    assert renamed.structure_hash() == chart.structure_hash()
    for row in list(product(VOCAB, repeat=LENGTH))[::7]:
        moved = [tokens[row[place - 1]] for place in sorted(range(1, LENGTH + 1), key=lambda p: places.get(p, p))]
        assert renamed.run(moved) == [answers[answer] for answer in chart.run(row)]


def orbit(chart: Flowchart) -> set[bytes]:
    """The answers to all inputs under other names for tokens, answers and, if they move, positions."""
    ids = input_ids(len(VOCAB), LENGTH)
    found = set()
    powers = len(VOCAB) ** np.arange(LENGTH - 1, -1, -1)
    outputs = chart.run_batch(ids)
    for places in permutations(range(LENGTH)) if chart.positions_move else [tuple(range(LENGTH))]:
        for tokens in permutations(range(len(VOCAB))):
            at = np.array(tokens)[ids[:, list(places)]] @ powers
            found |= {np.array(answers)[outputs[at]].tobytes() for answers in permutations(range(len(ANSWERS)))}
    return found


def test_structures_are_equal_only_where_names_alone_differ() -> None:
    config = FlowchartConfig(
        4, 3, 4, max_conditions=2, kinds=EVERY, max_count=4, max_answer=1.0, min_branch=0.0, growth=2.0
    )
    by_structure = defaultdict(list)
    for seed in range(120):
        chart = sample_flowchart(seed, config)
        by_structure[chart.structure_hash()].append(chart)
    pairs = [charts[:2] for charts in by_structure.values() if len(charts) > 1]
    assert len(pairs) > 5
    for one, other in pairs[:5]:
        assert one.positions_move == other.positions_move
        assert other.run_batch(input_ids(4, LENGTH)).tobytes() in orbit(one)


@pytest.mark.parametrize("asked", ["first a before first b", "first in {a, b}", "last in {a, b}"])
def test_positions_count_where_order_does(asked: str) -> None:
    text = "if {} then p else if pos {} is c then q else r"
    two, three = (parse_flowchart(text.format(asked, place), VOCAB, ANSWERS, LENGTH) for place in (2, 3))
    assert two.structure_hash() != three.structure_hash()
    with pytest.raises(ProgramError, match="its positions cannot be renamed: a condition speaks of first or last"):
        two.relabel(positions={2: 3, 3: 2})
    assert two.relabel(positions={1: 1}) == two
    free = [parse_flowchart(text.format("has a", place), VOCAB, ANSWERS, LENGTH) for place in (2, 3)]
    assert free[0].structure_hash() == free[1].structure_hash() == free[0].relabel(positions={2: 1}).structure_hash()


@settings(max_examples=30)
@given(trees, trees)
def test_equal_texts_have_equal_hashes(one: Tree, other: Tree) -> None:
    charts = [canonical(chart_of(tree)) for tree in (one, other)]
    assume(charts[0] != charts[1])
    ids = input_ids(len(VOCAB), LENGTH)
    same = bool((charts[0].run_batch(ids) == charts[1].run_batch(ids)).all())
    assert same == (charts[0].function_hash() == charts[1].function_hash())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("if has a then if 2 of a then p else q else q", "if 2 of a then p else q"),
        ("if pos 1 is a then if pos 1 is b then r else p else q", "if pos 1 is a then p else q"),
        ("if has a then p else if pos 2 is a then r else p", "p"),
        ("if first in {a} then p else q", "if pos 1 is a then p else q"),
        ("if first in {a, b, c} then p else q", "if pos 1 is d then q else p"),
        ("if last in {c, d} then p else q", "if last in {a, b} then q else p"),
        ("if first in {a, b, c, d} then p else q", "p"),
        (
            "if pos 1 is a then p else if first in {a, b} then q else r",
            "if pos 1 is a then p else if pos 1 is b then q else r",
        ),
        (
            "if pos 1 is a then if pos 1 equals pos 3 then p else q else r",
            "if pos 1 is a then if pos 3 is a then p else q else r",
        ),
        (
            "if has b then p else if first a before first b then q else r",
            "if has b then p else if has a then q else r",
        ),
        (
            "if pos 2 is b then if first a before first b then p else q else r",
            "if pos 2 is b then if pos 1 is a then p else q else r",
        ),
    ],
)
def test_known_texts(text: str, expected: str) -> None:
    assert canonical(parse_flowchart(text, VOCAB, ANSWERS, LENGTH)).text() == expected


def test_what_is_too_large_is_refused() -> None:
    names = tuple("abcdefghijklm")
    text = "".join(f"if has {name} then " for name in names) + "p" + " else q" * len(names)
    with pytest.raises(ProgramError, match="13 different conditions, expected at most 12"):
        canonical(parse_flowchart(text, names, ("p", "q"), 20))
    text = "".join(f"if has {name} then " for name in names[:9]) + "p" + " else q" * 9
    with pytest.raises(ProgramError, match="362880 smallest trees, expected at most 100000"):
        parse_flowchart(text, names, ("p", "q"), 20).structure_hash()
