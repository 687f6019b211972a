"""What is known of one trained target."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from zoo.training_config import TrainConfig

CURVE_POINTS = 24
"""Length of a loss curve, or the number of steps where there are fewer."""


@dataclass(frozen=True)
class TrainRecord:
    """What is known of one trained target."""

    steps: int
    """Updates it had."""
    loss: float
    """Cross-entropy (nats) on its last batch."""
    accuracy: float
    """Share of random inputs on which it gives the flowchart's answer."""
    branch_accuracy: tuple[float, ...]
    """The same by branch, in the order of the text."""
    loss_curve: tuple[float, ...]
    """Mean loss over each of up to 24 equal stretches of the training."""
    seconds: float
    """Wall time of all its tries: that of each stack it was in, shared evenly among the targets in it."""
    tries: int = 1
    """How many times it was trained."""
    kept: int = 1
    """Which of them the weights are from."""
    missed: bool = False
    """Whether it misses the accuracy asked for; never said under "keep"."""

    def to_json(self) -> dict[str, Any]:
        """Rounded and without `seconds`, so that the record of one target is one text."""
        fields = asdict(self)
        del fields["seconds"]
        fields["loss"] = round(self.loss, 6)
        fields["accuracy"] = round(self.accuracy, 6)
        fields["branch_accuracy"] = [round(value, 4) for value in self.branch_accuracy]
        fields["loss_curve"] = [round(value, 4) for value in self.loss_curve]
        return fields

    def misses(self, train: TrainConfig) -> bool:
        """Whether it is less accurate than `train` asks for."""
        return self.accuracy < train.accuracy or min(self.branch_accuracy) < train.branch_accuracy

    def better_than(self, other: TrainRecord, train: TrainConfig) -> bool:
        """Whether to keep this try rather than another: one that does not miss, else the worst branch decides."""

        def merit(record: TrainRecord) -> tuple[bool, float, float]:
            return not record.misses(train), min(record.branch_accuracy), record.accuracy

        return merit(self) > merit(other)
