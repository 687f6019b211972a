"""The figures of a report as JSON: every cell with its mean, 95% interval and number of answers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np

from oracle.evaluation.conditions import OWN
from oracle.evaluation.report import GIVEN_AWAY, Report
from oracle.evaluation.rows import Row
from oracle.evaluation.tables import BROKEN_DOWN
from oracle.evaluation.trust import abstention, risk_coverage
from oracle.statistics import clustered_mean

MEASURES = {
    "right": lambda r: r.correct,
    "exact": lambda r: r.exact,
    "has the form asked for": lambda r: r.parsed,
    "agreement": lambda r: r.agreement,
}


def results_of(report: Report) -> dict[str, Any]:
    """What results.json holds."""
    told: dict[str, Any] = dict(report.facts)
    told["cells"] = [cell for kind in report.kinds for c in report.conditions for cell in _cells(report, kind, c)]
    told["margins"] = {
        kind: {
            c: asdict(report.margin(kind, c)) for c in report.conditions if c != OWN and report.differences(c, kind)[0]
        }
        for kind in report.kinds
        if report.chosen(OWN, kind)
    }
    told["p, Holm"] = {kind: report.significance(kind) for kind in report.kinds if report.chosen(OWN, kind)}
    told["groups"] = list(_groups(report))
    told["losses"] = [asdict(each) for each in report.losses]
    same = report.same_answer()
    told |= {"same answer in another gauge": None if same is None else asdict(same)}
    told["reliability"] = asdict(report.reliability())
    told["risk and coverage"] = risk_coverage(report)
    told["abstention"] = abstention(report)
    told["edits"] = [asdict(each) for each in report.follows]
    told["localisation"] = [asdict(each) for each in report.rises]
    found: dict[str, Any] = _without_nan(told)
    return found


def _without_nan(value: Any) -> Any:
    """JSON has no word for what is no number: null."""
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _cells(report: Report, kind: str, condition: str) -> Iterator[dict[str, Any]]:
    """One cell a family and measure; "" for all families but the one that a target's shape gives away."""
    rows = [r for r in report.rows if (r.kind, r.condition) == (kind, condition)]
    for family in ("", *sorted({r.family for r in rows})):
        of = [r for r in rows if (r.family == family if family else r.family != GIVEN_AWAY)]
        if of:
            yield {"kind": kind, "condition": condition, "family": family, **_measured(of)}


def _groups(report: Report) -> Iterator[dict[str, Any]]:
    """Answers from own weights by what their targets are like."""
    for field in BROKEN_DOWN:
        for kind in report.kinds:
            rows = report.chosen(OWN, kind)
            for value in sorted({getattr(r, field) for r in rows}):
                for family in ("", "program"):
                    of = [r for r in rows if getattr(r, field) == value and family in ("", r.family)]
                    if of:
                        yield {"kind": kind, "by": field, "value": value, "family": family, **_measured(of)}


def _measured(rows: list[Row]) -> dict[str, Any]:
    ids = [r.target for r in rows]
    found = {name: asdict(clustered_mean([float(value(r)) for r in rows], ids)) for name, value in MEASURES.items()}
    return {"n": len(rows), "targets": len(np.unique(ids)), **found}
