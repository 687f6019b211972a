from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.zoo.charts import ANSWERS, LENGTH, VOCAB, chart_of, trees
from tracr_tasks.errors import ProgramError
from zoo.conditions import FirstIn, LastIn
from zoo.flowchart import Flowchart, input_ids
from zoo.flowchart_parser import parse_flowchart
from zoo.split import split_of
from zoo.tree import Question, Tree, is_chain


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


def test_known_hashes() -> None:
    known = parse_flowchart("if pos 3 is c then p else q", tuple("abcdef"), tuple("pqrstu"), 6)
    assert known.function_hash() == "681d7b6975bdb687"
    assert split_of(known.function_hash(), known.structure_hash()) == "test"


def test_indented_text() -> None:
    chart = parse_flowchart("if pos 3 is c then p else if last in {b, a} then q else r", VOCAB, ANSWERS, LENGTH)
    assert chart.indented().splitlines() == [
        "if pos 3 is c:",
        "    answer p",
        "else:",
        "    if last in {a, b}:",
        "        answer q",
        "    else:",
        "        answer r",
    ]


def test_sets_are_read_however_they_are_spaced() -> None:
    texts = [
        "if first in {a, c} then p else q",
        "if first in {c,a} then p else q",
        "if first in { a , c,a } then p else q",
    ]
    assert len({parse_flowchart(text, VOCAB, ANSWERS, LENGTH) for text in texts}) == 1


@pytest.mark.parametrize(
    ("text", "chain"),
    [
        ("p", True),
        ("if has a then if has b then p else q else r", True),
        ("if has a then p else if has b then if has c then p else q else r", True),
        ("if has a then if has b then p else q else if has c then q else r", False),
    ],
)
def test_chains_are_told_from_trees(text: str, chain: bool) -> None:
    assert is_chain(parse_flowchart(text, VOCAB, ANSWERS, LENGTH).root) == chain


def test_a_rare_branch_shows_in_the_hash_where_inputs_are_sampled() -> None:
    vocab, template = tuple("abcdefgh"), "if 8 of {} then p else if has b then q else r"
    plain, rare, other = (
        parse_flowchart(text, vocab, ANSWERS, 8)
        for text in ("if has b then q else r", template.format("a"), template.format("c"))
    )
    ids = input_ids(8, 8)
    assert (plain.run_batch(ids) == rare.run_batch(ids)).all() and (plain.run_batch(ids) == other.run_batch(ids)).all()
    assert len({plain.function_hash(), rare.function_hash(), other.function_hash()}) == 3
    assert rare.structure_hash() == other.structure_hash()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the text ends where an answer or 'if' was expected"),
        ("if", "the text ends where a condition was expected"),
        ("if has a then p", "the text ends where 'else' was expected"),
        ("if has a p else q", "word 4: got 'p', expected 'then'"),
        ("if pos x is a then p else q", "word 3: got 'x', expected a position"),
        ("if near a then p else q", "word 2: got 'near', expected 'pos', 'has', 'first', 'last' or a count"),
        ("if pos 1 has a then p else q", "word 4: got 'has', expected 'is' or 'equals'"),
        ("if pos 1 equals 2 then p else q", "word 5: got '2', expected 'pos'"),
        ("if pos 2 equals pos 2 then p else q", "position 2 is compared with itself"),
        ("if pos 1 equals pos 5 then p else q", "position 5 is not in 1 to 4"),
        ("if first a before b then p else q", "word 5: got 'b', expected 'first'"),
        ("if first a before first a then p else q", "token 'a' is compared with itself"),
        ("if first of before first a then p else q", "word 3: got 'of', expected a token or 'in'"),
        ("if last a then p else q", "word 3: got 'a', expected 'in'"),
        ("if last in a then p else q", "word 4: got 'a', expected a set such as {a, b}"),
        ("if last in {a then p else q", "the text ends where '}' was expected"),
        ("if last in {a, } then p else q", "word 5: got '{a, }', expected a set such as {a, b}"),
        ("if last in {a b} then p else q", "word 5: got '{a b}', expected a set such as {a, b}"),
        ("if last in {a, has} then p else q", "word 5: got 'has', expected a token"),
        ("if first in {a, z} then p else q", "token 'z' is not one of a, b, c, d"),
        ("p q", "word 2: got 'q', expected the end of the text"),
        ("if pos 9 is a then p else z", "position 9 is not in 1 to 4; answer 'z' is not one of p, q, r"),
        ("if has z then p else q", "token 'z' is not one of a, b, c, d"),
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


def test_bad_sets_are_refused() -> None:
    with pytest.raises(ProgramError, match="a set has no tokens"):
        Flowchart(Question(FirstIn(()), "p", "q"), VOCAB, ANSWERS, LENGTH)
    with pytest.raises(ProgramError, match="token 'a,' cannot stand in a set"):
        Flowchart(Question(LastIn(("a,",)), "p", "q"), ("a,", "b"), ANSWERS, LENGTH)


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
