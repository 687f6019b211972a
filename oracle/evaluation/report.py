"""What an evaluation found: graded answers and losses, and the figures that are taken from them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from oracle.calibration import Reliability, reliability
from oracle.evaluation.causal import Follows
from oracle.evaluation.conditions import FAMILIAR, GAUGE, NOTHING, OWN, SWAPPED
from oracle.evaluation.localisation import Rise
from oracle.evaluation.losses import Loss
from oracle.evaluation.rows import Row
from oracle.statistics import Interval, clustered_mean, holm, paired_p

GIVEN_AWAY = "regime"
"""Family whose answer a target's shape gives away: it is in no figure over all questions."""


@dataclass(frozen=True)
class Report:
    """Graded answers and losses of an evaluation."""

    rows: tuple[Row, ...]
    losses: tuple[Loss, ...]
    """On the right programs."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What was measured, with what, and how."""
    follows: tuple[Follows, ...] = ()
    """How answers follow edits of the weights."""
    rises: tuple[Rise, ...] = ()
    """What losses become without the components that are asked about."""

    @property
    def conditions(self) -> tuple[str, ...]:
        """Those that have answers, in their order."""
        return tuple(dict.fromkeys(r.condition for r in self.rows))

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of targets."""
        return tuple(dict.fromkeys(r.kind for r in self.rows))

    def chosen(self, condition: str, kind: str | None = None, family: str | None = None) -> list[Row]:
        """Rows under a condition, of one kind of target and one family if named; without a family, all but
        `GIVEN_AWAY`."""
        wanted = [r for r in self.rows if r.condition == condition and kind in (None, r.kind)]
        return [r for r in wanted if (r.family == family if family else r.family != GIVEN_AWAY)]

    def accuracy(self, condition: str, kind: str | None = None, family: str | None = None) -> Interval:
        """Share of right answers."""
        return self.mean(lambda r: r.correct, condition, kind, family)

    def agreement(self, condition: str, kind: str) -> Interval:
        """Share of inputs on which the proposed programs agree with the true ones."""
        return self.mean(lambda r: r.agreement, condition, kind, "program")

    def mean(
        self, value: Callable[[Row], float], condition: str, kind: str | None = None, family: str | None = None
    ) -> Interval:
        """The mean of a value of rows, with an interval clustered by target.

        Raises:
            ValueError: no such rows.
        """
        rows = self.chosen(condition, kind, family)
        return clustered_mean([float(value(r)) for r in rows], [r.target for r in rows])

    def margin(self, kind: str | None = None, control: str = NOTHING, family: str | None = None) -> Interval:
        """Own weights minus a control on the same questions; clustered by target."""
        differences, clusters = self.differences(control, kind, family)
        return clustered_mean(differences, clusters)

    def differences(
        self, control: str, kind: str | None = None, family: str | None = None
    ) -> tuple[list[float], list[str]]:
        """For each question that both answer, right (1) or wrong (0) from own weights minus the same under a control;
        and its target."""
        others = {_key(r): r.correct for r in self.chosen(control, kind, family)}
        pairs = [(r, others[_key(r)]) for r in self.chosen(OWN, kind, family) if _key(r) in others]
        return [float(r.correct) - float(other) for r, other in pairs], [r.target for r, _ in pairs]

    def significance(self, kind: str | None = None) -> dict[str, float]:
        """For each control, p that own weights are no better or worse on the same questions; Holm over all controls."""
        tested = {c: self.differences(c, kind) for c in self.conditions if c not in (OWN, GAUGE, FAMILIAR)}
        return holm({c: paired_p(d, clusters) for c, (d, clusters) in tested.items() if d})

    def same_answer(self) -> Interval | None:
        """Share of answers that another gauge of the same weights leaves as they are, letter for letter."""
        own = {_key(r): r.answer for r in self.rows if r.condition == OWN}
        rows = [r for r in self.rows if r.condition == GAUGE]
        return (
            clustered_mean([float(own[_key(r)] == r.answer) for r in rows], [r.target for r in rows]) if rows else None
        )

    def of_donor(self, kind: str, family: str = "program") -> Interval:
        """Share of answers from another target's weights that are right about that target."""
        return self.mean(lambda r: r.of_donor, SWAPPED, kind, family)

    def reliability(self) -> Reliability:
        """How good the confidence in answers from own weights is.

        Raises:
            InputError: nothing else was asked.
        """
        rows = self.chosen(OWN)
        return reliability(np.array([r.confidence for r in rows]), np.array([r.correct for r in rows], dtype=bool))

    def loss(self, kind: str, condition: str) -> Interval:
        """Nats a token of the right programs of a kind of target.

        Raises:
            ValueError: it was not measured.
        """
        found = [each.nats for each in self.losses if (each.kind, each.condition) == (kind, condition)]
        if not found:
            raise ValueError(f"no loss of {kind} under {condition}")
        return found[0]

    def of(self, **wanted: Any) -> Report:
        """The same report, only rows that have the values given (split="test", part="wide" ...)."""
        return replace(self, rows=tuple(r for r in self.rows if all(getattr(r, k) == v for k, v in wanted.items())))

    def among(self, field: str, values: Collection[Any]) -> Report:
        """The same report, only rows that have one of the values in a field."""
        return replace(self, rows=tuple(r for r in self.rows if getattr(r, field) in values))


def _key(row: Row) -> tuple[str, str, str]:
    return row.target, row.family, row.question
