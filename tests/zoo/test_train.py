from __future__ import annotations

import numpy as np
import pytest
import torch

from tracr_tasks.transformer import forward
from zoo.flowchart import input_ids
from zoo.flowchart_config import FlowchartConfig
from zoo.sampling import sample_flowchart
from zoo.stack import codes, forward_codes, initial_params, member_weights, target_config
from zoo.train import Lesson, train_stack
from zoo.training_config import Architecture, TrainConfig

CHARTS = [sample_flowchart(seed, FlowchartConfig(4, 4, 4)) for seed in range(5)]
SEEDS = [11, 12, 13, 14, 15]
QUICK = TrainConfig(steps=40, batch=32, eval_inputs=256)


@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_stack_is_the_transformer(n_layers: int) -> None:
    config = target_config(Architecture(n_layers=n_layers, n_heads=3, d_head=5, d_mlp=7), 4, 4, 4)
    params = initial_params(config, SEEDS)
    params = {name: tensor + 0.1 * torch.randn(tensor.shape) for name, tensor in params.items()}
    ids = torch.from_numpy(input_ids(4, 4))
    full = torch.cat([torch.zeros(len(ids), 1, dtype=torch.long), ids + 2], 1)
    inputs = codes(ids, 4).expand(len(SEEDS), -1, -1)
    logits = forward_codes(config, params, inputs)
    for i in range(len(SEEDS)):
        torch.testing.assert_close(
            logits[i], forward(config, member_weights(config, params, i), full)[:, 0], atol=2e-5, rtol=1e-5
        )


@pytest.mark.parametrize("n_layers", [1, 2])
def test_member_of_a_stack_is_what_a_lone_run_gives(n_layers: int) -> None:
    config = target_config(Architecture(n_layers=n_layers), 4, 4, 4)
    stack = train_stack(config, CHARTS, SEEDS, QUICK)
    for i in (0, 3):
        lone = train_stack(config, [CHARTS[i]], [SEEDS[i]], QUICK)
        for name, tensor in lone.params.items():
            torch.testing.assert_close(stack.params[name][i], tensor[0], atol=1e-5, rtol=0)
        assert lone.records[0].accuracy == pytest.approx(stack.records[i].accuracy, abs=0.01)


def test_training_learns_every_branch() -> None:
    config = target_config(Architecture(), 4, 4, 4)
    records = train_stack(config, CHARTS, SEEDS, TrainConfig(steps=160, eval_inputs=512)).records
    assert np.mean([record.accuracy for record in records]) > 0.98
    assert min(min(record.branch_accuracy) for record in records) > 0.9
    for chart, record in zip(CHARTS, records, strict=True):
        assert len(record.branch_accuracy) == len(chart.leaves())


def test_rare_branches_are_drawn_as_often_as_others() -> None:
    chart = CHARTS[0]
    lesson = Lesson(chart, input_ids(4, 4))
    drawn = lesson.draw(np.random.default_rng(0), 100, 10, 40)
    assert drawn.shape == (100, 50)
    counts = np.bincount(lesson.branch[drawn[:, 10:]].ravel())
    assert counts.min() > 0.8 * counts.mean()


def test_seeds_alone_decide_initial_weights() -> None:
    config = target_config(Architecture(), 4, 4, 4)
    many, one = initial_params(config, SEEDS), initial_params(config, SEEDS[2:3])
    assert all(torch.equal(many[name][2], one[name][0]) for name in one)
    assert not torch.equal(many["unembed.W_U"][0], many["unembed.W_U"][1])


def test_weights_do_not_depend_on_the_precision_that_the_process_has_set() -> None:
    charts, config = [sample_flowchart(seed) for seed in (1, 2)], target_config(Architecture(), 6, 6, 6)
    recipe = TrainConfig(steps=20, eval_inputs=64)
    before = torch.get_float32_matmul_precision()
    full = train_stack(config, charts, [1, 2], recipe)
    torch.set_float32_matmul_precision("medium")
    try:
        again = train_stack(config, charts, [1, 2], recipe)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert all(torch.equal(again.params[name], tensor) for name, tensor in full.params.items())
