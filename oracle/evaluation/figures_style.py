"""What the figures of a report share: colours, type that stays readable at 400 px, intervals and labels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from oracle.evaluation.conditions import DRAFTED, FAMILIAR, GAUGE, NOTHING, OWN, SOURCE, SWAPPED, UNDRAFTED
from oracle.evaluation.report import Report
from oracle.evaluation.rows import Row
from oracle.evaluation.tables import NAMES
from oracle.statistics import Interval, clustered_mean
from zoo.legible.studies.report import figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 8.0
"""Inches of every figure: at 400 px its type is about 10 px high."""
BLUE, GREY, ORANGE, PURPLE, GREEN, INK = "#0072B2", "#767676", "#D55E00", "#AA4499", "#009E73", "#222222"
"""Told apart by the colour-blind (Wong 2011, Nature Methods 8:441); purple is Tol's."""
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 16,
    "axes.titlesize": 16,
    "figure.titlesize": 17,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.labelsize": 15,
    "ytick.labelsize": 15,
    "lines.linewidth": 2.4,
    "lines.markersize": 9,
}
IN_PLACE = (
    *(SWAPPED, "entries shuffled", "architecture only", "Gaussian tokens", "zero tokens"),
    *(NOTHING, "base, question only"),
)
"""Conditions that show the reader something else than the target's weights, or nothing."""
ROOM = 0.06
"""Of an axis from 0 to 1, beyond either end."""


class Group(NamedTuple):
    """Conditions that know the same kind of thing."""

    title: str
    colour: str


class Label(NamedTuple):
    """What stands beside a line in place of a legend."""

    x: float
    """Right end of the line; so the next."""
    y: float
    text: str
    colour: str


@contextmanager
def sheet(path: Path, height: float) -> Iterator[Figure]:
    """A figure in the style of a report, saved at the end; whatever the user's own style of matplotlib is."""
    from matplotlib import style

    with style.context(["default", STYLE]), figure(path, WIDTH, height) as drawn:
        yield drawn


def group_of(condition: str) -> Group:
    """What a condition knows of a target, and its colour."""
    if condition in (OWN, UNDRAFTED, DRAFTED, GAUGE, FAMILIAR):
        return Group("reads the weights", BLUE)
    if condition in IN_PLACE:
        return Group("reads something else", GREY)
    if condition == SOURCE:
        return Group("is told the program", GREEN)
    return Group("sees pairs", ORANGE) if pairs_in(condition) else Group("other methods", PURPLE)


def pairs_in(condition: str) -> tuple[str, int] | None:
    """Which black box a condition is, and with how many input-output pairs; None for other conditions."""
    found = re.fullmatch(r"(black box|look-up)(?:,| in) ([0-9]{1,9}) pairs", condition)
    return (found[1], int(found[2])) if found else None


def key(row: Row) -> tuple[str, str, str]:
    """Which question a row answers."""
    return row.target, row.family, row.question


def right(rows: Sequence[Row]) -> Interval:
    """Share of right answers.

    Raises:
        ValueError: no rows.
    """
    return clustered_mean([float(r.correct) for r in rows], [r.target for r in rows])


def own_beside(report: Report, rows: Sequence[Row]) -> list[Row]:
    """The answers from own weights to the questions that these rows answer."""
    asked = {key(r) for r in rows}
    return [r for r in report.rows if r.condition == OWN and key(r) in asked]


def unit(axes: Axes, axis: Literal["x", "y"] = "y") -> None:
    """An axis for shares: 0 to 1 with a little room, so that no interval ends on the frame."""
    getattr(axes, f"set_{axis}lim")(-ROOM, 1 + ROOM)
    getattr(axes, f"set_{axis}ticks")([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
    axes.grid(axis=axis, color="#e4e4e4", linewidth=1)
    axes.set_axisbelow(True)


def spread(wanted: Sequence[float], gap: float, top: float) -> list[float]:
    """Places near the wanted ones, in their order, that are a gap apart and, as far as they fit, below the top."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed = list(wanted)
    for below, i in pairwise(order):
        placed[i] = max(placed[i], placed[below] + gap)
    limit = top
    for i in reversed(order):
        placed[i] = min(placed[i], limit)
        limit = placed[i] - gap
    return placed


def label_ends(axes: Axes, labels: Sequence[Label], gap: float) -> None:
    """Name lines at their right ends; names that would overlap are moved apart, and all are tied to their lines."""
    places = spread([label.y for label in labels], gap, 1 + ROOM)
    left, right = axes.get_xlim()
    for label, y in zip(labels, places, strict=True):
        told: dict[str, Any] = {"color": label.colour, "va": "center", "ha": "left", "annotation_clip": False}
        tie: dict[str, Any] = {"arrowstyle": "-", "color": label.colour, "linewidth": 1, "shrinkA": 2, "shrinkB": 0}
        tie |= {"relpos": (0, 0.5), "zorder": 1}
        axes.annotate(label.text, (label.x, label.y), (right + 0.05 * (right - left), y), arrowprops=tie, **told)


def halo() -> list[Any]:
    """Path effects that keep text readable on a line: a white rim."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=4, foreground="white")]


def head(drawn: Figure, report: Report) -> None:
    """Say above a figure which targets it is about."""
    drawn.suptitle(" and ".join(NAMES[kind] for kind in report.kinds), x=0.01, ha="left", fontweight="bold")
