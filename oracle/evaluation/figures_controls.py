"""Own weights beside every control: bars for all conditions, and lines over the size of the program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from oracle.evaluation.conditions import FAMILIAR, NOTHING, OWN, SWAPPED
from oracle.evaluation.figures_style import (
    BLUE,
    GREY,
    INK,
    Label,
    group_of,
    halo,
    head,
    label_ends,
    own_beside,
    sheet,
    unit,
)
from oracle.evaluation.report import Report
from oracle.evaluation.rows import Row
from oracle.statistics import clustered_mean

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BARS = (
    "Left: share of inputs on which the program that was written agrees with the true one. Right: share of all "
    "questions (but for those about a target's history) that were answered right. Each bar is a condition with its "
    "95% interval, clustered by target. The blue band behind a bar is the control's counterpart: answers from own "
    "weights to the questions that this condition answers, mean and interval. A look-up answers some questions only."
)
SIZES = (
    "The same two measures over the size of the program: operations of a compiled one, conditions of a flowchart; the "
    "number of targets in brackets. The controls are the same reader with another target's weights and with the "
    "question alone. Bars are 95% intervals, clustered by target; a single target has none."
)
SERIES = ((SWAPPED, GREY, "s", "--", -0.1), (NOTHING, GREY, "D", ":", 0.1), (OWN, BLUE, "o", "-", 0.0))
"""Condition, colour, marker, line, and shift to the side."""
SHORT = {"decoder without a language model": "decoder, no language model", FAMILIAR: "phrasings trained on"}
"""Names that would take the room of the bars."""
ROW = 0.36
"""Inches of a bar with its room."""
Measure = Callable[[Row], float]
MEASURES: tuple[tuple[str, str, Measure], ...] = (
    ("programs:\nagreement", "program", lambda r: r.agreement),
    ("all questions:\nshare right", "", lambda r: float(r.correct)),
)
"""Title, family (none: all), value of a row."""


def bars(report: Report, path: Path) -> bool:
    """Every condition of a report on one kind of target; False, and no figure, without own weights and a control."""
    named = [c for c in report.conditions if report.chosen(c)]
    if OWN not in named or len(named) < 2:
        return False
    lines = _lines(named)
    with sheet(path, ROW * len(lines) + 1.9) as drawn:
        head(drawn, report)
        panels = drawn.subplots(1, len(MEASURES), sharey=True)
        for axes, (title, family, value) in zip(panels, MEASURES, strict=True):
            axes.set_title(title)
            for y, condition in enumerate(lines):
                if condition in named:
                    _bar(axes, y, report, report.chosen(condition, family=family), value)
            unit(axes, "x")
            axes.set_xlim(0, 1.36)
            axes.spines["bottom"].set_bounds(0, 1)
            axes.tick_params(axis="y", length=0)
            axes.spines["left"].set_visible(False)
        panels[0].set_yticks(range(len(lines)), [SHORT.get(line, line) for line in lines])
        panels[0].set_ylim(len(lines) - 0.4, -0.6)
        for line, text in zip(lines, panels[0].get_yticklabels(), strict=True):
            text.set_fontweight("normal" if line in named else "bold")
    return True


def sizes(report: Report, path: Path) -> bool:
    """Measures over the size of the program; False, and no figure, where all targets have the same size."""
    found = sorted({r.size for r in report.chosen(OWN)})
    if len(found) < 2:
        return False
    shown = [m for m in MEASURES if report.chosen(OWN, family=m[1])]
    with sheet(path, 3.0 * len(shown) + 1.0) as drawn:
        head(drawn, report)
        panels = drawn.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (title, family, value) in zip(panels, shown, strict=True):
            axes.set_title(title.replace("\n", " "))
            _over_sizes(axes, report, found, family, value)
        targets = [len({r.target for r in report.chosen(OWN) if r.size == size}) for size in found]
        panels[-1].set_xticks(
            range(len(found)), [f"{size}\n({n})" for size, n in zip(found, targets, strict=True)], fontsize=14
        )
        panels[-1].set_xlabel("size of the program (targets)")
    return True


def _lines(conditions: Sequence[str]) -> list[str]:
    """Conditions under the titles of their groups, a group where its first member stands."""
    groups = dict.fromkeys(group_of(c).title for c in conditions)
    return [line for g in groups for line in (g, *(c for c in conditions if group_of(c).title == g))]


def _bar(axes: Axes, y: int, report: Report, rows: Sequence[Row], value: Measure) -> None:
    """One condition's mean with its interval, in front of that of own weights on the same questions."""
    if not rows:
        axes.text(0.03, y, "not asked", va="center", color=GREY, fontsize=13, style="italic")
        return
    own = own_beside(report, rows)
    if own:
        band = clustered_mean([value(r) for r in own], [r.target for r in own])
        axes.barh(y, band.high - band.low, 1.0, band.low, color=BLUE, alpha=0.16, linewidth=0)
        axes.vlines(band.mean, y - 0.5, y + 0.5, color=BLUE, linewidth=1.6)
    found = clustered_mean([value(r) for r in rows], [r.target for r in rows])
    axes.barh(y, found.mean, 0.58, color=group_of(rows[0].condition).colour, linewidth=0, zorder=2)
    axes.hlines(y, found.low, found.high, color=INK, linewidth=2.2, zorder=3)
    end = max(found.high, found.mean) + 0.05
    axes.text(end, y, f"{found.mean:.2f}", va="center", fontsize=14, color=INK, zorder=4, path_effects=halo())


def _over_sizes(axes: Axes, report: Report, found: Sequence[int], family: str, value: Measure) -> None:
    labels = []
    for condition, colour, marker, line, shift in SERIES:
        x, means = list[float](), list[float]()
        for place, size in enumerate(found):
            rows = [r for r in report.chosen(condition, family=family) if r.size == size]
            if rows:
                each = clustered_mean([value(r) for r in rows], [r.target for r in rows])
                axes.vlines(place + shift, each.low, each.high, color=colour, linewidth=2)
                x, means = [*x, place + shift], [*means, each.mean]
        if means:
            axes.plot(x, means, color=colour, marker=marker, linestyle=line, markeredgecolor="white")
            labels.append(Label(x[-1], means[-1], condition, colour))
    unit(axes)
    axes.set_xlim(-0.3, len(found) - 0.7)
    label_ends(axes, labels, 0.13)
