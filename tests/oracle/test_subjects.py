"""Relabelling renames a target, its flowchart and its behaviour at once; positions only where their order is free."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.batch import LabelIds
from oracle.neutral import fold
from oracle.questions import one_of_each, tokens_named
from oracle.subjects import Example, random_inputs, relabel, subject_of_program
from tracr_tasks import sample_program
from zoo.flowchart_config import every_kind
from zoo.flowchart_parser import parse_flowchart
from zoo.sampling import sample_flowchart
from zoo.stack import initial_params, member_weights, target_config
from zoo.training_config import Architecture

VOCAB, ANSWERS = tuple("abcdef"), tuple("pqrstu")
CONFIG = target_config(Architecture(), 6, 6, 6)
NEUTRAL = fold(CONFIG, member_weights(CONFIG, initial_params(CONFIG, [0]), 0))


def example(program: object) -> Example:
    """A flowchart as an example whose labels are numbered: BOS, PAD, tokens; BOS, positions; answers."""
    sizes = (8, 7, 6)
    labels = LabelIds(*(torch.arange(size)[:, None] + 100 * i for i, size in enumerate(sizes)))
    return Example("x", NEUTRAL, labels, labels, subject_of_program(program, 0))


@settings(max_examples=10)
@given(st.integers(0, 10_000))
def test_a_renamed_target_does_what_its_renamed_flowchart_does(seed: int) -> None:
    chart = sample_flowchart(seed, every_kind())
    before, after = example(chart), relabel(example(chart), random.Random(seed))
    program = after.subject.program
    assert [program.run(row) for row in after.subject.inputs] == [list(out) for out in after.subject.outputs]
    assert after.subject.text == program.text() and program.structure_hash() == chart.structure_hash()
    assert after.neutral is before.neutral
    tokens, places = (after.labels.tokens[2:, 0] - 2).tolist(), (after.labels.positions[1:, 0] - 101).tolist()
    if not chart.positions_move:
        assert places == list(range(6))
    for old, new in zip(before.subject.inputs, after.subject.inputs, strict=True):
        assert [VOCAB[tokens[VOCAB.index(t)]] for t in old] == [new[place] for place in places]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("if first a before first c then p else q", {"a", "c"}),
        ("if last in {a, b, e} then p else if 2 of d then q else r", {"a", "b", "d", "e"}),
        ("if pos 1 equals pos 4 then p else q", set()),
    ],
)
def test_questions_can_be_asked_about_every_kind(text: str, named: set[str]) -> None:
    subject = subject_of_program(parse_flowchart(text, VOCAB, ANSWERS, 6), 1)
    assert tokens_named(text) == named
    for seed in range(20):
        for question in one_of_each(subject, random.Random(seed)):
            if question.family == "mentions":
                assert (question.truth == "yes") == (question.detail in named)
            if question.family == "first":
                assert text.startswith(f"if {question.truth} then ")


def test_targets_with_a_history_are_asked_about_full_inputs_alone() -> None:
    """They have learned no others."""
    program, rng = sample_program(3), np.random.default_rng
    lengths = {len(row) for row in random_inputs(program, rng(0))}
    assert len(lengths) > 1
    assert {len(row) for row in random_inputs(program, rng(0), full=True)} == {program.max_seq_len}
