"""What an engine is: it is given a job and chunks, has the chunks made somewhere, and says how each went."""

from __future__ import annotations

import ctypes
import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from zoo.chunks import ChunkPlan, Device, make_chunk
from zoo.rows import Failure
from zoo.shard import chunk_files, write_chunk
from zoo.spec import ZooSpec

EngineName = Literal["local", "ray"]
DeviceName = Literal["auto", "cpu", "cuda"]
MALLOPT = {-3: 1 << 25, -1: (1 << 31) - 1, -2: 1 << 26}
"""glibc's M_MMAP_THRESHOLD, M_TRIM_THRESHOLD and M_TOP_PAD, in bytes: the first two as large as they may be."""
MAX_DEATHS = 3
"""Workers that one chunk may take with it before it is left out."""


@dataclass(frozen=True)
class Job:
    """What all chunks of a build have in common."""

    spec: ZooSpec
    out: Path
    device: Device = "cpu"
    """Where stacks are trained."""


@dataclass(frozen=True)
class Done:
    """A chunk whose shards are in place."""

    plan: ChunkPlan
    seconds: float
    """That one thread worked on it."""
    failures: tuple[Failure, ...] = ()
    """Targets of it that could not be made."""
    updates: int = 0
    """Steps of training that its targets have had, together."""


@dataclass(frozen=True)
class Lost:
    """A worker that died while it made a chunk."""

    plan: ChunkPlan
    reason: str
    again: bool
    """Whether the chunk is tried again."""


Events = Generator[Done | Lost, None, None]


class Engine(ABC):
    """Where chunks are made. The bytes are the same everywhere."""

    @abstractmethod
    def run(self, job: Job, plans: Sequence[ChunkPlan]) -> Events:
        """Make chunks, in any order, and yield an event as soon as each is done or its worker died.

        When the generator is closed or an error leaves it, everything that it started has ended.
        """


def made_files(job: Job, plan: ChunkPlan) -> tuple[Done, dict[str, list[bytes]]]:
    """Make a chunk and give its shards as bytes."""
    began = time.perf_counter()
    with one_thread():
        members, failures = make_chunk(job.spec, plan, job.device)
    files = chunk_files(plan.name, job.spec.origin(), members, failures)
    updates = sum(row.labels.get("steps", 0) for row, _, _ in members)
    return Done(plan, time.perf_counter() - began, tuple(failures), updates), files


def build_chunk(job: Job, plan: ChunkPlan) -> Done:
    """Make a chunk and put its shards in place."""
    done, files = made_files(job, plan)
    write_chunk(job.out, plan.name, files)
    return done


@contextmanager
def one_thread() -> Iterator[None]:
    """Products on one thread, whatever the process has set: the same seed must give the same bytes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def keep_memory() -> None:
    """Have this process keep the memory that it frees, as the same tensors are needed again at every step.

    Otherwise glibc gives large ones back to the system, which then clears each page anew: stacks over some size train
    half as fast. Does nothing where there is no glibc.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    for option, value in MALLOPT.items():
        mallopt(option, value)


class InlineEngine(Engine):
    """Makes chunks in this process, one after the other."""

    def run(self, job: Job, plans: Sequence[ChunkPlan]) -> Events:
        """See `Engine.run`."""
        keep_memory()
        for plan in plans:
            yield build_chunk(job, plan)


class Todo:
    """Chunks that wait for a worker. One whose worker died waits again, after the others, up to `MAX_DEATHS` times."""

    def __init__(self, plans: Sequence[ChunkPlan]):
        self.waiting = deque(plans)
        self._deaths: Counter[str] = Counter()

    def lost(self, plan: ChunkPlan, reason: str) -> Lost:
        """Note that a chunk's worker died."""
        self._deaths[plan.name] += 1
        again = self._deaths[plan.name] < MAX_DEATHS
        if again:
            self.waiting.append(plan)
        return Lost(plan, reason, again)
