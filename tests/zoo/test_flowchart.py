from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracr_tasks.errors import ProgramError
from zoo.canonical import canonical, minimal_trees
from zoo.conditions import At, AtLeast, Condition, Contains, reachable_cells
from zoo.flowchart import Flowchart, input_ids
from zoo.flowchart_config import FlowchartConfig
from zoo.flowchart_parser import parse_flowchart
from zoo.sampling import sample_flowchart
from zoo.split import split_of
from zoo.tree import Question, Tree

VOCAB, ANSWERS, LENGTH = ("a", "b", "c"), ("p", "q", "r"), 4
conditions = st.one_of(
    st.builds(At, st.integers(1, LENGTH), st.sampled_from(VOCAB)),
    st.builds(Contains, st.sampled_from(VOCAB)),
    st.builds(AtLeast, st.integers(2, 3), st.sampled_from(VOCAB)),
)
trees = st.recursive(st.sampled_from(ANSWERS), lambda t: st.builds(Question, conditions, t, t), max_leaves=5)
renamings = st.tuples(*(st.permutations(range(n)) for n in (len(VOCAB), len(ANSWERS), LENGTH)))


def chart_of(tree: Tree) -> Flowchart:
    """Not part of the strategy: beartype's checks draw random items, which strategies may not do."""
    return Flowchart(tree, VOCAB, ANSWERS, LENGTH)


def renaming(order: tuple[list[int], list[int], list[int]]) -> tuple[dict[str, str], dict[str, str], dict[int, int]]:
    tokens, answers, places = order
    return (
        {VOCAB[i]: VOCAB[j] for i, j in enumerate(tokens)},
        {ANSWERS[i]: ANSWERS[j] for i, j in enumerate(answers)},
        {i + 1: j + 1 for i, j in enumerate(places)},
    )


@given(trees)
def test_text_is_read_back(tree: Tree) -> None:
    chart = chart_of(tree)
    assert parse_flowchart(chart.text(), VOCAB, ANSWERS, LENGTH) == chart


@given(trees, st.lists(st.sampled_from(VOCAB), min_size=LENGTH, max_size=LENGTH))
def test_batch_and_single_runs_agree(tree: Tree, tokens: list[str]) -> None:
    chart = chart_of(tree)
    ids = np.array([[VOCAB.index(token) for token in tokens]])
    assert [ANSWERS[i] for i in chart.run_batch(ids, np.array([LENGTH]))] == chart.run(tokens)
    assert chart.leaves()[chart.branch_batch(ids)[0]] == chart.run(tokens)[0]


@given(trees)
@settings(deadline=None)
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
@settings(deadline=None)
def test_canonical_does_not_depend_on_how_the_tree_was_written(tree: Tree) -> None:
    chart = chart_of(tree)
    texts = {canonical(chart_of(small)).text() for small in minimal_trees(chart)[:20]}
    assert texts == {canonical(chart).text()}


@given(trees, renamings)
@settings(deadline=None)
def test_relabelling_commutes_with_running(tree: Tree, order: tuple[list[int], list[int], list[int]]) -> None:
    chart = chart_of(tree)
    tokens, answers, places = renaming(order)
    renamed = chart.relabel(tokens, answers, places)
    for row in itertools.islice(itertools.product(VOCAB, repeat=LENGTH), 0, None, 7):
        moved = [""] * LENGTH
        for i, token in enumerate(row):
            moved[places[i + 1] - 1] = tokens[token]
        assert renamed.run(moved) == [answers[answer] for answer in chart.run(row)]
    assert renamed.structure_hash() == chart.structure_hash()


@given(st.lists(conditions, max_size=3, unique=True), st.integers(1, LENGTH))
@settings(deadline=None)
def test_reachable_cells_are_those_of_all_inputs(asked: list[Condition], length: int) -> None:
    fitting = tuple(c for c in asked if not isinstance(c, At) or c.position <= length)
    ids = input_ids(len(VOCAB), length)
    index = {token: i for i, token in enumerate(VOCAB)}
    truth = [c.holds_batch(ids, index) for c in fitting]
    expected = sorted(set(zip(*truth, strict=True))) if fitting else [()]
    assert list(reachable_cells(fitting, len(VOCAB), length)) == expected


