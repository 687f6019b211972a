"""A stack is the same function as each of its networks alone, and training one is not changed by its neighbours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tracr_tasks import Program, TargetConfig, forward, rasp
from tracr_tasks.errors import InputError
from tracr_tasks.transformer import shapes
from zoo.flowchart_parser import parse_flowchart
from zoo.legible.initial import Family, initial_params, standard_deviation
from zoo.legible.network import member, run, run_from, stacked
from zoo.legible.tasks import UNASKED, counterfactual, task_of
from zoo.legible.trainer import NetworkTraining, accuracy, train_networks

HIST = rasp.SelectorWidth(rasp.select(rasp.TOKENS, rasp.TOKENS, "=="))
SAME = Program(rasp.SelectorWidth(rasp.select(HIST, HIST, "==")), ("a", "b", "c"), 4)
SMALL = TargetConfig(
    d_model=12, n_layers=2, n_heads=2, d_head=5, d_mlp=9, n_ctx=5, d_vocab=5, d_vocab_out=4, pad_token=1
)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    norm=st.sampled_from([None, "LN", "LNPre", "RMS", "RMSPre"]),
    act=st.sampled_from(["relu", "gelu"]),
    direction=st.sampled_from(["causal", "bidirectional"]),
    normalize_states=st.booleans(),
)
def test_a_stack_is_its_members_run_alone(seed: int, norm, act, direction, normalize_states: bool) -> None:
    config = replace(
        SMALL, normalization_type=norm, act_fn=act, attention_dir=direction, normalize_states=normalize_states
    )
    generator = torch.Generator().manual_seed(seed)
    params = {name: torch.randn(3, *shape, generator=generator).double() for name, shape in shapes(config).items()}
    ids = torch.randint(2, 5, (3, 7, 5), generator=generator)
    trace = run(config, params, ids)
    for i in range(3):
        torch.testing.assert_close(forward(config, member(params, i), ids[i]), trace.logits[i], rtol=1e-9, atol=1e-9)
    for number, state in enumerate(trace.states):
        torch.testing.assert_close(run_from(config, params, number, state), trace.logits, rtol=1e-9, atol=1e-9)
    again = stacked(config, [member(params, i) for i in range(3)])
    assert all(torch.equal(again[name], params[name]) for name in params)


def test_an_edit_changes_what_comes_after_it_alone() -> None:
    params = initial_params(SMALL, [0, 1])
    ids = torch.from_numpy(task_of(SAME).ids[:20])[None].expand(2, -1, -1)
    plain = run(SMALL, params, ids)
    edited = run(SMALL, params, ids, lambda number, x: torch.zeros_like(x) if number == 1 else x)
    assert torch.equal(plain.states[0], edited.states[0])
    assert edited.states[1].abs().max() == 0
    assert not torch.equal(plain.logits, edited.logits)


@pytest.mark.parametrize("family", ["normal", "uniform", "orthogonal", "heavy-tailed"])
def test_initial_families_have_one_spread_and_each_network_its_own_seed(family: Family) -> None:
    config = replace(SMALL, d_model=64, d_mlp=256, d_head=32)
    params = initial_params(config, [3, 4], 2.0, family)
    alone = initial_params(config, [4], 2.0, family)
    for name, tensor in params.items():
        assert torch.equal(tensor[1], alone[name][0])
        last = name.rsplit(".", 1)[1]
        if last.startswith("W_") and tensor.numel() > 4_000:
            wanted = 2 * standard_deviation(config, last)
            assert float(tensor.std()) == pytest.approx(wanted, rel=0.3 if family == "heavy-tailed" else 0.05)
    assert params["embed.W_E"][:, 1].abs().max() == 0
    with pytest.raises(InputError, match="initial scale"):
        initial_params(config, [0], -1.0)


def test_a_task_holds_the_programs_answers_and_variables() -> None:
    task = task_of(SAME)
    assert len(task.ids) == 81
    assert [concept.name for concept in task.concepts] == ["tokens", "indices", "v2", "out"]
    for row in (0, 17, 80):
        tokens = [task.vocab.input[i] for i in task.ids[row, 1:]]
        assert [int(task.vocab.output[a]) for a in task.answers[row, 1:]] == SAME.run(tokens)
        counts = task.concept("v2")
        assert [int(counts.values[c]) for c in counts.codes[row, 1:]] == [tokens.count(t) for t in tokens]
    assert (task.answers[:, 0] == UNASKED).all()
    with pytest.raises(InputError, match="concept 'v9': expected one of tokens, indices, v2, out"):
        task.concept("v9")


def test_a_counterfactual_is_the_program_with_a_variable_replaced() -> None:
    task = task_of(SAME)
    counts = task.concept("v2")
    assert (counterfactual(task, {"v2": counts.codes}) == task.answers).all()
    shuffled = counts.codes[np.random.default_rng(0).permutation(len(task.ids))]
    said = counterfactual(task, {"v2": shuffled})
    for row in range(0, 81, 7):
        values = shuffled[row, 1:].tolist()
        assert [int(task.vocab.output[a]) for a in said[row, 1:]] == [values.count(v) for v in values]


def test_a_flowchart_is_asked_at_bos_and_its_questions_are_concepts() -> None:
    chart = parse_flowchart("if has a then p else if pos 2 is b then q else r", ("a", "b", "c"), ("p", "q", "r"), 3)
    task = task_of(chart)
    assert [concept.name for concept in task.concepts] == ["tokens", "indices", "has a", "pos 2 is b"]
    assert (task.answers[:, 1:] == UNASKED).all()
    for row in range(27):
        tokens = [task.vocab.input[i] for i in task.ids[row, 1:]]
        assert [task.vocab.output[task.answers[row, 0]]] == chart.run(tokens)
        assert task.concept("has a").codes[row, 0] == ("a" in tokens)


def test_training_depends_on_a_networks_own_seed_and_frozen_entries_stay() -> None:
    task, training = task_of(SAME), NetworkTraining(steps=30, lr=1e-2)
    params = initial_params(SMALL, [5, 6])
    rates = {"blocks.0.mlp.W_in": torch.ones_like(params["blocks.0.mlp.W_in"])}
    rates["blocks.0.mlp.W_in"][:, :, :4] = 0
    seen: list[int] = []
    both = train_networks(
        SMALL, params, [task] * 2, [5, 6], training, rates=rates, watch=lambda step, _: seen.append(step),
        watch_at=(0, 10, 30),
    )  # fmt: skip
    assert seen == [0, 10, 30]
    one = {name: tensor[1:] for name, tensor in params.items()}
    alone = train_networks(SMALL, one, [task], [6], training, rates={k: v[1:] for k, v in rates.items()})
    for name, tensor in both.params.items():
        torch.testing.assert_close(tensor[1], alone.params[name][0], rtol=1e-3, atol=1e-4)
    before, after = params["blocks.0.mlp.W_in"], both.params["blocks.0.mlp.W_in"]
    assert torch.equal(before[:, :, :4], after[:, :, :4])
    assert not torch.equal(before[:, :, 4:], after[:, :, 4:])
    assert both.records[1].accuracy == pytest.approx(float(accuracy(SMALL, both.params, [task] * 2)[1]))


def test_networks_learn_and_stop_when_they_have() -> None:
    training = NetworkTraining(steps=400, lr=1e-2, stop_accuracy=0.95)
    trained = train_networks(SMALL, initial_params(SMALL, [1, 2]), [task_of(SAME)] * 2, [1, 2], training)
    for record in trained.records:
        assert record.accuracy > 0.9
        assert record.steps_to_goal is not None and record.steps_to_goal <= record.steps < 400
