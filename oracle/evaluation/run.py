"""`weight-oracle eval`: the same questions under every condition, graded by execution, with intervals clustered by
target. What is finished is kept, so an evaluation that was stopped goes on where it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from tqdm import tqdm

from oracle.bases import ASSETS
from oracle.config import EvalConfig
from oracle.evaluation.bench import Bench, bench_of, graded
from oracle.evaluation.causal import Follows, causal
from oracle.evaluation.conditions import FEW, SWAPPED, Condition, conditions_of
from oracle.evaluation.folder import ReportFolder, identity_of
from oracle.evaluation.localisation import Rise, localisation
from oracle.evaluation.losses import program_losses
from oracle.evaluation.report import Report
from oracle.evaluation.results import results_of
from oracle.evaluation.rows import Row
from oracle.evaluation.tables import tables_of
from oracle.learned import contamination_of
from oracle.loading import load_examples
from oracle.oracle import WeightOracle
from oracle.subjects import Example
from tracr_tasks.errors import InputError
from zoo.store import Zoo

MAX_REFERENCES = 2_000
"""Targets that the controls know of a zoo of references."""


def evaluate(config: EvalConfig, warn: Callable[[str], None] = lambda text: None) -> Report:
    """Measure an oracle on a zoo; the report goes to `config.out` if given.

    Before anything runs, `warn` is told if the oracle has learned from functions that it is to be tested on.

    Raises:
        InputError: no zoo, no targets, or a folder with the report of something else.
    """
    torch.set_num_threads(config.threads)
    if config.zoo is None:
        raise InputError("eval: no zoo; expected --zoo DIR, or --compare A B for two reports")
    home, zoo = config.oracle or ASSETS / "oracle", Zoo.open(config.zoo)
    oracle = WeightOracle.from_pretrained(home)
    identity = identity_of(config, home, zoo)
    folder = ReportFolder(config.out, identity)
    contamination = contamination_of(home, zoo, config.splits, config.regimes)
    if contamination.number or not contamination.known:
        warn(str(contamination))
    bench = bench_of(
        oracle, tested(config, zoo, oracle), zoo, config.questions_per_target, config.seed, known(config, oracle)
    )
    report = examine(bench, conditions_of(config), folder)
    found = {**identity, "contamination": str(contamination), "targets": len(bench.examples)}
    report = replace(report, facts=found, **interventions(bench, config, folder))
    folder.finish(report, results_of(report), tables_of(report))
    return report


def interventions(bench: Bench, config: EvalConfig, folder: ReportFolder) -> dict[str, Any]:
    """What becomes of answers when a rule is changed in the weights, and when components are taken away."""
    if config.controls == "few" or not config.edits:
        return {}
    follows = folder.once("causal", Follows, lambda: causal(bench, config.edits))
    return {"follows": follows, "rises": folder.once("localisation", Rise, lambda: localisation(bench, config.edits))}


def tested(config: EvalConfig, zoo: Zoo, oracle: WeightOracle) -> list[Example]:
    """The targets under test, of all splits.

    Raises:
        InputError: there are none.
    """
    options: dict[str, Any] = {"limit": config.limit, "seed": config.seed, "regimes": config.regimes}
    found = [e for split in config.splits for e in load_examples(zoo, oracle.reader, split=split, **options)]
    if not found:
        raise InputError(f"{config.zoo}: no targets in the splits {', '.join(config.splits)}")
    return found


def known(config: EvalConfig, oracle: WeightOracle) -> list[Example]:
    """The targets that controls know from elsewhere; none if no zoo is named for them."""
    if config.references is None or config.controls == "few":
        return []
    zoo = Zoo.open(config.references)
    return load_examples(zoo, oracle.reader, split="train", limit=MAX_REFERENCES, seed=config.seed)


def examine(bench: Bench, conditions: Mapping[str, Condition] = FEW, folder: ReportFolder | None = None) -> Report:
    """Ask every question under every condition, and measure the losses on the right programs."""
    rows: list[Row] = []
    for name, condition in tqdm(conditions.items(), desc="conditions", leave=False):
        kept = None if folder is None else folder.rows(name)
        found = answered(bench, name, condition) if kept is None else kept
        if folder is not None and kept is None:
            folder.keep(name, found)
        rows += found
    return Report(tuple(rows), program_losses(bench.oracle, bench.examples, bench.donors, bench.seed))


def answered(bench: Bench, name: str, condition: Condition) -> list[Row]:
    """The graded answers of one condition; questions on which it has nothing to say are left out."""
    said = condition(bench)
    places: Sequence[int | None] = bench.donors if name == SWAPPED else [None] * len(bench.examples)
    pairs = list(zip(bench.asked, said, strict=True))
    bar = tqdm(pairs, desc=f"grading: {name}", leave=False)
    return [graded(bench, asked, each, name, places[asked.index]) for asked, each in bar if each is not None]
