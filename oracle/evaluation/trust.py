"""Whether the confidence is worth anything: how the risk falls as the least sure answers are left out, and what is
said of targets that compute nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from oracle.calibration import SURE
from oracle.evaluation.conditions import OWN
from oracle.evaluation.report import Report

STEPS = 20


def risk_coverage(report: Report) -> dict[str, Any]:
    """Share of wrong answers among the surest ones, at each share of answers kept (El-Yaniv and Wiener 2010); `area` is
    the mean over all shares, and `at random` what any order of the answers has on average."""
    rows = report.chosen(OWN)
    order = np.argsort([-r.confidence for r in rows], kind="stable")
    wrong = np.array([not rows[i].correct for i in order], dtype=float)
    risk = np.cumsum(wrong) / np.arange(1, len(wrong) + 1)
    at = [max(1, round(len(wrong) * k / STEPS)) for k in range(1, STEPS + 1)]
    return {
        "coverage": [n / len(wrong) for n in at],
        "risk": [float(risk[n - 1]) for n in at],
        "area": float(risk.mean()),
        "at random": float(wrong.mean()),
    }


def abstention(report: Report) -> dict[str, Any]:
    """How often the oracle abstains, and how often it is right where it does not; of untrained targets, how often they
    are recognised, and how often a trained or compiled one is called so."""
    rows = report.chosen(OWN)
    sure = [r for r in rows if r.confidence >= SURE]
    regimes = [r for r in report.rows if r.condition == OWN and r.family == "regime"]
    programs = [r for r in report.rows if r.condition == OWN and r.family == "program"]
    empty, full = ([r for r in regimes if (r.kind == "none") == is_none] for is_none in (True, False))
    return {
        "answers": len(rows),
        "stood by": len(sure),
        "right where stood by": _share([r.correct for r in sure]),
        "right where abstained": _share([r.correct for r in rows if r.confidence < SURE]),
        "untrained recognised": _share([r.correct for r in empty]),
        "others called untrained": _share([r.answer == "untrained" for r in full]),
        "no program said of untrained": _share([r.correct for r in programs if r.kind == "none"]),
    }


def _share(values: list[bool]) -> float | None:
    return float(np.mean(values)) if values else None
