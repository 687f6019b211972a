"""What `faults.py` breaks zoos with: a reference zoo, processes that are killed, disks that are full."""

from __future__ import annotations

import multiprocessing
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracr_tasks.errors import ZooError
from zoo.build import build
from zoo.flowchart_config import FlowchartConfig
from zoo.shard import damage, read_shard, shard_names, shard_path
from zoo.spec import ZooSpec
from zoo.training_config import TrainConfig

CHARTS = FlowchartConfig(vocab_size=4, n_answers=4, max_seq_len=4)
SPEC = ZooSpec(
    *("faults", 12, 36, 4), chunk=4, flowcharts=CHARTS, training=TrainConfig(steps=60, batch=32, eval_inputs=256)
)
TOML = """
name = "faults"
compiled = 12
trained = 36
untrained = 4
chunk = 4
flowcharts = { vocab_size = 4, n_answers = 4, max_seq_len = 4 }
training = { steps = 60, batch = 32, eval_inputs = 256 }
"""
ENDLESS = TOML.replace("trained = 36", "trained = 100000")
Row = tuple[str, str, int, str]
"""Fault, what was done, how often, what held."""


@dataclass(frozen=True)
class FaultsConfig:
    """How often each fault is tried."""

    kills: int = 100
    """Kills at a random moment."""
    times: int = 3
    """Runs of each fault that needs the command line or a pool."""
    damages: int = 20
    """Random bits flipped, and random cuts."""
    seed: int = 0
    """Of all that is random here."""


class Bench:
    """A reference zoo and a folder to break others in."""

    def __init__(self, folder: Path, rng: random.Random):
        self.folder, self.rng, self.began = folder, rng, time.perf_counter()
        self.reference = folder / "reference"
        build(SPEC, folder / "warm", workers=1, progress=False)
        began = time.perf_counter()
        build(SPEC, self.reference, workers=1, progress=False)
        self.seconds = time.perf_counter() - began
        self.files = contents(self.reference)
        self.chunks = len(shard_names(self.reference))
        (folder / "faults.toml").write_text(TOML)
        (folder / "endless.toml").write_text(ENDLESS)

    def fresh(self, name: str, *, copied: bool = False) -> Path:
        """A new folder, or a copy of the reference."""
        out = self.folder / name
        shutil.rmtree(out, ignore_errors=True)
        if copied:
            shutil.copytree(self.reference, out)
        return out

    def finish(self, out: Path) -> int:
        """Build on; the zoo must be the reference then. The number of chunks that were made."""
        report = build(SPEC, out, workers=1, progress=False)
        self.check(out)
        return len(report.chunks)

    def check(self, out: Path) -> None:
        """Every file is the reference's and no other is there."""
        found = contents(out)
        assert found == self.files, f"{out}: differs in {sorted(set(found.items()) ^ set(self.files.items()))[:3]}"

    def command(self, out: Path, *, endless: bool = False) -> subprocess.Popen[bytes]:
        """The same build, or one of many more targets, by the command line with two workers."""
        spec = self.folder / ("endless.toml" if endless else "faults.toml")
        return subprocess.Popen(
            [sys.executable, "-m", "oracle.cli", "zoo", "build", str(spec), "--out", str(out)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def spoil(self, path: Path, *, cut: bool) -> None:
        """Cut a file somewhere, or flip one bit of it."""
        raw = bytearray(path.read_bytes())
        at = self.rng.randrange(len(raw))
        if cut:
            del raw[at:]
        else:
            raw[at] ^= 1 << self.rng.randrange(8)
        path.write_bytes(raw)

    def children(self) -> list[int]:
        """Workers of this process that are alive."""
        return [child.pid for child in multiprocessing.active_children() if child.pid]


def contents(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


def whole(out: Path) -> int:
    """Number of shards in place, every byte of each checked."""
    names = shard_names(out)
    for name in names:
        assert not damage(shard_path(out, name), read_shard(shard_path(out, name))), name
    return len(names)


@contextmanager
def patched(module: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


def forked(action: Callable[[], object]) -> int:
    """Run something in a fork of this process, which has torch loaded already; its process id."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        try:
            action()
        except BaseException as error:
            os._exit(2 if isinstance(error, ZooError) else 3)
        os._exit(0)
    return pid


def status_of(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def session(leader: int) -> list[int]:
    """Living processes of a session, its leader aside."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rsplit(")", 1)[1].split()
            if int(fields[3]) == leader and fields[0] != "Z" and path.parent.name != str(leader):
                found.append(int(path.parent.name))
    return found


def ended(leader: int) -> float:
    """Seconds until no process of a session is left."""
    began = time.perf_counter()
    while session(leader):
        assert time.perf_counter() - began < 5, "a worker outlives its parent"
        time.sleep(0.01)
    return time.perf_counter() - began


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    began = time.perf_counter()
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.perf_counter() - began < 300, "nothing happens"
        time.sleep(0.01)


@contextmanager
def small_disk(bench: Bench, size: str, *, again: str = "") -> Iterator[Path]:
    """A disk of its own (a tmpfs), or with `again` the one that is there mounted in another way.

    Raises:
        PermissionError: mounting is not allowed.
    """
    disk = bench.folder / "disk"
    disk.mkdir(exist_ok=True)
    options = again or f"size={size}"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], capture_output=True).returncode:
        raise PermissionError("mount")
    try:
        yield disk
    finally:
        if not again:
            subprocess.run(["umount", "-l", disk], check=True)


def expect(action: Callable[[], object], message: str) -> None:
    """An error of one line that matches."""
    try:
        action()
    except ZooError as error:
        assert re.search(message, str(error)) and "\n" not in str(error), error
        return
    raise AssertionError(f"no error: {message}")


def never(*args: object) -> None:
    raise AssertionError("a chunk was made")
