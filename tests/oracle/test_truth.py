"""What is right about a program follows from the program, and the grader agrees."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.grade import MAX_INPUTS, N_INPUTS, grade, inputs_of
from oracle.history_questions import HISTORY
from oracle.phrasings import NO_PROGRAM
from oracle.questions import FAMILIES, Question, ask, families_of
from oracle.rules import claim_of
from oracle.subjects import subject_of_program
from oracle.truth import ALWAYS, OF_A_PROGRAM, truth_about
from tracr_tasks import sample_program
from zoo.canonical import canonical
from zoo.flowchart import Flowchart
from zoo.flowchart_config import FlowchartConfig, every_kind
from zoo.sampling import sample_flowchart

SEEDS = st.integers(0, 10_000)
KINDS = st.sampled_from(["rasp", "flowchart", "every kind"])


def program_of(kind: str, seed: int) -> Any:
    if kind == "rasp":
        return sample_program(seed)
    return sample_flowchart(seed, every_kind() if kind == "every kind" else FlowchartConfig())


@settings(max_examples=15)
@given(KINDS, SEEDS)
def test_what_follows_from_a_program_is_right_about_it(kind: str, seed: int) -> None:
    subject, rng = subject_of_program(program_of(kind, seed), seed), random.Random(seed)
    for family, _ in families_of(subject):
        question = ask(subject, family, rng, test=True)
        found = truth_about(question, subject)
        assert found is not None and grade(question, found, subject).correct, (family, question)
        if family not in ("trigger", "rare"):
            assert found == question.truth


def test_every_family_of_a_program_has_a_truth() -> None:
    assert {*ALWAYS, *OF_A_PROGRAM} == set(FAMILIES) - set(HISTORY)
    told = {family for family, _ in families_of(subject_of_program(sample_program(1), 1))}
    assert told <= {*ALWAYS, *OF_A_PROGRAM}


@settings(max_examples=10)
@given(SEEDS, SEEDS)
def test_of_another_program_the_other_kind_says_nothing(seed: int, other: int) -> None:
    rasp, chart = (subject_of_program(program_of(kind, s), s) for kind, s in (("rasp", seed), ("flowchart", other)))
    rng = random.Random(seed)
    for asked, about in ((rasp, chart), (chart, rasp)):
        for family, _ in families_of(asked):
            if family not in ALWAYS and family not in ("output", "trigger", "rare"):
                assert truth_about(ask(asked, family, rng), about) is None
        assert truth_about(ask(asked, "output", rng), about) is None  # other names of tokens
    empty = replace(rasp, kind="none", regime="untrained", program=None, text="")
    assert truth_about(ask(rasp, "program", rng), empty) == NO_PROGRAM
    assert truth_about(ask(rasp, "output", rng), empty) is None


@settings(max_examples=15)
@given(SEEDS)
def test_a_claim_is_read_back(seed: int) -> None:
    subject = subject_of_program(program_of("every kind", seed), seed)
    if "rule" in dict(families_of(subject)):
        claim = claim_of(ask(subject, "rule", random.Random(seed)).detail)
        assert claim_of(claim.text()) == claim


@settings(max_examples=15)
@given(KINDS, SEEDS)
def test_a_program_is_equivalent_to_its_own_text(kind: str, seed: int) -> None:
    subject = subject_of_program(program_of(kind, seed), seed)
    found = grade(Question("program", "", subject.text), subject.text, subject)
    assert found.exact and found.correct and found.agreement == 1


@settings(max_examples=30)
@given(SEEDS)
def test_a_mutated_flowchart_is_right_only_if_the_functions_agree(seed: int) -> None:
    """The judge is the flowchart itself, run on one input after the other."""
    config = FlowchartConfig(vocab_size=3, n_answers=3, max_seq_len=3)
    chart, rng = sample_flowchart(seed, config), random.Random(seed)
    names = list(chart.answers), list(chart.vocab)
    answers, tokens = ({a: rng.choice(each) for a in each} for each in names)
    tokens = dict(zip(names[1], rng.sample(names[1], len(names[1])), strict=True)) if rng.random() < 0.5 else {}
    mutant = chart.relabel(tokens, answers if rng.random() < 0.5 else {})
    subject = subject_of_program(chart, 0)
    found = grade(Question("program", "", subject.text), mutant.text(), subject)
    inputs = [[chart.vocab[i] for i in row] for row in inputs_of(3, 3, 3, 0)[0]]
    same = [chart.run(row) == mutant.run(row) for row in inputs]
    assert found.agreement == pytest.approx(np.mean(same)) and found.correct == all(same)
    assert found.exact == (canonical(mutant).text() == chart.text() and mutant.text() == chart.text())


@settings(max_examples=10)
@given(SEEDS, SEEDS)
def test_another_program_is_right_only_if_the_functions_agree(seed: int, other: int) -> None:
    one, two = sample_program(seed), sample_program(other)
    subject = subject_of_program(one, 0)
    found = grade(Question("program", "", subject.text), two.text(), subject)
    assert found.correct == (one.function_hash() == two.function_hash())


@settings(max_examples=10)
@given(st.integers(2, 6), st.integers(1, 6), st.booleans())
def test_programs_are_compared_on_all_inputs_or_on_many(n_tokens: int, longest: int, full: bool) -> None:
    shortest = longest if full else 1
    ids, lengths = inputs_of(n_tokens, shortest, longest, 0)
    total = sum(n_tokens**n for n in range(shortest, longest + 1))
    rows = {tuple(row[:n]) for row, n in zip(ids.tolist(), lengths.tolist(), strict=True)}
    assert total <= MAX_INPUTS and len(rows) == len(ids) == total
    assert ids.min() == 0 and ids.max() == n_tokens - 1
    many, _ = inputs_of(10, 6, 6, 0)
    assert len(many) == N_INPUTS and not np.array_equal(many, inputs_of(10, 6, 6, 1)[0])


def test_a_drawn_flowchart_is_canonical() -> None:
    chart = sample_flowchart(3)
    assert isinstance(chart, Flowchart) and canonical(chart).text() == chart.text()
