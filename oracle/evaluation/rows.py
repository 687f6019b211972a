"""One graded answer, with everything that is needed to grade it again, and the parquet file of them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from oracle.facts import Question, Subject
from oracle.grade import Grade, grade
from tracr_tasks.errors import InputError
from zoo.files import shown, write_atomic
from zoo.rows import ZooRow
from zoo.store import Zoo

ANSWERS = "answers.parquet"


@dataclass(frozen=True)
class Row:
    """One graded answer."""

    target: str
    """Id of the target in the zoo."""
    kind: str
    """rasp, flowchart or none."""
    regime: str
    """How the target got its weights."""
    split: str
    """Split of the zoo that it is from."""
    part: str
    """Part of the zoo's spec."""
    size: int
    """Operations of a RASP program, conditions of a flowchart; 0 without a program."""
    n_layers: int
    """Of the target; so the next."""
    d_model: int
    """Width of the residual stream."""
    family: str
    """Of the question."""
    condition: str
    """What the reader was shown."""
    question: str
    """As it was asked."""
    detail: str
    """The input, token or operation in it."""
    truth: str
    """A right answer."""
    answer: str
    """What was said."""
    confidence: float
    """In the answer, from 0 to 1; 0 where a control has none."""
    parsed: bool
    """Whether the answer has the form that was asked for; so the next."""
    exact: bool
    """The true answer word for word."""
    correct: bool
    """Right (see `oracle.grade`)."""
    agreement: float
    """Share of inputs on which a proposed program agrees with the true one; 1 or 0 for other families."""
    donor: str = ""
    """Target whose weights were shown instead."""
    of_donor: bool = False
    """Whether the answer is right about the donor."""


def size_of(row: ZooRow) -> int:
    """Operations of a RASP program (lines of its text), conditions of a flowchart, 0 without a program."""
    if row.kind == "rasp":
        return sum(" = " in line for line in row.text.splitlines())
    return row.text.split().count("if") if row.kind == "flowchart" else 0


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """A parquet file with one row an answer; the same rows give the same bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist([asdict(r) for r in rows], schema=_schema()), sink)
    write_atomic(path, [sink.getvalue().to_pybytes()])


def _schema() -> object:
    import pyarrow as pa

    types = {"str": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}
    return pa.schema([(field.name, types[str(field.type)]) for field in fields(Row)])


def read_rows(path: Path) -> list[Row]:
    """The rows that `write_rows` wrote.

    Raises:
        InputError: no such file, or not one of graded answers.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as problem:
        raise InputError(
            f"{shown(path, 300)}: expected graded answers, got {shown(str(problem).splitlines()[0])}"
        ) from None
    if not table.schema.equals(_schema()):
        raise InputError(f"{shown(path, 300)}: has other columns than graded answers of this version")
    return [Row(**values) for values in table.to_pylist()]


def regraded(row: Row, zoo: Zoo) -> Grade:
    """A row graded again, from the zoo and the row alone."""
    found = zoo.row(row.target)
    subject = Subject(found.kind, found.regime, found.text, zoo.program(row.target), (), (), found.labels)
    asked = Question(row.family, row.question, row.truth, row.detail)
    return grade(asked, row.answer, subject, zoo.target(row.target))
