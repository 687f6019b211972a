"""Stored tensors of other people's models, read one at a time: a safetensors file, or several with an index."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from math import prod
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from jaxtyping import Float

from tracr_tasks.errors import TargetError
from zoo.files import (
    MAX_TENSORS,
    TensorEntry,
    are_naturals,
    check_tiling,
    checked_entry,
    raw_header,
    read_json,
    read_tensor,
    shown,
)
from zoo.target_files import WEIGHTS_FILE, finite, refuse_pickles

INDEX_FILE = "model.safetensors.index.json"
MAX_INDEX_BYTES = 16 << 20
MAX_SHARDS = 1_000
MASKS = ("BOOL", "U8")
"""Dtypes, one byte each, in which TransformerLens and old GPT-NeoX files keep attention masks; no weight has them."""
COMPARED_AT_ONCE = 16 << 20


class Checkpoint(ABC):
    """Named tensors in files. Opening reads names and shapes; data is read when asked for."""

    shapes: Mapping[str, tuple[int, ...]]
    """Shape of every stored tensor that holds weights."""

    @abstractmethod
    def path(self, name: str) -> Path:
        """The file that holds a tensor, or where it would be."""

    @abstractmethod
    def read(self, name: str) -> Float[np.ndarray, "..."]:
        """One tensor as float32.

        Raises:
            TargetError: NaN or Inf in it.
        """

    def same(self, one: str, other: str) -> bool:
        """Whether two tensors of one shape hold the same numbers."""
        return np.array_equal(self.read(one), self.read(other))


class SafetensorsCheckpoint(Checkpoint):
    """model.safetensors of a folder, or the files that its model.safetensors.index.json names."""

    def __init__(self, folder: Path, buffers: str, file: str = WEIGHTS_FILE):
        """Open a folder; stored names that match `buffers` (a regular expression) hold no weights and are left out.

        Raises:
            TargetError: no weights, a pickle instead, a damaged file, or an index that does not fit the files.
        """
        self._default = folder / file
        self._places: dict[str, tuple[Path, TensorEntry]] = {}
        if (folder / INDEX_FILE).exists() and not self._default.exists():
            self._open_index(folder, buffers)
        else:
            if not self._default.exists():
                refuse_pickles(folder, file)
            self._add(inside(folder, file, folder), buffers)
        self.shapes = {name: entry.shape for name, (_, entry) in self._places.items()}

    def _open_index(self, folder: Path, buffers: str) -> None:
        """Check the index against the headers of the files that it names."""
        index = inside(folder, INDEX_FILE, folder)
        where = shown(index, 300)
        fields = read_json(index, MAX_INDEX_BYTES, TargetError)
        found = fields.get("weight_map") if isinstance(fields, dict) else None
        if not isinstance(found, dict) or not all(isinstance(file, str) for file in found.values()):
            raise TargetError(f"{where}: expected an object weight_map of tensor names and file names")
        if (files := len(set(found.values()))) > MAX_SHARDS:
            raise TargetError(f"{where}: {files} files, expected at most {MAX_SHARDS}")
        for file in sorted(set(found.values())):
            self._add(inside(folder, file, index), buffers)
        for name, file in found.items():
            if not re.fullmatch(buffers, name) and (name not in self._places or self._places[name][0].name != file):
                raise TargetError(f"{where}: tensor '{shown(name)}' is not in {shown(file)}, expected it there")

    def _add(self, path: Path, buffers: str) -> None:
        """The tensors of one file."""
        for name, entry in checkpoint_header(path, buffers).items():
            if name in self._places:
                raise TargetError(f"{shown(path, 300)}: tensor '{name}' is also in {shown(self._places[name][0].name)}")
            self._places[name] = (path, entry)
        if len(self._places) > MAX_TENSORS:
            raise TargetError(f"{shown(path, 300)}: {len(self._places)} tensors so far, expected at most {MAX_TENSORS}")

    def path(self, name: str) -> Path:
        """See `Checkpoint.path`."""
        return self._places[name][0] if name in self._places else self._default

    def read(self, name: str) -> Float[np.ndarray, "..."]:
        """See `Checkpoint.read`."""
        path, entry = self._places[name]
        return finite(read_tensor(path, entry), name, path)

    def same(self, one: str, other: str) -> bool:
        """See `Checkpoint.same`; compared a piece at a time where both are of one dtype."""
        (path, entry), (other_path, other_entry) = self._places[one], self._places[other]
        if entry.dtype != other_entry.dtype:
            return super().same(one, other)
        with path.open("rb") as file, other_path.open("rb") as other_file:
            for done in range(0, entry.end - entry.start, COMPARED_AT_ONCE):
                n = min(COMPARED_AT_ONCE, entry.end - entry.start - done)
                file.seek(entry.start + done)
                other_file.seek(other_entry.start + done)
                if file.read(n) != other_file.read(n):
                    return False
        return True


def inside(folder: Path, name: str, told_by: Path) -> Path:
    """A file of a folder by its plain name.

    Raises:
        TargetError: the name is not that of a file in the folder, or a link that leads out of it.
    """
    if not name or PurePath(name).name != name or not name.isprintable():
        raise TargetError(
            f"{shown(told_by, 300)}: file '{shown(name)}', expected the name of a file in the same folder"
        )
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise TargetError(f"{shown(path, 300)}: a link that leads out of the folder, expected the file itself (cp -L)")
    return path


def checkpoint_header(path: Path, buffers: str) -> dict[str, TensorEntry]:
    """The weights of one safetensors file: `zoo.files.read_header`, in a file that may also hold masks.

    Raises:
        TargetError: what `read_header` refuses, or an integer or boolean tensor whose name does not match `buffers`.
    """
    where = shown(path, 300)
    fields, _, base = raw_header(path, TargetError)
    masks = {n for n, v in fields.items() if re.fullmatch(buffers, n) and _is_mask(v)}
    found = {
        n: _mask_entry(v, base) if n in masks else checked_entry(n, v, base, where, TargetError)
        for n, v in fields.items()
    }
    check_tiling(found, base, path.stat().st_size, where, TargetError)
    return {name: entry for name, entry in found.items() if not re.fullmatch(buffers, name)}


def _is_mask(value: Any) -> bool:
    """Whether a header's field is that of a well-formed tensor of bytes."""
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"} or value["dtype"] not in MASKS:
        return False
    shape, offsets = value["shape"], value["data_offsets"]
    return (
        are_naturals(shape) and are_naturals(offsets) and len(offsets) == 2 and offsets[1] - offsets[0] == prod(shape)
    )


def _mask_entry(value: dict[str, Any], base: int) -> TensorEntry:
    start, end = value["data_offsets"]
    return TensorEntry(value["dtype"], tuple(value["shape"]), base + start, base + end)
