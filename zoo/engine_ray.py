"""The Ray engine: the same chunks on a cluster. Shards come back as bytes, so no shared disk is needed.

    pip install 'weight-oracle[ray]'
    weight-oracle zoo build default --out zoos/default --engine ray --address auto

Without an address a cluster of this machine's own is started, and ended with the build.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any

from tracr_tasks.errors import ZooError
from zoo.chunks import ChunkPlan
from zoo.engines import Done, Engine, Events, Job, Lost, Todo, keep_memory, made_files
from zoo.files import shown
from zoo.shard import write_chunk

LOOPBACK = "127.0.0.1"
REACH = 10.0
"""Seconds in which something must answer at a cluster's address."""
SPARE = 1
"""Chunks that wait at the cluster for each that is being made, so that no worker idles while its result travels."""


class RayEngine(Engine):
    """Tasks of one CPU each, on the cluster at `address` or on `workers` processes of this machine."""

    def __init__(self, workers: int, address: str | None = None):
        self.workers, self.address = workers, address

    def run(self, job: Job, plans: Sequence[ChunkPlan]) -> Events:
        """See `Engine.run`.

        Raises:
            ZooError: Ray is not installed, or there is no cluster at the address.
        """
        with redirect_stdout(sys.stderr):  # where Ray reports dead workers; standard output is for results
            ray = self._connected()
            try:
                yield from _run(ray, job, Todo(plans))
            finally:
                ray.shutdown()

    def _connected(self) -> Any:
        """The module `ray`, connected: no dashboard, no statistics sent, no log but errors."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray  # a heavy extra, wanted here only
        except ImportError:
            raise ZooError("--engine ray: Ray is not installed; pip install 'weight-oracle[ray]'") from None
        logging.getLogger("ray").setLevel(logging.ERROR)
        options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False, "configure_logging": False}
        if self.address is None:
            options |= {"num_cpus": self.workers, "include_dashboard": False, "_node_ip_address": LOOPBACK}
        else:
            _reach(self.address)
        try:
            with _own_handler(signal.SIGTERM):
                ray.init(address=self.address or "local", **options)
        except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as problem:
            raise ZooError(f"--address {shown(self.address)}: no Ray cluster ({shown(problem)})") from None
        return ray


def _reach(address: str) -> None:
    """Refuse an address at which nothing listens, for which Ray itself would wait for minutes.

    Raises:
        ZooError: nothing does.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():  # "auto", which Ray looks up without waiting
        return
    try:
        socket.create_connection((host, int(port)), REACH).close()
    except (OSError, OverflowError) as problem:
        raise ZooError(f"--address {shown(address)}: no Ray cluster ({shown(problem)})") from None


@contextmanager
def _own_handler(number: signal.Signals) -> Iterator[None]:
    """Keep the handler of a signal: Ray puts its own there, which ends the process with another status."""
    before = signal.getsignal(number)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():  # Python allows handlers in the main thread only
            signal.signal(number, before)


def _made(job: Job, plan: ChunkPlan) -> tuple[Done, dict[str, list[bytes]]]:
    """What a task does."""
    keep_memory()
    return made_files(job, plan)


def _run(ray: Any, job: Job, todo: Todo) -> Iterator[Done | Lost]:
    """Keep the cluster's CPUs busy and write what comes back."""
    task = ray.remote(_made).options(num_cpus=1, max_retries=0)
    shared = ray.put(job)
    pending: dict[Any, ChunkPlan] = {}
    while todo.waiting or pending:
        room = (1 + SPARE) * max(1, int(ray.cluster_resources().get("CPU", 1)))
        while todo.waiting and len(pending) < room:
            plan = todo.waiting.popleft()
            pending[task.remote(shared, plan)] = plan
        ready, _ = ray.wait(list(pending), num_returns=1)
        plan = pending.pop(ready[0])
        try:
            done, files = ray.get(ready[0])
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError, ray.exceptions.NodeDiedError):
            yield todo.lost(plan, "its worker died (out of memory?)")
            continue
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        write_chunk(job.out, plan.name, files)
        yield done
