"""Faults of processes: killed, interrupted, two at once, workers that die."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from fault_tools import SPEC, Bench, FaultsConfig, Row, ended, forked, patched, status_of, wait_for, whole

from zoo import files
from zoo.build import build
from zoo.engine_local import LocalEngine
from zoo.engines import Lost
from zoo.shard import shard_names


def random_kills(bench: Bench, config: FaultsConfig) -> Row:
    """One process, killed at a moment drawn evenly over the length of a build, until each zoo is finished."""
    zoos, hits, out = 1, Counter[str](), bench.fresh("kills")
    while hits.total() < config.kills:
        pid = forked(lambda out=out: build(SPEC, out, workers=1, progress=False))
        time.sleep(bench.rng.uniform(0, bench.seconds))
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        if status_of(pid) == 0:
            bench.check(out)
            zoos, out = zoos + 1, bench.fresh("kills")
            continue
        made = whole(out) if out.exists() else 0
        hits["before the first shard" if not made else "between shards" if made < bench.chunks else "at the index"] += 1
    bench.finish(out)
    where = ", ".join(f"{count} {name}" for name, count in sorted(hits.items()))
    held = f"no shard damaged, no lock in the way; {zoos} zoos finished, each file for file the undisturbed one"
    return "1, 7: `kill -9` at a random moment; the lock it leaves", f"one process ({where})", config.kills, held


def pool_kills(bench: Bench, config: FaultsConfig) -> Row:
    """The parent of a pool is killed: its workers must end too."""
    slowest = 0.0
    for _ in range(config.times):
        out = bench.fresh("pool")
        process = bench.command(out)
        wait_for(lambda out=out: len(shard_names(out)) >= 1, process)
        time.sleep(bench.rng.uniform(0, bench.seconds / 2))
        process.kill()
        process.communicate()
        slowest = max(slowest, ended(process.pid))
        whole(out)
        bench.finish(out)
    held = f"workers gone within {slowest:.1f} s; same zoo"
    return "1: `kill -9` of a pool's parent", "command line, two workers", config.times, held


def kills_between(bench: Bench, config: FaultsConfig) -> Row:
    """A process that kills itself right after each of its renames in turn, and before the index."""
    true_sync = files.sync_folder
    for nth in range(1, bench.chunks + 6):
        out, calls = bench.fresh("between"), iter(range(1, 1_000))

        def sync(path: Path, calls: Iterator[int] = calls, nth: int = nth) -> None:
            if next(calls) == nth:
                os.kill(os.getpid(), signal.SIGKILL)
            true_sync(path)

        with patched(files, "sync_folder", sync):
            status = status_of(forked(lambda out=out: build(SPEC, out, workers=1, progress=False)))
        there = whole(out)
        assert status == (-signal.SIGKILL if nth < bench.chunks + 5 else 0), status
        assert bench.finish(out) == bench.chunks - there
    held = "shards in place are adopted, none is made twice; same zoo"
    return "2: `kill -9` between a rename and the index", "after each rename in turn", bench.chunks + 4, held


def signals(bench: Bench, config: FaultsConfig) -> Row:
    """Ctrl-C goes to the whole group, as a terminal sends it; SIGTERM to the parent alone."""
    slowest = 0.0
    for number, expected in [(signal.SIGINT, 130), (signal.SIGTERM, 143)] * config.times:
        out = bench.fresh("signals")
        process = bench.command(out, endless=True)
        wait_for(lambda out=out: len(shard_names(out)) >= 1, process)
        began = time.perf_counter()
        os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
        _, err = process.communicate()
        ended(process.pid)
        slowest = max(slowest, time.perf_counter() - began)
        assert (process.returncode, err) == (expected, b""), (process.returncode, err)
        assert not list(out.rglob(".tmp-*"))
        whole(out)
    held = f"exit 130 and 143 within {slowest:.1f} s; no word, no worker, no half file"
    return "3: SIGINT, SIGTERM", "command line, two workers", 2 * config.times, held


def two_builders(bench: Bench, config: FaultsConfig) -> Row:
    """Two builds of one folder at the same moment."""
    outcomes = Counter[int]()
    for _ in range(config.times):
        out = bench.fresh("two")
        pids = [forked(lambda out=out: build(SPEC, out, workers=1, progress=False)) for _ in range(2)]
        outcomes.update(status_of(pid) for pid in pids)
        bench.check(out)
    assert outcomes == {0: config.times, 2: config.times}, outcomes
    return "6: two builders on one zoo", "at the same moment", config.times, "one refused, the other's zoo is the same"


def dead_workers(bench: Bench, config: FaultsConfig) -> Row:
    """A worker of the pool gets the signal that the kernel sends when memory is short."""
    lost, true_run = 0, LocalEngine.run
    for _ in range(config.times):
        out, killed = bench.fresh("dead"), []

        def kill_one(self: LocalEngine, job: Any, plans: Any, killed: list[int] = killed) -> Iterator[Any]:
            for event in true_run(self, job, plans):
                nonlocal lost
                lost += isinstance(event, Lost)
                if not killed and (children := bench.children()):
                    killed.append(bench.rng.choice(children))
                    os.kill(killed[0], signal.SIGKILL)
                yield event

        with patched(LocalEngine, "run", kill_one):
            report = build(SPEC, out, workers=2, progress=False)
        assert killed and report.deaths <= 1
        bench.check(out)
    return (
        "10: a worker dies",
        "SIGKILL to one of two",
        config.times,
        f"requeued ({lost} chunks were in hand), counted; same zoo",
    )
