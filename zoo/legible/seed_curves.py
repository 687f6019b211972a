"""What is left of one network's seed, at its end and along its training: points, half-lives, and where curves end.

The figures are raw: shares of 1, not of the gap between a frozen seed and none. The control is the target of the same
number in the regime `permuted`, whose seed had its entries shuffled and is measured at the same points.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tracr_tasks.transformer import TargetConfig
from zoo.legible.decay import decay
from zoo.legible.embedding import Seeding
from zoo.legible.network import run
from zoo.legible.persistence import Meter, drift, probe_r2
from zoo.legible.tasks import UNASKED
from zoo.stack import Params

if TYPE_CHECKING:
    from zoo.legible.making import Pupil

MEASURED = 256
"""Inputs that seeds are measured on."""
POINTS = 10
"""Of a curve."""
FALLING = ("information", "place", "use")
"""Measures that fall as a seed is lost."""


@dataclass(frozen=True)
class SeedMeasures:
    """See `persistence.Persistence`; NaN for what there is not."""

    information: float
    """Its `probe`."""
    place: float
    """Its `read_out`."""
    use: float
    """Its `interchange`; not of a decoy, as the network's program does not have the variable."""
    selectivity: float
    drift: float


SeedMeter = Callable[[Params], SeedMeasures]
"""Measures a stack of one network."""


def moments(steps: int) -> list[int]:
    """Numbers of updates at which networks are measured: 0, then ever further apart."""
    later = np.geomspace(min(10, steps), steps, POINTS - 1).round().astype(int)
    return sorted({0, *later.tolist()})


def seed_meter(config: TargetConfig, one: Pupil, seeding: Seeding, regime: str) -> SeedMeter:
    """The meter of a network that begins with its program's own variable, or (`decoy`) with another program's."""
    if regime == "decoy":
        return lambda stack: _foreign(config, one, seeding, stack)
    meter = Meter(config, [one.drawn.task], [seeding], one.drawn.variable, 0, MEASURED)

    def measure(stack: Params) -> SeedMeasures:
        found = meter(stack)[0]
        return SeedMeasures(found.probe, found.read_out, found.interchange, found.selectivity, found.drift)

    return measure


class SeedWatch:
    """Measures the networks of a stack while they learn: a watch of `trainer.train_networks`."""

    def __init__(self, meters: Sequence[SeedMeter]):
        self.meters = meters
        self.points: dict[int, list[SeedMeasures]] = {}

    def __call__(self, step: int, params: Params) -> None:
        """Measure every network after `step` updates."""
        stacks = ({name: tensor[i : i + 1] for name, tensor in params.items()} for i in range(len(self.meters)))
        self.points[step] = [meter(stack) for meter, stack in zip(self.meters, stacks, strict=True)]

    def curve(self, i: int, steps: int) -> dict[int, SeedMeasures]:
        """Points of network i, which was done after so many updates; its end is not among them."""
        return {step: measures[i] for step, measures in self.points.items() if step < steps}


def curve_labels(curve: Mapping[int, SeedMeasures]) -> dict[str, Any]:
    """Labels of a curve that ends with the network.

    curve: steps and one list a measure; half_life: steps until a measure has half of its first value, None if it never
    has; asymptote: by law where a measure ends, None where the points do not tell.
    """
    steps = list(curve)
    columns = {field.name: [getattr(point, field.name) for point in curve.values()] for field in fields(SeedMeasures)}
    fits = {name: decay(steps, columns[name]) for name in FALLING}
    return {
        "curve": {"steps": steps, **{name: [rounded(value) for value in values] for name, values in columns.items()}},
        "half_life": {name: None if fit.half_life is None else round(fit.half_life, 1) for name, fit in fits.items()},
        "asymptote": {
            name: {"exponential": rounded(fit.exponential.told), "power_law": rounded(fit.power_law.told)}
            for name, fit in fits.items()
        },
    }


def rounded(value: float | None) -> float | None:
    """To 4 digits; None where it is not a number, which JSON does not have."""
    return round(value, 4) if value is not None and math.isfinite(value) else None


@torch.no_grad()
def _foreign(config: TargetConfig, one: Pupil, seeding: Seeding, stack: Params) -> SeedMeasures:
    """What is left of another program's variable: no answer of the network's own program depends on it."""
    variable = one.other.task.concept(one.other.variable)
    rows = np.random.Generator(np.random.PCG64(0)).permutation(len(one.drawn.task.ids))[:MEASURED]
    state = run(config, stack, torch.from_numpy(one.drawn.task.ids[rows])[None]).states[seeding.site][0]
    codes = variable.codes[rows]
    if not torch.isfinite(state).all():
        return SeedMeasures(*[math.nan] * 5)
    said = (state @ seeding.read_out + seeding.read_out_bias).argmax(-1).numpy()
    index = {name: i for i, name in enumerate(variable.values)}
    places = np.array([index.get(name, UNASKED) for name in seeding.values])
    place = float((places[said] == codes)[codes != UNASKED].mean())
    return SeedMeasures(probe_r2(state, codes), place, math.nan, math.nan, drift(stack, seeding))
