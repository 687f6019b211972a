"""How well one metric alone tells trained networks from random ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.legible.sae_metrics import ENTROPY, USUAL
from zoo.legible.studies.report import Summary, summary
from zoo.legible.studies.sae_networks import ANEW, INITIAL, KEPT, TRAINED

Row = Mapping[str, Any]
GOOD = 0.9
"""AUROC from which a metric is said to tell two groups apart."""
OTHERS = "initial, other scale or family"
COMPARED = (ANEW, KEPT, INITIAL, OTHERS)
"""Random networks that trained ones are compared with."""
COVERAGE = ("coverage_input", "coverage_inner", "coverage_out", "coverage_computed")
METRICS = (*(name for name in USUAL if name != "ce_recovered"), ENTROPY, *COVERAGE)
"""Those that every network has; the cross-entropy recovered is that of trained ones only."""


@dataclass(frozen=True)
class Separation:
    """Of one metric."""

    metric: str
    auroc: dict[str, float]
    """By whom trained networks are compared with: the chance that a trained one has the greater value."""
    gap: Summary
    """Trained less re-randomised of the same seed."""
    standardised: float
    """Mean of these differences over the standard deviation within groups."""

    def says(self) -> bool:
        """Whether the metric tells trained networks from all the random ones, in one direction."""
        values = list(self.auroc.values())
        return min(values) >= GOOD or max(values) <= 1 - GOOD


def separations(rows: Sequence[Row]) -> list[Separation]:
    """Of every metric, from TopK autoencoders on the last state; networks are compared within a program and norm."""
    last = max(row["state"] for row in rows)
    used = [row for row in rows if row["kind"] == "topk" and row["state"] == last]
    return [_separation(metric, used) for metric in METRICS]


def auroc(ones: Sequence[float], others: Sequence[float]) -> float:
    """The chance that a value of `ones` is above one of `others`; equal ones count half."""
    difference = np.subtract.outer(np.asarray(ones, dtype=float), np.asarray(others, dtype=float))
    return float((difference > 0).mean() + (difference == 0).mean() / 2)


def group_of(row: Row) -> str:
    """A row's variant, with untrained networks of other scales and families apart."""
    return row["variant"] if (row["scale"], row["family"]) == (1.0, "normal") else OTHERS


def _separation(metric: str, rows: Sequence[Row]) -> Separation:
    strata: dict[tuple[Any, ...], dict[str, list[float]]] = {}
    for row in rows:
        if row[metric] is not None:
            groups = strata.setdefault((row["program"], row["norm"]), {})
            groups.setdefault(group_of(row), []).append(row[metric])
    found = {name: _stratified(list(strata.values()), name) for name in COMPARED}
    paired = _paired(metric, rows)
    within = [
        np.var(groups[name], ddof=1) for groups in strata.values() for name in (TRAINED, ANEW) if _two(groups, name)
    ]
    spread = float(np.sqrt(np.mean(within))) if within else float("nan")
    gap = summary([difference for difference, _ in paired], [repetition for _, repetition in paired])
    return Separation(metric, found, gap, gap.mean / spread if spread else float("nan"))


def _two(groups: Mapping[str, list[float]], name: str) -> bool:
    return len(groups.get(name, ())) > 1


def _stratified(strata: Sequence[Mapping[str, list[float]]], name: str) -> float:
    """AUROC over the pairs of one program and norm; 0.5 where there are none."""
    pairs = [(groups[TRAINED], groups[name]) for groups in strata if TRAINED in groups and name in groups]
    weights = [len(ones) * len(others) for ones, others in pairs]
    return float(np.average([auroc(*pair) for pair in pairs], weights=weights)) if pairs else 0.5


def _paired(metric: str, rows: Sequence[Row]) -> list[tuple[float, int]]:
    """Differences of networks and their twins, with the repetition."""

    def key(row: Row) -> tuple[Any, ...]:
        return row["program"], row["norm"], row["repetition"]

    twins = {key(row): row[metric] for row in rows if row["variant"] == ANEW}
    return [(row[metric] - twins[key(row)], row["repetition"]) for row in rows if row["variant"] == TRAINED]
