"""Intervals for answers that come in clusters: several questions about one target are not independent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

N_RESAMPLES = 2000
N_FLIPS = 10_000


@dataclass(frozen=True)
class Interval:
    """A mean with its 95% interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.2f} [{self.low:.2f}, {self.high:.2f}]"


def clustered_mean(values: Sequence[float], clusters: Sequence[str], seed: int = 0) -> Interval:
    """Mean of values and a percentile bootstrap over whole clusters (Efron and Tibshirani 1993, chapter 13).

    Raises:
        ValueError: no values.
    """
    if not len(values):
        raise ValueError("no values to take a mean of")
    keys, index = np.unique(np.asarray(clusters), return_inverse=True)
    data = np.asarray(values, dtype=float)
    sums, counts = np.bincount(index, data, len(keys)), np.bincount(index, minlength=len(keys))
    picks = np.random.default_rng(seed).integers(0, len(keys), (N_RESAMPLES, len(keys)))
    means = sums[picks].sum(1) / counts[picks].sum(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(data.mean()), float(low), float(high))


def paired_p(differences: Sequence[float], clusters: Sequence[str], seed: int = 0) -> float:
    """Two-sided p that the mean of paired differences is zero: signs of whole clusters are flipped at random (Good
    2005, section 3.2). Never below 1 / (N_FLIPS + 1).

    Raises:
        ValueError: no differences.
    """
    if not len(differences):
        raise ValueError("no differences to test")
    index = np.unique(np.asarray(clusters), return_inverse=True)[1]
    sums = np.bincount(index, np.asarray(differences, dtype=float))
    signs = np.random.default_rng(seed).choice(np.array([-1.0, 1.0]), (N_FLIPS, len(sums)))
    extreme = np.abs(signs @ sums) >= abs(sums.sum()) - 1e-9
    return float((1 + extreme.sum()) / (1 + N_FLIPS))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """P-values of a family of tests, adjusted so that one false claim among all is as unlikely as each says (Holm
    1979)."""
    adjusted, largest = dict[str, float](), 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p_values}
