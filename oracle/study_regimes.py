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
SMOKE_SIZE = 0.054
"""Of the zoo under --smoke, where any accuracy is enough."""
SMOKE_STEPS = 15
"""Updates of a network under --smoke."""


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
    spec = replace(named_spec("legible"), seed=config.seed, size=config.size)
    assert spec.legible is not None
    recipe = replace(spec.legible, seed_curves=False)
    if config.smoke:
        recipe = replace(recipe, training=replace(recipe.training, steps=SMOKE_STEPS))
        spec = replace(spec, size=SMOKE_SIZE, compiled=0, permuted=0, anchored=0, seeded_anchored=0)
    spec = replace(spec, legible=recipe)
    build(spec, config.out / "zoo", workers=config.workers)
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
    head = (
        f"{len(members.programs)} programs in {len(members.regimes)} regimes each, accuracy at least {ENOUGH} wherever "
        f"it was learned; every target in a random gauge. Attributes: {', '.join(attributes.names)}. AUROC is the mean "
        "over attributes, of programs in other folds than those learned from, with 95% intervals over programs."
    )
    parts = ["# Regimes: does history change how well weights can be read?", head]
    for reader in READERS:
        parts += [f"## Attributes of unseen programs, AUROC, by `{reader}`", _matrix_table(rows, members, reader)]
    lead = "AUROC less that of the untrained targets with the same outputs, read by the same read-out."
    parts += ["## Above the untrained twin, by `encoder`", lead, _above_table(rows, members)]
    parts += ["## Is there a program, which history, and what is read of a decoy?", _other_table(rows, members)]
    parts += ["## What this says", _findings(rows, members)]
    return "\n\n".join(parts)


def _matrix_table(rows: Sequence[Row], members: Members, reader: str) -> str:
    """Regimes learned from as rows, regimes read as columns."""
    about = {"reader": reader, "measure": "attributes"}
    table = [
        [fitted, *(_interval(rows, **about, fitted=fitted, regime=regime) for regime in members.regimes)]
        for fitted in (*_learned(members), "all")
    ]
    return markdown(["fitted on", *members.regimes], table)


def _above_table(rows: Sequence[Row], members: Members) -> str:
    """One row a regime: read by what was fitted on it, and by what was fitted on all."""
    about = {"reader": "encoder", "measure": "above untrained"}
    table = [
        [regime, *(_interval(rows, **about, fitted=fitted, regime=regime) for fitted in (regime, "all"))]
        for regime in _learned(members)
    ]
    return markdown(["regime", "fitted on it", "fitted on all"], table)


def _learned(members: Members) -> list[str]:
    return [name for name in members.regimes if name in LEARNED]


def _other_table(rows: Sequence[Row], members: Members) -> str:
    """One row a question, one column a reader."""
    matrices = ("attributes", "above untrained")
    asked = list(dict.fromkeys((row["measure"], row["regime"]) for row in rows if row["measure"] not in matrices))
    table = [
        [measure, regime, *(f"{_mean(rows, reader=r, measure=measure, regime=regime):.2f}" for r in READERS)]
        for measure, regime in asked
    ]
    return markdown(["question", "regime", *READERS], table)


def _findings(rows: Sequence[Row], members: Members) -> str:
    """The figures in words."""
    learned = _learned(members)
    above = {"reader": "encoder", "measure": "above untrained", "fitted": "all"}
    order = sorted(learned, key=lambda regime: -_mean(rows, **above, regime=regime))
    told = ", ".join(f"`{regime}` {_interval(rows, **above, regime=regime)}" for regime in order)
    twin = _mean(rows, reader="encoder", measure="attributes", fitted="all", regime="untrained")
    plain = np.mean(
        [_mean(rows, reader="statistics", measure="above untrained", fitted="all", regime=r) for r in learned]
    )
    lines = [
        f"- Untrained targets with a program's outputs give {twin:.2f}: so much do number and names of outputs tell, "
        f"not by weights. Above that the encoder reads {told}; statistics of tensors {plain:.2f} on average."
    ]
    for empty in (name for name in members.regimes if name not in LEARNED):
        encoder, numbers = (
            _mean(rows, reader=r, measure="program or none", regime=empty) for r in ("encoder", "statistics")
        )
        lines.append(
            f"- A program or none, trained against `{empty}`: encoder {encoder:.2f}, statistics {numbers:.2f}."
        )
    if "decoy" in members.regimes:
        decoy, alone = (_mean(rows, reader="encoder", measure="decoy", regime=r) for r in ("decoy", "trained"))
        lines.append(
            f"- Where a decoy's program and its seed differ, the program is read in {decoy:.2f} of cases, in its twin "
            f"without a seed in {alone:.2f}: the fossil takes {alone - decoy:+.2f}."
        )
    taus = {row["measure"] for row in rows if str(row["measure"]).startswith("persistence")}
    if taus:
        told = ", ".join(
            f"{name.split(': ')[1]} {_mean(rows, reader='encoder', measure=name):+.2f}" for name in sorted(taus)
        )
        lines.append(f"- How well a seeded target is read against what is left of its seed (Kendall's tau): {told}.")
    return "\n".join(lines)


def _draw(rows: Sequence[Row], members: Members, path: Path) -> None:
    """The matrix of the encoder beside that of the statistics, as two heat maps."""
    fitted = [*_learned(members), "all"]
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
