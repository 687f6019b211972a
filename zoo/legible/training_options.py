"""How networks of a legible zoo begin and are trained. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tracr_tasks.errors import InputError

Family = Literal["normal", "uniform", "orthogonal", "heavy-tailed"]
"""Distribution of an initial matrix's entries; "heavy-tailed" is Student's t with 3 degrees of freedom. All have the
same standard deviation."""
WINDOW = 20
"""Steps whose mean accuracy counts as reached."""


@dataclass(frozen=True)
class NetworkTraining:
    """How networks are trained."""

    steps: int = 800
    """Updates, at most."""
    batch: int = 32
    """Inputs a network sees in a step; every asked position of an input counts."""
    lr: float = 5e-3
    """Peak step size: linear warm-up, then linearly to zero."""
    warmup: int = 50
    """Steps of warm-up."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """AdamW with second decay rate 0.98, or SGD with momentum 0.9."""
    weight_decay: float = 0.0
    """AdamW's decay."""
    stop_accuracy: float = 1.01
    """A network is done when it got this share of the answers of its last `WINDOW` batches right; over 1: never."""

    def __post_init__(self) -> None:
        bounds: dict[str, tuple[float, float]] = {"steps": (1, 1_000_000), "batch": (1, 65_536), "lr": (1e-9, 100)}
        bounds |= {"warmup": (0, 100_000), "weight_decay": (0, 10), "stop_accuracy": (0.01, 1.01)}
        for field, (low, high) in bounds.items():
            if not low <= (value := getattr(self, field)) <= high:
                raise InputError(f"training: {field} = {value!r}, expected {low} to {high}")
        if self.optimizer not in ("adamw", "sgd"):
            raise InputError(f"training: optimizer = {self.optimizer!r}, expected adamw or sgd")
