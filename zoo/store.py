"""A zoo on disk.

    spec.json              what it was built from
    layout.json            {family: {config, tensors: [{name, shape, offset}]}}
    index.parquet          one row a target (rows.py)
    shards/*.safetensors   the weights, one flat float32 row a target (shard.py)

The index and the layout are made from the shards and can be made again; they leave out targets whose function another
target of the same regime had before.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from tracr_tasks.errors import ZooError
from tracr_tasks.transformer import TargetConfig
from zoo.files import memory_map, read_json, shown, write_atomic
from zoo.flowchart import Flowchart
from zoo.flowchart_parser import parse_flowchart
from zoo.padding import crop_layers
from zoo.rows import INDEX_FILE, ZooRow, read_index, write_index
from zoo.shard import SHARD_DIR, SUFFIX, Shard, layout_of, read_shard, row_sha256, shard_path, unflatten
from zoo.spec import REGIMES
from zoo.target import Target, Vocab
from zoo.target_files import config_from_json

if TYPE_CHECKING:
    from tracr_tasks.rasp import Program

LAYOUT_FILE = "layout.json"


@dataclass(frozen=True)
class MergeReport:
    """What the index was made of."""

    rows: int
    """Targets in the index."""
    duplicates: int
    """Targets left out because an earlier one of their regime has their function."""
    failures: int
    """Targets that could not be made."""


class Zoo:
    """A zoo, opened for reading. Weights are read when asked for, one row at a time."""

    def __init__(self, directory: Path, families: dict[str, TargetConfig], rows: list[ZooRow]):
        self.directory = directory
        self.families = families
        self._rows = {row.id: row for row in rows}
        self._matrices: dict[tuple[str, str], Float[np.ndarray, "rows n_params"]] = {}

    @classmethod
    def open(cls, directory: Path | str) -> Zoo:
        """Read a zoo's layout and index.

        Raises:
            ZooError: no such folder, or a file of it is missing or damaged.
        """
        directory = Path(directory)
        if not directory.is_dir():
            raise ZooError(f"{shown(directory, 300)}: no such zoo, expected a folder with {INDEX_FILE}")
        path = directory / LAYOUT_FILE
        if not path.exists() and (directory / SHARD_DIR).is_dir():
            raise ZooError(
                f"{shown(directory, 300)}: an unfinished zoo; run `weight-oracle zoo build` again to finish it"
            )
        layout = read_json(path, 1 << 28, ZooError)
        if not isinstance(layout, dict) or not all(isinstance(v, dict) and "config" in v for v in layout.values()):
            raise ZooError(f"{shown(path, 300)}: expected an object of families, each with its config")
        families = {name: config_from_json(value["config"], path) for name, value in layout.items()}
        return cls(directory, families, read_index(directory))

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy in another process opens the files itself."""
        return (Zoo.open, (self.directory,))

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[ZooRow]:
        return iter(self._rows.values())

    def rows(self, *, split: str | None = None, regime: str | None = None, kind: str | None = None) -> list[ZooRow]:
        """Rows of the index, in its order, that have the values given."""
        wanted = {"split": split, "regime": regime, "kind": kind}
        asked = {field: value for field, value in wanted.items() if value is not None}
        return [row for row in self if all(getattr(row, field) == value for field, value in asked.items())]

    def content_hash(self) -> str:
        """sha256 over the ids and the weights' hashes of all targets, in order: two zoos with one hash are one zoo."""
        lines = "\n".join(f"{row.id} {row.sha256} {row.function_hash}" for row in self)
        return hashlib.sha256(lines.encode()).hexdigest()

    def row(self, target_id: str) -> ZooRow:
        """The index row of a target.

        Raises:
            ZooError: no such target.
        """
        if target_id not in self._rows:
            raise ZooError(f"{shown(self.directory, 300)}: no target '{shown(target_id)}' among {len(self)}")
        return self._rows[target_id]

    def flat(self, target_id: str, *, check: bool = False) -> Float[np.ndarray, " n_params"]:
        """A target's weights as one row, read from the memory-mapped shard; `check` compares its sha256.

        Raises:
            ZooError: no such target, a damaged shard, or (with `check`) bytes that changed.
        """
        row = self.row(target_id)
        matrix = self._matrix(row)
        if row.row >= len(matrix) or row.n_params != matrix.shape[1]:
            raise ZooError(
                f"{shown(self.directory, 300)}: '{row.id}' is not where the index says; build again to restore"
            )
        flat = np.array(matrix[row.row])
        if check and (got := row_sha256(flat)) != row.sha256:
            path = shard_path(self.directory, row.shard)
            raise ZooError(
                f"{shown(path, 300)}: weights of '{row.id}' have sha256 {got[:12]}, expected {row.sha256[:12]}"
            )
        return flat

    def target(self, target_id: str, *, check: bool = False) -> Target:
        """A target in the shape it was made in, ready to run (see `flat` for what is raised)."""
        row = self.row(target_id)
        config = self.families[row.family]
        weights = unflatten(config, self.flat(target_id, check=check))
        if "layers" in row.labels:
            config, weights = crop_layers(config, weights, [(h, k, m) for h, k, m in row.labels["layers"]])
        return Target(config, weights, Vocab(row.input_names, row.output_names))

    def program(self, target_id: str) -> Flowchart | Program | None:
        """A target's program; None where it has none (an untrained target).

        Raises:
            ZooError: no such target.
            ProgramError: the index holds a text that does not parse.
        """
        return program_of(self.row(target_id))

    def _matrix(self, row: ZooRow) -> Float[np.ndarray, "rows n_params"]:
        key = (row.shard, row.family)
        if key not in self._matrices:
            path = shard_path(self.directory, row.shard)
            for family, entry in read_shard(path).header.tensors.items():
                self._matrices[row.shard, family] = memory_map(path, entry)
            if key not in self._matrices:
                raise ZooError(f"{shown(path, 300)}: no family '{shown(row.family)}', which the index names")
        return self._matrices[key]


