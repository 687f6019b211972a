"""With how many input-output pairs a black box draws level with the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from oracle.evaluation.conditions import OWN, SOURCE
from oracle.evaluation.figures_style import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    Label,
    head,
    key,
    label_ends,
    pairs_in,
    right,
    sheet,
    unit,
)
from oracle.evaluation.report import Report
from oracle.evaluation.rows import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAIRS = (
    "Share of right answers over the number of input-output pairs of the target that a black box is given in place of "
    "its weights: the same language model without its adapter, and a look-up of the most similar known input. The "
    "bands are the control on both sides, answers from own weights and, as a ceiling, from the program's source in "
    "the context. Every line and band of a panel is over the same questions; the steps between numbers of pairs are "
    "drawn equal. Bars and bands are 95% intervals, clustered by target."
)
BOXES = {"black box": (ORANGE, "o", "-"), "look-up": (PURPLE, "s", "--")}
BANDS = {OWN: BLUE, SOURCE: GREEN}


class Panel(NamedTuple):
    """What one panel compares, over the same questions."""

    title: str
    boxes: Mapping[str, Mapping[int, Sequence[Row]]]
    """Name of a black box -> number of pairs -> its answers."""
    bands: Mapping[str, Sequence[Row]]


def crossover(report: Report, path: Path) -> bool:
    """Black boxes beside own weights, on one kind of target; False, and no figure, without a black box."""
    panels = _panels(report)
    if not panels:
        return False
    with sheet(path, 3.2 * len(panels) + 1.1) as drawn:
        head(drawn, report)
        grid = drawn.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        tried = sorted({n for panel in panels for found in panel.boxes.values() for n in found})
        for axes, panel in zip(grid, panels, strict=True):
            axes.set_title(panel.title)
            _draw(axes, panel, tried)
            axes.set_ylabel("share right")
        grid[-1].set_xticks(range(len(tried)), [str(n) for n in tried])
        grid[-1].set_xlabel("input-output pairs given")
    return True


def _panels(report: Report) -> list[Panel]:
    """All questions for the black box; those that a look-up has an answer to for both."""
    boxes: dict[str, dict[int, str]] = {name: {} for name in BOXES}
    for condition in report.conditions:
        if (found := pairs_in(condition)) and report.chosen(condition):
            boxes[found[0]][found[1]] = condition
    wanted = [("all {} questions", ("black box",)), ("the {} about an output or an input", tuple(BOXES))]
    kept = [(title, names) for title, names in wanted if boxes[names[-1]]]
    found_panels = [_panel(report, title, {name: boxes[name] for name in names}) for title, names in kept]
    return [panel for panel in found_panels if panel.bands]


def _panel(report: Report, title: str, boxes: Mapping[str, Mapping[int, str]]) -> Panel:
    """Cut down to the questions that every condition in it answers."""
    bands = [c for c in BANDS if report.chosen(c)]
    all_of = {c: report.chosen(c) for c in (*bands, *(c for found in boxes.values() for c in found.values()))}
    shared = set.intersection(*({key(r) for r in rows} for rows in all_of.values()))
    cut = {c: [r for r in rows if key(r) in shared] for c, rows in all_of.items()}
    told = {name: {n: cut[c] for n, c in sorted(found.items())} for name, found in boxes.items() if found}
    return Panel(title.format(len(shared)), told, {c: cut[c] for c in bands if shared and OWN in bands})


def _draw(axes: Axes, panel: Panel, tried: Sequence[int]) -> None:
    labels, end = list[Label](), len(tried) - 1
    for name, rows in panel.bands.items():
        found = right(rows)
        axes.axhspan(found.low, found.high, color=BANDS[name], alpha=0.16, linewidth=0)
        axes.axhline(found.mean, color=BANDS[name], linewidth=1.8)
        labels.append(Label(end + 0.3, found.mean, name, BANDS[name]))
    shifts = {name: 0.05 * (2 * i - 1) * (len(panel.boxes) > 1) for i, name in enumerate(panel.boxes)}
    for name, by_number in panel.boxes.items():
        colour, marker, line = BOXES[name]
        x = [tried.index(n) + shifts[name] for n in by_number]
        found_all = [right(rows) for rows in by_number.values()]
        axes.vlines(x, [f.low for f in found_all], [f.high for f in found_all], color=colour, linewidth=2)
        means = [f.mean for f in found_all]
        axes.plot(x, means, color=colour, marker=marker, linestyle=line, markeredgecolor="white")
        labels.append(Label(x[-1], means[-1], name, colour))
    unit(axes)
    axes.set_xlim(-0.3, end + 0.3)
    label_ends(axes, labels, 0.11)
