"""How far a build is and how well it uses the machine: targets done, failures, training beside the matmul ceiling."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from tqdm import tqdm

from zoo.chunks import ChunkPlan, config_of
from zoo.engines import Done, Lost, one_thread
from zoo.spec import ZooSpec
from zoo.stack import training_flops

MATMUL_SIZE = 384
"""Of the square matrices: large enough for full speed, small enough for the cache (256 to 512 were within 3%)."""
MATMUL_SECONDS = 0.15


def matmul_ceiling() -> float:
    """GFLOP/s of one thread of this machine on float32 matrices, the best of 0.15 s."""
    a, b = torch.ones(MATMUL_SIZE, MATMUL_SIZE), torch.ones(MATMUL_SIZE, MATMUL_SIZE)
    best, began = float("inf"), time.perf_counter()
    with one_thread(), torch.no_grad():
        while (now := time.perf_counter()) - began < MATMUL_SECONDS:
            torch.mm(a, b)
            best = min(best, time.perf_counter() - now)
    return 2 * MATMUL_SIZE**3 / best / 1e9


@dataclass
class Tally:
    """What a build has done so far."""

    spec: ZooSpec
    ceiling: float
    """GFLOP/s of one thread."""
    chunks: int = 0
    targets: int = 0
    """Of the chunks done."""
    failures: Counter[str] = field(default_factory=Counter)
    """Targets of the chunks done that could not be made, by reason."""
    deaths: int = 0
    """Workers that died."""
    given_up: list[ChunkPlan] = field(default_factory=list)
    """Chunks that were left out because their workers died again and again."""
    flops: float = 0.0
    """Of the training done."""
    seconds: float = 0.0
    """That threads spent on chunks with training."""
    began: float = field(default_factory=time.perf_counter)

    def add(self, event: Done | Lost) -> None:
        """Count an event."""
        if isinstance(event, Lost):
            self.deaths += 1
            if not event.again:
                self.given_up.append(event.plan)
            return
        self.chunks += 1
        self.targets += len(event.plan)
        self.failures.update(failure.reason for failure in event.failures)
        recipe = self.spec.recipe(event.plan.part)
        if event.plan.regime == "trained" and recipe.legible is None:
            training = recipe.training
            self.flops += training_flops(config_of(self.spec, event.plan), event.updates, training.batch)
            self.seconds += event.seconds

    @property
    def share(self) -> float | None:
        """Of a thread's matmul ceiling that training reached, sampling and measuring included; None before any."""
        return self.flops / self.seconds / (self.ceiling * 1e9) if self.seconds else None

    @property
    def elapsed(self) -> float:
        """Seconds since the build began."""
        return time.perf_counter() - self.began

    def postfix(self) -> str:
        """For the bar: failures, deaths and share of the ceiling."""
        parts = [f"failed {self.failures.total()}"]
        parts += [f"workers lost {self.deaths}"] if self.deaths else []
        parts += [f"{self.share:.1%} of matmul"] if self.share is not None else []
        return ", ".join(parts)


@contextmanager
def bar_of(total: int, shown: bool) -> Iterator[tqdm]:
    """A bar on standard error over targets, with rate and time left."""
    with tqdm(total=total, unit=" targets", disable=not shown, smoothing=0.1) as bar:
        yield bar
