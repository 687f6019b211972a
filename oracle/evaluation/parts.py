"""The parts of an evaluation: the answers under each condition, and the other findings. Each is made on its own, in any
order and any process, and kept in the report's folder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from oracle.bases import ASSETS
from oracle.config import EvalConfig
from oracle.console import quiet_libraries
from oracle.evaluation.bench import Bench, bench_of, graded
from oracle.evaluation.causal import causal
from oracle.evaluation.conditions import SWAPPED, Condition, conditions_of
from oracle.evaluation.folder import ReportFolder
from oracle.evaluation.localisation import localisation
from oracle.evaluation.losses import program_losses
from oracle.evaluation.rows import Row
from oracle.loading import load_examples
from oracle.oracle import WeightOracle, read_facts
from oracle.subjects import Example
from tracr_tasks.errors import InputError
from zoo.store import Zoo

LOSSES, EDITS, COMPONENTS = "losses", "edits", "components"
MAX_REFERENCES = 2_000
"""Targets that the controls know of a zoo of references."""


class Evaluation:
    """What an evaluation asks, made when the first part needs it."""

    def __init__(self, config: EvalConfig, folder: ReportFolder):
        self.config, self.folder = config, folder
        drafts = bool(read_facts(config.oracle or ASSETS / "oracle").get("drafts"))
        self.conditions = conditions_of(config, drafts)

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of all parts, those that take longest first."""
        few = self.config.controls == "few" or not self.config.edits
        return (*(() if few else (EDITS, COMPONENTS)), *reversed(self.conditions), LOSSES)

    @cached_property
    def bench(self) -> Bench:
        """The targets under test, and the questions.

        Raises:
            InputError: there are no targets.
        """
        config = self.config
        assert config.zoo is not None
        oracle, zoo = WeightOracle.from_pretrained(config.oracle).searching(config.search), Zoo.open(config.zoo)
        examples, known = tested(config, zoo, oracle), references(config, oracle)
        return bench_of(oracle, examples, zoo, config.questions_per_target, config.seed, known)

    def make(self, name: str) -> None:
        """Make a part and keep it."""
        torch.set_num_threads(self.config.threads)
        if name in self.conditions:
            self.folder.keep_rows(name, answered(self.bench, name, self.conditions[name]))
        else:
            self.folder.keep(name, self._found(name))

    def _found(self, name: str) -> Sequence[Any]:
        if name == EDITS:
            return causal(self.bench, self.config.edits)
        if name == COMPONENTS:
            return localisation(self.bench, self.config.edits)
        bench, drafts = self.bench, [each.draft for each in self.bench.evidence]
        return program_losses(bench.oracle, bench.examples, bench.donors, bench.seed, drafts)


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


def references(config: EvalConfig, oracle: WeightOracle) -> list[Example]:
    """The targets that controls know from elsewhere; none if no zoo is named for them."""
    if config.references is None or config.controls == "few":
        return []
    zoo = Zoo.open(config.references)
    return load_examples(zoo, oracle.reader, split="train", limit=MAX_REFERENCES, seed=config.seed)


def answered(bench: Bench, name: str, condition: Condition) -> list[Row]:
    """The graded answers of one condition; questions on which it has nothing to say are left out."""
    said = condition(bench)
    places: Sequence[int | None] = bench.donors if name == SWAPPED else [None] * len(bench.examples)
    pairs = list(zip(bench.asked, said, strict=True))
    bar = tqdm(pairs, desc=f"grading: {name}", leave=False)
    return [graded(bench, asked, each, name, places[asked.index]) for asked, each in bar if each is not None]


_HERE: list[Evaluation] = []
"""The evaluation that this process works for, if it is one of several."""


def begin(config: EvalConfig, path: Path, identity: dict[str, Any]) -> None:
    """Make this process one of those that work for an evaluation."""
    _HERE[:] = [Evaluation(config, ReportFolder(path, identity))]


def make(name: str) -> str:
    """Make a part in this process; its name."""
    with quiet_libraries():
        _HERE[0].make(name)
    return name
