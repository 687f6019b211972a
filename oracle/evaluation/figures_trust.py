"""Whether the confidence is worth anything: reliability with counts, and risk over coverage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from oracle.calibration import N_BINS, SURE
from oracle.evaluation.conditions import OWN
from oracle.evaluation.figures_style import BLUE, GREY, INK, ROOM, Label, halo, label_ends, right, sheet, unit
from oracle.evaluation.report import Report
from oracle.evaluation.rows import Row
from oracle.evaluation.trust import risk_coverage
from oracle.statistics import clustered_mean

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RELIABILITY = (
    "Answers from own weights, by the confidence in them (ten bins; hollow: one target only, so no interval). A "
    "confidence that means what it says lies on the diagonal. The control is the dotted line: the share of right "
    "answers among all, which is the best that a confidence can say that is the same for every answer. Below, how many "
    "answers each bin has. Left of one half the oracle abstains."
)
RISK = (
    "Share of wrong answers among those that are kept when the least sure are left out. The control is the order at "
    "random, which leaves the share as it is; the dotted line is the best order there could be. The shade is the 95% "
    "interval, clustered by target."
)


def reliable(report: Report, path: Path) -> bool:
    """The reliability diagram; False, and no figure, without answers from own weights."""
    rows = report.chosen(OWN)
    if not rows:
        return False
    bins = [[r for r in rows if min(int(r.confidence * N_BINS), N_BINS - 1) == k] for k in range(N_BINS)]
    with sheet(path, 7.0) as drawn:
        top, bottom = drawn.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        _calibration(top, bins, right(rows).mean)
        counts = bottom.bar([(k + 0.5) / N_BINS for k in range(N_BINS)], [len(b) for b in bins], 0.09, color=BLUE)
        bottom.bar_label(counts, [f"{len(b)}" if b else "" for b in bins], fontsize=13, color=INK, padding=1)
        bottom.set_ylim(0, 1.3 * max(len(b) for b in bins))
        bottom.set_yticks([])
        bottom.set_ylabel("answers")
        bottom.set_xlabel("confidence")
        for axes in (top, bottom):
            axes.axvline(SURE, color="#bbbbbb", linewidth=1, zorder=0)
    return True


def risky(report: Report, path: Path) -> bool:
    """Risk over coverage; False, and no figure, where all answers are right or all wrong: no order is better."""
    rows = sorted(report.chosen(OWN), key=lambda r: -r.confidence)
    if len({r.correct for r in rows}) < 2:
        return False
    curve = risk_coverage(report)
    with sheet(path, 5.4) as drawn:
        axes = drawn.subplots()
        _curve(axes, rows, curve["coverage"], curve["risk"])
        unit(axes)
        unit(axes, "x")
        axes.grid(visible=False, axis="x")
        axes.axhline(curve["at random"], color=GREY, linestyle="--")
        axes.set_ylabel("wrong among those kept")
        axes.set_xlabel("share of answers kept, surest first")
        _name_orders(axes, curve["coverage"], curve["risk"], curve["at random"])
        sure = sum(r.confidence >= SURE for r in rows) / len(rows)
        axes.axvline(sure, color="#bbbbbb", linewidth=1, zorder=0)
        side: dict[str, Any] = {"ha": "left", "x": sure + 0.01} if sure < 0.5 else {"ha": "right", "x": sure - 0.01}
        axes.text(y=1.0, s=f"stands by {sure:.0%}", va="top", color=INK, fontsize=14, path_effects=halo(), **side)
    return True


def _calibration(axes: Axes, bins: Sequence[Sequence[Row]], rate: float) -> None:
    """Mean confidence and share of right answers of each bin that has any."""
    axes.plot([0, 1], [0, 1], color=INK, linewidth=1.4, linestyle="--")
    axes.axhline(rate, color=GREY, linewidth=1.8, linestyle=":")
    for rows in filter(None, bins):
        found, at = right(rows), float(np.mean([r.confidence for r in rows]))
        alone = len({r.target for r in rows}) == 1
        axes.vlines(at, found.low, found.high, color=BLUE, linewidth=2.2)
        axes.plot(at, found.mean, "o", color="white" if alone else BLUE, markeredgecolor=BLUE, markersize=10, zorder=3)
    unit(axes)
    unit(axes, "x")
    axes.grid(visible=False, axis="x")
    axes.set_ylabel("share right")
    label_ends(axes, [Label(1.0, 1.0, "calibrated", INK), Label(1 + ROOM, rate, f"all: {rate:.2f}", GREY)], 0.1)
    for text, side in (("abstains ", "right"), (" stands by it", "left")):
        axes.text(SURE, 1 + 1.5 * ROOM, text, ha=side, va="bottom", color=INK, fontsize=14)


def _curve(axes: Axes, rows: Sequence[Row], coverage: Sequence[float], risk: Sequence[float]) -> None:
    """The order by confidence with its interval, and the best order."""
    kept = [rows[: max(1, round(share * len(rows)))] for share in coverage]
    around = [clustered_mean([float(not r.correct) for r in part], [r.target for r in part]) for part in kept]
    axes.fill_between(coverage, [i.low for i in around], [i.high for i in around], color=BLUE, alpha=0.16, linewidth=0)
    n_right = sum(r.correct for r in rows)
    best = [max(0.0, 1 - n_right / len(part)) for part in kept]
    axes.plot(coverage, best, color=GREY, linewidth=1.8, linestyle=":")
    axes.plot(coverage, risk, color=BLUE)


def _name_orders(axes: Axes, coverage: Sequence[float], risk: Sequence[float], rate: float) -> None:
    """Labels beside the three orders, where the curves leave room for them."""
    up = rate < 0.85
    beside: dict[str, Any] = {"textcoords": "offset points", "path_effects": halo()}
    random = (0, 6 if up else -6)
    axes.annotate("at random", (0, rate), random, va="bottom" if up else "top", color=GREY, **beside)
    at = len(risk) // 2
    axes.annotate("by confidence", (coverage[at], risk[at]), (-10, 10), ha="right", color=BLUE, **beside)
    share = 1 - rate / 2
    axes.annotate("best order", (share, 1 - (1 - rate) / share), (10, -6), va="top", color=GREY, **beside)
