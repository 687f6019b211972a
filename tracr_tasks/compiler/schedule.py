"""Scheduling: which layer each component goes to, as early as what it reads allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tracr_tasks.compiler.components import Component, Head, Neurons, Variable


@dataclass(frozen=True)
class Layer:
    """One block: its heads, then its groups of neurons."""

    heads: tuple[Head, ...]
    groups: tuple[Neurons, ...]


def schedule(components: Sequence[Component]) -> tuple[Layer, ...]:
    """Put components into layers. Attention reads earlier layers; neurons read the heads of their own layer too.

    Time counts half layers: 2 l is the attention of layer l, 2 l + 1 its MLP. Components come in an order in which
    what one reads is written before it. At least one layer is returned.
    """
    written: dict[Variable, int] = {}
    times: list[int] = []
    for component in components:
        ready = max((written.get(variable, -1) for variable in component.reads()), default=-1) + 1
        parity = 0 if isinstance(component, Head) else 1
        time = ready + (ready + parity) % 2
        times.append(time)
        constants = component.out_bias if isinstance(component, Neurons) else ()
        for variable, _ in (*component.writes, *constants):
            written[variable] = max(written.get(variable, -1), time)
    layers = []
    for layer in range(max([time // 2 for time in times], default=0) + 1):
        heads = [c for c, t in zip(components, times, strict=True) if t == 2 * layer and isinstance(c, Head)]
        groups = [c for c, t in zip(components, times, strict=True) if t == 2 * layer + 1 and isinstance(c, Neurons)]
        layers.append(Layer(tuple(heads), tuple(groups)))
    return tuple(layers)
