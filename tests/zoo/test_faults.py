"""What must hold when things go wrong (`benchmarks/faults.py` does the same a hundred times over, with real disks)."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tracr_tasks.errors import ZooError
from zoo.build import build, build_zoo
from zoo.chunks import plan_chunks, train_stack
from zoo.engines import Engine, Events, Job, Lost, build_chunk
from zoo.rows import read_facts
from zoo.shard import damage, read_shard, shard_names, shard_path
from zoo.spec import ZooSpec
from zoo.store import Zoo
from zoo.verify import verify_zoo

ENDLESS = """
compiled = 0
trained = 4000
untrained = 8
chunk = 4
[training]
steps = 40
"""
PATIENCE = 120
"""Seconds in which a build's first shard must come."""


def contents(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def resumed(spec: ZooSpec, out: Path) -> Zoo:
    build(spec, out, workers=1, progress=False)
    assert verify_zoo(out, sample=1).ok
    assert not list(out.rglob(".tmp-*"))
    return Zoo.open(out)


def heed_interrupts() -> None:
    """As a terminal starts a command; a test run in the background of a script ignores Ctrl-C, and hands that on."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A build by the command line, with two workers, that has written its first shards."""
    (tmp_path / "zoo.toml").write_text(ENDLESS)
    out = tmp_path / "zoo"
    command = [sys.executable, "-m", "oracle.cli", "zoo", "build", str(tmp_path / "zoo.toml"), "--out", str(out)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True, preexec_fn=heed_interrupts)
    try:
        until = time.monotonic() + PATIENCE
        while len(shard_names(out)) < 2:
            assert process.poll() is None and time.monotonic() < until, "the build did not begin"
            time.sleep(0.02)
        yield process, out
    finally:
        process.kill()
        process.communicate()


def workers_of(process: subprocess.Popen[bytes]) -> list[int]:
    """Processes of its session that are alive."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rsplit(")", 1)[1].split()
        except OSError:  # it has ended meanwhile
            continue
        if int(fields[3]) == process.pid and fields[0] != "Z":
            found.append(int(entry.parent.name))
    return [pid for pid in found if pid != process.pid]


def gone(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Whether all workers end within so many seconds."""
    until = time.monotonic() + seconds
    while workers_of(process) and time.monotonic() < until:
        time.sleep(0.05)
    return not workers_of(process)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_signals_end_a_build_within_five_seconds(
    running: tuple[subprocess.Popen[bytes], Path], number: signal.Signals, status: int
) -> None:
    """No worker stays, none says a word, and the lock is free. A terminal sends Ctrl-C to the workers too."""
    process, out = running
    assert workers_of(process)
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    assert process.wait(5) == status
    assert gone(process, 5 if number == signal.SIGKILL else 1)
    with (out / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if number != signal.SIGKILL:
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert not list(out.rglob(".tmp-*"))
    for name in shard_names(out):
        path = shard_path(out, name)
        assert damage(path, read_shard(path)) == []


def test_a_kill_between_the_last_shard_and_the_index_costs_nothing(
    small: ZooSpec, small_zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("zoo.build.merge_index", kill)
    with pytest.raises(KeyboardInterrupt):
        build(small, tmp_path / "zoo", workers=1, progress=False)
    monkeypatch.undo()
    assert build(small, tmp_path / "zoo", workers=1, progress=False).chunks == ()
    assert contents(tmp_path / "zoo") == contents(small_zoo)


@pytest.mark.parametrize("nth", [1, 2, 5, 8, 9, 10])
def test_a_disk_that_is_full_at_the_nth_write_is_one_clear_error(
    nth: int, small: ZooSpec, small_zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten files are written: the spec, six shards, the layout, the card and the index."""
    out, calls, true_open = tmp_path / "zoo", iter(range(1, 1_000)), Path.open

    def open_(self: Path, *args: Any, **kwargs: Any) -> Any:
        if self.name.startswith(".tmp-") and "probe" not in self.name and next(calls) >= nth:
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return true_open(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", open_)
    with pytest.raises(ZooError, match=r"cannot be written \(No space left on device\); what is finished stays"):
        build(small, out, workers=1, progress=False)
    monkeypatch.undo()
    assert len(shard_names(out)) == min(6, max(0, nth - 2))
    made = build(small, out, workers=1, progress=False)
    assert len(made.chunks) == 6 - min(6, max(0, nth - 2))
    assert contents(out) == contents(small_zoo)


def test_too_little_room_is_found_before_anything_is_made(
    small: ZooSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoo.claim.shutil.disk_usage", lambda path: SimpleNamespace(free=100_000))
    monkeypatch.setattr("zoo.engines.make_chunk", unreachable)
    with pytest.raises(ZooError, match=r"about 0 MB are needed for 12 targets and 0 MB are free"):
        build(small, tmp_path / "zoo", workers=1, progress=False)


def test_a_folder_that_cannot_be_written_to_is_found_before_anything_is_made(
    small: ZooSpec, small_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard_path(small_copy, "trained-00000").unlink()
    before = contents(small_copy)

    def read_only(self: Path, *args: object) -> int:
        raise OSError(errno.EROFS, "Read-only file system", str(self))

    monkeypatch.setattr(Path, "write_bytes", read_only)
    monkeypatch.setattr("zoo.engines.make_chunk", unreachable)
    with pytest.raises(ZooError, match=r"cannot be written \(Read-only file system\)"):
        build(small, small_copy, workers=1, progress=False)
    monkeypatch.undo()
    assert contents(small_copy) == before


def unreachable(*args: object) -> None:
    raise AssertionError("a chunk was made")


def test_a_second_builder_is_refused_and_a_stale_lock_is_not(small: ZooSpec, small_copy: Path) -> None:
    with (small_copy / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ZooError, match="being built by another process"):
            build_zoo(small, small_copy, workers=1, progress=False)
    assert (small_copy / ".lock").exists()
    build_zoo(small, small_copy, workers=1, progress=False)


def test_one_model_that_diverges_is_recorded_with_its_seed_and_reason(
    small: ZooSpec, small_zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poisoned(*args: Any) -> Any:
        stack = train_stack(*args)
        if args[2] == seeds:
            stack.params["unembed.W_U"][1, 0, 0] = float("nan")
        return stack

    plan = next(plan for plan in plan_chunks(small) if plan.name == "trained-00001")
    seeds = plan.seeds(small)
    monkeypatch.setattr("zoo.chunks.train_stack", poisoned)
    report = build(small, tmp_path / "zoo", workers=1, progress=False)
    assert report.failures == {"its weights are not finite": 1}
    assert "failures 1 (1 x its weights are not finite)" in report.lines()[0]
    failed = Zoo.open(tmp_path / "zoo")
    assert {row.id for row in Zoo.open(small_zoo)} - {row.id for row in failed} == {"trained-000003"}
    (failure,) = read_facts(tmp_path / "zoo").failures
    assert (failure.id, failure.seed) == ("trained-000003", seeds[1])
    for row in failed:
        assert row.sha256 == Zoo.open(small_zoo).row(row.id).sha256


class Mortal(Engine):
    """Loses one chunk for good."""

    def run(self, job: Job, plans: Any) -> Events:
        for plan in plans:
            if plan.name == "trained-00001":
                yield Lost(plan, "its worker died", again=True)
                yield Lost(plan, "its worker died", again=False)
            else:
                yield build_chunk(job, plan)


def test_a_chunk_that_kills_its_workers_is_left_out_and_the_run_goes_on(
    small: ZooSpec, small_zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "zoo"
    monkeypatch.setattr("zoo.build._engine", lambda *args: Mortal())
    with pytest.raises(ZooError, match=r"1 chunk\(s\) are missing.*trained-00001 \(trained-000002 to trained-000003\)"):
        build(small, out, progress=False)
    monkeypatch.undo()
    assert len(shard_names(out)) == 5
    assert any("trained-00001.safetensors: no such file" in problem for problem in verify_zoo(out, sample=0).problems)
    assert resumed(small, out).content_hash() == Zoo.open(small_zoo).content_hash()


def test_a_file_is_synced_then_renamed_then_its_folder_synced_and_the_index_is_last(
    small: ZooSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, str]] = []
    true_sync, true_replace = os.fsync, Path.replace

    def name_of(descriptor: int) -> str:
        return Path(f"/proc/self/fd/{descriptor}").readlink().name

    def sync(descriptor: int) -> None:
        calls.append(("sync", name_of(descriptor)))
        true_sync(descriptor)

    def replace_(self: Path, target: Path) -> Path:
        calls.append(("rename", target.name))
        return true_replace(self, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", replace_)
    build(small, tmp_path / "zoo", workers=1, progress=False)
    renamed = [name for call, name in calls if call == "rename"]
    shards = [f"{plan.name}.safetensors" for plan in plan_chunks(small)]
    assert renamed == ["spec.json", *shards, "layout.json", "README.md", "index.parquet"]
    for at, (call, name) in enumerate(calls):
        if call == "rename":
            temporary = f".tmp-{os.getpid()}-{name}"
            assert calls[at - 1] == ("sync", temporary)
            assert calls[at + 1] == ("sync", "shards" if name in shards else "zoo")
