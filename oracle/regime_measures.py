"""What is measured of targets with different histories: who reads what, of programs that no read-out has seen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import kendalltau

from oracle.attributes import attributes_of, table_of
from oracle.read_outs import auroc, auroc_interval, folds_of, out_of_fold
from oracle.regime_members import EMPTY, FEWEST, LEARNED, Members
from tracr_tasks import parse_program
from tracr_tasks.errors import InputError
from zoo.legible.studies.report import Row
from zoo.rows import ZooRow

MEASURES = ("information", "place", "use", "drift")
"""Labels of a seeded target, measured at the seeded site."""
Scores = Float[np.ndarray, "target attribute"]
View = Float[np.ndarray, "target feature"]


@dataclass(frozen=True)
class Attributes:
    """Yes/no facts about the programs of a study."""

    names: tuple[str, ...]
    holds: Bool[np.ndarray, "program attribute"]

    def of(self, text: str, row: ZooRow) -> Bool[np.ndarray, " attribute"]:
        """Those of another program, over the vocabulary of a row's."""
        found = attributes_of(parse_program(text, json.loads(row.program_vocab), row.max_seq_len))
        return np.array([found[name] for name in self.names])


def attributes_in(members: Members) -> Attributes:
    """The attributes that divide the programs of a study.

    Raises:
        InputError: there are none.
    """
    names, holds = table_of(members.programs)
    if not names:
        raise InputError(f"no attribute divides the {len(members.programs)} programs, expected a larger --size")
    return Attributes(names, holds)


def measured(members: Members, attributes: Attributes, views: Mapping[str, View], seed: int) -> list[Row]:
    """Everything that is measured by each reader's view, once, under one way of dealing programs to folds."""
    rows, signs = list[Row](), 2.0 * attributes.holds[members.program] - 1
    for reader, seen in views.items():
        folds = folds_of(len(members.programs), seed)
        scores = {
            name: out_of_fold(seen, signs, members.program, members.of(*of), folds)
            for name, of in _fitted_on(members).items()
        }
        about = {"reader": reader, "seed": seed}
        rows += [{**about, **row} for row in _matrix(members, attributes, scores, seed)]
        rows += [{**about, **row} for row in _presence(members, seen, folds)]
        if "decoy" in members.regimes:
            rows += [{**about, **row} for row in _fossils(members, attributes, scores["trained"])]
        if "seeded" in members.regimes:
            rows += [{**about, **row} for row in _persistence(members, signs, scores["trained"])]
    return rows


def _fitted_on(members: Members) -> dict[str, tuple[str, ...]]:
    """Each regime that has programs alone, and all of them together."""
    single = {name: (name,) for name in members.regimes if name in LEARNED}
    return single | {"all": tuple(single)}


def _matrix(members: Members, attributes: Attributes, scores: dict[str, Scores], seed: int) -> list[Row]:
    """AUROC of the attributes of unseen programs, by the regime that was learned from and the regime that is read.

    Number and names of the outputs tell something of a program, whatever the weights are: so each is also given less
    that of the untrained targets, which have the same outputs.
    """
    rows: list[Row] = []
    for fitted, found in scores.items():
        twins = found[members.of("untrained")]
        for regime in members.regimes:
            chosen = members.of(regime)
            held, what = attributes.holds[members.program[chosen]], {"fitted": fitted, "regime": regime}
            for measure, less in (("attributes", None), ("above untrained", twins)):
                if less is None or (len(less) and regime != "untrained"):
                    mean, low, high = auroc_interval(found[chosen], held, less, seed)
                    interval = {"value": mean, "low": low, "high": high, "number": int(chosen.sum())}
                    rows.append({"measure": measure} | what | interval)
    return rows


def _presence(members: Members, seen: View, folds: Int[np.ndarray, " program"]) -> list[Row]:
    """Is there a program at all? Learned targets against untrained and re-randomised ones; and which regime is it?"""
    rows: list[Row] = []
    learned = members.of(*LEARNED)
    everything = np.ones(len(learned), dtype=bool)
    for empty in [name for name in EMPTY if name in members.regimes]:
        chosen = members.of("trained", empty)
        wanted = 2.0 * learned[:, None] - 1
        found = out_of_fold(seen, wanted, members.program, chosen, folds)[chosen, 0]
        value = auroc(found, learned[chosen])
        rows.append({"measure": "program or none", "fitted": "trained", "regime": empty, "value": value})
    one_hot = 2.0 * np.eye(len(members.regimes))[members.regime] - 1
    found = out_of_fold(seen, one_hot, members.program, everything, folds)
    for place, regime in enumerate(members.regimes):
        value = auroc(found[:, place], members.regime == place)
        rows.append({"measure": "this regime or another", "fitted": "all", "regime": regime, "value": value})
    return rows


def _fossils(members: Members, attributes: Attributes, scores: Scores) -> list[Row]:
    """On attributes in which the program and the seed of a decoy differ: how often is the program's value read?

    The control is the same question about the twin that was trained on the same program without any seed.
    """
    rows: list[Row] = []
    for regime in ("decoy", "trained"):
        away = members.regimes.index(regime) - members.regimes.index("decoy")
        reads_program = list[bool]()
        for i in np.flatnonzero(members.of("decoy")).tolist():
            own = attributes.holds[members.program[i]]
            fossil = attributes.of(members.rows[i].labels["history"]["seed"], members.rows[i])
            reads_program += ((scores[i + away] > 0) == own)[fossil != own].tolist()
        what = {"measure": "decoy", "fitted": "trained", "regime": regime, "number": len(reads_program)}
        rows.append(what | {"value": float(np.mean(reads_program)) if reads_program else None})
    return rows


def _persistence(members: Members, signs: Scores, scores: Scores) -> list[Row]:
    """Kendall's tau, over seeded targets, of what was measured at the seeded site against how well they are read."""
    chosen = np.flatnonzero(members.of("seeded"))
    readable = (scores * signs)[chosen].mean(1)
    rows: list[Row] = []
    for name in MEASURES:
        labels = [members.rows[i].labels.get("seed", {}).get(name) for i in chosen]
        has = np.array([label is not None for label in labels])
        if has.sum() < FEWEST:
            continue
        known = np.array([label for label in labels if label is not None], dtype=float)
        found = kendalltau(known, readable[has])
        what = {"measure": f"persistence: {name}", "fitted": "trained", "regime": "seeded", "number": len(known)}
        rows.append(what | {"value": float(found.statistic), "p": float(found.pvalue)})
    return rows
