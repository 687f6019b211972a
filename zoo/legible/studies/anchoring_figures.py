"""The two figures of `study anchoring`: where the concept is, and what removing a direction costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.legible.studies.report import Row, figure, summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DIRECTIONS = {
    "axis": "known axis",
    "labels": "difference in means,\nthe same few labels",
    "difference": "difference in means,\nall inputs",
    "random": "random axis",
}
"""Removed directions and how they are called."""
SIDES = ("on", "elsewhere")
"""Fields of a removal."""
COLOURS = ("#20639b", "#ed8b00", "#8a8d8f", "#3caea3")
"""Told apart also by those who see red and green alike."""


def draw_where(path: Path, rows: Sequence[Row]) -> None:
    """One panel a concept: alignment, margin and cosine of every arm; a dot is a seed."""
    cases, arms = names(rows, "case"), names(rows, "arm")
    shown = {"alignment": "alignment", "margin": "margin", "cosine": "cosine to the difference in means"}
    with figure(path, 3.0 * len(cases) + 1.5, 0.42 * len(arms) + 1.8) as drawn:
        axes = drawn.subplots(1, len(cases), sharey=True, squeeze=False)[0]
        for ax, case in zip(axes, cases, strict=True):
            for i, (field, label) in enumerate(shown.items()):
                _bars(ax, [of(rows, field, case=case, arm=arm) for arm in arms], i, len(shown), label)
            ax.set_title(case, fontsize=10)
            ax.axvline(0, color="black", linewidth=0.8)
            ax.axvline(0.9, color="black", linewidth=0.8, linestyle=":")
            ax.set_xlim(-0.6, 1.6)
        axes[0].set_yticks(range(len(arms)), arms)
        axes[0].invert_yaxis()
        drawn.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)


def draw_removal(path: Path, rows: Sequence[Row]) -> None:
    """One panel a concept, arms of the method and the control: accuracy lost where it holds and elsewhere."""
    cases, arms = names(rows, "case"), ["control", "shuffled labels", "anchored"]
    with figure(path, 2.8 * len(cases) + 2.2, 2.0 * len(arms) + 1.2) as drawn:
        grid = drawn.subplots(len(arms), len(cases), sharex=True, sharey=True, squeeze=False)
        for (i, arm), (j, case) in ((a, c) for a in enumerate(arms) for c in enumerate(cases)):
            ax = grid[i, j]
            for k, side in enumerate(SIDES):
                values = [of(rows, f"lost_{name}_{side}", case=case, arm=arm) for name in DIRECTIONS]
                label = ("where the concept holds", "elsewhere")[k]
                _bars(ax, values, k, 2, label)
            ax.set_title(f"{case}\n{arm}" if i == 0 else arm, fontsize=10)
            ax.axvline(0, color="black", linewidth=0.8)
            ax.set_yticks(range(len(DIRECTIONS)), list(DIRECTIONS.values()), fontsize=8)
        grid[0, 0].invert_yaxis()
        for ax in grid[-1]:
            ax.set_xlabel("accuracy lost without the direction", fontsize=9)
        drawn.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)


def names(rows: Sequence[Row], column: str) -> list[Any]:
    """What a column holds, in order of appearance."""
    return list(dict.fromkeys(row[column] for row in rows))


def of(rows: Sequence[Row], field: str, **which: str) -> list[float]:
    """A column of the rows that match, one value a seed."""
    return [row[field] for row in rows if all(row[name] == value for name, value in which.items())]


def _bars(ax: Axes, values: Sequence[Sequence[float]], i: int, number: int, label: str) -> None:
    """The i-th of `number` bars in each group, a dot is a seed."""
    height = 0.8 / number
    places = np.arange(len(values)) + (i - (number - 1) / 2) * height
    ax.barh(places, [summary(each).mean for each in values], height * 0.9, color=COLOURS[i], alpha=0.75, label=label)
    for place, each in zip(places, values, strict=True):
        ax.plot(each, [place] * len(each), ".", color="black", markersize=3)
