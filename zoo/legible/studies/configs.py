"""What the studies can be told: `weight-oracle study NAME`. Imports nothing heavy, so that `--help` answers at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True)
class StudyConfig:
    """What every study has."""

    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder for table.parquet, table.md, the figures and study.json; new, empty, or of the same study and options."""
    smoke: bool = False
    """The smallest sizes that run every step: under a minute, and the figures mean nothing."""
    seeds: int = 3
    """Repetitions, each with networks and data of its own."""
    seed: int = 0
    """Of everything that is drawn."""
    workers: int = 2
    """Processes, of one thread each."""


@dataclass(frozen=True)
class SeedingStudyConfig(StudyConfig):
    """Start a network from a small legible one: does the seed persist, where, and is it used?"""


@dataclass(frozen=True)
class AnchoringStudyConfig(StudyConfig):
    """Pull a concept towards a known direction from the first step: is it there, at what cost, can it be removed?"""


@dataclass(frozen=True)
class SaeStudyConfig(StudyConfig):
    """Sparse autoencoders on trained, initial and re-randomised networks: which metrics tell them apart?"""


@dataclass(frozen=True)
class RegimesStudyConfig(StudyConfig):
    """The same programs with different histories: which regime's weights are read best, train-regime by test-regime?"""

    zoo: Path | None = None
    """Folder of a zoo with regimes, in place of the spec `legible`, which is built in the study's folder."""
    size: float = 0.5
    """Multiplies the numbers of targets of `legible`."""
