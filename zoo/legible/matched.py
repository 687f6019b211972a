"""Histories compared at matched accuracy: targets of several regimes that have one program and learned it equally well.

Target number i of a part has the same program in every regime, so ids are matched by their number.
"""

from __future__ import annotations

from collections.abc import Sequence

from tracr_tasks.errors import InputError
from zoo.chunks import stem_of
from zoo.parts import REGIMES
from zoo.rows import ZooRow
from zoo.store import Zoo

LOW, HIGH = 0.98, 1.0
"""The band of accuracy that cards and `zoo show` report."""


def matched(zoo: Zoo, part: str, regimes: Sequence[str], low: float = LOW, high: float = HIGH) -> list[tuple[str, ...]]:
    """Ids of the targets of each program whose accuracy is from `low` to `high` in every regime asked for.

    Returns:
        One tuple a program, in the order of its number, with an id for each regime in the order asked for.

    Raises:
        InputError: no regime, one that there is not, or an empty band.
    """
    if not regimes or set(regimes) - set(REGIMES):
        raise InputError(f"regimes {list(regimes)}: expected some of {', '.join(REGIMES)}")
    if not low <= high:
        raise InputError(f"accuracy from {low} to {high}: expected a band that is not empty")
    return matched_rows(zoo.rows(part=part), regimes, low, high)


def matched_rows(
    rows: Sequence[ZooRow], regimes: Sequence[str], low: float = LOW, high: float = HIGH
) -> list[tuple[str, ...]]:
    """The same among the rows of one part."""
    found: dict[str, dict[int, str]] = {regime: {} for regime in regimes}
    for row in rows:
        if row.regime in found and low <= row.labels.get("accuracy", float("nan")) <= high:
            found[row.regime][number_of(row)] = row.id
    shared = set.intersection(*(set(ids) for ids in found.values()))
    return [tuple(found[regime][number] for regime in regimes) for number in sorted(shared)]


def number_of(row: ZooRow) -> int:
    """Number of a target within its part and regime, which is that of its program in a legible part."""
    return int(row.id.rsplit("-", 1)[1])


def matched_lines(rows: Sequence[ZooRow]) -> list[str]:
    """For people: for each part with histories, how many programs every regime that has a program learned alike."""
    out = []
    for part in dict.fromkeys(row.part for row in rows):
        own = [row for row in rows if row.part == part and "history" in row.labels]
        regimes = [regime for regime in REGIMES if any(row.regime == regime and row.text for row in own)]
        if len(regimes) > 1:
            programs = {number_of(row) for row in own if row.text}
            found = len(matched_rows(own, regimes))
            stems = ", ".join(stem_of(part, regime) for regime in regimes)
            out.append(
                f"{found} of {len(programs)} programs have an accuracy of {LOW:.0%} or more in every one of {stems}"
            )
    return out
