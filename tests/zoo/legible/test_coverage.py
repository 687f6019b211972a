"""Coverage is 1 for latents that are a variable, chance for latents that know nothing, and chosen on other points."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from zoo.legible.coverage import coverage, f1


def _codes(seed: int, n: int = 600, values: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, values, n)


def _one_hot(codes: np.ndarray, values: int = 4) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.from_numpy(codes), values).float()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_f1_is_that_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    said, wanted = rng.random((40, 3)) < 0.4, rng.random((40, 2)) < 0.3
    found = f1(torch.from_numpy(said), torch.from_numpy(wanted))
    for i in range(3):
        for j in range(2):
            assert float(found[i, j]) == pytest.approx(f1_score(wanted[:, j], said[:, i], zero_division=0))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), faint=st.floats(0, 0.8))
def test_latents_that_are_the_variable_cover_it_behind_any_threshold(seed: int, faint: float) -> None:
    fit, test = _codes(seed), _codes(seed + 1)
    generator = torch.Generator().manual_seed(seed)

    def latents(codes: np.ndarray) -> torch.Tensor:
        clear = _one_hot(codes) * (1 + torch.rand(600, 4, generator=generator))
        return torch.cat([torch.zeros(600, 2), clear + faint * torch.rand(600, 4, generator=generator)], 1)

    first, second = latents(fit), latents(test)
    found = coverage(first, fit, second, test)
    assert found > 0.85 if faint else found == 1
    order = torch.randperm(6, generator=generator)
    sizes = torch.tensor([0.25, 1, 4, 2, 8, 0.5])
    assert coverage(first[:, order] * sizes, fit, second[:, order] * sizes, test) == pytest.approx(found, abs=1e-6)


def test_a_value_without_a_latent_counts_as_it_is_found() -> None:
    fit, test = _codes(0), _codes(1, 400)
    found = coverage(_one_hot(fit)[:, :2], fit, _one_hot(test)[:, :2], test)
    assert found == pytest.approx((1 + 1 + 0 + 0) / 4)


def test_choosing_among_many_ignorant_latents_gains_nothing_on_other_points() -> None:
    fit, test = _codes(2, 200), _codes(3, 200)
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(2, 200, 2_000, generator=generator) - 0.5
    first, second = noise.relu()
    assert coverage(first, fit, first, fit) > 0.44  # chosen and measured on the same points
    assert coverage(first, fit, second, test) < 0.40  # a latent that always fires has 2p / (1 + p) = 0.40


def test_rare_values_are_left_out_and_dead_latents_cover_nothing() -> None:
    codes = np.array([0] * 500 + [1] * 500 + [2] * 3)
    latents = _one_hot(codes, 3)
    latents[:, 2] = 0  # 2 is rare: it has no latent, and is not missed
    assert coverage(latents, codes, latents, codes) == 1
    assert coverage(latents * 0, codes, latents * 0, codes) == 0
    many = np.arange(1_003)
    assert math.isnan(coverage(latents, many, latents, many))
