"""A shard: the targets of one chunk of a build, in one safetensors file that explains itself.

It holds a float32 matrix `[rows, n_params]` for each architecture family, and in its metadata the configuration of each
family and the index row of each target. A shard is renamed into place when it is complete, so a chunk is done when its
shard exists, and the index can be made again from the shards alone. A chunk that is too large for one file is several
pieces, `NAME`, `NAME.1`, `NAME.2` ..., each a shard of its own that says how many there are.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tracr_tasks.errors import ZooError
from tracr_tasks.transformer import TargetConfig, Weights, shapes
from zoo.fields import to_fields
from zoo.files import MAX_HEADER, Header, memory_maps, read_header, safetensors_bytes, shown, write_if_other
from zoo.parts import REGIMES
from zoo.rows import LATER, Failure, ZooRow

SHARD_DIR = "shards"
SUFFIX = ".safetensors"
VERSION = 1
"""Of the layout of shards and index."""


MAX_SHARD_BYTES = 256_000_000
"""Of the weights in one file; a single target that is larger has a file of its own."""
MAX_TEXT_BYTES = MAX_HEADER // 2
"""Of the index rows in one file's header, which readers refuse beyond `MAX_HEADER`; quoting may double them."""
Member = tuple[ZooRow, TargetConfig, Float[np.ndarray, " _"]]
"""A finished target: index row, architecture, flat weights."""


@dataclass(frozen=True)
class Shard:
    """What a shard's metadata says."""

    rows: tuple[ZooRow, ...]
    families: dict[str, TargetConfig]
    failures: tuple[Failure, ...]
    spec: str
    """Hash of the spec that its zoo was begun with."""
    header: Header
    piece: int = 0
    """Which piece of its chunk it is."""
    pieces: int = 1
    """How many pieces its chunk has."""


def family_of(config: TargetConfig) -> str:
    """Name of an architecture: its sizes for people, a hash for the rest."""
    digest = hashlib.sha256(json.dumps(to_fields(config), sort_keys=True).encode()).hexdigest()[:8]
    c = config
    return f"d{c.d_model}-l{c.n_layers}-h{c.n_heads}x{c.d_head}-m{c.d_mlp}-v{c.d_vocab}x{c.d_vocab_out}-{digest}"


@lru_cache(maxsize=1_024)
def layout_of(config: TargetConfig) -> tuple[tuple[str, tuple[int, ...], int], ...]:
    """(name, shape, offset) of every tensor in a flat row."""
    out, offset = [], 0
    for name, shape in shapes(config).items():
        out.append((name, shape, offset))
        offset += prod(shape)
    return tuple(out)


@lru_cache(maxsize=1_024)
def _cuts(config: TargetConfig) -> tuple[list[str], list[tuple[int, ...]], list[int]]:
    """Names, shapes and sizes of the tensors in a flat row."""
    layout = layout_of(config)
    return [name for name, _, _ in layout], [shape for _, shape, _ in layout], [prod(shape) for _, shape, _ in layout]


def row_length(config: TargetConfig) -> int:
    """Numbers in a flat row."""
    return sum(prod(shape) for shape in shapes(config).values())


def flatten(config: TargetConfig, weights: Weights) -> Float[np.ndarray, " n_params"]:
    """All tensors of a target whose layers are alike, as one row."""
    parts = [weights[name].detach().reshape(-1).float().numpy() for name in shapes(config)]
    return np.concatenate(parts).astype("<f4")


def unflatten(config: TargetConfig, row: Float[np.ndarray, " n_params"]) -> dict[str, Tensor]:
    """The named tensors of a row, as views of it; one that is mapped from a file is copied first."""
    names, tensor_shapes, sizes = _cuts(config)
    pieces = torch.from_numpy(np.require(row, np.float32, ["C", "W"])).split(sizes)
    return {name: piece.view(shape) for name, shape, piece in zip(names, tensor_shapes, pieces, strict=True)}


def row_sha256(row: Float[np.ndarray, " n_params"]) -> str:
    """Hash of a row's bytes."""
    return hashlib.sha256(np.ascontiguousarray(row, dtype="<f4").tobytes()).hexdigest()


def shard_path(directory: Path, name: str) -> Path:
    """Where a shard lies in a zoo."""
    return directory / SHARD_DIR / (name + SUFFIX)


def shard_names(directory: Path) -> list[str]:
    """Shards of a zoo, in the order of the index: by part, regime, number of the chunk and piece."""
    names = [path.name.removesuffix(SUFFIX) for path in (directory / SHARD_DIR).glob("[!.]*" + SUFFIX)]
    return sorted(names, key=_shard_key)


def _shard_key(name: str) -> tuple[str, int, int, int, str]:
    """What a shard is sorted by; those of another naming come last."""
    match = re.fullmatch(r"(?:([a-z0-9_]+)-)?([a-z_]+)-(\d+)(?:\.(\d+))?", name)
    if match is None or match[2] not in REGIMES:
        return "~", 0, 0, 0, name
    return match[1] or "", REGIMES.index(match[2]), int(match[3]), int(match[4] or 0), name


def chunk_files(name: str, spec: str, members: Sequence[Member], failures: Sequence[Failure]) -> dict[str, list[bytes]]:
    """The files of one chunk by the names of their shards; the same members give the same bytes."""
    pieces = split_pieces(members, MAX_SHARD_BYTES, MAX_TEXT_BYTES)
    out = {}
    for number, piece in enumerate(pieces):
        piece_name = f"{name}.{number}" if number else name
        extra = {"piece": number, "pieces": len(pieces)} if len(pieces) > 1 else {}
        out[piece_name] = _shard_bytes(spec, placed(piece, piece_name), () if number else failures, extra)
    return out


