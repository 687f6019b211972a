"""Training in several processes on one machine: each has its own targets of a step, gradients are averaged.

The products of a small oracle are too small to be split well over threads, so two processes of one thread are used in
place of one of two.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import distributed
from torch.multiprocessing.spawn import spawn
from torch.nn import Parameter

from oracle.console import quiet_libraries

C = TypeVar("C")


@dataclass(frozen=True)
class Team:
    """This process among those that train one oracle."""

    rank: int = 0
    size: int = 1

    def average(self, value: float) -> float:
        """The mean of a number over the team: all members decide by the same clock and the same loss."""
        if self.size == 1:
            return value
        shared = torch.tensor(value, dtype=torch.float64)
        distributed.all_reduce(shared)
        return float(shared) / self.size

    def average_gradients(self, parameters: Iterable[Parameter]) -> None:
        """Replace every gradient by its mean over the team; a member without one counts as zero."""
        if self.size == 1:
            return
        wanted = list(parameters)
        flat = torch.cat([torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in wanted])
        distributed.all_reduce(flat)
        for parameter, mean in zip(wanted, flat.div_(self.size).split([p.numel() for p in wanted]), strict=True):
            parameter.grad = mean.view_as(parameter)


def launch(size: int, work: Callable[[C, Team], object], config: C) -> None:
    """Run `work(config, team)` in `size` fresh processes; an error in one ends all and is raised here."""
    with tempfile.TemporaryDirectory() as scratch:
        meeting = Path(scratch) / "meeting"
        spawn(_member, (size, str(meeting), work, config), nprocs=size, daemon=True)


def _member(rank: int, size: int, meeting: str, work: Callable[[C, Team], object], config: C) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=size)
    try:
        with quiet_libraries():
            work(config, Team(rank, size))
    finally:
        distributed.destroy_process_group()
