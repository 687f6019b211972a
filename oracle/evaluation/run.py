"""`weight-oracle eval`: the same questions under every condition, graded by execution, with intervals clustered by
target. What is finished is kept, so an evaluation that was stopped goes on where it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tqdm import tqdm

from oracle.bases import ASSETS
from oracle.config import EvalConfig
from oracle.evaluation import parts
from oracle.evaluation.bench import Bench
from oracle.evaluation.causal import Follows
from oracle.evaluation.conditions import FEW, Condition
from oracle.evaluation.folder import ReportFolder, identity_of
from oracle.evaluation.localisation import Rise
from oracle.evaluation.losses import Loss, program_losses
from oracle.evaluation.parts import COMPONENTS, EDITS, LOSSES, Evaluation, answered
from oracle.evaluation.report import Report
from oracle.evaluation.results import results_of
from oracle.evaluation.tables import tables_of
from oracle.learned import contamination_of
from tracr_tasks.errors import InputError
from zoo.store import Zoo


def evaluate(config: EvalConfig, warn: Callable[[str], None] = lambda text: None) -> Report:
    """Measure an oracle on a zoo; the report goes to `config.out` if given.

    Before anything runs, `warn` is told if the oracle has learned from functions that it is to be tested on.

    Raises:
        InputError: no zoo, no targets, or a folder with the report of something else.
        OracleError: a missing or damaged oracle.
    """
    if config.zoo is None:
        raise InputError("eval: no zoo; expected --zoo DIR, or --compare A B for two reports")
    home, zoo = config.oracle or ASSETS / "oracle", Zoo.open(config.zoo)
    identity = identity_of(config, home, zoo)
    with TemporaryDirectory() as scratch:
        folder = ReportFolder(config.out or Path(scratch), identity)
        contamination = contamination_of(home, zoo, config.splits, config.regimes)
        if contamination.number or not contamination.known:
            warn(str(contamination))
        evaluation = Evaluation(config, folder)
        make_parts(evaluation, identity)
        report = report_of(evaluation, {**identity, "contamination": str(contamination)})
        if config.out is not None:
            folder.finish(report, results_of(report), tables_of(report))
    return report


def make_parts(evaluation: Evaluation, identity: Mapping[str, Any]) -> None:
    """Make the parts that are not there yet, in as many processes as the configuration says."""
    config, folder = evaluation.config, evaluation.folder
    missing = [name for name in evaluation.parts if not folder.has(name)]
    with tqdm(total=len(missing), desc="parts of the evaluation") as bar:
        if config.processes == 1 or len(missing) < 2:
            for name in missing:
                evaluation.make(name)
                bar.update()
            return
        given = (config, folder.path, dict(identity))
        with ProcessPoolExecutor(
            config.processes, get_context("spawn"), initializer=parts.begin, initargs=given
        ) as pool:
            for done in as_completed([pool.submit(parts.make, name) for name in missing]):
                bar.set_postfix_str(done.result())
                bar.update()


def report_of(evaluation: Evaluation, facts: Mapping[str, Any]) -> Report:
    """The report that the parts make up."""
    folder = evaluation.folder
    rows = [row for name in evaluation.conditions for row in folder.rows(name)]
    found = {**facts, "targets": len({row.target for row in rows})}
    follows, rises = folder.findings(EDITS, Follows), folder.findings(COMPONENTS, Rise)
    return Report(tuple(rows), folder.findings(LOSSES, Loss), found, follows, rises)


def examine(bench: Bench, conditions: Mapping[str, Condition] = FEW) -> Report:
    """Ask every question under some conditions, and measure the losses on the right programs."""
    rows = [row for name, condition in conditions.items() for row in answered(bench, name, condition)]
    drafts = [each.draft for each in bench.evidence]
    return Report(tuple(rows), tuple(program_losses(bench.oracle, bench.examples, bench.donors, bench.seed, drafts)))
