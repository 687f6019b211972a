"""Questions are true of their subject, balanced, and graded by what programs do."""

from __future__ import annotations

import random
import re
from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.composed_phrasings import PATTERNS, expanded, meaning
from oracle.grade import grade, grading_inputs, parse_like
from oracle.phrasings import N_TEST_ONLY, NO_PROGRAM, PHRASINGS, phrasings
from oracle.questions import BY_KIND, Question, Subject, ask, draw, one_of_each, plainest, tokens_named
from oracle.subjects import subject_of_program
from tracr_tasks import sample_program
from zoo.branches import least_inputs
from zoo.flowchart_parser import parse_flowchart
from zoo.sampling import sample_flowchart

SEEDS = st.integers(0, 10_000)


def flowchart_subject(seed: int) -> Subject:
    return subject_of_program(sample_flowchart(seed), seed)


def rasp_subject(seed: int) -> Subject:
    return subject_of_program(sample_program(seed), seed)


@pytest.mark.parametrize("make", [flowchart_subject, rasp_subject])
@settings(max_examples=15)
@given(seed=SEEDS)
def test_the_true_answer_is_graded_right_in_every_family(make: type, seed: int) -> None:
    subject = make(seed)
    for question in one_of_each(subject, random.Random(seed)):
        found = grade(question, question.truth, subject)
        assert found.parsed and found.exact and found.correct and found.agreement == 1, question
        wrong = grade(question, "what else", subject)
        assert not wrong.correct and not wrong.exact, question


@settings(max_examples=30)
@given(seed=SEEDS, other=SEEDS)
def test_another_flowchart_is_right_only_where_the_functions_agree(seed: int, other: int) -> None:
    subject, proposed = flowchart_subject(seed), sample_flowchart(other)
    found = grade(Question("program", "?", subject.text), proposed.text(), subject)
    ids, _ = grading_inputs(subject, 0)
    same = subject.program.run_batch(ids) == proposed.run_batch(ids)
    assert found.parsed and found.correct == bool(same.all()) and found.agreement == pytest.approx(same.mean())
    if subject.program.function_hash() == proposed.function_hash():
        assert found.correct


@settings(max_examples=15)
@given(seed=SEEDS, other=SEEDS)
def test_another_rasp_program_is_right_only_where_the_functions_agree(seed: int, other: int) -> None:
    subject, proposed = rasp_subject(seed), sample_program(other)
    found = grade(Question("program", "?", subject.text), proposed.text(), subject)
    assert found.correct == (subject.program.function_hash() == proposed.function_hash())


def test_an_equivalent_text_is_right_but_not_exact() -> None:
    chart = parse_flowchart("if has a then p else q", tuple("abcdef"), tuple("pqrstu"), 6)
    subject = subject_of_program(chart, 0)
    found = grade(Question("program", "?", chart.text()), "if has a then p else if has b then q else q", subject)
    assert found.correct and not found.exact


@settings(max_examples=20)
@given(seed=SEEDS)
def test_a_trigger_is_right_if_the_program_says_so(seed: int) -> None:
    subject, rng = flowchart_subject(seed), random.Random(seed)
    question = ask(subject, "trigger", rng)
    for row, out in zip(subject.inputs, subject.outputs, strict=True):
        assert grade(question, " ".join(row), subject).correct == (out == (question.detail,))
    assert not grade(question, "a b", subject).parsed


@settings(max_examples=20)
@given(seed=SEEDS)
def test_mentions_is_true(seed: int) -> None:
    subject = flowchart_subject(seed)
    question = ask(subject, "mentions", random.Random(seed))
    asked = {condition.token for condition in subject.program.conditions()}
    assert tokens_named(subject.text) == asked
    assert question.truth == ("yes" if question.detail in asked else "no")


