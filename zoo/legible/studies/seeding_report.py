"""The report of the study of seeding: tables with intervals, curves, and an answer in words made from the figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from zoo.legible.decay import Asymptote, Decay, decay
from zoo.legible.persistence import MEASURES
from zoo.legible.studies.configs import SeedingStudyConfig
from zoo.legible.studies.report import Summary, figure, markdown, summary
from zoo.legible.studies.seeding_arms import ARMS, DESCENT, FROZEN, NORMED, PLAIN, RANDOM

SHOWN = {"probe": "information", "read_out": "code in place", "interchange": "use"}
"""Measures whose curves are drawn and fitted, by what they say."""
HEADINGS = {
    "steps_to_90": "steps to 90%",
    "final_accuracy": "final accuracy",
    "probe": "probe R2",
    "read_out": "unchanged read-out",
    "interchange": "interchange",
    "selectivity": "selectivity",
    "drift": "drift",
}
STAYS, IN_PART = 0.75, 0.2
"""A seed stays if the interval of its persistence lies above the first; in part if it lies above 0 and the mean above
the second, under which it is a faint trace; it is gone if the interval holds 0 and ends below the second."""
Rows = Sequence[dict[str, Any]]


def report(config: SeedingStudyConfig, rows: Rows, picture: str) -> str:
    """The text of table.md: what was done, the tables of each setting, the figure and the answer."""
    last = max(row["step"] for row in rows)
    parts = ["# Seeding", _conditions(config, rows)]
    for setting in _settings(rows):
        mine = [row for row in rows if row["setting"] == setting]
        end = [row for row in mine if row["step"] == last]
        parts += [f"## {setting}", f"At the end ({last} steps), mean [95% interval] over {_runs(end)} runs:"]
        parts.append(markdown(["arm", *HEADINGS.values()], [[arm, *_ends(end, arm)] for arm in _arms(end)]))
        parts.append("Persistence at the end, (arm - random) / (frozen - random) of the same run:")
        parts.append(markdown(["arm", *_headings()], [[arm, *_persisted(end, arm)] for arm in _arms(end, True)]))
        parts.append("Persistence over training: half-life in steps, and asymptotes by two laws:")
        header = ["arm", *(f"{words}: {what}" for words in SHOWN.values() for what in ("half-life", "exp.", "power"))]
        parts.append(markdown(header, [[arm, *_decays(mine, arm)] for arm in _arms(mine, True)]))
    return "\n\n".join([*parts, f"![Persistence over training]({picture})", "## Answer", answer(rows)])


def answer(rows: Rows) -> str:
    """Does it persist, where, and is it used? In words, from the persistence at the end."""
    end = [row for row in rows if row["step"] == max(row["step"] for row in rows)]
    lines = []
    for setting in _settings(end):
        mine = [row for row in end if row["setting"] == setting]
        for arm in ("rebalanced", "rebalanced, rotated"):
            said = [f"{words} {_verdict(_persistence(mine, arm, m))}" for m, words in SHOWN.items()]
            lines.append(f"- {setting}, {arm}, free to change: {'; '.join(said)}.{_broken(mine, arm)}")
        lines.append(f"- {setting}: {_pace(mine)}")
    plain = [row for row in end if row["setting"] == PLAIN.name]
    return "\n".join([*lines, f"- {_slowest(plain)}", f"- {_compared(end)}"])


def draw_curves(path: Path, rows: Rows) -> None:
    """Mean persistence over training: a row of panels a setting, a column a measure, a line an arm."""
    settings = _settings(rows)
    with figure(path, 13.0, 1.0 + 3.2 * len(settings)) as drawn:
        panels = drawn.subplots(len(settings), len(SHOWN), squeeze=False, sharex=True, sharey=True)
        colours = dict(zip(ARMS, [f"C{i}" for i in range(10)], strict=True))
        for setting, line in zip(settings, panels, strict=True):
            mine = [row for row in rows if row["setting"] == setting]
            for (measure, words), panel in zip(SHOWN.items(), line, strict=True):
                for arm in _arms(mine, True):
                    steps, means = _curve(mine, arm, measure)
                    panel.plot(steps, means, color=colours[arm], label=arm, marker=".", linewidth=1.5)
                panel.axhline(1, color="0.4", linestyle="--", linewidth=1)
                panel.axhline(0, color="0.4", linestyle=":", linewidth=1)
                panel.set(title=f"{words} ({setting})", ylim=(-0.6, 1.4))
                panel.set_xscale("symlog", linthresh=10)  # the first point after 0 is at 10
                panel.set_xlim(left=0)
        for panel in panels[-1]:
            panel.set_xlabel("updates")
        for panel in panels[:, 0]:
            panel.set_ylabel("persistence")
        handles, labels = panels[0, 0].get_legend_handles_labels()
        drawn.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
        drawn.suptitle("Persistence of a seed: frozen = 1 (dashed), random = 0 (dotted)")


def _conditions(config: SeedingStudyConfig, rows: Rows) -> str:
    pairs = ", ".join(dict.fromkeys(row["pair"] for row in rows))
    return (
        f"Seeds are compiled programs, tasks use what they compute: {pairs}; {config.seeds} seeds each. Networks: "
        f"width {config.d_model}, {config.n_layers} layers, 4 heads of width {config.d_head}, {config.d_mlp} neurons; "
        f"{config.steps} steps of batches of 32; AdamW {config.lr:g}, SGD {config.sgd_lr:g} with momentum 0.9. Arms of "
        "a pair and a seed see the same batches. In a cell `(n)` is the number of runs that a mean is over, where "
        "some have none."
    )


def _settings(rows: Rows) -> list[str]:
    return list(dict.fromkeys(row["setting"] for row in rows))


def _runs(rows: Rows) -> int:
    return len({(row["pair"], row["seed"]) for row in rows})


def _arms(rows: Rows, seeded: bool = False) -> list[str]:
    """Names of arms, in the order of `ARMS`; without the two that persistence is measured between, if so wanted."""
    present = {row["arm"] for row in rows}
    return [arm for arm in ARMS if arm in present and not (seeded and arm in (RANDOM, FROZEN))]


def _headings() -> list[str]:
    return [HEADINGS[measure] for measure in MEASURES]


def _of(rows: Rows, arm: str, column: str) -> list[float | None]:
    values = [row[column] for row in rows if row["arm"] == arm]
    return [None if value is None else float(value) for value in values]


def _cell(values: Sequence[float | None], digits: int = 2) -> str:
    """A mean with its interval, and over how many runs where some have no value."""
    said = summary(values)
    if not said.number:
        return "none"
    return said.text(digits) + (f" ({said.number})" if said.number < len(values) else "")


def _ends(end: Rows, arm: str) -> list[str]:
    digits = {"steps_to_90": 0, "final_accuracy": 3, "drift": 3}
    return [_cell(_of(end, arm, column), digits.get(column, 2)) for column in HEADINGS]


def _persisted(end: Rows, arm: str) -> list[str]:
    return [_cell(_of(end, arm, f"persistence_{measure}")) for measure in MEASURES]


def _decays(rows: Rows, arm: str) -> list[str]:
    """Half-life and asymptotes of each shown measure's persistence, curve by curve."""
    out = []
    for measure in SHOWN:
        curves = [_decay(rows, arm, measure, run) for run in sorted({(row["pair"], row["seed"]) for row in rows})]
        out.append(_half_lives([curve.half_life for curve in curves]))
        laws: tuple[Callable[[Decay], Asymptote], ...] = (lambda c: c.exponential, lambda c: c.power_law)
        out += [_cell([law(curve).told for curve in curves]) for law in laws]
    return out


