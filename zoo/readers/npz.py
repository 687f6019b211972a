"""NumPy's .npz without trust: a zip of arrays; none is unpacked before its size is known, and pickles never are.

A zip says how large each member will be. That is added up first; a member then must start with a NumPy header of a
float array that fills exactly that size, so neither a bomb nor a header of a huge shape makes us allocate anything.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import Float

from tracr_tasks.errors import TargetError
from zoo.files import MAX_NAME, MAX_RANK, MAX_TENSORS, regular_file, shown
from zoo.readers.checkpoint import Checkpoint
from zoo.target_files import MAX_PARAMETERS, finite

MAX_BYTES = 8 * MAX_PARAMETERS
"""Of all members together, unpacked."""
KINDS = ("f2", "f4", "f8")
"""Accepted dtypes, in either byte order."""


class NpzCheckpoint(Checkpoint):
    """The arrays of one .npz. A '/' in a name is given as '.', as safetensors has it."""

    def __init__(self, path: Path):
        """Check every member's size and header.

        Raises:
            TargetError: not a zip, too many members or bytes, or a member that is not a plain array of floats.
        """
        self._path, self._where = path, shown(path, 300)
        regular_file(path, TargetError)
        self._members: dict[str, zipfile.ZipInfo] = {}
        try:
            with zipfile.ZipFile(path) as archive:
                self._list(archive)
                self.shapes = {name: self._shape(archive, name) for name in self._members}
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError) as problem:
            raise TargetError(f"{self._where}: not an archive of arrays ({shown(problem)})") from None

    def path(self, name: str) -> Path:
        """See `Checkpoint.path`."""
        return self._path

    def read(self, name: str) -> Float[np.ndarray, "..."]:
        """See `Checkpoint.read`."""
        try:
            with zipfile.ZipFile(self._path) as archive, archive.open(self._members[name]) as member:
                array = np.lib.format.read_array(member, allow_pickle=False)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as problem:
            raise TargetError(f"{self._where}: tensor '{name}' cannot be unpacked ({shown(problem)})") from None
        with np.errstate(over="ignore"):  # a double beyond float32 becomes inf, which is refused by name
            return finite(np.ascontiguousarray(array, dtype=np.float32).reshape(array.shape), name, self._path)

    def _list(self, archive: zipfile.ZipFile) -> None:
        """Members by name, their number and sizes bounded."""
        infos = archive.infolist()
        if len(infos) > MAX_TENSORS:
            raise TargetError(f"{self._where}: {len(infos)} members, expected at most {MAX_TENSORS}")
        if (total := sum(info.file_size for info in infos)) > MAX_BYTES:
            raise TargetError(f"{self._where}: {total} bytes unpacked, expected at most {MAX_BYTES}")
        for info in infos:
            name = info.filename.removesuffix(".npy").replace("/", ".")
            if not info.filename.endswith(".npy") or info.flag_bits & 1:
                raise TargetError(f"{self._where}: member '{shown(info.filename)}', expected plain .npy arrays alone")
            if not name.isprintable() or not name.isascii() or len(name) > MAX_NAME:
                raise TargetError(f"{self._where}: member '{shown(info.filename)}', expected a plain name")
            if name in self._members:
                raise TargetError(f"{self._where}: member '{name}' twice")
            self._members[name] = info

    def _shape(self, archive: zipfile.ZipFile, name: str) -> tuple[int, ...]:
        """A member's shape, from its header; its data is not unpacked."""
        at = f"{self._where}: tensor '{name}'"
        with archive.open(self._members[name]) as member:
            try:
                version = np.lib.format.read_magic(member)
                read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
                if version not in read:
                    raise ValueError(f"version {version}")
                shape, _, dtype = read[version](member)
            except ValueError as problem:
                raise TargetError(f"{at} is not a NumPy array ({shown(problem)})") from None
            header = member.tell()
        if dtype.str[1:] not in KINDS or len(shape) > MAX_RANK:
            raise TargetError(
                f"{at}: dtype {shown(dtype)} and {len(shape)} dimensions, expected floats in up to {MAX_RANK}"
            )
        count = 1
        for size in shape:
            count *= int(size)
        expected, got = header + count * dtype.itemsize, self._members[name].file_size
        if min(shape, default=0) < 0 or expected != got:
            raise TargetError(f"{at}: {got} bytes, expected {expected} for shape {list(shape)}")
        return tuple(int(size) for size in shape)
