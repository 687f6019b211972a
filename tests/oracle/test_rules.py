"""Claims about rules are true of every input or refuted by one; rare answers are asked about where there are some."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.grade import grade
from oracle.questions import ask, families_of
from oracle.rules import false_claims, rules
from oracle.subjects import rare_answers, subject_of_program
from zoo.flowchart import input_ids
from zoo.flowchart_config import FlowchartConfig, every_kind
from zoo.flowchart_parser import parse_flowchart
from zoo.sampling import sample_flowchart

VOCAB, ANSWERS = tuple("abcdef"), tuple("pqrstu")


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_a_rule_holds_on_all_inputs_and_a_false_claim_on_not_all(seed: int) -> None:
    chart = sample_flowchart(seed, every_kind())
    subject, index = subject_of_program(chart, seed), {token: i for i, token in enumerate(chart.vocab)}
    ids = input_ids(len(chart.vocab), chart.max_seq_len)
    said = np.array(chart.answers)[chart.run_batch(ids)]

    def holds(claim: object) -> bool:
        asked = claim.condition.holds_batch(ids, index) != claim.negated  # type: ignore[attr-defined]
        return bool((said[asked] == claim.answer).all())  # type: ignore[attr-defined]

    assert all(holds(claim) for claim in rules(subject))
    assert not any(holds(claim) for claim in false_claims(subject, random.Random(seed)))


def test_yes_and_no_are_equally_likely() -> None:
    counts = Counter(
        ask(subject_of_program(sample_flowchart(seed), seed), "rule", random.Random(seed)).truth for seed in range(300)
    )
    assert set(counts) == {"yes", "no"} and abs(counts["yes"] - 150) < 45


def test_the_words_of_a_claim() -> None:
    subject = subject_of_program(
        parse_flowchart("if has a then p else if pos 2 is b then q else r", VOCAB, ANSWERS, 6), 0
    )
    assert [claim.text() for claim in rules(subject)] == ["p if has a"]
    false = {claim.text() for claim in false_claims(subject, random.Random(0))}
    assert {"q if has a", "r if has a", "p unless has a"} <= false
    balanced = "if has a then if has b then p else q else if has c then r else s"
    assert "rule" not in dict(families_of(subject_of_program(parse_flowchart(balanced, VOCAB, ANSWERS, 6), 0)))


def test_rare_answers_are_asked_about_and_answered_by_inputs_that_lead_there() -> None:
    """One input in 6^3 has the tokens asked for."""
    text = "if pos 1 is a then if pos 2 is b then if pos 3 is c then p else q else q else r"
    subject = subject_of_program(parse_flowchart(text, VOCAB, ANSWERS, 6), 0)
    assert subject.rare == ("p",) and ("p",) in subject.outputs
    question = ask(subject, "rare", random.Random(0))
    assert question.detail == "p" and question.truth.startswith("a b c ")
    assert grade(question, "a b c f f f", subject).correct and not grade(question, "a b d f f f", subject).correct
    config = FlowchartConfig(rare=1.0, min_conditions=3, max_conditions=4)
    rare = [rare_answers(sample_flowchart(seed, config)) for seed in range(40)]
    assert sum(map(bool, rare)) > 20
    common = subject_of_program(parse_flowchart("if has a then p else q", VOCAB, ANSWERS, 6), 0)
    assert common.rare == () and "rare" not in dict(families_of(common))
