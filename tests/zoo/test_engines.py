"""Where chunks are made changes nothing: this process, a pool of processes, a Ray cluster; and workers that die."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tracr_tasks.errors import InputError, ZooError
from zoo.build import build
from zoo.chunks import plan_chunks
from zoo.engine_local import LocalEngine, _portable
from zoo.engine_ray import RayEngine
from zoo.engines import MAX_DEATHS, Done, Job, Lost, Todo
from zoo.shard import shard_names
from zoo.spec import ZooSpec


def contents(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def test_two_processes_give_the_same_bytes(small: ZooSpec, small_zoo: Path, tmp_path: Path) -> None:
    report = build(small, tmp_path / "again", workers=2, progress=False)
    assert contents(tmp_path / "again") == contents(small_zoo)
    assert len(report.chunks) == 6
    assert multiprocessing.active_children() == []


def test_a_worker_that_is_killed_costs_its_chunk_one_more_try(small: ZooSpec, tmp_path: Path) -> None:
    """Both workers are killed while they work, as the kernel does when memory is short."""
    (tmp_path / "shards").mkdir()
    spec = replace(small, compiled=0, trained=8, untrained=0, training=replace(small.training, steps=200))
    plans = plan_chunks(spec)
    events = LocalEngine(2).run(Job(spec, tmp_path), plans)
    first = next(events)
    for child in multiprocessing.active_children():
        os.kill(child.pid or 0, signal.SIGKILL)
    rest = list(events)
    lost = [event for event in rest if isinstance(event, Lost)]
    done = [event for event in [first, *rest] if isinstance(event, Done)]
    assert 1 <= len(lost) <= 2
    assert all(event.again and event.reason == "its worker was killed (out of memory?)" for event in lost)
    assert sorted(event.plan.name for event in done) == [plan.name for plan in plans] == shard_names(tmp_path)
    assert multiprocessing.active_children() == []


def test_workers_end_with_the_generator_and_with_an_error(small: ZooSpec, tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    spec = replace(small, compiled=0, trained=12, untrained=0, training=replace(small.training, steps=200))
    events = LocalEngine(2).run(Job(spec, tmp_path), plan_chunks(spec))
    next(events)
    began = time.monotonic()
    events.close()
    assert time.monotonic() - began < 5
    assert multiprocessing.active_children() == []
    (tmp_path / "shards").rename(tmp_path / "gone")
    with pytest.raises(FileNotFoundError):
        list(LocalEngine(1).run(Job(small, tmp_path), plan_chunks(small)[-1:]))
    assert multiprocessing.active_children() == []


def test_a_chunk_that_loses_its_worker_again_and_again_is_left_out(small: ZooSpec) -> None:
    todo, deaths = Todo(plan_chunks(small)), Counter[bool]()
    while todo.waiting:
        plan = todo.waiting.popleft()
        if plan.name == "trained-00001":
            deaths[todo.lost(plan, "x").again] += 1
    assert deaths == {True: MAX_DEATHS - 1, False: 1}


def test_errors_of_workers_travel() -> None:
    for error in (InputError("bad"), OSError(28, "No space left on device", "/x")):
        assert _portable(error) is error
    other = _portable(ZeroDivisionError("division by zero"))
    assert isinstance(other, RuntimeError)
    assert "ZeroDivisionError: division by zero" in str(other)


@pytest.mark.timeout(120)
def test_a_ray_cluster_of_two_workers_gives_the_same_bytes(small: ZooSpec, small_zoo: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    handler = signal.getsignal(signal.SIGTERM)
    report = build(small, tmp_path / "zoo", workers=2, progress=False, engine="ray")
    assert contents(tmp_path / "zoo") == contents(small_zoo)
    assert (len(report.chunks), report.deaths) == (6, 0)
    assert signal.getsignal(signal.SIGTERM) == handler


def test_a_cluster_that_is_not_there_is_one_clear_error(small: ZooSpec, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    with pytest.raises(ZooError, match=r"--address 127\.0\.0\.1:1: no Ray cluster"):
        list(RayEngine(2, "127.0.0.1:1").run(Job(small, tmp_path), plan_chunks(small)))


def test_ray_that_is_not_installed_is_one_clear_error(small: ZooSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(ZooError, match=r"pip install 'weight-oracle\[ray\]'"):
        list(RayEngine(2).run(Job(small, Path("x")), []))
