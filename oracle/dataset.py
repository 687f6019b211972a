"""Questions about the targets of a zoo as a table for `datasets`, joined with their weights when rows are read.

questions.parquet has one row a question: target, split, kind, regime, family, question, answer, detail (what the
grader needs). Answers about behaviour are the targets' own. Weights stay in the zoo.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from oracle.config import QuestionsConfig
from oracle.facts import Subject
from oracle.history_questions import prepared
from oracle.questions import draw, one_of_each
from oracle.subjects import subject_of_target
from tracr_tasks.errors import InputError
from zoo.files import write_atomic
from zoo.rows import ZooRow
from zoo.store import Zoo

if TYPE_CHECKING:
    import datasets

FILE = "questions.parquet"


@dataclass(frozen=True)
class QuestionRow:
    """One row of questions.parquet."""

    target: str
    """Id in the zoo."""
    split: str
    kind: str
    regime: str
    family: str
    question: str
    answer: str
    detail: str


def write_questions(config: QuestionsConfig) -> Path:
    """Ask about every target of a zoo (of one split, if named); the file, under `config.out`.

    The same zoo, options and seed give the same bytes.

    Raises:
        InputError: no targets.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    zoo = Zoo.open(config.zoo)
    rows = zoo.rows(split=config.split)
    if not rows:
        raise InputError(f"{config.zoo}: no target{f' in the split {config.split}' if config.split else ''}")
    asked = [asdict(row) for row in question_rows(zoo, rows, config)]
    table = pa.Table.from_pylist(asked).replace_schema_metadata({"zoo": zoo.content_hash(), "seed": str(config.seed)})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    config.out.mkdir(parents=True, exist_ok=True)
    write_atomic(config.out / FILE, [sink.getvalue().to_pybytes()])
    return config.out / FILE


def question_rows(zoo: Zoo, rows: Sequence[ZooRow], config: QuestionsConfig) -> Iterator[QuestionRow]:
    """Questions about targets, in the order of the zoo."""
    bar = tqdm(rows, desc="targets", leave=False, disable=True if len(rows) < 500 else None)
    told = [subject_of(zoo, row, config.seed + i) for i, row in enumerate(bar)]
    for i, (row, subject) in enumerate(zip(rows, prepared(told, config.seed), strict=True)):
        rng = random.Random(f"{config.seed}/{i}")
        if config.per_target is None:
            asked = one_of_each(subject, rng, test=config.test_phrasings)
        else:
            asked = draw(subject, config.per_target, rng, test=config.test_phrasings)
        about = (row.id, row.split, row.kind, row.regime)
        yield from (QuestionRow(*about, q.family, q.text, q.truth, q.detail) for q in asked)


def subject_of(zoo: Zoo, row: ZooRow, seed: int) -> Subject:
    """A target as questions see it; it is run on a few inputs."""
    return subject_of_target(zoo.program(row.id), row.regime, zoo.target(row.id), seed, row.labels)


def load_questions(path: Path | str, zoo: Path | str | None = None) -> datasets.Dataset:
    """The questions as a `datasets.Dataset`; with a zoo, each row that is read has `weights`, the target's flat float32
    row (`layout.json` of the zoo says where each tensor lies).

    Raises:
        InputError: the questions are about another zoo.
    """
    import datasets
    import pyarrow.parquet as pq

    file = Path(path) / FILE if Path(path).is_dir() else Path(path)
    found = datasets.Dataset.from_parquet(str(file), keep_in_memory=True)
    if zoo is None:
        return found
    opened = Zoo.open(Path(zoo))
    expected = (pq.read_schema(file).metadata or {}).get(b"zoo", b"").decode()
    if expected != opened.content_hash():
        raise InputError(
            f"{file}: questions about a zoo of hash {expected[:12]}, expected {opened.content_hash()[:12]} as in {zoo}"
        )

    def join(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return batch | {"weights": [opened.flat(target) for target in batch["target"]]}

    return found.with_transform(join)
