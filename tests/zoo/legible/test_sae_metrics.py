"""The usual metrics at the ends of their scales, and entropies that can be told in advance."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tracr_tasks import Program, TargetConfig, rasp
from zoo.legible.autoencoders import Autoencoder
from zoo.legible.initial import initial_params
from zoo.legible.network import run
from zoo.legible.sae_metrics import cross_entropy_recovered, reconstruction_metrics, token_entropy
from zoo.legible.tasks import task_of
from zoo.legible.trainer import NetworkTraining, train_networks

CONFIG = TargetConfig(
    d_model=12, n_layers=2, n_heads=2, d_head=5, d_mlp=16, n_ctx=4, d_vocab=5, d_vocab_out=3, pad_token=1
)
TASK = task_of(Program(rasp.SelectorWidth(rasp.select(rasp.TOKENS, rasp.TOKENS, "==")), ("a", "b", "c"), 3))


def _exact(mean: torch.Tensor, keep: float = 1.0) -> Autoencoder:
    """x = mean + relu(x - mean) - relu(mean - x), with `keep` of it."""
    d = len(mean)
    W_dec = torch.cat([torch.eye(d), -torch.eye(d)])
    none = torch.zeros(2 * d)
    return Autoencoder(W_dec.T.clone(), none, keep * W_dec, torch.zeros(d), mean, 1.0, none, None)


def test_reconstruction_at_both_ends() -> None:
    points = torch.randn(500, 12, generator=torch.Generator().manual_seed(0)) + 2
    exact, nothing = _exact(points.mean(0)), _exact(points.mean(0), keep=0.0)
    found = reconstruction_metrics(exact, points, exact.encode(points))
    assert found["explained_variance"] == pytest.approx(1, abs=1e-5)
    assert found["cosine"] == pytest.approx(1, abs=1e-5)
    assert found["l0"] == pytest.approx(12) and found["dead"] == 0
    assert found["l1"] == pytest.approx(float((points - points.mean(0)).abs().sum(1).mean()), rel=1e-4)
    found = reconstruction_metrics(nothing, points, nothing.encode(points))
    assert found["explained_variance"] == pytest.approx(0, abs=1e-5)
    silent = torch.zeros(500, 24)
    assert reconstruction_metrics(exact, points, silent)["dead"] == 1


def test_entropy_of_tokens_weighs_activations_and_leaves_dead_latents_out() -> None:
    tokens = np.array([2, 3, 4, 5] * 25)
    one = torch.from_numpy((tokens == 3).astype(np.float32))
    assert token_entropy(one[:, None], tokens) == 0
    assert token_entropy(torch.ones(100, 1), tokens) == pytest.approx(math.log(4))
    skewed = torch.from_numpy(np.where(tokens == 3, 3.0, 0) + (tokens == 5)).float()
    wanted = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert token_entropy(skewed[:, None], tokens) == pytest.approx(wanted)
    both = torch.stack([one, skewed, torch.zeros(100)], 1)
    assert token_entropy(both, tokens) == pytest.approx(wanted / 2)
    assert math.isnan(token_entropy(torch.zeros(100, 3), tokens))


def test_cross_entropy_recovered_is_all_nothing_or_not_defined() -> None:
    params = train_networks(CONFIG, initial_params(CONFIG, [0]), [TASK], [0], NetworkTraining(250, lr=1e-2)).params
    ids, answers = torch.from_numpy(TASK.ids), torch.from_numpy(TASK.answers)
    with torch.no_grad():
        states = run(CONFIG, params, ids[None]).states
    for number, state in enumerate(states):
        exact, zero = _exact(torch.zeros(12)), _exact(torch.zeros(12), keep=0.0)
        for made, wanted in ((exact, 1), (zero, 0)):
            found = cross_entropy_recovered(CONFIG, params, number, made, state[0], answers)
            assert found == pytest.approx(wanted, abs=1e-4)
    fresh = initial_params(CONFIG, [0], 0.25)
    with torch.no_grad():
        state = run(CONFIG, fresh, ids[None]).states[1][0]
    assert math.isnan(cross_entropy_recovered(CONFIG, fresh, 1, _exact(torch.zeros(12)), state, answers))
