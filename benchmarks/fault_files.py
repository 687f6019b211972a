"""Faults of files and of what is in them: full and read-only disks, damage, NaN, another spec, loss of power."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from fault_tools import SPEC, Bench, FaultsConfig, Row, expect, never, patched, small_disk, whole

from zoo import chunks, engines
from zoo.build import build
from zoo.chunks import plan_chunks
from zoo.rows import read_facts
from zoo.shard import shard_names, shard_path
from zoo.store import Zoo
from zoo.verify import repair_zoo, verify_zoo


def full_disk(bench: Bench, config: FaultsConfig) -> Row:
    """A real disk that another file fills after the n-th shard."""
    true_write = engines.write_chunk
    for nth in range(bench.chunks):
        with small_disk(bench, "8m") as disk:
            calls = iter(range(bench.chunks + 1))

            def fill(*args: Any, disk: Path = disk, calls: Iterator[int] = calls, nth: int = nth) -> None:
                if next(calls) == nth:
                    with suppress(OSError), (disk / "ballast").open("wb", buffering=0) as ballast:
                        while True:
                            ballast.write(b"0" * 4_096)
                true_write(*args)

            with patched(engines, "write_chunk", fill):
                expect(
                    lambda disk=disk: build(SPEC, disk / "zoo", workers=1, progress=False), "No space left on device"
                )
            assert whole(disk / "zoo") == nth
            expect(lambda disk=disk: build(SPEC, disk / "zoo", workers=1, progress=False), "No space left|MB are free")
            (disk / "ballast").unlink()
            assert bench.finish(disk / "zoo") == bench.chunks - nth
    held = "one clear error; earlier shards whole; begun again on the full disk it is refused; with room the same zoo"
    return "4: disk full at the n-th write", "a tmpfs, filled after 0, 1, 2 ... shards", bench.chunks, held


def no_room(bench: Bench, config: FaultsConfig) -> Row:
    """Disks that are too small or read-only are found before anything is made."""
    with patched(engines, "make_chunk", never), small_disk(bench, "256k") as disk:
        expect(lambda: build(SPEC, disk / "zoo", workers=1, progress=False), "MB are needed for .* MB are free")
    with small_disk(bench, "8m") as disk:
        build(replace(SPEC, trained=4), disk / "zoo", workers=1, progress=False)
        with small_disk(bench, "8m", again="remount,ro"), patched(engines, "make_chunk", never):
            expect(lambda: build(SPEC, disk / "zoo", workers=1, progress=False), "Read-only file system")
            expect(lambda: build(SPEC, disk / "new", workers=1, progress=False), "Read-only file system")
    return (
        "5: too small or read-only output",
        "tmpfs of 256 kB; tmpfs remounted read-only",
        3,
        "refused before any training",
    )


def damages(bench: Bench, config: FaultsConfig) -> Row:
    """Random bits and random cuts of random shards; then the index and the spec likewise."""
    for number in range(config.damages):
        out = bench.fresh("damage", copied=True)
        name = bench.rng.choice(shard_names(out))
        path = shard_path(out, name)
        bench.spoil(path, cut=number % 2 == 1)
        inodes = {p: p.stat().st_ino for p in out.rglob("*") if p.is_file()}
        assert not verify_zoo(out, sample=0).ok
        assert repair_zoo(out, sample=0).chunks == (name,)
        bench.check(out)
        assert [p for p, inode in inodes.items() if p.stat().st_ino != inode] == [path]
    held = "verify names it; --repair makes that shard again, touches no other file; same zoo"
    return "8: one flipped bit; a cut", "anywhere in a random shard, header or weights", config.damages, held


def lost_index(bench: Bench, config: FaultsConfig) -> Row:
    """Index, layout, card and spec: removed, cut, or a bit flipped."""
    names = ("index.parquet", "layout.json", "README.md", "spec.json")
    for number in range(config.damages):
        out = bench.fresh("index", copied=True)
        path = out / names[number // 3 % len(names)]
        path.unlink() if number % 3 == 0 else bench.spoil(path, cut=number % 3 == 1)
        assert repair_zoo(out, sample=0).chunks == ()
        bench.check(out)
    held = "--repair makes it again from the shards (spec.json from its copy in the index); same zoo"
    return "9: index, layout, card or spec lost or damaged", "removed, cut, one bit flipped", config.damages, held


def one_diverges(bench: Bench, config: FaultsConfig) -> Row:
    """NaN in one model of a stack while it trains."""
    plan = plan_chunks(SPEC)[bench.chunks - 2]
    seeds, true_stack = plan.seeds(SPEC), chunks.train_stack

    def poisoned(*args: Any) -> Any:
        stack = true_stack(*args)
        if args[2] == seeds:
            stack.params["unembed.W_U"][1, 0, 0] = float("nan")
        return stack

    out = bench.fresh("nan")
    with patched(chunks, "train_stack", poisoned):
        report = build(SPEC, out, workers=1, progress=False)
    assert report.failures == {"its weights are not finite": 1}, report.failures
    (failure,) = read_facts(out).failures
    assert (failure.id, failure.seed) == (plan.ids()[1], seeds[1])
    sums = {row.id: row.sha256 for row in Zoo.open(bench.reference)}
    assert all(sums[row.id] == row.sha256 for row in Zoo.open(out))
    return (
        "10: one model diverges",
        "NaN in one of a stack of four",
        1,
        "recorded with id, seed and reason; all others the same",
    )


def changed_spec(bench: Bench, config: FaultsConfig) -> Row:
    """A finished zoo is not built on with another recipe."""
    out = bench.fresh("changed", copied=True)
    expect(lambda: build(replace(SPEC, seed=1), out, workers=1, progress=False), r"another spec \(seed 0 -> 1\)")
    expect(lambda: build(replace(SPEC, trained=8), out, workers=1, progress=False), r"another spec \(trained 36 -> 8\)")
    bench.check(out)
    return "12: a changed spec", "another seed; fewer targets", 2, "refused with the difference, nothing written"


def power_loss(bench: Bench, config: FaultsConfig) -> Row:
    """The order of what reaches the disk."""
    calls: list[str] = []
    true_sync, true_replace = os.fsync, Path.replace

    def sync(descriptor: int) -> None:
        calls.append("sync " + Path(f"/proc/self/fd/{descriptor}").readlink().name)
        true_sync(descriptor)

    def rename(self: Path, target: Path) -> Path:
        calls.append("rename " + target.name)
        return true_replace(self, target)

    with patched(os, "fsync", sync), patched(Path, "replace", rename):
        build(SPEC, bench.fresh("power"), workers=1, progress=False)
    renames = [at for at, call in enumerate(calls) if call.startswith("rename")]
    for at in renames:
        name = calls[at].split()[1]
        assert calls[at - 1].endswith(name) and calls[at + 1] in ("sync shards", "sync power"), calls[at - 1 : at + 2]
    assert calls[renames[-1]] == "rename index.parquet"
    return (
        "13: power loss",
        "calls recorded",
        len(renames),
        "each file synced, renamed, its folder synced; the index last",
    )
