"""What an evaluation asks of which targets, without an oracle: no encoder, no reader, no language model.

The targets are those of `oracle.loading.load_examples` under the same split, limit and seed.
The questions are drawn by `oracle.evaluation.bench.questions_about`, as those of `weight-oracle eval` are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from oracle.bases import ASSETS
from oracle.evaluation.bench import questions_about
from oracle.facts import Question, Subject
from oracle.history_questions import prepared
from oracle.loading import rows_of
from oracle.oracle import CONFIG_FILE, read_facts
from oracle.questions import FAMILIES, FIRST_FAMILIES
from oracle.subjects import subject_of_target
from tracr_tasks.errors import InputError, OracleError
from zoo.files import shown
from zoo.rows import ZooRow
from zoo.store import Zoo
from zoo.target import Target


@dataclass(frozen=True)
class Examinee:
    """A target under examination."""

    row: ZooRow
    """What the zoo's index says of it."""
    target: Target
    """It answers as itself; an oracle reads it in a random gauge."""
    subject: Subject


def load_examinees(zoo: Zoo, *, split: str, limit: int, seed: int = 0) -> list[Examinee]:
    """Targets of a split, a seeded sample of them under a limit; each is run on the inputs that it is asked about.

    Raises:
        InputError: a limit under 1, or no targets in the split.
    """
    at_least_one("limit", limit)
    rows = rows_of(zoo, split, limit, seed)
    if not rows:
        there = ", ".join(sorted({row.split for row in zoo})) or "none"
        raise InputError(f"{shown(zoo.directory, 300)}: no targets in the split '{shown(split)}', expected {there}")
    bar = tqdm(rows, desc=f"{split} targets", leave=False, disable=True if len(rows) < 500 else None)
    found = [_examinee(zoo, row, seed + i) for i, row in enumerate(bar)]
    told = prepared([each.subject for each in found], seed)
    return [replace(each, subject=subject) for each, subject in zip(found, told, strict=True)]


def at_least_one(name: str, value: object) -> None:
    """Whether an option is a whole number of 1 or more.

    Raises:
        InputError: it is not.
    """
    if type(value) is not int or value < 1:
        raise InputError(f"{name} = {shown(value)}, expected a whole number from 1")


def _examinee(zoo: Zoo, row: ZooRow, seed: int) -> Examinee:
    target = zoo.target(row.id)
    return Examinee(row, target, subject_of_target(zoo.program(row.id), row.regime, target, seed, row.labels))


def questions_of(examinee: Examinee, n: int, seed: int, families: Sequence[str]) -> list[Question]:
    """Up to `n` questions about a target, its program first, in phrasings that are never trained on.

    Raises:
        InputError: `n` under 1.
    """
    at_least_one("questions_per_target", n)
    return questions_about(examinee.subject, n, seed, families, examinee.row.id)


def families_of_oracle(folder: Path | None = None) -> tuple[str, ...]:
    """Families that an oracle has learned to answer, out of its configuration; None: of the one that ships.

    Raises:
        OracleError: no such configuration, or one that names no families that there are.
    """
    path = (ASSETS / "oracle" if folder is None else folder) / CONFIG_FILE
    families = read_facts(path.parent).get("families", FIRST_FAMILIES)
    if not families or not set(families) <= set(FAMILIES):
        raise OracleError(f"{shown(path, 300)}: families = {shown(families)}, expected some of {', '.join(FAMILIES)}")
    return tuple(families)