def _decay(rows: Rows, arm: str, measure: str, run: tuple[str, int]) -> Decay:
    mine = [row for row in rows if row["arm"] == arm and (row["pair"], row["seed"]) == run]
    return decay([row["step"] for row in mine], [row[f"persistence_{measure}"] for row in mine])


def _half_lives(values: Sequence[float | None]) -> str:
    """The mean of those that were reached, and how many were not."""
    never = sum(value is None for value in values)
    if never == len(values):
        return "never"
    return summary(values).text(0) + (f"; never in {never} of {len(values)}" if never else "")


def _curve(rows: Rows, arm: str, measure: str) -> tuple[list[int], list[float]]:
    """Mean persistence over runs; steps where no run has one are left out."""
    steps, means = [], []
    for step in sorted({row["step"] for row in rows}):
        said = summary([row[f"persistence_{measure}"] for row in rows if row["arm"] == arm and row["step"] == step])
        if said.number:
            steps.append(step)
            means.append(said.mean)
    return steps, means


def _persistence(end: Rows, arm: str, measure: str) -> Summary:
    return summary(_of(end, arm, f"persistence_{measure}"))


def _broken(end: Rows, arm: str) -> str:
    """How many networks of an arm, or of the frozen one, have no finite states any more."""
    gone = [sum(math.isnan(row["probe"]) for row in end if row["arm"] == name) for name in (arm, FROZEN)]
    return f" Diverged: {gone[0]} of its networks, {gone[1]} frozen ones." if any(gone) else ""


def _verdict(said: Summary) -> str:
    if not said.number:
        return "cannot be told (no gap between frozen and random)"
    if said.low > 0:
        word = "stays" if said.low > STAYS else "stays in part" if said.mean > IN_PART else "leaves a faint trace"
        return f"{word} ({said.text()})"
    return f"{'is gone' if said.high < IN_PART else 'shows no sure trace'} ({said.text()})"


def _pace(end: Rows) -> str:
    """Whether a seed is worth anything to the learner."""
    seeded, fresh = (summary(_of(end, arm, "steps_to_90")) for arm in ("rebalanced", RANDOM))
    if not (seeded.number and fresh.number):
        return "too few networks reached 90% to compare how fast they learn."
    return f"90% is reached after {seeded.text(0)} steps from the rebalanced seed, {fresh.text(0)} from random weights."


def _slowest(end: Rows) -> str:
    """The largest rate at which all three stay."""
    rates = {arm: options.rate for arm, options in ARMS.items() if "rate" in arm or arm == "rebalanced"}
    for arm in sorted((arm for arm in rates if arm in _arms(end)), key=lambda name: -rates[name]):
        each = [_persistence(end, arm, measure) for measure in SHOWN]
        if all(said.number and said.mean > STAYS for said in each):
            return (
                f"{PLAIN.name}: all three stay (mean over {STAYS}) at a rate of {rates[arm]:g} for the seed, "
                "the largest that does."
            )
    return f"{PLAIN.name}: at none of the rates do all three stay (mean over {STAYS})."


def _compared(end: Rows) -> str:
    """LayerNorm and SGD beside the plain setting, on the pairs that all have."""
    names = [setting.name for setting in (PLAIN, NORMED, DESCENT) if setting.name in _settings(end)]
    pairs = set.intersection(*({row["pair"] for row in end if row["setting"] == name} for name in names))
    said = []
    for name in names:
        mine = [row for row in end if row["setting"] == name and row["pair"] in pairs]
        figures = (f"{words} {_persistence(mine, 'rebalanced', m).text() or 'none'}" for m, words in SHOWN.items())
        said.append(f"{name}: {', '.join(figures)}")
    return f"On {', '.join(sorted(pairs))} alone, rebalanced: {'; '.join(said)}."