def program_of(row: ZooRow) -> Flowchart | Program | None:
    """The program of an index row (see `Zoo.program` for what is raised)."""
    if row.kind == "flowchart":
        return parse_flowchart(row.text, json.loads(row.program_vocab), row.output_names, row.max_seq_len)
    if row.kind == "rasp":
        from tracr_tasks.text import parse_program

        return parse_program(row.text, json.loads(row.program_vocab), row.max_seq_len, row.causal)
    return None


def shard_names(directory: Path) -> list[str]:
    """Shards of a zoo, in the order of the index."""
    names = [path.name.removesuffix(SUFFIX) for path in (directory / SHARD_DIR).glob("[!.]*" + SUFFIX)]
    rank = {regime: i for i, regime in enumerate(REGIMES)}
    return sorted(names, key=lambda name: (rank.get(name.rsplit("-", 1)[0], len(rank)), name))


def merge_index(directory: Path) -> MergeReport:
    """Make layout.json and index.parquet out of the shards.

    Raises:
        ZooError: a shard is damaged.
    """
    families: dict[str, TargetConfig] = {}
    rows: list[ZooRow] = []
    seen: set[tuple[str, str]] = set()
    counts: Counter[str] = Counter()
    for name in shard_names(directory):
        shard: Shard = read_shard(shard_path(directory, name))
        families |= shard.families
        counts["failures"] += len(shard.failures)
        for row in shard.rows:
            if (key := (row.regime, row.function_hash)) in seen:
                counts["duplicates"] += 1
                continue
            seen.add(key)
            rows.append(row)
    write_atomic(directory / LAYOUT_FILE, [_layout_bytes(families)])
    write_index(directory, rows)
    return MergeReport(len(rows), counts["duplicates"], counts["failures"])


def _layout_bytes(families: dict[str, TargetConfig]) -> bytes:
    layout = {
        name: {
            "config": config.to_json(),
            "tensors": [{"name": n, "shape": list(shape), "offset": at} for n, shape, at in layout_of(config)],
        }
        for name, config in sorted(families.items())
    }
    return (json.dumps(layout, indent=1) + "\n").encode()
