"""Staircases: relu neurons that turn a number with known levels into what is to be written for each level.

Between two neighbouring levels a and b the step is relu(s (x - m) + 1/2) - relu(s (x - m) - 1/2) with m their middle
and s = 2 / (b - a): 0 up to a quarter of the gap below m, 1 from a quarter above it. The steepness comes from the
levels, so a width of 40 is told from 41 as surely as 1 from 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Staircase:
    """Neurons of one staircase: write_j += relu(slope_j x + bias_j - gate_j * empty)."""

    slope: np.ndarray
    """[neurons]"""
    bias: np.ndarray
    """[neurons]"""
    write: np.ndarray
    """[neurons, size]"""
    gate: np.ndarray
    """[neurons]: what silences each neuron where the number stands for none (x = 0 there)."""
    base: np.ndarray | None
    """[size]: what is written at the lowest level, as a constant; None if a gated neuron writes it."""


def staircase(levels: list[float], heights: np.ndarray, gated: bool) -> Staircase:
    """A staircase over levels (ascending or descending) with heights [levels, size]; no step where heights are equal.

    With `gated` nothing is written where the gate's variable is 1.
    """
    order = np.argsort(levels)
    x, y = np.array(levels)[order], np.asarray(heights, dtype=float)[order]
    slope: list[float] = []
    bias: list[float] = []
    write: list[np.ndarray] = []
    for i in range(len(x) - 1):
        rise = y[i + 1] - y[i]
        if not rise.any():
            continue
        steepness, middle = 2 / (x[i + 1] - x[i]), (x[i + 1] + x[i]) / 2
        slope += [steepness, steepness]
        lower = on_grid(-0.5 - steepness * middle, steepness * np.abs(x).max())
        bias += [lower + 1, lower]
        write += [rise, -rise]
    gate = [max(0.0, b) + 1 for b in bias]
    base = y[0] if len(y) else np.zeros(heights.shape[1])
    if gated and base.any():
        slope, bias, gate, write = [0.0, *slope], [1.0, *bias], [1.0, *gate], [base, *write]
    size = heights.shape[1]
    return Staircase(
        np.array(slope),
        np.array(bias),
        np.array(write).reshape(-1, size),
        np.array(gate),
        None if gated or not base.any() else base,
    )


def on_grid(bias: float, largest: float) -> float:
    """The bias as a multiple of the spacing of float32 numbers as large as what is added to it.

    The two neurons of a step then round alike, and their difference is 1 and not 1 plus or minus a rounding error of
    steep sums: 2e-4 where a step is 60 to the unit and the number 50, which a softmax at the temperature of a head
    turned into an error of 3e-3 in a mean.
    """
    spacing = 2.0 ** (np.ceil(np.log2(max(1.0, largest + abs(bias)))) - 23)
    return float(round(bias / spacing) * spacing)
