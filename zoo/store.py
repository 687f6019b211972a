"""A zoo on disk.

    spec.json              what it was built from (spec.py)
    layout.json            {family: {config, tensors: [{name, shape, offset}]}}
    index.parquet          one row a target (rows.py)
    README.md              the dataset card (card.py)
    shards/*.safetensors   the weights, one flat float32 row a target (shard.py)

Index, layout and card are made from the shards and can be made again (merge.py).
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from tracr_tasks.errors import InputError, ZooError
from tracr_tasks.transformer import TargetConfig
from zoo.files import memory_maps, read_json, shown
from zoo.flowchart import Flowchart
from zoo.flowchart_parser import parse_flowchart
from zoo.padding import crop_layers
from zoo.rows import HOW_TO_REPAIR, INDEX_FILE, ZooRow, content_hash, read_facts, read_index
from zoo.shard import SHARD_DIR, read_shard, row_sha256, shard_path, unflatten
from zoo.spec import MAX_SPEC_BYTES, ZooSpec, spec_from_fields
from zoo.target import Target, Vocab
from zoo.target_files import config_from_json

if TYPE_CHECKING:
    from tracr_tasks.rasp import Program

LAYOUT_FILE, SPEC_FILE = "layout.json", "spec.json"
MAX_MAPPED = 256
"""Shards that are mapped into memory at once; each takes one of the files that a process may have open."""


class Zoo:
    """A zoo, opened for reading. Weights are read when asked for, one row at a time."""

    def __init__(self, directory: Path, families: dict[str, TargetConfig], rows: list[ZooRow]):
        self.directory = directory
        self.families = families
        self._rows = {row.id: row for row in rows}
        self._shards: OrderedDict[str, dict[str, Float[np.ndarray, "rows n_params"]]] = OrderedDict()

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

    @cached_property
    def spec(self) -> ZooSpec:
        """What it was built from: spec.json, or where that is missing the copy in the index.

        Raises:
            ZooError: it is damaged, or both are missing.
        """
        has_file = (self.directory / SPEC_FILE).exists()
        return read_spec(self.directory) if has_file else spec_of_index(self.directory)

    def rows(
        self, *, split: str | None = None, regime: str | None = None, kind: str | None = None, part: str | None = None
    ) -> list[ZooRow]:
        """Rows of the index, in its order, that have the values given; part "" is the one without a name."""
        wanted = {"split": split, "regime": regime, "kind": kind, "part": part}
        asked = {field: value for field, value in wanted.items() if value is not None}
        return [row for row in self if all(getattr(row, field) == value for field, value in asked.items())]

    def content_hash(self) -> str:
        """Of all targets, in order: two zoos with one hash are one zoo."""
        return content_hash(self)

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
            raise ZooError(f"{shown(self.directory, 300)}: '{row.id}' is not where the index says; {HOW_TO_REPAIR}")
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
        return target_of_row(row, self.families[row.family], self.flat(target_id, check=check))

    def program(self, target_id: str) -> Flowchart | Program | None:
        """A target's program; None where it has none (an untrained target).

        Raises:
            ZooError: no such target.
            ProgramError: the index holds a text that does not parse.
        """
        return program_of(self.row(target_id))

    def _matrix(self, row: ZooRow) -> Float[np.ndarray, "rows n_params"]:
        path = shard_path(self.directory, row.shard)
        if row.shard not in self._shards:
            self._shards[row.shard] = memory_maps(path, read_shard(path).header.tensors)
        self._shards.move_to_end(row.shard)
        if len(self._shards) > MAX_MAPPED:
            self._shards.popitem(last=False)
        families = self._shards[row.shard]
        if row.family not in families:
            raise ZooError(f"{shown(path, 300)}: no family '{shown(row.family)}', which the index names")
        return families[row.family]


def read_spec(directory: Path) -> ZooSpec:
    """What a zoo was built from, from spec.json.

    Raises:
        ZooError: it cannot be read.
    """
    path = directory / SPEC_FILE
    return _spec(read_json(path, MAX_SPEC_BYTES, ZooError), path)


def spec_of_index(directory: Path) -> ZooSpec:
    """What a zoo was built from, from the copy that the index holds.

    Raises:
        ZooError: the index cannot be read, or an earlier version wrote it and it holds none.
    """
    path = directory / INDEX_FILE
    if (values := read_facts(directory).spec) is None:
        raise ZooError(f"{shown(path, 300)}: holds no copy of {SPEC_FILE}; build again with the spec")
    return _spec(values, path)


def _spec(values: Any, path: Path) -> ZooSpec:
    try:
        return spec_from_fields(values, shown(path, 300))
    except InputError as problem:
        raise ZooError(str(problem)) from None


def target_of_row(row: ZooRow, config: TargetConfig, flat: Float[np.ndarray, " n_params"]) -> Target:
    """A target out of its index row, its family's configuration and its flat weights, in the shape it was made in."""
    weights = unflatten(config, flat)
    if "layers" in row.labels:
        config, weights = crop_layers(config, weights, [(h, k, m) for h, k, m in row.labels["layers"]])
    return Target(config, weights, Vocab(row.input_names, row.output_names))


def program_of(row: ZooRow) -> Flowchart | Program | None:
    """The program of an index row (see `Zoo.program` for what is raised)."""
    if row.kind == "flowchart":
        return parse_flowchart(row.text, json.loads(row.program_vocab), row.output_names, row.max_seq_len)
    if row.kind == "rasp":
        from tracr_tasks.text import parse_program

        return parse_program(row.text, json.loads(row.program_vocab), row.max_seq_len, row.causal)
    return None
