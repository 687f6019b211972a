"""Flowcharts told apart by what a target answers: the right one is found, slips are forgiven, wrong ones do not fit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.behaviour import can_be_run, told_apart
from oracle.trials import Draft
from oracle.weighing import inputs_for
from tracr_tasks.target_config import TargetConfig
from zoo.canonical import canonical
from zoo.flowchart import Flowchart
from zoo.flowchart_parser import parse_flowchart
from zoo.sampling import sample_flowchart
from zoo.target import Vocab

VOCAB, ANSWERS, LENGTH = ("a", "b", "c", "d"), ("p", "q", "r"), 4
SHAPE = TargetConfig(
    n_layers=1, d_model=8, n_heads=1, d_head=8, d_mlp=8, d_vocab=6, d_vocab_out=3, n_ctx=5, read_out="first"
)
SHAPES = (
    "if pos 1 is a then p else if pos 2 is a then q else r",
    "if pos 1 is a then if pos 2 is a then p else q else r",
    "if pos 2 is a then p else if pos 1 is a then q else r",
)


@dataclass
class Actor:
    """A target that answers as a flowchart does, but for some runs; it remembers what it was asked."""

    chart: Flowchart
    slips: frozenset[int] = frozenset()
    asked: list[tuple[str, ...]] = field(default_factory=list)
    config: TargetConfig = field(default_factory=lambda: SHAPE)
    names: Mapping[str, str] = field(default_factory=dict)
    """Its own, where they are not the chart's."""

    @property
    def vocab(self) -> Vocab:
        tokens, answers = ([self.names.get(x, x) for x in names] for names in (self.chart.vocab, self.chart.answers))
        return Vocab(("BOS", "PAD", *tokens), tuple(answers))

    def encode(self, sequences: Sequence[Sequence[str]]) -> torch.Tensor:
        return torch.tensor([[self.vocab.input.index(token) for token in row] for row in sequences])

    def answers(self, ids: torch.Tensor) -> list[list[str]]:
        (row,) = ids.tolist()
        self.asked.append(tuple(self.chart.vocab[i - 2] for i in row))
        answer = self.chart.run(self.asked[-1])[0]
        if len(self.asked) - 1 in self.slips:
            answer = next(each for each in self.chart.answers if each != answer)
        return [[self.names.get(answer, answer)]]


def chart(text: str) -> Flowchart:
    return parse_flowchart(text, VOCAB, ANSWERS, LENGTH)


def plain(text: str) -> str:
    return canonical(chart(text)).text()


def drafts_of(*texts: str) -> list[Draft]:
    """Texts of which each is less likely than the one before."""
    return [Draft(text, -2.0 * i, program=chart(text)) for i, text in enumerate(texts)]


@pytest.mark.parametrize("right", range(3))
def test_the_right_shape_is_found_in_few_runs_though_it_is_unlikely(right: int) -> None:
    actor = Actor(chart(SHAPES[right]))
    found = told_apart(actor, drafts_of(*SHAPES), 4)
    assert found is not None and found.text == plain(SHAPES[right]) and found.fits and not found.certified
    assert found.runs == len(actor.asked) == len(set(actor.asked)) == 4
    assert math.exp(found.log_prob) > 0.9


def test_without_runs_the_likeliest_text_stands() -> None:
    actor = Actor(chart(SHAPES[1]))
    found = told_apart(actor, drafts_of(*SHAPES), 0)
    assert found is not None and found.text == plain(SHAPES[0]) and found.runs == 0 and not actor.asked


@pytest.mark.parametrize("slip", range(3))
def test_one_slip_is_forgiven(slip: int) -> None:
    actor = Actor(chart(SHAPES[1]), frozenset([slip]))
    found = told_apart(actor, drafts_of(*SHAPES), 12)
    assert found is not None and found.text == plain(SHAPES[1]) and found.fits


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_where_no_text_is_right_none_fits_or_it_cannot_be_told(seed: int) -> None:
    """A function that differs from all texts on most inputs is not taken for one of them."""
    other = chart("if has d then r else p")
    actor = Actor(other)
    found = told_apart(actor, drafts_of("if pos 1 is b then q else r", "if has c then q else r"), 12, seed)
    assert found is not None and not found.fits


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), runs=st.integers(0, 20))
def test_runs_are_as_many_as_were_allowed_and_the_same_each_time(seed: int, runs: int) -> None:
    charts = [sample_flowchart(seed + i) for i in range(3)]
    among = [Draft(each.text(), -float(i), program=each) for i, each in enumerate(charts)]
    one, two = (told_apart(Actor(charts[1]), among, runs, seed) for _ in range(2))
    assert one == two and one is not None and one.runs == runs
    assert one.log_prob <= 1e-9


def test_a_rare_branch_is_looked_at() -> None:
    """Programs that differ on one input in 256 alone."""
    rare = "if pos 1 is a then if pos 2 is a then if pos 3 is a then if pos 4 is a then q else r else r else r else r"
    actor = Actor(chart(rare))
    among = drafts_of("if pos 1 is a then r else r", rare)
    found = told_apart(actor, among, 1)
    assert found is not None and found.text == plain(rare) and actor.asked == [("a", "a", "a", "a")]


def test_settled_beliefs_visit_every_branch_of_the_likeliest_program() -> None:
    actor = Actor(chart(SHAPES[0]))
    told_apart(actor, drafts_of(SHAPES[0]), 6)
    seen = {actor.chart.run(each)[0] for each in actor.asked}
    assert seen == {"p", "q", "r"}


def test_targets_that_do_not_give_one_of_their_answers_are_not_run() -> None:
    assert can_be_run(Actor(chart(SHAPES[0])))
    for config in (replace(SHAPE, read_out="all"), replace(SHAPE, output="numerical", d_vocab_out=1)):
        assert not can_be_run(Actor(chart(SHAPES[0]), config=config))


def test_drafts_that_are_no_flowchart_are_left_out() -> None:
    actor, unread = Actor(chart(SHAPES[1])), Draft("if pos 1 is", 0.0)
    assert told_apart(actor, [], 4) is None and told_apart(actor, [unread], 4) is None and not actor.asked
    found = told_apart(actor, [unread, *drafts_of(*SHAPES)], 4)
    assert found == told_apart(actor, drafts_of(*SHAPES), 4) and found is not None and found.runs == 4


def test_a_target_is_run_by_its_own_names() -> None:
    """Those that decoders read of it may be shorter."""
    actor = Actor(chart(SHAPES[1]), names={"a": "not a", "p": "p q"})
    found = told_apart(actor, drafts_of(*SHAPES), 4)
    assert found is not None and found.text == plain(SHAPES[1]) and found.fits


def test_inputs_are_distinct_and_reach_every_branch() -> None:
    programs = [chart(text) for text in SHAPES]
    inputs = inputs_for(programs, np.random.default_rng(0))
    assert len(np.unique(inputs, axis=0)) == len(inputs)
    for program in programs:
        assert set(program.branch_batch(inputs).tolist()) == {0, 1, 2}
