"""A shard: the targets of one chunk of a build, in one safetensors file that explains itself.

It holds a float32 matrix `[rows, n_params]` for each architecture family, and in its metadata the configuration of each
family and the index row of each target. A shard is renamed into place when it is complete, so a chunk is done when its
shard exists, and the index can be made again from the shards alone.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
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
from zoo.files import Header, memory_map, read_header, safetensors_bytes, shown, write_atomic
from zoo.rows import ZooRow

SHARD_DIR = "shards"
SUFFIX = ".safetensors"
VERSION = 1
"""Of the layout of shards and index."""


@dataclass(frozen=True)
class Failure:
    """A target that could not be made."""

    id: str
    seed: int
    reason: str


@dataclass(frozen=True)
class Shard:
    """What a shard's metadata says."""

    rows: tuple[ZooRow, ...]
    families: dict[str, TargetConfig]
    failures: tuple[Failure, ...]
    spec: str
    """Hash of the spec it was built from."""
    header: Header


def family_of(config: TargetConfig) -> str:
    """Name of an architecture: its sizes for people, a hash for the rest."""
    digest = hashlib.sha256(json.dumps(config.to_json(), sort_keys=True).encode()).hexdigest()[:8]
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


def row_length(config: TargetConfig) -> int:
    """Numbers in a flat row."""
    return sum(prod(shape) for shape in shapes(config).values())


def flatten(config: TargetConfig, weights: Weights) -> Float[np.ndarray, " n_params"]:
    """All tensors of a target whose layers are alike, as one row."""
    parts = [weights[name].detach().reshape(-1).float().numpy() for name in shapes(config)]
    return np.concatenate(parts).astype("<f4")


def unflatten(config: TargetConfig, row: Float[np.ndarray, " n_params"]) -> dict[str, Tensor]:
    """The named tensors of a row, copied out of the file."""
    flat = torch.from_numpy(np.array(row, dtype=np.float32))
    return {name: flat[at : at + prod(shape)].view(shape) for name, shape, at in layout_of(config)}


def row_sha256(row: Float[np.ndarray, " n_params"]) -> str:
    """Hash of a row's bytes."""
    return hashlib.sha256(np.ascontiguousarray(row, dtype="<f4").tobytes()).hexdigest()


def shard_path(directory: Path, name: str) -> Path:
    """Where a shard lies in a zoo."""
    return directory / SHARD_DIR / (name + SUFFIX)


def write_shard(
    directory: Path,
    name: str,
    spec: str,
    members: Sequence[tuple[ZooRow, TargetConfig, Float[np.ndarray, " _"]]],
    failures: Sequence[Failure],
) -> None:
    """Write one chunk; the same members give the same bytes. Each row's place must already be right (`place`)."""
    families = {row.family: config for row, config, _ in members}
    matrices = {
        family: np.stack([flat for row, _, flat in members if row.family == family]) for family in sorted(families)
    }
    metadata = {
        "version": VERSION,
        "spec": spec,
        "families": {family: config.to_json() for family, config in sorted(families.items())},
        "rows": [row.to_json() for row, _, _ in members],
        "failures": [vars(failure) for failure in failures],
    }
    text = json.dumps(metadata, ensure_ascii=False, separators=(",", ":"))
    write_atomic(shard_path(directory, name), safetensors_bytes(matrices, {"zoo": text}))


def read_shard(path: Path) -> Shard:
    """A shard's metadata, checked against its matrices; the rows themselves are not read.

    Raises:
        ZooError: cut short, damaged, of another version, or metadata that does not fit the matrices.
    """
    header = read_header(path, ZooError)
    where = shown(path, 300)
    try:
        fields: dict[str, Any] = json.loads(header.metadata["zoo"])
        if fields["version"] != VERSION:
            raise ZooError(f"{where}: version {fields['version']}, expected {VERSION}")
        rows = tuple(ZooRow.from_json(row) for row in fields["rows"])
        families = {name: TargetConfig(**config) for name, config in fields["families"].items()}
        failures = tuple(Failure(**failure) for failure in fields["failures"])
        spec = str(fields["spec"])
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
    return Shard(rows, families, failures, spec, header)


def damage(path: Path, shard: Shard) -> list[str]:
    """One line for each row of a shard whose bytes are not those that were written. Reads the whole file."""
    name = path.name.removesuffix(SUFFIX)
    matrices = {family: memory_map(path, entry) for family, entry in shard.header.tensors.items()}
    places = Counter((row.family, row.row) for row in shard.rows)
    out = []
    for row in shard.rows:
        if row.shard != name or row.row >= len(matrices[row.family]) or places[row.family, row.row] > 1:
            out.append(f"{shown(path, 300)}: '{row.id}' has no place of its own")
        elif row_sha256(matrices[row.family][row.row]) != row.sha256:
            out.append(f"{shown(path, 300)}: weights of '{row.id}' have another sha256 than when they were written")
    return out
