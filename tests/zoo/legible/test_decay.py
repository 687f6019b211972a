"""Half-lives and asymptotes of curves whose laws are known, and what is said where there is nothing to fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.legible.decay import decay, half_life

STEPS = [0, 10, 20, 40, 80, 160, 320, 640]


@settings(max_examples=30)
@given(end=st.floats(0, 0.4), height=st.floats(0.3, 1), tau=st.floats(30, 150))
def test_an_exponentials_asymptote_is_found(end: float, height: float, tau: float) -> None:
    found = decay(STEPS, [end + height * np.exp(-t / tau) for t in STEPS])
    assert found.exponential.value == pytest.approx(end, abs=0.01)
    assert found.exponential.note == ""
    wanted = -tau * np.log((height - end) / 2 / height) if end < height else None
    if wanted is None or wanted > STEPS[-1]:
        assert found.half_life is None
    else:
        assert found.half_life == pytest.approx(wanted, rel=0.25)


def test_a_slow_power_law_ends_lower_than_an_exponential_says() -> None:
    found = decay(STEPS, [(1 + t / 20) ** -0.5 for t in STEPS])
    assert found.power_law.value == pytest.approx(0, abs=0.02)
    assert found.exponential.value is not None and found.exponential.value > 0.1


def test_a_half_life_lies_on_the_line_between_two_points() -> None:
    assert half_life([0, 10, 20], [1.0, 0.8, 0.2]) == pytest.approx(15)
    assert half_life([5, 15], [1.0, 0.0]) == pytest.approx(5)
    assert half_life([0, 10], [1.0, 0.6]) is None
    assert half_life([0, 10], [0.0, -1.0]) is None
    assert half_life([], []) is None


def test_what_cannot_be_fitted_says_why() -> None:
    few = decay(STEPS[:4], [1.0, 0.5, None, float("nan")])
    assert few.exponential.value is None and few.power_law.note == "2 points, expected at least 5"
    assert few.half_life == pytest.approx(10)
    flat = decay(STEPS, [0.7] * 8)
    assert flat.exponential.value == pytest.approx(0.7) and flat.exponential.note == "flat" and flat.half_life is None
    line = decay(STEPS, [1 - t / 10_000 - 1e-9 * t**2 for t in STEPS])
    assert line.power_law.error is None and line.power_law.note == "the points leave it open"
