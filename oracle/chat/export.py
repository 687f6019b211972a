"""Logs of Inspect as rows of answers.parquet, so that chat models stand in one table with an oracle.

    python -m oracle.chat.export logs/*.eval --out DIR

The condition of a row is inspect/MODEL/MODE/N, where N is the number of pairs that the model saw. Rows join those that
DIR/answers.parquet has, in the place of earlier ones of the same condition. A chat model states no confidence: it is 0,
as for every control that has none.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import tyro

from oracle.evaluation.rows import ANSWERS, Row, read_rows, write_rows
from tracr_tasks.errors import InputError, WeightOracleError
from zoo.files import shown

TASK = "weight_oracle_questions"
SCORER = "graded"
MISSING = "logs of Inspect need inspect_ai, which is not installed: pip install 'weight-oracle[inspect]'"


@dataclass(frozen=True)
class ExportConfig:
    """Write the answers of Inspect's logs as rows of answers.parquet."""

    logs: tyro.conf.Positional[tuple[Path, ...]]
    """Logs of the task weight_oracle_questions, of different models or modes."""
    out: Path
    """Folder of answers.parquet; rows of other conditions that it has stay."""


def rows_of(path: Path) -> list[Row]:
    """The graded answers of a log, in its order.

    Raises:
        InputError: no log of this task, one that did not finish, of several epochs, or with answers that were not
            graded; or inspect_ai is not installed.
    """
    log, where = _read(path), shown(path, 300)
    if log.eval.task.rpartition("/")[2] != TASK:
        raise InputError(f"{where}: a log of the task '{shown(log.eval.task)}', expected {TASK}")
    if log.status != "success":
        raise InputError(f"{where}: status {log.status}, expected success; `inspect eval-retry` goes on with it")
    samples = log.samples or []
    ungraded = sum(SCORER not in (sample.scores or {}) for sample in samples)
    if ungraded or not samples:
        raise InputError(f"{where}: {ungraded} of {len(samples)} answers were not graded, expected some and all graded")
    if any(sample.epoch != 1 for sample in samples):
        raise InputError(f"{where}: more than one epoch, expected one answer to each question")
    condition = f"inspect/{log.eval.model}/{log.eval.metadata['sight']}"
    return [_row(sample, condition) for sample in samples]


def _read(path: Path) -> Any:
    try:
        from inspect_ai.log import read_eval_log
    except ImportError:
        raise InputError(MISSING) from None
    if not path.is_file():
        raise InputError(f"{shown(path, 300)}: no such file, expected a log of Inspect")
    try:
        return read_eval_log(path)
    except Exception as problem:  # what it raises for a damaged log depends on the format, and is not documented
        raise InputError(f"{shown(path, 300)}: expected a log of Inspect, got {shown(problem)}") from None


def _row(sample: Any, condition: str) -> Row:
    """A row out of a sample: its metadata has the fields that were known before there was an answer."""
    score = sample.scores[SCORER]
    found = {**sample.metadata, **score.metadata, "condition": condition, "truth": sample.target, "confidence": 0.0}
    found |= {"answer": score.answer, "correct": score.value == "C"}
    return Row(**{field.name: found[field.name] for field in fields(Row) if field.name in found})


def export(logs: Sequence[Path], out: Path) -> Path:
    """Write the answers of logs to OUT/answers.parquet; the file.

    Raises:
        InputError: no logs, what `rows_of` raises, two logs of one condition, or a file there that holds something
            else.
    """
    if not logs:
        raise InputError("no logs, expected at least one of the task " + TASK)
    found: dict[str, list[Row]] = {}
    for path in logs:
        rows = rows_of(path)
        if (condition := rows[0].condition) in found:
            raise InputError(f"{shown(path, 300)}: a second log of '{shown(condition, 300)}', expected one of each")
        found[condition] = rows
    file = out / ANSWERS
    kept = [row for row in read_rows(file) if row.condition not in found] if file.exists() else []
    out.mkdir(parents=True, exist_ok=True)
    write_rows(file, [*kept, *(row for rows in found.values() for row in rows)])
    return file


def main() -> None:
    """`python -m oracle.chat.export LOG ... --out DIR`: prints the file; an error is one line, and status 2."""
    config = tyro.cli(ExportConfig)
    try:
        print(export(config.logs, config.out))
    except WeightOracleError as problem:
        print(f"error: {problem}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
