"""Figures of the study of sparse autoencoders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.legible.sae_metrics import ENTROPY
from zoo.legible.studies.report import figure
from zoo.legible.studies.sae_networks import INITIAL, VARIANTS
from zoo.legible.studies.sae_report import NAMES
from zoo.legible.studies.sae_separation import COMPARED, OTHERS, group_of, separations

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Row = Mapping[str, Any]
PANELS = ("explained_variance", "cosine", "l1", "dead", ENTROPY, "coverage_input", "coverage_inner", "coverage_out")
TOPS = {"l1": 12, ENTROPY: 1.4}
"""Ends of axes that do not end at 1; the largest entropy of four tokens is log 4 = 1.39."""
LAYERED = ("explained_variance", ENTROPY, "coverage_tokens", "coverage_indices", "coverage_inner", "coverage_out")
COLOURS = ("#1b6ca8", "#2a9d5c", "#e08a1e", "#c0392b", "#d98880", "#7f7f7f", "#bdbdbd")
"""Of the variants, in their order; those that learned are cold, random ones warm, controls grey."""


def draw_figures(out: Path, rows: Sequence[Row]) -> None:
    """metrics.png, layers.png, separation.png and untrained.png in a folder."""
    last = max(row["state"] for row in rows)
    topk = [row for row in rows if row["kind"] == "topk"]
    _metrics(out / "metrics.png", [row for row in topk if row["state"] == last and group_of(row) != OTHERS])
    _layers(out / "layers.png", topk)
    _separation(out / "separation.png", rows)
    _untrained(out / "untrained.png", [row for row in topk if row["state"] == last and row["variant"] == INITIAL])


def _metrics(path: Path, rows: Sequence[Row]) -> None:
    """A point each network, a bar each mean."""
    with figure(path, 12.0, 5.6) as drawn:
        for axes, metric in zip(drawn.subplots(2, 4, sharey=True).flat, PANELS, strict=True):
            for place, (name, colour) in enumerate(zip(VARIANTS, COLOURS, strict=True)):
                values = [row[metric] for row in rows if row["variant"] == name]
                heights = place + np.linspace(-0.2, 0.2, len(values))
                axes.plot(values, heights, "o", color=colour, markersize=3.5, alpha=0.8)
                axes.plot([np.mean(values)] * 2, [place - 0.38, place + 0.38], color=colour, linewidth=2.5)
            axes.set_title(NAMES[metric], fontsize=10)
            axes.set_yticks(range(len(VARIANTS)), VARIANTS, fontsize=8)
            axes.tick_params(axis="x", labelsize=8)
            axes.set_xlim(-0.03 * TOPS.get(metric, 1), 1.03 * TOPS.get(metric, 1))
            axes.grid(axis="x", alpha=0.3)
        axes.invert_yaxis()
        drawn.suptitle("TopK autoencoders on the last state: one point a network, bars are means", fontsize=11)


def _layers(path: Path, topk: Sequence[Row]) -> None:
    """Means by state, with the range over seeds."""
    full = next(row for row in topk if row["state"] == 0)
    used = [row for row in topk if (row["program"], row["norm"]) == (full["program"], full["norm"])]
    numbers = sorted({row["state"] for row in used})
    with figure(path, 11.0, 6.0) as drawn:
        panels = drawn.subplots(2, 3, sharex=True)
        for axes, metric in zip(panels.flat, LAYERED, strict=True):
            for name, colour in zip(VARIANTS, COLOURS, strict=True):
                _line(axes, [row for row in used if row["variant"] == name and group_of(row) == name], metric, colour)
            axes.set_title(NAMES[metric], fontsize=10)
            axes.set_xticks(numbers)
            axes.set_ylim(-0.03 * TOPS.get(metric, 1), 1.03 * TOPS.get(metric, 1))
            axes.grid(alpha=0.3)
        for axes in panels[1]:
            axes.set_xlabel("residual state")
        drawn.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9)


def _line(axes: Axes, rows: Sequence[Row], metric: str, colour: str) -> None:
    numbers = sorted({row["state"] for row in rows})
    values = [[row[metric] for row in rows if row["state"] == number] for number in numbers]
    axes.plot(numbers, [np.mean(each) for each in values], "o-", color=colour, markersize=4, label=rows[0]["variant"])
    axes.fill_between(numbers, [min(each) for each in values], [max(each) for each in values], color=colour, alpha=0.15)


def _separation(path: Path, rows: Sequence[Row]) -> None:
    """AUROC of each metric against each kind of random network."""
    found = separations(rows)
    with figure(path, 8.0, 5.0) as drawn:
        axes = drawn.subplots()
        for name, mark in zip(COMPARED, "os^D", strict=True):
            values = [each.auroc[name] for each in found]
            axes.plot(values, np.arange(len(found)), mark, markersize=7, alpha=0.75, label=f"against {name}")
        axes.axvline(0.5, color="black", linewidth=0.8)
        axes.set_yticks(range(len(found)), [NAMES[each.metric] for each in found])
        axes.invert_yaxis()
        axes.set_xlim(-0.03, 1.03)
        axes.set_xlabel("AUROC: chance that a trained network has the greater value (0.5: tells nothing)")
        axes.grid(alpha=0.3)
        drawn.legend(loc="outside upper center", ncols=2, fontsize=9)


def _untrained(path: Path, rows: Sequence[Row]) -> None:
    """Initial networks by scale and family."""
    wide = next((row for row in rows if group_of(row) == OTHERS), rows[0])
    used = [row for row in rows if (row["program"], row["norm"]) == (wide["program"], wide["norm"])]
    families = list(dict.fromkeys(row["family"] for row in used))
    with figure(path, 11.0, 3.6) as drawn:
        panels = drawn.subplots(1, 4)
        for axes, metric in zip(
            panels, ("explained_variance", ENTROPY, "coverage_input", "coverage_inner"), strict=True
        ):
            for family in families:
                scales = sorted({row["scale"] for row in used if row["family"] == family})
                means = [
                    np.mean([row[metric] for row in used if (row["scale"], row["family"]) == (scale, family)])
                    for scale in scales
                ]
                axes.plot(scales, means, "o-", markersize=4, label=family)
            axes.set_xscale("log", base=4)
            axes.set_ylim(-0.03 * TOPS.get(metric, 1), 1.03 * TOPS.get(metric, 1))
            axes.set_xticks([0.25, 1, 4], ["1/4", "1", "4"])
            axes.set_title(NAMES[metric], fontsize=10)
            axes.set_xlabel("initial scale")
            axes.grid(alpha=0.3)
        drawn.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9)
