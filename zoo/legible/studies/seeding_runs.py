"""One job of the study of seeding: all arms of a pair and a seed trained side by side, measured on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

import numpy as np

from zoo.legible.embedding import preservation, rates_of
from zoo.legible.network import stacked
from zoo.legible.persistence import MEASURES, Meter, Persistence, persistence
from zoo.legible.seed_curves import moments
from zoo.legible.studies.configs import SeedingStudyConfig
from zoo.legible.studies.seeding_arms import ARMS, FROZEN, RANDOM, Setting, begun, pair, target
from zoo.legible.trainer import NetworkRecord, NetworkTraining, train_networks
from zoo.stack import Params

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Job:
    """A stack of networks: one of each arm."""

    config: SeedingStudyConfig
    pair: str
    setting: Setting
    seed: int


def run_job(job: Job) -> Rows:
    """Train and measure the networks of a job; one row for each arm and each point of its curve."""
    what = pair(job.pair)
    config = target(job.config, what.task, job.setting.norm)
    seed = int(np.random.SeedSequence([job.config.seed, job.seed]).generate_state(1)[0])
    arms = job.setting.arms
    seedings = [begun(what, config, seed, arm) for arm in arms]
    options, tasks = [ARMS[arm] for arm in arms], [what.task] * len(arms)
    meter = Meter(config, tasks, seedings, what.concept, seed, 96 if job.config.smoke else 384)
    points: dict[int, list[Persistence]] = {}

    def watch(step: int, params: Params) -> None:
        points[step] = meter(params)

    sgd = job.setting.optimizer == "sgd"
    training = NetworkTraining(
        steps=job.config.steps,
        lr=job.config.sgd_lr if sgd else job.config.lr,
        optimizer=cast(Literal["adamw", "sgd"], job.setting.optimizer),
    )
    trained = train_networks(
        config,
        stacked(config, [seeding.params for seeding in seedings]),
        tasks,
        [seed] * len(arms),
        training,
        rates=rates_of(seedings, options),
        restraints=[preservation(seedings, options)],
        watch=watch,
        watch_at=moments(job.config.steps),
    )
    return _rows(job, trained.records, points)


def _rows(job: Job, records: Sequence[NetworkRecord], points: dict[int, list[Persistence]]) -> Rows:
    """Measures with their persistence beside the random and the frozen network of the same job and point."""
    arms, out = job.setting.arms, []
    for step, measured in points.items():
        low, high = (asdict(measured[arms.index(arm)]) for arm in (RANDOM, FROZEN))
        for arm, record, one in zip(arms, records, measured, strict=True):
            row: dict[str, Any] = {"pair": job.pair, "seed": job.seed, "arm": arm, "step": step}
            row |= {"setting": job.setting.name, "norm": job.setting.norm, "optimizer": job.setting.optimizer}
            row |= {"steps_to_90": record.steps_to_goal, "final_accuracy": record.accuracy}
            row |= asdict(one)
            row |= {f"persistence_{m}": persistence(getattr(one, m), low[m], high[m]) for m in MEASURES}
            out.append(row)
    return out
