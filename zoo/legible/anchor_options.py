"""How a concept is pulled towards a known direction. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tracr_tasks.errors import InputError


@dataclass(frozen=True)
class AnchorOptions:
    """Penalties on the unit states z of a network with axis v, and who gets a label."""

    strength: float = 1.0
    """Weight of 1 - z.v on labelled positions; 0 leaves the network as it would be."""
    label_rate: float = 0.005
    """Share of a task's inputs that carry a label; at least one does."""
    label_noise: float = 0.0
    """Share of the labels that lie where the concept does not hold."""
    shuffled: bool = False
    """Control: as many labels, dealt to random inputs."""
    span: Literal["position", "sequence"] = "position"
    """Pull where the concept has its value, or at every position of a labelled input, BOS included."""
    anti_subspace: float = 0.0
    """Weight of the mean of (z.v)^2 over all positions without a label. Inputs of the concept without a label are
    among them: they stay near the axis only while this is under strength / (2 share of positions that hold)."""
    anti_anchor: float = 0.0
    """Weight of the mean of max(0, z.v) over the same positions."""
    separate: float = 0.0
    """Weight of the mean of (z_i.z_j)^100 over pairs of states at positions where the concept has any value."""
    states: tuple[int, ...] = ()
    """Residual states that are pulled: 0 after the embedding, l after block l - 1; none: the last."""
    begin: float = 0.0
    """Share of the training before which no penalty is there: what a network has to find first may then be found."""
    until: float = 1.0
    """Share of the training by whose end the pull has gone to 0, linearly from the first step; 1: it stays."""

    def __post_init__(self) -> None:
        bounds: dict[str, tuple[float, float]] = {"strength": (0, 1_000), "label_rate": (1e-6, 1)}
        bounds |= {"label_noise": (0, 1), "anti_subspace": (0, 1_000), "anti_anchor": (0, 1_000)}
        bounds |= {"separate": (0, 1_000), "begin": (0, 0.999), "until": (1e-3, 1)}
        for field, (low, high) in bounds.items():
            if not low <= (value := getattr(self, field)) <= high:
                raise InputError(f"anchor: {field} = {value!r}, expected {low} to {high}")
        if self.span not in ("position", "sequence"):
            raise InputError(f"anchor: span = {self.span!r}, expected position or sequence")
        if min(self.states, default=0) < 0 or len(set(self.states)) < len(self.states):
            raise InputError(f"anchor: states = {self.states!r}, expected different numbers from 0")
        if self.begin >= self.until:
            raise InputError(f"anchor: begin = {self.begin!r}, expected less than until = {self.until!r}")

    @property
    def idle(self) -> bool:
        """Whether no penalty is left."""
        return not (self.strength or self.anti_subspace or self.anti_anchor or self.separate)
