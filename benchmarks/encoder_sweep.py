"""Encoders against each other at several sizes of the training set, with and without relabelling, over several seeds.

    OMP_NUM_THREADS=1 python benchmarks/encoder_sweep.py --zoo ZOO --kind flowchart --out charts.json
    python benchmarks/encoder_table.py charts.json

Every run is one of `benchmarks/encoders.py` (same decoder, same steps, same held-out targets, each held-out function
both as it is stored and in a random gauge), and is added to the file as it ends. Seeds come outermost, so that a sweep
that was stopped has whole tables; run again, it goes on where it was.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Annotated

import tyro
from encoders import BenchConfig, append, load, settle, trained

from oracle.config import to_json
from oracle.subjects import Example
from zoo.store import Zoo


@dataclass(frozen=True)
class SweepConfig:
    """What is varied; the rest is that of each run."""

    bench: Annotated[BenchConfig, tyro.conf.arg(name="")]
    """Each run, but for its encoder, targets, relabel and seed."""
    encoders: tuple[str, ...] = ("channels", "routes", "circuits", "set", "flat", "statistics")
    """Of oracle.rivals.ENCODERS."""
    sizes: tuple[int, ...] = (1_000, 4_000, 16_000)
    """Numbers of training targets; all that there are, where that is fewer."""
    relabelled: tuple[bool, ...] = (True, False)
    """With and without relabelling (which leaves compiled programs as they are)."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of the training targets that are drawn, the initial weights and the order."""


def runs(config: SweepConfig) -> Iterator[BenchConfig]:
    """Every run, seeds outermost."""
    for seed, targets, relabel, encoder in product(config.seeds, config.sizes, config.relabelled, config.encoders):
        yield replace(config.bench, encoder=encoder, targets=targets, relabel=relabel, seed=seed)


def held_out(config: BenchConfig, zoo: Zoo) -> dict[str, list[Example]]:
    """Unseen functions as they are stored, the same in random gauges, and unseen structures in random gauges."""
    splits = {
        "test": load(config, zoo, "test", config.eval_targets, gauge=False),
        "test, gauged": load(config, zoo, "test", config.eval_targets, gauge=True),
        "structure": load(config, zoo, "structure", config.eval_targets, gauge=True),
    }
    return {name: examples for name, examples in splits.items() if examples}


def main(config: SweepConfig) -> None:
    """Load once, run what is missing."""
    settle()
    bench, out = config.bench, config.bench.out
    if out is None:
        raise SystemExit("--out: expected a JSON file for the runs")
    zoo = Zoo.open(bench.zoo)
    tests = held_out(bench, zoo)
    pool = load(bench, zoo, "train", max(config.sizes), bench.gauge_train)
    done = [run["config"] for run in json.loads(out.read_text())] if out.exists() else []
    for run in runs(config):
        if to_json(run) in done:
            continue
        chosen = random.Random(run.seed).sample(pool, min(run.targets, len(pool)))
        print(f"seed {run.seed}, {len(chosen)} targets, relabelled: {run.relabel}", flush=True)
        append(out, trained(run, tests | {"train": chosen}))


if __name__ == "__main__":
    main(tyro.cli(SweepConfig, description=__doc__))
