"""Reading safetensors without trusting them, and writing files so that a kill leaves the old one or the new one.

A safetensors file is an 8-byte little-endian length, that many bytes of JSON {name: {dtype, shape, data_offsets}}, and
the data. The header is read and checked here before a single tensor is touched.
"""

from __future__ import annotations

import json
import os
import stat
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from tracr_tasks.errors import InputError
from zoo.fields import no_duplicates

MAX_HEADER = 8 << 20
"""Bytes of a safetensors header."""
MAX_TENSORS = 20_000
"""Tensors in one file."""
MAX_RANK = 4
"""Dimensions of one tensor."""
MAX_NAME = 256
"""Characters of a tensor's name."""
DTYPE_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
"""Accepted dtypes and their widths; all are read as float32."""
PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""First bytes of a torch file (zip or pickle)."""
HOW_TO_CONVERT = (
    "convert it where you trust it: "
    "safetensors.torch.save_file(torch.load(path, weights_only=True), 'model.safetensors')"
)


@dataclass(frozen=True)
class TensorEntry:
    """Where one tensor lies in a file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    """First byte, counted from the start of the file."""
    end: int


@dataclass(frozen=True)
class Header:
    """A checked safetensors header."""

    tensors: dict[str, TensorEntry]
    metadata: dict[str, str]


def shown(text: object, limit: int = 80) -> str:
    """A name as it may be printed: control, direction and other invisible characters escaped, cut to `limit`."""
    escaped = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
    return escaped if len(escaped) <= limit else escaped[: limit - 3] + "..."


def regular_file(path: Path, error: type[InputError] = InputError) -> int:
    """Size in bytes of a plain, non-empty file.

    Raises:
        error: missing, empty, unreadable, or a directory, FIFO, socket or device (which is not opened).
    """
    try:
        info = path.stat()
    except FileNotFoundError:
        raise error(f"{shown(path, 300)}: no such file") from None
    except OSError as problem:
        raise error(f"{shown(path, 300)}: cannot be read ({problem.strerror})") from None
    if not stat.S_ISREG(info.st_mode):
        raise error(f"{shown(path, 300)}: not a regular file")
    if info.st_size == 0:
        raise error(f"{shown(path, 300)}: the file is empty")
    if not os.access(path, os.R_OK):
        raise error(f"{shown(path, 300)}: cannot be read (permission denied)")
    return info.st_size


def read_json(path: Path, limit: int, error: type[InputError] = InputError) -> Any:
    """Parse a JSON file of at most `limit` bytes.

    Raises:
        error: missing, too long, not UTF-8, not JSON, or with a key twice.
    """
    size = regular_file(path, error)
    if size > limit:
        raise error(f"{shown(path, 300)}: {size} bytes, expected at most {limit}")
    try:
        return json.loads(path.read_bytes().decode("utf-8"), object_pairs_hook=no_duplicates)
    except (ValueError, RecursionError) as problem:
        raise error(f"{shown(path, 300)}: not valid JSON ({shown(problem)})") from None


def read_header(path: Path, error: type[InputError] = InputError) -> Header:
    """Read and check the header of a safetensors file; the data is not read.

    Raises:
        error: not a plain file, a pickle, a header or a tensor beyond the limits, data that overlaps, leaves a hole or
            does not fill the file.
    """
    where = shown(path, 300)
    fields, metadata, base = raw_header(path, error)
    tensors = {name: checked_entry(name, value, base, where, error) for name, value in fields.items()}
    check_tiling(tensors, base, path.stat().st_size, where, error)
    return Header(tensors, metadata)


def raw_header(path: Path, error: type[InputError] = InputError) -> tuple[dict[str, Any], dict[str, str], int]:
    """What the header of a safetensors file says of each tensor, as it stands; its metadata; where the data begin.

    Raises:
        error: not a plain file, a pickle, or a header beyond the limits.
    """
    where = shown(path, 300)
    raw = _header_bytes(path, where, error)
    # Counted before parsing, which takes seconds where there are 100,000. In a text of JSON the quotes are escaped.
    if (count := raw.count(b'"dtype"')) <= MAX_TENSORS:
        try:
            fields = json.loads(raw.decode("utf-8"), object_pairs_hook=no_duplicates)
        except (ValueError, RecursionError) as problem:
            raise error(f"{where}: header is not valid JSON ({shown(problem)})") from None
        if not isinstance(fields, dict):
            raise error(f"{where}: header is {type(fields).__name__}, expected an object")
        metadata = fields.pop("__metadata__", {})
        if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
            raise error(f"{where}: __metadata__ is not an object of strings")
        count = len(fields)
    if count > MAX_TENSORS:
        raise error(f"{where}: {count} tensors, expected at most {MAX_TENSORS}")
    return fields, metadata, 8 + len(raw)


