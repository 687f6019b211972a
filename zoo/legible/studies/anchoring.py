"""`study anchoring`: concepts pulled towards axes known in advance, beside the controls that could explain it away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from zoo.legible.anchor_measures import measure_anchor
from zoo.legible.anchoring import anchor_penalty, draw_anchor
from zoo.legible.initial import initial_params
from zoo.legible.studies.anchoring_arms import Case, arms_of, cases_of, network_of, task_in
from zoo.legible.studies.anchoring_figures import SIDES, draw_removal, draw_where
from zoo.legible.studies.anchoring_text import text_of
from zoo.legible.studies.configs import AnchoringStudyConfig
from zoo.legible.studies.pool import run_jobs
from zoo.legible.studies.report import claim_folder, write_rows, write_text
from zoo.legible.trainer import NetworkTraining, train_networks

LR = 1e-2
"""Learns every task here in 300 steps or fewer without an anchor."""
SMOKE_STEPS = 30
FIGURES = ("alignment", "margin", "auroc", "cosine", "grading", "probe")
"""Fields of the measures, beside the removals."""


@dataclass(frozen=True)
class _Job:
    """One stack: every arm of a case and a seed, from the same initial weights, on the same batches."""

    case: Case
    seed: int
    config: AnchoringStudyConfig


def study(config: AnchoringStudyConfig) -> str:
    """Train and measure every arm; write table.parquet, table.md, where.png and removal.png.

    Returns:
        The Markdown of table.md: what was done, the table with 95% intervals over seeds, and findings in words.

    Raises:
        InputError: the folder holds something else, or an option that no anchor can have.
    """
    arms_of(cases_of(config)[0], config)  # refuses impossible options before anything is written
    claim_folder("anchoring", config)
    given = replace(config, steps=min(config.steps, SMOKE_STEPS)) if config.smoke else config
    seeds = range(config.seed, config.seed + (1 if config.smoke else config.seeds))
    jobs = [_Job(case, seed, given) for case in cases_of(config) for seed in seeds]
    rows = [row for rows in run_jobs(measured, jobs, config.workers, "anchoring") for row in rows]
    write_rows(config.out, rows)
    draw_where(config.out / "where.png", rows)
    draw_removal(config.out / "removal.png", rows)
    text = text_of(rows, given)
    write_text(config.out, text)
    return text


def measured(job: _Job) -> list[Mapping[str, Any]]:
    """One row an arm."""
    config, case, task = job.config, job.case, task_in(job.case, job.config)
    arms, network = arms_of(case, config), network_of(task)
    tasks, seeds = [task] * len(arms), [job.seed] * len(arms)
    anchors = [
        draw_anchor(task, case.concept, case.value, network.d_model, job.seed, options) for options in arms.values()
    ]
    training = NetworkTraining(steps=config.steps * case.longer, lr=LR)
    pull = anchor_penalty(anchors, tasks, training, list(arms.values()))
    trained = train_networks(network, initial_params(network, seeds), tasks, seeds, training, penalties=[pull])
    rows: list[Mapping[str, Any]] = []
    for i, arm in enumerate(arms):
        one = {name: tensor[i : i + 1] for name, tensor in trained.params.items()}
        found = measure_anchor(network, one, task, anchors[i], case.state, job.seed)
        lost = {f"lost_{name}_{side}": getattr(each, side) for name, each in found.lost.items() for side in SIDES}
        facts = {"case": case.name, "arm": arm, "seed": job.seed, "labels": len(anchors[i].labelled)}
        facts |= {"inputs": len(task.ids), "state": case.state, "accuracy": trained.records[i].accuracy}
        facts |= {"cost": trained.records[0].accuracy - trained.records[i].accuracy}
        rows.append(facts | {name: getattr(found, name) for name in FIGURES} | lost)
    return rows
