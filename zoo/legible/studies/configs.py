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

    steps: int = 600
    """Updates of every network."""
    lr: float = 5e-3
    """Peak step size of AdamW."""
    sgd_lr: float = 0.03
    """Peak step size of SGD; at 0.1 seeded networks diverge, and at 0.01 random ones do not learn in time."""
    d_model: int = 40
    """Width of the networks; the seeds have 12 to 18."""
    d_mlp: int = 64
    """Neurons of a layer; the seeds have up to 10."""
    d_head: int = 12
    """Width of a head; the seeds have up to 11."""
    n_layers: int = 3
    """Layers; the seeds have one."""


@dataclass(frozen=True)
class AnchoringStudyConfig(StudyConfig):
    """Pull a concept towards a known direction from the first step: is it there, at what cost, can it be removed?"""

    steps: int = 500
    """Updates of every network."""
    label_rate: float = 0.005
    """Share of a task's inputs that carry a label."""
    strength: float = 3.0
    """Weight of the pull, 1 - z.v on labelled positions."""
    anti_anchor: float = 0.3
    """Weight of max(0, z.v) on all others."""
    separate: float = 3.0
    """Weight of the repulsion between states."""


@dataclass(frozen=True)
class SaeStudyConfig(StudyConfig):
    """Sparse autoencoders on trained, initial and re-randomised networks: which metrics tell them apart?"""

    training_steps: int = 600
    """Updates of the networks that learn."""
    steps: int = 400
    """Updates of an autoencoder."""
    latents: int = 128
    """Of an autoencoder, on states of width 32."""
    active: int = 8
    """Latents that are to fire at a position."""


@dataclass(frozen=True)
class RegimesStudyConfig(StudyConfig):
    """The same programs with different histories: which regime's weights are read best, train-regime by test-regime?"""

    zoo: Path | None = None
    """Folder of a zoo with regimes, in place of the spec `legible`, which is built in the study's folder."""
    size: float = 0.4
    """Multiplies the numbers of targets of `legible`."""
