"""The figures of a report: which there are, what they are called, and where they lie."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from oracle.evaluation.figures_controls import BARS, SIZES, bars, sizes
from oracle.evaluation.figures_pairs import PAIRS, crossover
from oracle.evaluation.figures_trust import RELIABILITY, RISK, reliable, risky
from oracle.evaluation.report import Report
from oracle.evaluation.tables import NAMES

FOLDER = "figures"
KINDS = ("rasp", "flowchart")
"""Kinds of targets that have figures of their own: those that have programs."""


class Drawing(NamedTuple):
    """A figure, or one for each kind of target."""

    name: str
    title: str
    caption: str
    """What it shows and what its control is."""
    draw: Callable[[Report, Path], bool]
    """Writes a PNG; False, and no file, where there is nothing to draw."""
    by_kind: bool

    def names(self) -> list[tuple[str, str]]:
        """Names of its files, and of which kind of targets each is ("": of all)."""
        return [(f"{self.name}-{k}", NAMES[k]) for k in KINDS] if self.by_kind else [(self.name, "")]

    def parts(self, report: Report) -> list[Report]:
        """What is drawn in each file."""
        return [report.of(kind=kind) for kind in KINDS] if self.by_kind else [report]


DRAWINGS = (
    Drawing("controls", "Own weights beside every control", BARS, bars, by_kind=True),
    Drawing("size", "Larger programs", SIZES, sizes, by_kind=True),
    Drawing("crossover", "How many input-output pairs weights are worth", PAIRS, crossover, by_kind=True),
    Drawing("reliability", "What a confidence means", RELIABILITY, reliable, by_kind=False),
    Drawing("risk-coverage", "What leaving out the least sure answers gains", RISK, risky, by_kind=False),
)


def draw(report: Report, folder: Path) -> dict[str, Path]:
    """Write the figures of a report as PNGs into `folder`/figures: their names, and where each lies.

    The same report gives the same bytes. A figure that has nothing to show is left out, and one of that name that
    lies there goes.
    """
    home, found = folder / FOLDER, dict[str, Path]()
    home.mkdir(parents=True, exist_ok=True)
    for drawing in DRAWINGS:
        for (name, _), part in zip(drawing.names(), drawing.parts(report), strict=True):
            path = home / f"{name}.png"
            if drawing.draw(part, path):
                found[name] = path
            else:
                path.unlink(missing_ok=True)
    return found
