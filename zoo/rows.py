"""One row of a zoo's index, and the parquet file of them all."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from tracr_tasks.errors import ZooError
from zoo.files import regular_file, shown, write_atomic

INDEX_FILE = "index.parquet"
Regime = Literal["compiled", "trained", "untrained"]
Kind = Literal["rasp", "flowchart", "none"]


@dataclass(frozen=True)
class ZooRow:
    """What the index says of one target."""

    id: str
    """Regime and number, as in "trained-000042"."""
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

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ZooRow:
        """The inverse of `to_json`."""
        names = {name: tuple(value[name]) for name in ("input_names", "output_names")}
        return cls(**(value | names))


def index_bytes(rows: Sequence[ZooRow]) -> bytes:
    """The index as a parquet file; equal rows give equal bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    text, number, names = pa.string(), pa.int64(), pa.list_(pa.string())
    types = {"row": number, "seed": number, "max_seq_len": number, "n_params": number, "causal": pa.bool_()}
    types |= {"input_names": names, "output_names": names}
    schema = pa.schema([(name, types.get(name, text)) for name in ZooRow.__dataclass_fields__])
    records = [row.to_json() | {"labels": json.dumps(row.labels, sort_keys=True)} for row in rows]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(records, schema), buffer)
    return buffer.getvalue()


def write_index(directory: Path, rows: Sequence[ZooRow]) -> None:
    """Replace a zoo's index."""
    write_atomic(directory / INDEX_FILE, [index_bytes(rows)])


def read_index(directory: Path) -> list[ZooRow]:
    """Every row of a zoo's index.

    Raises:
        ZooError: the index is missing, damaged or of another version.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = directory / INDEX_FILE
    regular_file(path, ZooError)
    try:
        table = pq.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as problem:
        raise ZooError(
            f"{shown(path, 300)}: not a readable index ({shown(problem)}); build again to restore it"
        ) from None
    expected = list(ZooRow.__dataclass_fields__)
    if table.column_names != expected:
        raise ZooError(f"{shown(path, 300)}: columns {shown(table.column_names)}, expected {', '.join(expected)}")
    return [ZooRow.from_json(record | {"labels": json.loads(record["labels"])}) for record in table.to_pylist()]
