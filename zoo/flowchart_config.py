"""What kind of flowcharts are drawn; imports nothing heavy, so that `--help` stays quick."""

from __future__ import annotations

from dataclasses import dataclass

from tracr_tasks.errors import InputError


@dataclass(frozen=True)
class FlowchartConfig:
    """What kind of flowcharts are drawn."""

    vocab_size: int = 6
    """Input tokens: a, b, c ..."""
    n_answers: int = 6
    """Answer tokens: p, q, r ..."""
    max_seq_len: int = 6
    """Length of every input."""
    min_conditions: int = 1
    """Fewest questions."""
    max_conditions: int = 2
    """Most questions."""
    count: int = 2
    """k of the "at least k" condition."""
    min_branch: float = 0.01
    """Smallest share of inputs that reaches a branch."""
    max_answer: float = 0.95
    """Largest share of inputs that one answer may have."""

    def __post_init__(self) -> None:
        bounds = {"vocab_size": (2, 15), "n_answers": (2, 11), "max_seq_len": (1, 64), "min_conditions": (1, 8)}
        bounds |= {"max_conditions": (self.min_conditions, 8), "count": (2, max(2, self.max_seq_len))}
        for field, (low, high) in bounds.items():
            if not low <= (value := getattr(self, field)) <= high:
                raise InputError(f"flowcharts: {field} = {value!r}, expected {low} to {high}")
        for field in ("min_branch", "max_answer"):
            if not 0 <= (share := getattr(self, field)) <= 1:
                raise InputError(f"flowcharts: {field} = {share!r}, expected a share from 0 to 1")

    def vocab(self) -> tuple[str, ...]:
        """Names of the input tokens."""
        return tuple("abcdefghijklmno"[: self.vocab_size])

    def answers(self) -> tuple[str, ...]:
        """Names of the answers."""
        return tuple("pqrstuvwxyz"[: self.n_answers])
