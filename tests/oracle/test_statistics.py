"""Intervals that know about clusters."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from oracle.statistics import clustered_mean


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 5)), min_size=1, max_size=60))
def test_interval_holds_the_mean_of_its_resamples_and_stays_in_range(pairs: list[tuple[float, int]]) -> None:
    found = clustered_mean([v for v, _ in pairs], [str(c) for _, c in pairs])
    assert -1e-9 <= found.low <= found.high <= 1 + 1e-9
    assert abs(found.mean - np.mean([v for v, _ in pairs])) < 1e-9


def test_repeating_questions_about_one_target_does_not_narrow_the_interval() -> None:
    values, clusters = [0.0, 1.0] * 20, [str(i) for i in range(40)]
    once = clustered_mean(values, clusters)
    often = clustered_mean(values * 9, clusters * 9)
    naive = clustered_mean(values * 9, [str(i) for i in range(360)])
    assert abs((often.high - often.low) - (once.high - once.low)) < 1e-9
    assert naive.high - naive.low < 0.5 * (once.high - once.low)
