"""The targets of a comparison of regimes: programs that every regime learned, one target of each for each program."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Int

from oracle.symmetry import random_gauge
from tracr_tasks import Program
from tracr_tasks.errors import InputError
from zoo.legible.matched import number_of
from zoo.rows import ZooRow
from zoo.store import Zoo, program_of
from zoo.target import Target

LEARNED = ("compiled", "trained", "seeded", "permuted", "decoy", "anchored", "seeded_anchored")
"""Regimes whose targets compute their program."""
EMPTY = ("untrained", "rerandomised")
"""Regimes whose targets compute none."""
FEWEST = 10
"""Programs without which nothing can be said."""


@dataclass(frozen=True)
class Members:
    """The targets of the study: the same programs in every regime."""

    rows: tuple[ZooRow, ...]
    targets: tuple[Target, ...]
    regime: Int[np.ndarray, " target"]
    """Place in `regimes`."""
    program: Int[np.ndarray, " target"]
    """Place in `programs`."""
    regimes: tuple[str, ...]
    programs: tuple[Program, ...]

    def of(self, *names: str) -> Bool[np.ndarray, " target"]:
        """Which targets are of some regimes."""
        return np.isin(self.regime, [self.regimes.index(name) for name in names if name in self.regimes])


def members_of(zoo: Zoo, accuracy: float, seed: int) -> Members:
    """The programs that every regime has learned, and their targets, each in a random gauge of its own.

    Raises:
        InputError: the zoo has no regimes to compare, or too few programs were learned in all.
    """
    by_program: dict[tuple[str, int], dict[str, ZooRow]] = {}
    for row in zoo:
        by_program.setdefault((row.part, number_of(row)), {})[row.regime] = row
    regimes = tuple(r for r in (*LEARNED, *EMPTY) if any(r in found for found in by_program.values()))
    wanted = [r for r in regimes if r in LEARNED]
    kept = [
        found
        for found in by_program.values()
        if set(regimes) <= set(found) and all(found[r].labels.get("accuracy", 1.0) >= accuracy for r in wanted)
    ]
    if len(wanted) < 2 or len(kept) < FEWEST:
        raise InputError(
            f"{len(kept)} programs reached accuracy {accuracy} in all of {', '.join(wanted) or 'no regime'}, "
            f"expected at least {FEWEST} in at least two regimes; try a larger --size"
        )
    rows = tuple(found[regime] for found in kept for regime in regimes)
    targets = [zoo.target(row.id) for row in rows]
    placed = tuple(
        replace(t, weights=random_gauge(t.config, t.weights, seed * 1_000_003 + i)) for i, t in enumerate(targets)
    )
    return Members(
        rows=rows,
        targets=placed,
        regime=np.tile(np.arange(len(regimes)), len(kept)),
        program=np.repeat(np.arange(len(kept)), len(regimes)),
        regimes=regimes,
        programs=tuple(_program(found[wanted[0]]) for found in kept),
    )


def _program(row: ZooRow) -> Program:
    program = program_of(row)
    if not isinstance(program, Program):
        raise InputError(f"{row.id}: kind '{row.kind}', expected RASP programs in every regime")
    return program
