from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tracr_tasks.errors import InputError
from tracr_tasks.transformer import forward
from zoo.branches import draw_inputs
from zoo.flowchart import input_ids
from zoo.flowchart_config import FlowchartConfig
from zoo.flowchart_parser import parse_flowchart
from zoo.sampling import sample_flowchart
from zoo.stack import codes, forward_codes, initial_params, member_weights, target_config, training_flops
from zoo.target import Target, Vocab
from zoo.train import last_steps, retry_seed, train_stack
from zoo.training_config import Architecture, TrainConfig, for_every_kind

CHARTS = [sample_flowchart(seed, FlowchartConfig(4, 4, 4)) for seed in range(5)]
SEEDS = [11, 12, 13, 14, 15]
QUICK = TrainConfig(steps=40, batch=32, eval_inputs=256)


KINDS = [
    ("RMSPre", "relu", "bidirectional"),
    ("RMS", "gelu", "bidirectional"),
    ("LNPre", "relu", "causal"),
    ("LN", "gelu", "causal"),
    ("LN", "relu", "bidirectional"),
    ("none", "relu", "causal"),
    ("none", "gelu", "bidirectional"),
]


@pytest.mark.parametrize("n_layers", [1, 2, 3])
@pytest.mark.parametrize(("norm", "act_fn", "attention_dir"), KINDS)
def test_stack_is_the_transformer(n_layers: int, norm: str, act_fn: str, attention_dir: str) -> None:
    architecture = Architecture(
        n_layers=n_layers,
        n_heads=3,
        d_head=5,
        d_mlp=7,
        normalization_type=norm,
        act_fn=act_fn,
        attention_dir=attention_dir,
    )
    config = target_config(architecture, 4, 4, 4)
    read = 0 if attention_dir == "bidirectional" else -1
    params = initial_params(config, SEEDS)
    params = {name: tensor + 0.1 * torch.randn(tensor.shape) for name, tensor in params.items()}
    ids = torch.from_numpy(input_ids(4, 4))
    full = torch.cat([torch.zeros(len(ids), 1, dtype=torch.long), ids + 2], 1)
    inputs = codes(ids, 4).expand(len(SEEDS), -1, -1)
    logits = forward_codes(config, params, inputs)
    for i in range(len(SEEDS)):
        torch.testing.assert_close(
            logits[i], forward(config, member_weights(config, params, i), full)[:, read], atol=2e-5, rtol=1e-5
        )


@pytest.mark.parametrize(("norm", "act_fn", "attention_dir"), KINDS)
def test_every_kind_of_target_learns_its_flowchart(norm: str, act_fn: str, attention_dir: str) -> None:
    """Judged by the saved target itself, as a user runs it."""
    architecture = Architecture(normalization_type=norm, act_fn=act_fn, attention_dir=attention_dir)
    config = target_config(architecture, 4, 4, 4)
    stack = train_stack(config, CHARTS[:2], SEEDS[:2], TrainConfig(steps=200, lr=0.01, eval_inputs=256))
    inputs = input_ids(4, 4)
    for i, chart in enumerate(CHARTS[:2]):
        vocab = Vocab(("BOS", "PAD", *chart.vocab), chart.answers)
        target = Target(config, member_weights(config, stack.params, i), vocab)
        said = target.answers(
            torch.cat([torch.zeros(len(inputs), 1, dtype=torch.long), torch.from_numpy(inputs) + 2], 1)
        )
        wanted = [[chart.leaves()[branch]] for branch in chart.branch_batch(inputs)]
        right = np.mean([a == b for a, b in zip(said, wanted, strict=True)])
        assert right >= 0.97 and right == pytest.approx(stack.records[i].accuracy, abs=0.05)


def test_targets_stop_when_they_are_right_and_are_what_lone_runs_give() -> None:
    config, recipe = target_config(Architecture(), 4, 4, 4), TrainConfig(steps=160, eval_inputs=512, stop_accuracy=0.98)
    stack = train_stack(config, CHARTS, SEEDS, recipe)
    steps = [record.steps for record in stack.records]
    assert len(set(steps)) > 1 and all(step % 20 == 0 for step in steps) and min(steps) < 160
    for i, record in enumerate(stack.records):
        assert record.accuracy > 0.95 or record.steps == 160
        lone = train_stack(config, [CHARTS[i]], [SEEDS[i]], recipe)
        assert lone.records[0].steps == record.steps
        for name, tensor in lone.params.items():
            torch.testing.assert_close(stack.params[name][i], tensor[0], atol=1e-5, rtol=0)


def test_a_share_of_targets_is_cut_at_any_step() -> None:
    config = target_config(Architecture(), 4, 4, 4)
    whole = train_stack(config, CHARTS, SEEDS, QUICK)
    cut = train_stack(config, CHARTS, SEEDS, replace(QUICK, cut=0.9))
    steps = [record.steps for record in cut.records]
    assert len(set(steps)) > 2
    for i, record in enumerate(cut.records):
        same = all(torch.allclose(whole.params[n][i], t[i], atol=1e-5, rtol=0) for n, t in cut.params.items())
        assert same == (record.steps == 40) and record.loss_curve[0] == pytest.approx(
            whole.records[i].loss_curve[0], rel=0.5
        )
    assert last_steps(SEEDS, replace(QUICK, cut=0.9)).tolist() == steps
    assert (last_steps(SEEDS, QUICK) == 40).all()