def split_pieces(members: Sequence[Member], max_bytes: int, max_text: int) -> list[list[Member]]:
    """The members in order, cut so that no piece exceeds either bound, but for one of a single member; at least one."""
    out: list[list[Member]] = [[]]
    size = text = 0
    for member in members:
        row, config, flat = member
        more = 4 * len(flat), len(json.dumps([row.to_json(), to_fields(config)], ensure_ascii=False).encode())
        if out[-1] and (size + more[0] > max_bytes or text + more[1] > max_text):
            out.append([])
            size = text = 0
        out[-1].append(member)
        size, text = size + more[0], text + more[1]
    return out


def placed(members: Sequence[Member], shard: str) -> list[Member]:
    """Members with the name of their shard and the number of their row within the matrix of their family."""
    count: Counter[str] = Counter()
    out = []
    for row, config, flat in members:
        out.append((replace(row, shard=shard, row=count[row.family]), config, flat))
        count[row.family] += 1
    return out


def _shard_bytes(
    spec: str, members: Sequence[Member], failures: Sequence[Failure], extra: dict[str, int]
) -> list[bytes]:
    """One file; each row's place must already be right (`placed`)."""
    families = {row.family: config for row, config, _ in members}
    matrices = {
        family: np.stack([flat for row, _, flat in members if row.family == family]) for family in sorted(families)
    }
    metadata = {
        "version": VERSION,
        "spec": spec,
        "families": {family: to_fields(config) for family, config in sorted(families.items())},
        "rows": [_without_later(row.to_json()) for row, _, _ in members],
        "failures": [vars(failure) for failure in failures],
        **extra,
    }
    text = json.dumps(metadata, ensure_ascii=False, separators=(",", ":"))
    return safetensors_bytes(matrices, {"zoo": text, "sha256": hashlib.sha256(text.encode()).hexdigest()})


def _without_later(row: dict[str, Any]) -> dict[str, Any]:
    """A row without the later fields that are empty, so that shards are those that an earlier version wrote."""
    return {name: value for name, value in row.items() if value or name not in LATER}


def write_chunk(directory: Path, name: str, files: dict[str, list[bytes]]) -> None:
    """Put a chunk's shards in place. A file that is there and right is not touched; one piece too many is removed."""
    for shard, content in files.items():
        write_if_other(shard_path(directory, shard), content)
    for path in (directory / SHARD_DIR).glob(f"{name}.*{SUFFIX}"):
        if path.name.removesuffix(SUFFIX) not in files:
            path.unlink()


def read_shard(path: Path) -> Shard:
    """A shard's metadata, checked against its matrices; the rows themselves are not read.

    Raises:
        ZooError: cut short, damaged, of another version, or metadata that does not fit the matrices.
    """
    header = read_header(path, ZooError)
    where = shown(path, 300)
    text = header.metadata.get("zoo", "{}")
    digest = hashlib.sha256(text.encode()).hexdigest()
    if (written := header.metadata.get("sha256", digest)) != digest:  # the first version wrote none
        raise ZooError(f"{where}: metadata has sha256 {digest[:12]}, expected {shown(written[:12])}")
    try:
        fields: dict[str, Any] = json.loads(text)
        if fields["version"] != VERSION:
            raise ZooError(f"{where}: version {fields['version']}, expected {VERSION}")
        rows = tuple(ZooRow.from_json(row) for row in fields["rows"])
        families = {name: TargetConfig(**config) for name, config in fields["families"].items()}
        failures = tuple(Failure(**failure) for failure in fields["failures"])
        spec, piece, pieces = str(fields["spec"]), int(fields.get("piece", 0)), int(fields.get("pieces", 1))
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        raise ZooError(f"{where}: metadata is not that of a shard ({shown(problem)})") from None
    counts = Counter(row.family for row in rows)
    for family, config in families.items():
        entry = header.tensors.get(family)
        expected = (counts[family], row_length(config))
        if entry is None or entry.shape != expected or entry.dtype != "F32":
            got = "nothing" if entry is None else f"{entry.dtype} {list(entry.shape)}"
            raise ZooError(f"{where}: matrix '{family}' is {got}, expected F32 {list(expected)}")
    if set(header.tensors) != set(families) or any(row.family not in families for row in rows):
        raise ZooError(f"{where}: its matrices and its rows name different families")
    return Shard(rows, families, failures, spec, header, piece, pieces)


def damage(path: Path, shard: Shard) -> list[str]:
    """One line for each row of a shard whose bytes are not those that were written. Reads the whole file."""
    name = path.name.removesuffix(SUFFIX)
    matrices = memory_maps(path, shard.header.tensors)
    places = Counter((row.family, row.row) for row in shard.rows)
    out = []
    for row in shard.rows:
        if row.shard != name or row.row >= len(matrices[row.family]) or places[row.family, row.row] > 1:
            out.append(f"{shown(path, 300)}: '{row.id}' has no place of its own")
        elif row_sha256(matrices[row.family][row.row]) != row.sha256:
            out.append(f"{shown(path, 300)}: weights of '{row.id}' have another sha256 than when they were written")
    return out
