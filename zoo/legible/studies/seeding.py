"""`weight-oracle study seeding`: networks that start from a small legible one. Does it persist, where, and is it used?

Seeds are compiled programs, tasks use what they compute without asking for it (`seeding_arms`). All arms of a pair and
a seed are trained side by side on the same batches and measured on the way (`seeding_runs`, `zoo.legible.persistence`);
one pair is also trained with LayerNorm and with SGD. The report is `seeding_report`.
"""

from __future__ import annotations

from dataclasses import replace

from zoo.legible.studies.configs import SeedingStudyConfig
from zoo.legible.studies.pool import run_jobs
from zoo.legible.studies.report import claim_folder, write_rows, write_text
from zoo.legible.studies.seeding_arms import DESCENT, NORMED, PAIRS, PLAIN, Setting, check_pairs
from zoo.legible.studies.seeding_report import draw_curves, report
from zoo.legible.studies.seeding_runs import Job, run_job

SMOKE_STEPS = 12
"""Updates of a network of `--smoke`."""
FIGURE = "persistence.png"


def study(config: SeedingStudyConfig) -> str:
    """Run the study; returns the text of table.md.

    Raises:
        InputError: a seed does not fit into the networks (every reason of every pair, before anything is trained), or
            the folder holds something else.
    """
    runs = _runs(config)
    check_pairs(config, runs)
    claim_folder("seeding", config)
    sized = replace(config, seeds=1, steps=min(config.steps, SMOKE_STEPS)) if config.smoke else config
    jobs = [Job(sized, pair, setting, seed) for pair, setting in runs for seed in range(sized.seeds)]
    rows = [row for each in run_jobs(run_job, jobs, config.workers, "networks") for row in each]
    write_rows(config.out, rows)
    draw_curves(config.out / FIGURE, rows)
    text = report(sized, rows, FIGURE)
    write_text(config.out, text)
    return text


def _runs(config: SeedingStudyConfig) -> list[tuple[str, Setting]]:
    """Pairs and settings: all pairs without norm and with AdamW, the first also in the other settings."""
    pairs = PAIRS[:1] if config.smoke else PAIRS
    return [*((pair, PLAIN) for pair in pairs), (PAIRS[0], NORMED), (PAIRS[0], DESCENT)]