def test_a_stack_too_large_for_one_goes_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    config = target_config(Architecture(), 4, 4, 4)
    one = train_stack(config, CHARTS, SEEDS, QUICK)
    monkeypatch.setattr("zoo.train.STEP_FLOPS", 2.5 * training_flops(config, 1, QUICK.batch))
    parts = train_stack(config, CHARTS, SEEDS, QUICK)
    assert [r.accuracy for r in parts.records] == pytest.approx([r.accuracy for r in one.records], abs=0.01)
    for name, tensor in one.params.items():
        torch.testing.assert_close(parts.params[name], tensor, atol=1e-5, rtol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_trains_the_same_targets_to_rounding_and_repeats_its_bytes() -> None:
    config = target_config(Architecture(n_layers=2), 4, 4, 4)
    here = train_stack(config, CHARTS, SEEDS, replace(QUICK, steps=5))
    there, again = (train_stack(config, CHARTS, SEEDS, replace(QUICK, steps=5), "cuda") for _ in range(2))
    for name, tensor in here.params.items():
        torch.testing.assert_close(there.params[name], tensor, atol=1e-3, rtol=0)
        assert torch.equal(there.params[name], again.params[name])


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


def test_new_kinds_and_rare_branches_are_learned() -> None:
    texts = [
        "if first a before first b then p else if last in {a, c} then q else r",
        "if pos 1 equals pos 4 then p else if has b then q else r",
        "if first in {b, d} then if 2 of c then p else q else r",
        "if 4 of a then p else if pos 2 is b then q else r",
    ]
    charts = [parse_flowchart(text, tuple("abcd"), tuple("pqrs"), 4) for text in texts]
    architecture, _ = for_every_kind()
    recipe = TrainConfig(steps=250, lr=0.01, eval_inputs=512)
    for record in train_stack(target_config(architecture, 4, 4, 4), charts, [1, 2, 3, 4], recipe).records:
        assert record.accuracy >= 0.99 and min(record.branch_accuracy) >= 0.99


def test_a_branch_too_rare_for_the_pool_is_learned() -> None:
    """Measured on inputs that were drawn for this alone: those of the pool would be learned by heart."""
    chart = parse_flowchart("if 6 of c then p else if has a then q else r", tuple("abcdefgh"), tuple("pqr"), 8)
    config = target_config(Architecture(), 8, 3, 8)
    stack = train_stack(config, [chart], [3], TrainConfig(steps=150, eval_inputs=512))
    ids = draw_inputs(chart, 0, 500, np.random.default_rng(7))
    said = forward_codes(config, stack.params, codes(torch.from_numpy(ids), 8)[None])[0].argmax(-1)
    assert (said == 0).float().mean() > 0.97
    assert stack.records[0].branch_accuracy[0] == pytest.approx(float((said == 0).float().mean()), abs=0.03)


def test_a_record_says_how_the_training_went() -> None:
    config = target_config(Architecture(), 4, 4, 4)
    stack = train_stack(config, CHARTS, SEEDS, QUICK)
    for record in stack.records:
        assert len(record.loss_curve) == 24 and record.loss_curve[0] > record.loss_curve[-1] > 0
        assert (record.steps, record.tries, record.kept, record.missed) == (40, 1, 1, False)
        assert record.to_json()["loss_curve"] == [round(value, 4) for value in record.loss_curve]
        assert "seconds" not in record.to_json()
    assert 0 < sum(record.seconds for record in stack.records) == pytest.approx(stack.seconds)
    short = train_stack(config, CHARTS[:1], SEEDS[:1], TrainConfig(steps=3, batch=8, eval_inputs=64)).records[0]
    assert len(short.loss_curve) == 3 and short.loss_curve[-1] == pytest.approx(short.loss)


def test_targets_that_miss_are_kept_marked_or_tried_again() -> None:
    config, recipe = target_config(Architecture(), 4, 4, 4), replace(QUICK, accuracy=0.97)
    kept, marked, retried = (
        train_stack(config, CHARTS, SEEDS, replace(recipe, on_miss=on_miss)) for on_miss in ("keep", "mark", "retry")
    )
    missing = [i for i, record in enumerate(kept.records) if record.accuracy < 0.97]
    assert 0 < len(missing) < len(CHARTS)
    assert not any(record.missed for record in kept.records)
    assert [i for i, record in enumerate(marked.records) if record.missed] == missing
    assert all(torch.equal(kept.params[name], tensor) for name, tensor in marked.params.items())
    for i, record in enumerate(retried.records):
        assert (record.tries > 1) == (i in missing) and record.tries <= 1 + recipe.retries
        assert record.accuracy >= kept.records[i].accuracy and record.missed == (record.accuracy < 0.97)
        seed = SEEDS[i] if record.kept == 1 else retry_seed(SEEDS[i], record.kept - 1)
        lone = train_stack(config, [CHARTS[i]], [seed], QUICK)
        for name, tensor in lone.params.items():
            torch.testing.assert_close(retried.params[name][i], tensor[0], atol=1e-5, rtol=0)


def test_a_target_that_no_try_gets_right_is_marked() -> None:
    recipe = TrainConfig(steps=2, batch=8, eval_inputs=64, branch_accuracy=1.0, on_miss="retry", retries=3)
    record = train_stack(target_config(Architecture(), 4, 4, 4), CHARTS[:1], SEEDS[:1], recipe).records[0]
    assert record.tries == 4 and record.missed and record.accuracy < 1
    assert record.to_json() | {"tries": 4, "missed": True} == record.to_json()


def test_unknown_ways_to_treat_a_miss_are_refused() -> None:
    with pytest.raises(InputError, match="on_miss = 'drop', expected keep, mark, retry"):
        TrainConfig(on_miss="drop")
    with pytest.raises(InputError, match=r"accuracy = 1.5, expected 0 to 1"):
        TrainConfig(accuracy=1.5)


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