def _header_bytes(path: Path, where: str, error: type[InputError]) -> bytes:
    """The text of a safetensors header."""
    size = regular_file(path, error)
    with path.open("rb") as file:
        head = file.read(8)
        if head.startswith(PICKLE_STARTS) and any(head[3:]):
            raise error(f"{where}: a pickle or zip, refused unread, expected safetensors; {HOW_TO_CONVERT}")
        if len(head) < 8:
            raise error(f"{where}: {size} bytes, expected a safetensors file")
        (length,) = struct.unpack("<Q", head)
        if length > MAX_HEADER:
            raise error(
                f"{where}: header of {length} bytes, expected at most {MAX_HEADER} (is it a safetensors file? "
                f"A pickle is refused unread; {HOW_TO_CONVERT})"
            )
        if 8 + length > size:
            raise error(f"{where}: header of {length} bytes in a file of {size} bytes (cut short?)")
        return file.read(length)


def read_tensor(path: Path, entry: TensorEntry) -> np.ndarray:
    """One tensor of a file whose header was checked, as float32."""
    with path.open("rb") as file:
        file.seek(entry.start)
        raw = file.read(entry.end - entry.start)
    if entry.dtype == "BF16":
        flat = (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4")
    else:
        flat = np.frombuffer(raw, {"F64": "<f8", "F32": "<f4", "F16": "<f2"}[entry.dtype])
    with np.errstate(over="ignore"):  # a double beyond float32 becomes inf, which the caller refuses by name
        return flat.astype(np.float32).reshape(entry.shape)


def memory_maps(path: Path, entries: Mapping[str, TensorEntry]) -> dict[str, Float[np.ndarray, "rows n_params"]]:
    """The float32 matrices of a file whose header was checked, read only where they are looked at: one map in all."""
    whole = np.memmap(path, dtype=np.uint8, mode="r").view(np.ndarray)
    return {name: whole[e.start : e.end].view("<f4").reshape(e.shape) for name, e in entries.items()}


def write_atomic(path: Path, chunks: Sequence[bytes]) -> None:
    """Write a file beside `path`, sync it, rename it onto `path` and sync the directory."""
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    try:
        with temporary.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make the names in a folder last through a loss of power."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_if_other(path: Path, chunks: Sequence[bytes]) -> bool:
    """Write a file (see `write_atomic`) unless it holds these bytes already; whether it was written."""
    content = b"".join(chunks)
    if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
        return False
    write_atomic(path, [content])
    return True


def safetensors_bytes(tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> list[bytes]:
    """A safetensors file of float32 arrays, in the order given and with the same bytes every time.

    The library writes its metadata in the order of a randomly seeded hash table; equal zoos must be equal files.
    """
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    offset = 0
    for name, array in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [offset, offset + 4 * array.size]}
        offset += 4 * array.size
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    data = [np.ascontiguousarray(array, dtype="<f4").tobytes() for array in tensors.values()]
    return [struct.pack("<Q", len(text)), text, *data]


def checked_entry(name: str, value: Any, base: int, where: str, error: type[InputError]) -> TensorEntry:
    """The place of one tensor, from its fields in a header whose data begin at byte `base`.

    Raises:
        InputError: of the kind `error`: its name, or a field of it, cannot be.
    """
    at = f"{where}: tensor '{shown(name)}'"
    if not name or len(name) > MAX_NAME or not name.isprintable() or not name.isascii() or "/" in name:
        raise error(f"{at}: expected a plain name of 1 to {MAX_NAME} printable ASCII characters without '/'")
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise error(f"{at}: expected the fields dtype, shape and data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BYTES:
        raise error(f"{at}: dtype {shown(dtype)}, expected one of {', '.join(DTYPE_BYTES)}")
    if not are_naturals(shape) or len(shape) > MAX_RANK:
        raise error(f"{at}: shape {shown(shape)}, expected up to {MAX_RANK} sizes")
    if not are_naturals(offsets) or len(offsets) != 2 or offsets[1] - offsets[0] != prod(shape) * DTYPE_BYTES[dtype]:
        raise error(f"{at}: data_offsets {shown(offsets)} do not hold shape {shown(shape)} of {dtype}")
    return TensorEntry(dtype, tuple(shape), base + offsets[0], base + offsets[1])


def are_naturals(values: Any) -> bool:
    """Whether a JSON value is a list of whole numbers, none negative or absurd."""
    return isinstance(values, list) and all(type(v) is int and 0 <= v < 1 << 48 for v in values)


def check_tiling(tensors: dict[str, TensorEntry], base: int, size: int, where: str, error: type[InputError]) -> None:
    """Refuse tensors that do not fill the file, one after the other.

    Raises:
        InputError: of the kind `error`: there is a hole, an overlap, or a byte too many or too few.
    """
    end = base
    for name, entry in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end)):
        if entry.start != end:
            raise error(
                f"{where}: tensor '{shown(name)}' starts at byte {entry.start}, expected {end} (overlap or hole)"
            )
        end = entry.end
    if end != size:
        raise error(f"{where}: {size} bytes, expected {end} (cut short, or with bytes at its end)")
