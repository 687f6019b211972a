"""How a compiled program is put into a bigger network: options of a seed. Imports nothing heavy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from tracr_tasks.errors import InputError


@dataclass(frozen=True)
class SeedOptions:
    """One way to seed a network, and to treat the seed in training."""

    balance: Literal["raw", "rebalanced"] = "rebalanced"
    """The compiled weights as they are, or the same function with gains made equal (`zoo.legible.rebalance`)."""
    rotate: bool = False
    """A random orthogonal turn of the residual stream, drawn from the network's seed. Under a norm it leaves the loud
    coordinates alone (`zoo.legible.embedding`), under LayerNorm also the direction of ones among the others."""
    permuted: bool = False
    """The control: the seeded entries of each tensor shuffled. Same marginals, no function."""
    rate: float = 1.0
    """Factor of the updates of seeded entries; 0 is frozen."""
    preserve: float = 0.0
    """Weight of a penalty on the squared relative distance of the seeded entries from their initial values."""

    def __post_init__(self) -> None:
        if self.balance not in ("raw", "rebalanced"):
            raise InputError(f"seed: balance = {self.balance!r}, expected raw or rebalanced")
        if not 0 <= self.rate <= 1:
            raise InputError(f"seed: rate = {self.rate!r}, expected 0 (frozen) to 1 (as the rest)")
        if not (self.preserve >= 0 and math.isfinite(self.preserve)):
            raise InputError(f"seed: preserve = {self.preserve!r}, expected a finite weight of at least 0")
