"""One row of a zoo's index, and the parquet file of them all."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from tracr_tasks.errors import ZooError
from zoo.files import regular_file, shown

INDEX_FILE = "index.parquet"
HOW_TO_REPAIR = "`weight-oracle zoo verify --repair` makes it again"
FACTS_KEY = "zoo"
"""Of `IndexFacts` in the metadata of the parquet file."""
LATER = ("part",)
"""Last columns, which an index of version 0.1.0 may lack."""
Kind = Literal["rasp", "flowchart", "none"]


@dataclass(frozen=True)
class ZooRow:
    """What the index says of one target."""

    id: str
    """Regime and number, as in "trained-000042", after the name of the part if there is one."""
    shard: str
    """Name of the shard's file without its ending."""
    row: int
    """Row of the family's matrix in the shard."""
    family: str
    """Name of the architecture in layout.json, and of the matrix in the shard."""
    seed: int
    """What everything about this target was drawn from."""
    regime: str
    """How it got its weights."""
    kind: str
    """Language of the program; "none" where there is no program."""
    text: str
    """Canonical text of the program, "" where there is none."""
    program_vocab: str
    """JSON list of the program's input values (numbers stay numbers)."""
    input_names: tuple[str, ...]
    """Names of the rows of W_E."""
    output_names: tuple[str, ...]
    """Names of the columns of W_U."""
    max_seq_len: int
    """Longest input, BOS not counted."""
    causal: bool
    """Whether the program and the target see earlier positions only."""
    function_hash: str
    """16 hex digits; equal hashes, equal functions."""
    structure_hash: str
    """16 hex digits, the same under relabelling; "" where it is not defined."""
    split: str
    """train, val, test or structure."""
    n_params: int
    """Length of the row."""
    sha256: str
    """Of the row's little-endian float32 bytes."""
    labels: dict[str, Any] = field(default_factory=dict)
    """Measurements: accuracy, accuracy by branch, loss, sizes before padding, ..."""
    part: str = ""
    """Part of the spec that it belongs to; "" for the part without a name."""

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object."""
        return dict(vars(self))

    def function_key(self) -> tuple[str, str, str]:
        """Two targets of one zoo never have the same: part, regime and function."""
        return self.part, self.regime, self.function_hash

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ZooRow:
        """The inverse of `to_json`."""
        names = {name: tuple(value[name]) for name in ("input_names", "output_names")}
        return cls(**(value | names))


@dataclass(frozen=True)
class Failure:
    """A target that could not be made."""

    id: str
    seed: int
    reason: str


def by_reason(failures: Sequence[Failure]) -> dict[str, int]:
    """Number of failures by reason, most frequent first; long numbers (seeds) in a reason count as one."""
    return dict(Counter(re.sub(r"\d{7,}", "...", failure.reason) for failure in failures).most_common())


def content_hash(rows: Iterable[ZooRow]) -> str:
    """sha256 over ids, weights' hashes and functions, in order: two zoos with one content hash are one zoo."""
    lines = "\n".join(f"{row.id} {row.sha256} {row.function_hash}" for row in rows)
    return hashlib.sha256(lines.encode()).hexdigest()


@dataclass(frozen=True)
class IndexFacts:
    """What the index says beside its rows; kept in the parquet file's own metadata."""

    spec: dict[str, Any] | None = None
    """Fields of the zoo's spec: with them and an id the index alone is enough to make a target again."""
    duplicates: int = 0
    """Targets left out because an earlier one of their part and regime has their function."""
    failures: tuple[Failure, ...] = ()
    """Targets that could not be made."""


def index_bytes(rows: Sequence[ZooRow], facts: IndexFacts = IndexFacts()) -> bytes:
    """The index as a parquet file; equal rows and facts give equal bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    text, number, names = pa.string(), pa.int64(), pa.list_(pa.string())
    types = {"row": number, "seed": number, "max_seq_len": number, "n_params": number, "causal": pa.bool_()}
    types |= {"input_names": names, "output_names": names}
    about = {FACTS_KEY: json.dumps(asdict(facts), sort_keys=True)}
    schema = pa.schema([(f.name, types.get(f.name, text)) for f in fields(ZooRow)], about)
    records = [row.to_json() | {"labels": json.dumps(row.labels, sort_keys=True)} for row in rows]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(records, schema), buffer, write_page_checksum=True)
    return buffer.getvalue()


def read_index(directory: Path) -> list[ZooRow]:
    """Every row of a zoo's index.

    Raises:
        ZooError: the index is missing, damaged or of another version.
    """
    table = _read_table(directory)
    names = [f.name for f in fields(ZooRow)]
    if table.column_names not in (names, names[: -len(LATER)]):
        path = shown(directory / INDEX_FILE, 300)
        raise ZooError(f"{path}: columns {shown(table.column_names)}, expected {', '.join(names)}")
    return [ZooRow.from_json(record | {"labels": json.loads(record["labels"])}) for record in table.to_pylist()]


def read_facts(directory: Path) -> IndexFacts:
    """What the index says beside its rows; nothing where an earlier version wrote it.

    Raises:
        ZooError: the index is missing or damaged.
    """
    about = _read_table(directory).schema.metadata or {}
    try:
        values = json.loads(about.get(FACTS_KEY.encode(), b"{}"))
        failures = tuple(Failure(**each) for each in values.pop("failures", ()))
        return IndexFacts(failures=failures, **values)
    except (ValueError, TypeError) as problem:
        raise ZooError(f"{shown(directory / INDEX_FILE, 300)}: not a readable index ({shown(problem)})") from None


def _read_table(directory: Path) -> Any:
    """The parquet table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = directory / INDEX_FILE
    if not path.exists():
        raise ZooError(f"{shown(path, 300)}: no such file; {HOW_TO_REPAIR}")
    regular_file(path, ZooError)
    try:
        return pq.ParquetFile(path, page_checksum_verification=True).read()
    except (pa.ArrowException, OSError) as problem:
        raise ZooError(f"{shown(path, 300)}: not a readable index ({shown(problem)}); {HOW_TO_REPAIR}") from None
