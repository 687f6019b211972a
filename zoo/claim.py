"""A zoo's folder while it is being built: locked, its spec checked, and nothing begun that the disk cannot hold."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tracr_tasks.errors import ZooError
from zoo.chunks import ChunkPlan, config_of, plan_chunks, writes_charts
from zoo.files import shown, sync_folder, write_if_other
from zoo.growth import grown
from zoo.rows import INDEX_FILE
from zoo.shard import SHARD_DIR, SUFFIX, Shard, damage, read_shard, row_length, shard_names, shard_path
from zoo.spec import ZooSpec
from zoo.store import SPEC_FILE, read_spec, spec_of_index

LOCK_FILE = ".lock"
COMPILED_NUMBERS = 16_000
"""Numbers in a compiled target, at a guess: 8,200 on average in the zoos measured."""
ROW_TEXT = 3_000
"""Bytes of a target's row in the shard's header and in the index, at most on average."""
PROBE = b"0" * 4_096


@contextmanager
def claimed(out: Path, spec: ZooSpec | None) -> Iterator[ZooSpec]:
    """Hold a zoo's lock, with the remains of a killed build removed; gives the spec to go on with.

    Args:
        out: the folder, which is made if there is none.
        spec: what is to be built; None where the folder is a zoo already and says it itself.

    Raises:
        ZooError: the folder holds something else, was built from a spec that cannot grow to this one, is being built by
            another process, or cannot be written to.
    """
    _check_folder(out, spec)
    out.mkdir(parents=True, exist_ok=True)
    with (out / LOCK_FILE).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ZooError(f"{shown(out, 300)}: is being built by another process") from None
        _sweep(out)
        _probe(out)
        spec = _settled(spec, out)
        (out / SHARD_DIR).mkdir(exist_ok=True)
        _probe(out / SHARD_DIR)
        sync_folder(out)
        _check_shards(spec, out)
        try:
            yield spec
        finally:
            _sweep(out)  # of workers that were ended while they wrote


def _sweep(out: Path) -> None:
    """Remove half-written files; only who holds the lock may."""
    for path in (*out.glob(".tmp-*"), *(out / SHARD_DIR).glob(".tmp-*")):
        path.unlink(missing_ok=True)


def is_done(spec: ZooSpec, plan: ChunkPlan, out: Path) -> bool:
    """Whether a chunk's shards are there and every byte of them is right."""
    path, piece, pieces = shard_path(out, plan.name), 0, 1
    while piece < pieces:
        if not path.exists():
            return False
        try:
            shard = read_shard(path)
        except ZooError:
            return False
        if shard.piece != piece or damage(path, shard):
            return False
        piece, pieces = piece + 1, shard.pieces
        path = shard_path(out, f"{plan.name}.{piece}")
    return True


def check_room(spec: ZooSpec, todo: Sequence[ChunkPlan], out: Path) -> None:
    """Refuse to begin what the disk cannot hold.

    Raises:
        ZooError: less is free than the planned shards and their index need.
    """
    needed, free = planned_bytes(spec, todo), shutil.disk_usage(out).free
    if needed > free:
        raise ZooError(
            f"{shown(out, 300)}: about {needed / 1e6:,.0f} MB are needed for {sum(map(len, todo)):,} targets and "
            f"{free / 1e6:,.0f} MB are free; make room, ask for fewer (--size) or use another folder"
        )


def planned_bytes(spec: ZooSpec, todo: Sequence[ChunkPlan]) -> int:
    """About how much chunks will fill; exact for the weights of trained and untrained targets."""
    total = 0
    for plan in todo:
        own_shape = (
            plan.regime == "compiled" and spec.recipe(plan.part).legible is None and not writes_charts(spec, plan)
        )
        numbers = COMPILED_NUMBERS if own_shape else row_length(config_of(spec, plan))
        total += len(plan) * (4 * numbers + ROW_TEXT)
    return total


def _check_folder(out: Path, spec: ZooSpec | None) -> None:
    """Refuse a folder that holds something else, before anything is written."""
    if out.exists() and not out.is_dir():
        raise ZooError(f"{shown(out, 300)}: expected a folder")
    there = {path.name for path in out.iterdir()} if out.exists() else set[str]()
    foreign = sorted(name for name in there if name != LOCK_FILE and not name.startswith(".tmp-"))
    if spec is None and not there & {SPEC_FILE, INDEX_FILE}:
        raise ZooError(f"{shown(out, 300)}: no such zoo, expected a folder with {SPEC_FILE}")
    if spec is not None and foreign and SPEC_FILE not in there:
        raise ZooError(f"{shown(out, 300)}: holds '{shown(foreign[0])}' and no zoo, expected a new or empty folder")


def _probe(folder: Path) -> None:
    """Write and remove a file: a disk that is full or read-only is met now and not after the first hour."""
    path = folder / f".tmp-{os.getpid()}-probe"
    try:
        path.write_bytes(PROBE)
    finally:
        path.unlink(missing_ok=True)


def _settled(spec: ZooSpec | None, out: Path) -> ZooSpec:
    """The spec to go on with, written where it is new."""
    path = out / SPEC_FILE
    if spec is None:
        settled = _own_spec(out)
    else:
        settled = grown(read_spec(out), spec, shown(path, 300)) if path.exists() else spec
    write_if_other(path, [(json.dumps(settled.to_json(), indent=1) + "\n").encode()])
    return settled


def _own_spec(out: Path) -> ZooSpec:
    """What a zoo was built from: spec.json if its shards are of it, else the copy in the index."""
    shards = {shard.spec for shard in _readable(out).values()}
    try:
        spec = read_spec(out)
        if not shards or spec.origin() in shards:
            return spec
    except ZooError:
        if not (out / INDEX_FILE).exists():
            raise
    return spec_of_index(out)


def _readable(out: Path) -> dict[Path, Shard]:
    """The shards whose metadata is sound."""
    found = {}
    for name in shard_names(out):
        with suppress(ZooError):
            found[shard_path(out, name)] = read_shard(shard_path(out, name))
    return found


def _check_shards(spec: ZooSpec, out: Path) -> None:
    """Refuse shards that are not of this zoo."""
    planned = {plan.name for plan in plan_chunks(spec)}
    for path in (out / SHARD_DIR).glob("[!.]*" + SUFFIX):
        name, _, piece = path.name.removesuffix(SUFFIX).partition(".")
        if name not in planned or (piece and not piece.isdecimal()):
            raise ZooError(f"{shown(path, 300)}: not a shard of this zoo")
    for path, shard in _readable(out).items():
        if shard.spec != spec.origin():
            raise ZooError(
                f"{shown(path, 300)}: built from spec {shown(shard.spec)}, expected {spec.origin()} as {SPEC_FILE} has "
                "it; `weight-oracle zoo verify --repair` restores a spec that is damaged"
            )
