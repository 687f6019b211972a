"""One GPU: stacks are trained on it, in this process; the local pool makes what needs no training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from tracr_tasks.errors import InputError
from zoo.chunks import ChunkPlan, Device
from zoo.engine_local import LocalEngine
from zoo.engines import DeviceName, Engine, Events, Job, build_chunk


def device_of(name: DeviceName) -> Device:
    """Where stacks are trained: on the GPU if there is one and nothing else is asked for.

    Raises:
        InputError: a GPU is asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device cuda: PyTorch finds no GPU here, expected auto or cpu")
    return "cuda" if name != "cpu" and torch.cuda.is_available() else "cpu"


class GpuEngine(Engine):
    """Stacks of flowcharts on `device`, all else in `workers` processes. A GPU's weights are not a CPU's: products
    round as it does, so each target's labels say that it was trained there.
    """

    def __init__(self, workers: int, device: Device = "cuda"):
        self.workers, self.device = workers, device

    def run(self, job: Job, plans: Sequence[ChunkPlan]) -> Events:
        """See `Engine.run`."""
        stacks = [p for p in plans if p.regime == "trained" and job.spec.recipe(p.part).legible is None]
        others = [plan for plan in plans if plan not in stacks]
        yield from LocalEngine(min(self.workers, max(1, len(others)))).run(job, others)
        for plan in stacks:
            yield build_chunk(replace(job, device=self.device), plan)
