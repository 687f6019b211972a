"""Building a zoo: chunks made by an engine, one shard a chunk; a killed build goes on where it was.

lock the folder and settle the spec -> plan chunks -> make those that are missing or damaged -> merge the index
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tracr_tasks.errors import InputError, ZooError
from zoo.chunks import ChunkPlan, check_recipes, plan_chunks
from zoo.claim import check_room, claimed, is_done
from zoo.engine_gpu import GpuEngine, device_of
from zoo.engine_local import LocalEngine
from zoo.engine_ray import RayEngine
from zoo.engines import DeviceName, Engine, EngineName, InlineEngine, Job
from zoo.files import shown
from zoo.merge import merge_index
from zoo.progress import Tally, bar_of, matmul_ceiling
from zoo.rows import by_reason
from zoo.spec import ZooSpec
from zoo.store import Zoo


@dataclass(frozen=True)
class BuildReport:
    """What a build did and what the zoo holds now."""

    targets: int
    """In the index."""
    made: int
    """Targets that this build made."""
    duplicates: int
    """Left out of the index because their part and regime has their function already."""
    failures: dict[str, int]
    """Targets of the whole zoo that could not be made, by reason."""
    chunks: tuple[str, ...]
    """Names of the chunks that this build made."""
    written: tuple[str, ...]
    """Other files that were not what they had to be."""
    deaths: int
    """Workers that died; what they had was made again."""
    seconds: float
    ceiling: float | None
    """GFLOP/s of one thread of this machine in a matrix product; None where nothing was made."""
    share: float | None
    """Of that ceiling, what training reached; None where nothing was trained."""

    def lines(self) -> list[str]:
        """For people."""
        failed = "; ".join(f"{number} x {reason}" for reason, number in self.failures.items())
        out = [f"made {self.made}, duplicates {self.duplicates}, failures {sum(self.failures.values())}"]
        out[0] += f" ({failed})" if failed else ""
        out[0] += f", workers lost {self.deaths}" if self.deaths else ""
        if self.made:
            rate = f"{self.seconds:.1f} s, {self.made / self.seconds:.1f} targets/s"
            share = f"; training at {self.share:.1%} of {self.ceiling:.0f} GFLOP/s a thread" if self.share else ""
            out.append(rate + share)
        return out


def build_zoo(
    spec: ZooSpec,
    out: Path | str,
    *,
    workers: int = 2,
    progress: bool = True,
    engine: EngineName = "local",
    address: str | None = None,
    device: DeviceName = "auto",
) -> Zoo:
    """Build a zoo as `build` does, and open it."""
    build(spec, out, workers=workers, progress=progress, engine=engine, address=address, device=device)
    return Zoo.open(out)


def build(
    spec: ZooSpec | None,
    out: Path | str,
    *,
    workers: int = 2,
    progress: bool = True,
    engine: EngineName = "local",
    address: str | None = None,
    device: DeviceName = "auto",
) -> BuildReport:
    """Build a zoo in the folder `out`, finish one, or add to one. The same spec gives the same bytes.

    Args:
        spec: what to build; None to restore the zoo that is there.
        out: a new or empty folder, or one where this spec, or one with smaller counts, was built or was being built.
        workers: processes, of one thread each; 1 builds in this process.
        progress: show a bar on standard error.
        engine: "local", or "ray" for a Ray cluster.
        address: of the Ray cluster; one is started on this machine if not given.
        device: where stacks are trained; "auto" is the GPU if there is one and the engine is local.

    Raises:
        ZooError: the folder holds something else or another spec, is being built, cannot be written to or has too
            little room, or a chunk's workers keep dying.
        InputError: the spec asks for programs that there are not.
    """
    out = Path(out)
    if spec is not None:
        check_recipes(spec)
    try:
        with claimed(out, spec) as settled:
            todo = [plan for plan in plan_chunks(settled) if not is_done(settled, plan, out)]
            check_room(settled, todo, out)
            tally = _make(Job(settled, out), todo, _engine(engine, min(workers, len(todo)), address, device), progress)
            merged = merge_index(out)
    except OSError as problem:
        reason = problem.strerror or str(problem)
        raise ZooError(
            f"{shown(out, 300)}: cannot be written ({reason}); what is finished stays, run again to go on"
        ) from None
    if tally.given_up:
        raise ZooError(_given_up(tally.given_up, out))
    return BuildReport(
        targets=merged.rows,
        made=tally.targets - tally.failures.total(),
        duplicates=merged.duplicates,
        failures=by_reason(merged.failures),
        chunks=tuple(plan.name for plan in todo),
        written=merged.written,
        deaths=tally.deaths,
        seconds=tally.elapsed,
        ceiling=tally.ceiling or None,
        share=tally.share,
    )


def _engine(name: EngineName, workers: int, address: str | None, device: DeviceName) -> Engine:
    """The engine of a name.

    Raises:
        InputError: there is none, or not with such a device.
    """
    if name == "ray" and device != "cuda":
        return RayEngine(workers, address)
    if name == "ray":
        raise InputError("engine ray with device cuda: expected cpu or auto, as its tasks train on CPUs")
    if name != "local" or address is not None:
        raise InputError(f"engine {name!r} with address {address!r}: expected local, or ray with or without an address")
    if device_of(device) == "cuda":
        return GpuEngine(workers)
    return InlineEngine() if workers <= 1 else LocalEngine(workers)


def _make(job: Job, todo: Sequence[ChunkPlan], engine: Engine, progress: bool) -> Tally:
    """Have the chunks made, and count."""
    tally = Tally(job.spec, matmul_ceiling() if todo else 0.0)
    if not todo:
        return tally
    with bar_of(sum(map(len, todo)), progress) as bar, closing(engine.run(job, todo)) as events:
        for event in events:
            tally.add(event)
            bar.set_postfix_str(tally.postfix(), refresh=False)
            bar.update(tally.targets - bar.n)
    return tally


def _given_up(plans: Sequence[ChunkPlan], out: Path) -> str:
    """The error of a build that is finished but for some chunks."""
    ids = "; ".join(f"{plan.name} ({plan.ids()[0]} to {plan.ids()[-1]})" for plan in plans[:3])
    more = f" and {len(plans) - 3} more" if len(plans) > 3 else ""
    return (
        f"{shown(out, 300)}: {len(plans)} chunk(s) are missing, as every worker that had one died (out of memory?): "
        f"{ids}{more}; all others are there, run again with fewer workers"
    )
