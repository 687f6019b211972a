"""`study regimes`: the same programs with different histories. Whose weights are read best, and what of a decoy's?

build the zoo -> programs that every regime learned -> what readers see, in random gauges -> read-outs across regimes
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from oracle.regime_measures import Attributes, attributes_in, measured
from oracle.regime_members import LEARNED, Members, members_of
from oracle.regime_readers import READERS, views_of
from zoo.build import build
from zoo.legible.studies.configs import RegimesStudyConfig
from zoo.legible.studies.report import Row, claim_folder, figure, markdown, summary, write_rows, write_text
from zoo.spec import named_spec
from zoo.store import Zoo

ENOUGH = 0.97
"""Accuracy that a target must have reached in every regime for its program to be in the study."""
SMOKE_SIZE = 0.08
"""Of the zoo under --smoke, where any accuracy is enough."""


def study(config: RegimesStudyConfig) -> str:
    """Run the study and write its report into `config.out`; the text of the report.

    Raises:
        InputError: the folder holds something else, or too few programs were learned in every regime.
    """
    claim_folder("regimes", config)
    members = members_of(_zoo(config), 0.0 if config.smoke else ENOUGH, config.seed)
    attributes = attributes_in(members)
    views, repeats = views_of(members.targets, config.seed), 1 if config.smoke else config.seeds
    rows = [row for repeat in range(repeats) for row in measured(members, attributes, views, config.seed + repeat)]
    write_rows(config.out, rows)
    _draw(rows, members, config.out / "readability.png")
    text = _report(rows, members, attributes)
    write_text(config.out, text)
    return text


def _zoo(config: RegimesStudyConfig) -> Zoo:
    """The zoo that was asked for, or `legible` built in the study's folder."""
    if config.zoo is not None:
        return Zoo.open(config.zoo)
    size = SMOKE_SIZE if config.smoke else config.size
    build(replace(named_spec("legible"), seed=config.seed, size=size), config.out / "zoo", workers=config.workers)
    return Zoo.open(config.out / "zoo")


def _values(rows: Sequence[Row], **wanted: Any) -> list[float]:
    """The values of the rows that have all of some fields."""
    found = [row["value"] for row in rows if all(row.get(name) == value for name, value in wanted.items())]
    return [value for value in found if value is not None]


def _mean(rows: Sequence[Row], **wanted: Any) -> float:
    return summary(_values(rows, **wanted)).mean


def _interval(rows: Sequence[Row], **wanted: Any) -> str:
    """Mean over repeats of a value and of the ends of its interval over programs."""
    chosen = [row for row in rows if all(row.get(name) == value for name, value in wanted.items())]
    value, low, high = (np.mean([row[name] for row in chosen]) for name in ("value", "low", "high"))
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _report(rows: Sequence[Row], members: Members, attributes: Attributes) -> str:
    """The tables, and what they say."""
    learned = [name for name in members.regimes if name in LEARNED]
    head = (
        f"{len(members.programs)} programs in {len(members.regimes)} regimes each, accuracy at least {ENOUGH} wherever "
        f"it was learned; every target in a random gauge. Attributes: {', '.join(attributes.names)}."
    )
    parts = ["# Regimes: does history change how well weights can be read?", head]
    for reader in READERS:
        table = [
            [
                fitted,
                *(
                    _interval(rows, reader=reader, measure="attributes", fitted=fitted, regime=r)
                    for r in members.regimes
                ),
            ]
            for fitted in (*learned, "all")
        ]
        parts += [
            f"## Attributes of unseen programs, AUROC, by `{reader}`",
            markdown(["fitted on", *members.regimes], table),
        ]
    parts += ["## Is there a program, which history, and what is read of a decoy?", _other_table(rows, members)]
    parts += ["## What this says", _findings(rows, members)]
    return "\n\n".join(parts)


def _other_table(rows: Sequence[Row], members: Members) -> str:
    """One row a question, one column a reader."""
    asked = list(dict.fromkeys((row["measure"], row["regime"]) for row in rows if row["measure"] != "attributes"))
    table = [
        [measure, regime, *(f"{_mean(rows, reader=r, measure=measure, regime=regime):.2f}" for r in READERS)]
        for measure, regime in asked
    ]
    return markdown(["question", "regime", *READERS], table)


def _findings(rows: Sequence[Row], members: Members) -> str:
    """The figures in words."""
    learned = [name for name in members.regimes if name in LEARNED]
    own = {r: _mean(rows, reader="encoder", measure="attributes", fitted=r, regime=r) for r in learned}
    plain = {r: _mean(rows, reader="statistics", measure="attributes", fitted=r, regime=r) for r in learned}
    best, worst = max(own, key=lambda r: own[r]), min(own, key=lambda r: own[r])
    across = [
        _mean(rows, reader="encoder", measure="attributes", fitted=a, regime=b)
        for a in learned
        for b in learned
        if a != b
    ]
    lines = [
        f"- Read by the encoder, fitted and tried on one regime: best `{best}` ({own[best]:.2f}), worst `{worst}` "
        f"({own[worst]:.2f}); statistics of tensors give {np.mean(list(plain.values())):.2f} on average, "
        f"the encoder {np.mean(list(own.values())):.2f}; between regimes the encoder's read-outs reach "
        f"{np.mean(across):.2f}. 0.5 is chance."
    ]
    for regime in (name for name in members.regimes if name not in LEARNED):
        value = _mean(rows, reader="encoder", measure="attributes", fitted="all", regime=regime)
        lines.append(f"- `{regime}` targets, which compute nothing: {value:.2f} (should be 0.5).")
    if "decoy" in members.regimes:
        decoy, twin = (_mean(rows, reader="encoder", measure="decoy", regime=r) for r in ("decoy", "trained"))
        lines.append(
            f"- Where a decoy's program and its seed differ, the program is read in {decoy:.2f} of cases, in its twin "
            f"without a seed in {twin:.2f}: the fossil takes {twin - decoy:+.2f}."
        )
    return "\n".join(lines)


def _draw(rows: Sequence[Row], members: Members, path: Path) -> None:
    """The matrix of the encoder beside that of the statistics, as two heat maps."""
    fitted = [*(name for name in members.regimes if name in LEARNED), "all"]
    with figure(path, 13, 5.5) as drawn:
        for place, reader in enumerate(("statistics", "encoder")):
            axes = drawn.add_subplot(1, 2, place + 1)
            matrix = np.array(
                [
                    [_mean(rows, reader=reader, measure="attributes", fitted=f, regime=r) for r in members.regimes]
                    for f in fitted
                ]
            )
            shown = axes.imshow(matrix, vmin=0.4, vmax=1.0, cmap="viridis")
            for (i, j), value in np.ndenumerate(matrix):
                axes.text(j, i, f"{value:.2f}", ha="center", va="center", color="white" if value < 0.75 else "black")
            axes.set_xticks(range(len(members.regimes)), members.regimes, rotation=40, ha="right")
            axes.set_yticks(range(len(fitted)), fitted)
            axes.set(xlabel="regime that is read", ylabel="regime that was learned from", title=reader)
        drawn.colorbar(shown, label="AUROC of attributes of unseen programs")
