"""How fast a curve falls and where it ends: half-life, and the asymptotes of two laws.

The laws are a + b exp(-t / tau) and a + b (1 + t / s)^-p. A curve that is watched for a finite time rarely tells them
apart, and they may disagree about its end; so both asymptotes are given.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

LEAST_POINTS = 5
"""Of a fit: one more than a power law has parameters."""
FLAT = 0.01
"""A curve whose values differ by less has nothing to fit."""


@dataclass(frozen=True)
class Asymptote:
    """Where a law ends."""

    value: float | None
    """None: there is no fit."""
    error: float | None
    """Standard error; None where the points leave it open."""
    note: str
    """Why there is no fit or no error; empty if there are."""

    @property
    def told(self) -> float | None:
        """The value if the points determine it; that of a flat curve is its mean."""
        return None if self.error is None and self.note != "flat" else self.value


@dataclass(frozen=True)
class Decay:
    """What became of a curve."""

    half_life: float | None
    """Steps until it first has half of its first value, between points by a straight line; None: never, or the first
    is not positive."""
    exponential: Asymptote
    power_law: Asymptote


def decay(steps: Sequence[int], values: Sequence[float | None]) -> Decay:
    """Half-life and asymptotes of a curve; missing values (None, NaN) are left out.

    Args:
        steps: rising.
        values: one a step.
    """
    kept = [(t, v) for t, v in zip(steps, values, strict=True) if v is not None and np.isfinite(v)]
    times, heights = np.array([t for t, _ in kept], dtype=float), np.array([v for _, v in kept], dtype=float)
    if len(kept) < LEAST_POINTS:
        none = Asymptote(None, None, f"{len(kept)} points, expected at least {LEAST_POINTS}")
        return Decay(half_life(times, heights), none, none)
    span, spread = float(times[-1] - times[0]), float(np.ptp(heights))
    if spread < FLAT:
        flat = Asymptote(float(heights.mean()), None, "flat")
        return Decay(half_life(times, heights), flat, flat)
    times = times - times[0]
    low, high = heights.min() - spread, heights.max() + spread
    quick = span / 1_000
    return Decay(
        half_life(times, heights),
        _fitted(_exponential, times, heights, [(low, high), (-3 * spread, 3 * spread), (quick, 10 * span)]),
        _fitted(_power_law, times, heights, [(low, high), (-3 * spread, 3 * spread), (quick, span), (0.05, 5.0)]),
    )


def half_life(steps: Sequence[float | int] | np.ndarray, values: Sequence[float | int] | np.ndarray) -> float | None:
    """Steps from the first point until half of its value is reached; None if it never is, or is not positive."""
    if not len(values) or values[0] <= 0:
        return None
    half = values[0] / 2
    for i in range(1, len(values)):
        if values[i] <= half:
            share = (values[i - 1] - half) / (values[i - 1] - values[i])
            return float(steps[i - 1] + share * (steps[i] - steps[i - 1]) - steps[0])
    return None


def _exponential(t: np.ndarray, a: float, b: float, tau: float) -> np.ndarray:
    return a + b * np.exp(-t / tau)


def _power_law(t: np.ndarray, a: float, b: float, s: float, p: float) -> np.ndarray:
    return a + b * (1 + t / s) ** -p


def _fitted(
    law: Callable[..., np.ndarray], times: np.ndarray, heights: np.ndarray, bounds: Sequence[tuple[float, float]]
) -> Asymptote:
    """The asymptote of the least-squares fit of a law whose first two parameters are the end and the height."""
    from scipy.optimize import OptimizeWarning, curve_fit

    low, high = (np.array(side, dtype=float) for side in zip(*bounds, strict=True))
    start = np.array([heights[-1], heights[0] - heights[-1], *(np.sqrt(low[2:] * high[2:]))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimizeWarning)  # an open covariance is told by its infinite entries
        try:
            best, covariance = curve_fit(law, times, heights, np.clip(start, low, high), bounds=(low, high))
        except RuntimeError as problem:
            return Asymptote(None, None, f"no fit: {problem}")
    error = float(np.sqrt(covariance[0, 0])) if np.isfinite(covariance[0, 0]) else None
    if error is None or error > np.ptp(heights):
        return Asymptote(float(best[0]), None, "the points leave it open")
    return Asymptote(float(best[0]), error, "")
