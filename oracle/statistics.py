"""Intervals for answers that come in clusters: several questions about one target are not independent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

N_RESAMPLES = 2000


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
