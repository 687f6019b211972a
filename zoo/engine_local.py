"""The local engine: processes of one thread each, each making one chunk at a time.

A pipe to each worker says which chunk it has, so that the death of one costs that chunk's work and nothing else.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection, resource_tracker
from multiprocessing.context import SpawnProcess
from typing import Any

from tracr_tasks.errors import InputError
from zoo.chunks import ChunkPlan
from zoo.engines import Done, Engine, Events, Job, Lost, Todo, build_chunk, keep_memory

PATIENCE = 2.0
"""Seconds that workers have to end before they are killed."""
OUT_OF_MEMORY = 137
"""Exit status of a worker that could not get memory, as that of one which the kernel killed for it."""


@dataclass
class Worker:
    """A process, the pipe to it and the chunk that it has."""

    process: SpawnProcess
    pipe: connection.Connection
    plan: ChunkPlan | None = None

    def death(self) -> str:
        """Why it is gone, in a few words."""
        self.process.join(PATIENCE)
        code = self.process.exitcode
        if code in (-signal.SIGKILL, OUT_OF_MEMORY):
            return "its worker was killed (out of memory?)"
        return f"its worker died (exit status {code})"


class LocalEngine(Engine):
    """A pool of `workers` processes on this machine."""

    def __init__(self, workers: int):
        self.workers = workers

    def run(self, job: Job, plans: Sequence[ChunkPlan]) -> Events:
        """See `Engine.run`."""
        todo, pool = Todo(plans), list[Worker]()
        try:
            while todo.waiting or any(worker.plan for worker in pool):
                while todo.waiting and len(pool) < self.workers:
                    pool.append(_start(job))
                for worker in pool:
                    if worker.plan is None and todo.waiting:
                        _give(worker, todo)
                yield from _news(pool, todo)
        finally:
            _end(pool)


def _give(worker: Worker, todo: Todo) -> None:
    """Send the next chunk to a worker. That one has died is noticed where it is waited for."""
    worker.plan = todo.waiting.popleft()
    try:
        worker.pipe.send(worker.plan)
    except OSError:
        return


def _news(pool: list[Worker], todo: Todo) -> Iterator[Done | Lost]:
    """Wait until a worker says something or is gone."""
    ready = connection.wait([worker.pipe for worker in pool])
    for worker in [worker for worker in pool if worker.pipe in ready]:
        plan = worker.plan
        try:
            answer = worker.pipe.recv()
        except (EOFError, OSError):
            pool.remove(worker)
            worker.pipe.close()
            if plan is not None:
                yield todo.lost(plan, worker.death())
            continue
        if isinstance(answer, BaseException):
            raise answer
        worker.plan = None
        yield answer


def _start(job: Job) -> Worker:
    """Start a worker. It is born with Ctrl-C blocked, which is the parent's alone to answer."""
    context = multiprocessing.get_context("spawn")
    resource_tracker.ensure_running()  # else it would be started below, and unblock what is blocked there
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(job, theirs), daemon=True)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    theirs.close()
    return Worker(process, ours)


def _end(pool: list[Worker]) -> None:
    """End every worker: idle ones on their own, the others at once."""
    for worker in pool:
        if worker.plan is not None:
            worker.process.terminate()
        worker.pipe.close()
    until = time.monotonic() + PATIENCE
    for worker in pool:
        worker.process.join(max(0.0, until - time.monotonic()))
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()


def _work(job: Job, pipe: Any) -> None:
    """A worker's life: make the chunks that come through the pipe until it closes."""
    os.environ["OMP_NUM_THREADS"] = "1"
    _end_with_parent()
    keep_memory()
    while True:
        try:
            plan = pipe.recv()
        except EOFError:
            return
        try:
            answer: Done | BaseException = build_chunk(job, plan)
        except MemoryError:
            os._exit(OUT_OF_MEMORY)
        except Exception as error:
            if "can't allocate memory" in str(error):  # torch's own MemoryError
                os._exit(OUT_OF_MEMORY)
            answer = _portable(error)
        pipe.send(answer)


def _portable(error: Exception) -> Exception:
    """The error itself if it can travel and is the user's, else one with its traceback as text."""
    as_text = RuntimeError(f"in a worker: {''.join(traceback.format_exception(error))}")
    if not isinstance(error, (InputError, OSError)):
        return as_text
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # an exception of unusual arguments; what it says travels all the same
        return as_text
    return error


def _end_with_parent() -> None:
    """End this process when its parent is gone, killed with -9 or not."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    sentinel = parent.sentinel

    def wait() -> None:
        connection.wait([sentinel])
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
