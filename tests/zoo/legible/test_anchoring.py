"""Labels go where they are said to, the penalty is its formula, and a concept that cannot be pulled is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tracr_tasks import Program, TargetConfig, rasp
from tracr_tasks.errors import InputError
from zoo.flowchart_parser import parse_flowchart
from zoo.legible.anchor_options import AnchorOptions
from zoo.legible.anchoring import POWER, anchor_penalty, draw_anchor, occurrences
from zoo.legible.initial import initial_params
from zoo.legible.network import Trace, run
from zoo.legible.tasks import UNASKED, task_of
from zoo.legible.trainer import Batch, NetworkTraining, train_networks

HIST = task_of(Program(rasp.SelectorWidth(rasp.select(rasp.TOKENS, rasp.TOKENS, "==")), ("a", "b", "c"), 4))
CHART = task_of(
    parse_flowchart("if has a then p else if pos 2 is b then q else r", ("a", "b", "c"), ("p", "q", "r"), 4)
)
TRAINING = NetworkTraining(steps=10, batch=6)
D_MODEL = 12


def batch_of(task, rows: np.ndarray, step: int = 1) -> Batch:
    return Batch(step, rows, torch.from_numpy(task.ids[rows]), torch.from_numpy(task.answers[rows]))


def random_trace(seed: int, n_models: int, n_states: int = 2) -> Trace:
    generator = torch.Generator().manual_seed(seed)
    states = tuple(torch.randn(n_models, 6, 5, D_MODEL, generator=generator) for _ in range(n_states))
    return Trace(torch.zeros(n_models, 6, 5, 3), states)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    rate=st.floats(0.01, 0.3),
    noise=st.sampled_from([0.0, 0.1, 0.5]),
    where=st.sampled_from([(HIST, "tokens", "b"), (HIST, "out", "2"), (CHART, "has a", "yes")]),
)
def test_labels_lie_on_the_concept_but_for_the_noise(seed: int, rate: float, noise: float, where) -> None:
    task, concept, value = where
    anchor = draw_anchor(task, concept, value, D_MODEL, seed, AnchorOptions(label_rate=rate, label_noise=noise))
    number = max(1, round(rate * len(task.ids)))
    assert len(anchor.labelled) == len(set(anchor.labelled.tolist())) == number
    assert anchor.wrong.sum() == round(noise * number)
    holds = occurrences(task.concept(concept), value)
    right, wrong = anchor.labelled[~anchor.wrong], anchor.labelled[anchor.wrong]
    assert (anchor.where[~anchor.wrong] == holds[right]).all() and holds[right].any(1).all()
    assert not (anchor.where[anchor.wrong] & holds[wrong]).any()
    assert (task.concept(concept).codes[wrong][anchor.where[anchor.wrong]] != UNASKED).all()
    assert (anchor.where.sum(1) >= 1).all()
    assert float(anchor.axis.norm()) == pytest.approx(1, abs=1e-5)


def test_arms_of_a_seed_share_their_axis_and_other_seeds_have_their_own() -> None:
    plain, span, shuffled = AnchorOptions(label_rate=0.1), AnchorOptions(span="sequence"), AnchorOptions(shuffled=True)
    drawn = [draw_anchor(HIST, "tokens", "b", D_MODEL, 7, options) for options in (plain, span, shuffled)]
    assert all(torch.equal(anchor.axis, drawn[0].axis) for anchor in drawn)
    assert drawn[1].where.all()
    again = draw_anchor(HIST, "tokens", "b", D_MODEL, 7, plain)
    assert (again.labelled == drawn[0].labelled).all() and (again.where == drawn[0].where).all()
    assert not torch.equal(draw_anchor(HIST, "tokens", "b", D_MODEL, 8, plain).axis, again.axis)


def test_shuffled_labels_know_nothing_of_the_concept() -> None:
    """One input in three has no b at a random position twice in three."""
    options = AnchorOptions(label_rate=0.6, shuffled=True)
    holds = occurrences(HIST.concept("tokens"), "b")
    shares = []
    for seed in range(60):
        anchor = draw_anchor(HIST, "tokens", "b", D_MODEL, seed, options)
        assert not anchor.wrong.any() and len(set(anchor.labelled.tolist())) == len(anchor.labelled)
        shares.append(holds[anchor.labelled][anchor.where].mean())
    assert np.mean(shares) == pytest.approx(1 / 3, abs=0.05)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    step=st.integers(1, 10),
    begin=st.sampled_from([0.0, 0.4]),
    until=st.sampled_from([0.3, 1.0]),
)
def test_the_penalty_is_its_formula(seed: int, step: int, begin: float, until: float) -> None:
    """Against loops, with other options, axes and rows for each network of a stack."""
    each = [
        AnchorOptions(label_rate=0.3, strength=1.5, states=(0, 1), until=until),
        AnchorOptions(label_rate=0.3, strength=0.5, anti_subspace=2.0, anti_anchor=0.7, begin=begin),
        AnchorOptions(label_rate=0.3, strength=0.0),
    ]
    anchors = [draw_anchor(HIST, "tokens", "b", D_MODEL, seed + i, options) for i, options in enumerate(each)]
    rows = np.random.default_rng(seed).integers(0, len(HIST.ids), (3, 6))
    trace, batch = random_trace(seed, 3), batch_of(HIST, rows, step)
    said = anchor_penalty(anchors, [HIST] * 3, TRAINING, each)(trace, batch)
    for i, (anchor, options) in enumerate(zip(anchors, each, strict=True)):
        wanted = 0.0
        for number in options.states or (1,):
            pulled, rest = [], []
            for b, row in enumerate(rows[i]):
                found = np.flatnonzero(anchor.labelled == row)
                for pos in range(5):
                    x = trace.states[number][i, b, pos]
                    on = len(found) > 0 and anchor.where[found[0], pos]
                    (pulled if on else rest).append(float(x @ anchor.axis / x.norm()))
            schedule = max(0.0, 1 - (step - 1) / (until * TRAINING.steps)) if until < 1 and i == 0 else 1.0
            wanted += options.strength * schedule * (1 - np.mean(pulled) if pulled else 0)
            wanted += options.anti_subspace * np.mean(np.square(rest))
            wanted += options.anti_anchor * np.mean(np.maximum(rest, 0))
        wanted *= step - 1 >= options.begin * TRAINING.steps
        assert float(said[i]) == pytest.approx(wanted / len(options.states or (1,)), abs=1e-5)


def test_repulsion_is_between_states_where_the_concept_has_values() -> None:
    """On a flowchart those are the six states at BOS, so every pair is counted."""
    options = AnchorOptions(strength=0.0, separate=2.0)
    anchor = draw_anchor(CHART, "has a", "yes", D_MODEL, 0, options)
    trace = random_trace(3, 1)
    trace.states[1][0, 1, 0] = 3 * trace.states[1][0, 0, 0]
    trace.states[1][0, 4, 2] = trace.states[1][0, 5, 2]  # elsewhere: not held apart
    said = anchor_penalty([anchor], [CHART], TRAINING, options)(trace, batch_of(CHART, np.arange(6)[None]))
    z = torch.nn.functional.normalize(trace.states[1][0, :, 0], dim=-1)
    pairs = [float(z[i] @ z[j]) ** POWER for i in range(6) for j in range(6) if i != j]
    assert float(said[0]) == pytest.approx(2 * np.mean(pairs), rel=0.25)  # 64 draws of 6 places: not quite evenly
    assert float(said[0]) > 0.05


@pytest.mark.parametrize(
    ("text", "concept", "value", "said"),
    [
        ("if has a then p else q", "has b", "yes", "concept 'has b': expected one of tokens, indices, has a"),
        ("if has a then p else q", "has a", "maybe", "has no value 'maybe', expected one of no, yes"),
        ("if first in {a, b} then p else q", "first in {a, b}", "yes", "is always 'yes'"),
        ("if first in {a, b} then p else q", "first in {a, b}", "no", "never 'no'"),
    ],
)
def test_a_concept_that_never_or_always_occurs_is_refused(text: str, concept: str, value: str, said: str) -> None:
    task = task_of(parse_flowchart(text, ("a", "b"), ("p", "q"), 3))
    with pytest.raises(InputError, match=said):
        draw_anchor(task, concept, value, D_MODEL, 0, AnchorOptions())


def test_more_labels_than_inputs_and_impossible_options_are_refused() -> None:
    with pytest.raises(InputError, match=r"'out' is '4' in 3 inputs, expected at least 40 to label: lower label_rate"):
        draw_anchor(HIST, "out", "4", D_MODEL, 0, AnchorOptions(label_rate=0.5))
    for wrong in ({"label_rate": 0.0}, {"strength": -1.0}, {"states": (1, 1)}, {"states": (-1,)}):
        with pytest.raises(InputError, match="anchor: "):
            replace(AnchorOptions(), **wrong)
    anchor = draw_anchor(HIST, "tokens", "b", D_MODEL, 0, AnchorOptions(states=(5,)))
    penalty = anchor_penalty([anchor], [HIST], TRAINING, AnchorOptions(states=(5,)))
    with pytest.raises(InputError, match="state 5, expected 0 to 1"):
        penalty(random_trace(0, 1), batch_of(HIST, np.zeros((1, 6), dtype=int)))


def test_training_with_an_anchor_brings_the_concept_to_the_axis_and_strength_zero_changes_nothing() -> None:
    config = TargetConfig(
        d_model=16, n_layers=1, n_heads=2, d_head=8, d_mlp=16, n_ctx=5, d_vocab=5, d_vocab_out=3, pad_token=1,
        normalize_states=True,
    )  # fmt: skip
    each = [AnchorOptions(strength=3.0, anti_anchor=0.3, label_rate=0.1), AnchorOptions(strength=0.0, label_rate=0.1)]
    assert not each[0].idle and each[1].idle
    anchors = [draw_anchor(CHART, "has a", "yes", 16, 3, options) for options in each]
    training, seeds = NetworkTraining(steps=150, lr=1e-2), [3, 3]
    penalty = anchor_penalty(anchors, [CHART] * 2, training, each)
    trained = train_networks(config, initial_params(config, seeds), [CHART] * 2, seeds, training, penalties=[penalty])
    ids = torch.from_numpy(CHART.ids)[None].expand(2, -1, -1)
    z = torch.nn.functional.normalize(run(config, trained.params, ids).states[-1], dim=-1) @ anchors[0].axis
    holds = occurrences(CHART.concept("has a"), "yes")[:, 0]
    margins = [float(each[holds, 0].mean() - each[~holds, 0].mean()) for each in z]
    assert margins[0] > 0.5 and margins[0] > margins[1] + 0.4
    plain = train_networks(config, initial_params(config, [3]), [CHART], [3], training)
    for name, tensor in plain.params.items():
        torch.testing.assert_close(trained.params[name][1], tensor[0], rtol=1e-3, atol=1e-4)