@pytest.mark.parametrize("seed", range(20))
def test_samples_are_canonical_and_use_every_branch(seed: int) -> None:
    config = FlowchartConfig(max_conditions=3)
    chart = sample_flowchart(seed, config)
    assert chart == canonical(chart) == sample_flowchart(seed, config)
    ids = input_ids(6, 6)
    shares = np.bincount(chart.branch_batch(ids), minlength=len(chart.leaves())) / len(ids)
    assert shares.min() >= config.min_branch
    assert np.bincount(chart.run_batch(ids)).max() < 0.95 * len(ids)


def test_known_texts() -> None:
    def canonical_text(text: str) -> str:
        return canonical(parse_flowchart(text, VOCAB, ANSWERS, LENGTH)).text()

    assert canonical_text("if has a then if 2 of a then p else q else q") == "if 2 of a then p else q"
    assert canonical_text("if pos 1 is a then if pos 1 is b then r else p else q") == "if pos 1 is a then p else q"
    assert canonical_text("if has a then p else if pos 2 is a then r else p") == "p"
    known = parse_flowchart("if pos 3 is c then p else q", tuple("abcdef"), tuple("pqrstu"), 6)
    assert known.function_hash() == "681d7b6975bdb687"
    assert split_of(known.function_hash(), known.structure_hash()) == "test"


def test_drawings() -> None:
    chart = parse_flowchart("if pos 3 is c then p else q", VOCAB, ANSWERS, LENGTH)
    assert chart.indented() == "if pos 3 is c:\n    answer p\nelse:\n    answer q"
    lines = chart.mermaid().splitlines()
    assert lines[0] == "flowchart TD"
    assert '    n0{"pos 3 is c?"}' in lines
    assert "    n0 -->|yes| n1" in lines
    assert "    n0 -->|no| n2" in lines


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the text ends where an answer or 'if' was expected"),
        ("if", "the text ends where a condition was expected"),
        ("if has a then p", "the text ends where 'else' was expected"),
        ("if has a p else q", "word 4: got 'p', expected 'then'"),
        ("if pos x is a then p else q", "word 3: got 'x', expected a position"),
        ("if near a then p else q", "word 2: got 'near', expected 'pos', 'has' or a count"),
        ("p q", "word 2: got 'q', expected the end of the text"),
        ("if pos 9 is a then p else z", "position 9 is not in 1 to 4; answer 'z' is not one of p, q, r"),
        ("if has z then p else q", "token 'z' is not one of a, b, c"),
        ("if 1 of a then p else q", "count 1 is not in 2 to 4"),
        ("if has a then p else " * 100 + "q", "more than 64 questions in a row"),
    ],
)
def test_bad_texts_are_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ProgramError) as caught:
        parse_flowchart(text, VOCAB, ANSWERS, LENGTH)
    assert reason in str(caught.value)


@pytest.mark.parametrize("vocab", [(), ("a", "a"), ("if", "a"), ("a b",), ("BOS", "a"), ("",)])
def test_bad_vocabularies_are_refused(vocab: tuple[str, ...]) -> None:
    with pytest.raises(ProgramError, match="vocab"):
        Flowchart("p", vocab, ANSWERS, LENGTH)


def test_bad_inputs_are_refused() -> None:
    chart = Flowchart("p", VOCAB, ANSWERS, LENGTH)
    for tokens in (["a"], ["a"] * 5, ["a", "b", "c", "z"]):
        with pytest.raises(ProgramError, match="expected 4 tokens"):
            chart.run(tokens)


def test_splits_have_their_shares() -> None:
    splits = [split_of(f"{i:016x}", f"{i % 500:016x}") for i in range(20_000)]
    share = {name: splits.count(name) / len(splits) for name in set(splits)}
    assert abs(share["structure"] - 0.10) < 0.04
    assert abs(share["test"] - 0.09) < 0.02
    assert abs(share["val"] - 0.045) < 0.02
    assert split_of("0" * 16) == split_of("0" * 16, None) != "structure"
