"""Building a zoo: a pool of single-threaded processes, one shard a chunk; a killed build goes on where it was."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import connection
from pathlib import Path

import torch
from tqdm import tqdm

from tracr_tasks.errors import ZooError
from zoo.chunks import ChunkPlan, build_chunk, plan_chunks
from zoo.files import read_json, shown, write_atomic
from zoo.shard import SHARD_DIR, SUFFIX, damage, read_shard, shard_path
from zoo.spec import ZooSpec, spec_from_fields
from zoo.store import Zoo, merge_index

SPEC_FILE = "spec.json"
LOCK_FILE = ".lock"
MAX_DEATHS = 3
"""Times that the pool may lose a worker before the build gives up."""


def build_zoo(spec: ZooSpec, out: Path | str, *, workers: int = 2, progress: bool = True) -> Zoo:
    """Build a zoo in the folder `out`, or finish one, and open it. The same spec gives the same bytes.

    Args:
        spec: what to build.
        out: a new or empty folder, or one where this spec was being built.
        workers: processes, of one thread each; 1 builds in this process.
        progress: show a bar on standard error.

    Raises:
        ZooError: the folder holds something else or another spec, is being built, cannot be written to, or workers keep
            dying.
    """
    out = Path(out)
    try:
        with _claimed(spec, out):
            todo = [plan for plan in plan_chunks(spec) if not _is_done(spec, plan, out)]
            total = sum(plan.stop - plan.start for plan in todo)
            with tqdm(total=total, unit=" targets", disable=not progress) as bar:
                for plan in _built(spec, todo, out, workers):
                    bar.update(plan.stop - plan.start)
            merge_index(out)
    except OSError as problem:
        raise ZooError(f"{shown(out, 300)}: cannot be written ({problem.strerror or problem})") from None
    return Zoo.open(out)


@contextmanager
def _claimed(spec: ZooSpec, out: Path) -> Iterator[None]:
    """Hold a zoo's lock, its spec checked and the remains of a killed build removed."""
    if out.exists() and not out.is_dir():
        raise ZooError(f"{shown(out, 300)}: expected a folder")
    out.mkdir(parents=True, exist_ok=True)
    foreign = [path.name for path in out.iterdir() if path.name != LOCK_FILE and not path.name.startswith(".tmp-")]
    if foreign and not (out / SPEC_FILE).exists():
        raise ZooError(f"{shown(out, 300)}: holds '{shown(foreign[0])}' and no zoo, expected a new or empty folder")
    with (out / LOCK_FILE).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ZooError(f"{shown(out, 300)}: is being built by another process") from None
        _check_spec(spec, out / SPEC_FILE)
        (out / SHARD_DIR).mkdir(exist_ok=True)
        for path in (*out.glob(".tmp-*"), *(out / SHARD_DIR).glob(".tmp-*")):
            path.unlink(missing_ok=True)
        planned = {plan.name for plan in plan_chunks(spec)}
        for path in (out / SHARD_DIR).glob("*" + SUFFIX):
            if path.name.removesuffix(SUFFIX) not in planned:
                raise ZooError(f"{shown(path, 300)}: not a shard of this zoo")
        yield


def _check_spec(spec: ZooSpec, path: Path) -> None:
    """Write the spec of a new zoo; refuse to go on with another one."""
    if not path.exists():
        write_atomic(path, [(json.dumps(spec.to_json(), indent=1) + "\n").encode()])
        return
    old = spec_from_fields(read_json(path, 1 << 20, ZooError), str(path))
    if old.hash() != spec.hash():
        before, after = old.to_json(), spec.to_json()
        changed = [f"{k} {before[k]!r} -> {after[k]!r}" for k in before if k != "name" and before[k] != after[k]]
        raise ZooError(f"{shown(path, 300)}: built from another spec ({'; '.join(changed)}); use another folder")


def _is_done(spec: ZooSpec, plan: ChunkPlan, out: Path) -> bool:
    """Whether a chunk's shard is there and every byte of it is right; a damaged one is made again."""
    path = shard_path(out, plan.name)
    if not path.exists():
        return False
    try:
        shard = read_shard(path)
    except ZooError:
        return False
    return shard.spec == spec.hash() and not damage(path, shard)


def _built(spec: ZooSpec, todo: list[ChunkPlan], out: Path, workers: int) -> Iterator[ChunkPlan]:
    """Build chunks and give each back when its shard is written."""
    if workers <= 1 or len(todo) <= 1:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            for plan in todo:
                build_chunk(spec, plan, out)
                yield plan
        finally:
            torch.set_num_threads(threads)
        return
    for deaths in range(MAX_DEATHS + 1):
        try:
            for plan in _pooled(spec, todo, out, min(workers, len(todo))):
                todo = [other for other in todo if other != plan]
                yield plan
            return
        except BrokenProcessPool:
            if deaths == MAX_DEATHS:
                raise ZooError(
                    f"{shown(out, 300)}: a worker died {MAX_DEATHS + 1} times (out of memory?); "
                    f"{len(todo)} chunks are missing, run again with fewer workers"
                ) from None


def _pooled(spec: ZooSpec, todo: list[ChunkPlan], out: Path, workers: int) -> Iterator[ChunkPlan]:
    """`_built` by processes of one thread each."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    try:
        plans: dict[Future[str], ChunkPlan] = {pool.submit(build_chunk, spec, plan, out): plan for plan in todo}
        waiting = set(plans)
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()
                yield plans[future]
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            child.terminate()
        raise
    pool.shutdown()


def _start_worker() -> None:
    """One thread; the parent alone answers Ctrl-C; the worker ends when its parent is gone."""
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        sentinel = parent.sentinel

        def end_with_parent() -> None:
            connection.wait([sentinel])
            os._exit(1)

        threading.Thread(target=end_with_parent, daemon=True).start()