def test_yes_and_no_are_balanced() -> None:
    rng = random.Random(0)
    subjects = [flowchart_subject(seed) for seed in range(40)]
    counts = Counter(ask(s, "mentions", rng).truth for s in subjects for _ in range(50))
    assert 0.45 < counts["yes"] / counts.total() < 0.55


def test_an_untrained_target_has_no_program() -> None:
    subject, rng = Subject("none", "untrained", "", None, (), ()), random.Random(0)
    assert {q.truth for q in one_of_each(subject, rng)} == {NO_PROGRAM, "untrained"}
    question = ask(subject, "program", rng)
    assert grade(question, NO_PROGRAM, subject).correct
    assert not grade(question, "if has a then p else q", subject).correct


def test_saying_that_there_is_no_program_is_wrong_where_there_is_one() -> None:
    subject = flowchart_subject(1)
    assert not grade(ask(subject, "program", random.Random(0)), NO_PROGRAM, subject).correct


def test_test_phrasings_are_never_trained_on() -> None:
    subject, rng = flowchart_subject(3), random.Random(0)
    assert all(not set(phrasings(f, test=True)) & set(phrasings(f, test=False)) for f in PHRASINGS)
    assert all(len(set(PHRASINGS[f])) == len(PHRASINGS[f]) >= 12 + N_TEST_ONLY for f in PHRASINGS)
    trained = {ask(subject, "program", rng).text for _ in range(200)}
    tested = {ask(subject, "program", rng, test=True).text for _ in range(200)}
    assert not trained & tested


def test_patterns_stand_for_every_alternative_once() -> None:
    assert expanded("[give|[show|tell] me] the [|whole] rule.") == [
        *("Give the rule.", "Give the whole rule.", "Show me the rule.", "Show me the whole rule."),
        *("Tell me the rule.", "Tell me the whole rule."),
    ]


@pytest.mark.parametrize("family", PATTERNS)
def test_composed_phrasings_ask_the_same_and_say_nothing_of_the_test(family: str) -> None:
    trained, held_back = phrasings(family, test=False), phrasings(family, test=True)
    slots = {tuple(re.findall(r"{\w+}", text)) for text in held_back}
    assert len(trained) > 60 and {tuple(re.findall(r"{\w+}", text)) for text in trained} == slots
    assert all(text[-1] in ".?" and not set("[]|") & set(text) and "  " not in text for text in trained)
    composed_only = set(trained) - set(PHRASINGS[family])
    assert not {meaning(text) for text in composed_only} & {meaning(text) for text in held_back}


@settings(max_examples=8)
@given(seed=SEEDS)
def test_a_trigger_is_the_first_input_that_leads_there(seed: int) -> None:
    subject = flowchart_subject(seed)
    chart = subject.program
    rows = sorted(product(sorted(chart.vocab), repeat=chart.max_seq_len))
    answers = chart.run_batch(np.array([[chart.vocab.index(name) for name in row] for row in rows]))
    for answer, row in least_inputs(chart).items():
        assert row == rows[int(np.flatnonzero(answers == chart.answers.index(answer))[0])]
        assert row in subject.inputs and chart.run(row) == [answer]
        assert chart.run(plainest(subject, answer).split()) == [answer]


def test_a_draw_asks_for_the_program_and_is_repeatable() -> None:
    for subject in (flowchart_subject(5), rasp_subject(5)):
        first = draw(subject, 4, random.Random(7))
        assert first == draw(subject, 4, random.Random(7))
        assert first[0].family == "program" and {q.family for q in first} <= {f for f, _ in BY_KIND[subject.kind]}


def test_a_program_is_read_with_the_vocabulary_of_its_subject() -> None:
    subject = rasp_subject(2)
    again = parse_like(subject.text, subject.program)
    ids, lengths = grading_inputs(subject, 0)
    real = np.arange(ids.shape[1]) < lengths[:, None]
    assert again.run_batch(ids, lengths)[real].tolist() == subject.program.run_batch(ids, lengths)[real].tolist()  # type: ignore[attr-defined]
