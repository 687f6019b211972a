"""Targets of a report that are shown whole, drawn at random: every question with its answers, right or wrong."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

from oracle.evaluation.conditions import NOTHING, OWN, SWAPPED
from oracle.evaluation.report import Report
from oracle.evaluation.rows import Row

NUMBER = 12
"""Targets that are drawn."""
MORE = 3
"""Targets that are drawn among those with a wrong answer, where the first draw has none."""
BESIDE = (SWAPPED, NOTHING)
"""Controls whose answers are shown beside those from own weights."""


class Exchange(NamedTuple):
    """One question about a target."""

    own: Row
    beside: tuple[Row, ...]
    """The answers under `BESIDE`, of those that there are."""


class Transcript(NamedTuple):
    """A target with all that it was asked, its program first."""

    target: str
    exchanges: tuple[Exchange, ...]

    @property
    def wrong(self) -> int:
        """Wrong answers from own weights."""
        return sum(not e.own.correct for e in self.exchanges)


class Drawn(NamedTuple):
    """What is shown of a report."""

    seed: str
    at_random: tuple[Transcript, ...]
    """From all targets."""
    failed: tuple[Transcript, ...]
    """From the targets with a wrong answer: empty unless `at_random` has no wrong answer and the report has some."""


def drawn_of(report: Report, number: int = NUMBER) -> Drawn:
    """Draw targets under the report's seed; their order and their answers' order do not depend on that of the rows."""
    seed = str(report.facts.get("options", {}).get("seed", 0))
    own = [r for r in report.rows if r.condition == OWN]
    rng = random.Random(f"{seed}/transcripts")
    chosen = _sample(rng, [r.target for r in own], number)
    if any(not r.correct for r in own if r.target in chosen):
        return Drawn(seed, _told(report, chosen), ())
    failed = _sample(rng, [r.target for r in own if not r.correct], MORE)
    return Drawn(seed, _told(report, chosen), _told(report, failed))


def _sample(rng: random.Random, targets: Sequence[str], number: int) -> list[str]:
    every = sorted(set(targets))
    return rng.sample(every, min(number, len(every)))


def _told(report: Report, targets: Sequence[str]) -> tuple[Transcript, ...]:
    answers = {(r.target, r.family, r.question, r.condition): r for r in report.rows if r.target in targets}
    told = []
    for target in targets:
        own = [r for r in answers.values() if r.target == target and r.condition == OWN]
        own.sort(key=lambda r: (r.family != "program", r.family, r.question))
        beside = [[answers.get((r.target, r.family, r.question, c)) for c in BESIDE] for r in own]
        told.append(Transcript(target, tuple(map(_exchange, own, beside))))
    return tuple(told)


def _exchange(own: Row, beside: Sequence[Row | None]) -> Exchange:
    return Exchange(own, tuple(r for r in beside if r is not None))
