"""What a program is lowered to: residual variables, heads and groups of neurons.

Each component reads named variables through matrices and writes named variables through matrices. Nothing here knows a
layer or a place in the residual stream yet.

Every read of a variable is zero at BOS: the assembler subtracts what stands there (see `assemble`). So a query at BOS
has no features and attends to BOS itself, and what a component writes at BOS is a constant known at compile time.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tracr_tasks.exact import Exact


@dataclass(frozen=True, eq=False)
class Variable:
    """A named part of the residual stream: a one-hot over values, or one direction that holds a number."""

    label: str
    """The program's line, or a line and what is kept beside it (`v2.share`)."""
    values: tuple[Exact, ...] | None = None
    """The values of a one-hot; None for a number."""

    @property
    def size(self) -> int:
        """How many residual directions it takes."""
        return 1 if self.values is None else len(self.values)


Read = tuple[Variable, np.ndarray]
"""A variable and a matrix [variable.size, features] that reads it."""
Write = tuple[Variable, np.ndarray]
"""A variable and a matrix [features, variable.size] that writes it."""


@dataclass(frozen=True, eq=False)
class Head:
    """An attention head. Score = (query features . key features), in units of one selected term."""

    node: int
    """The S-op that the head computes."""
    queries: tuple[Read, ...]
    keys: tuple[Read, ...]
    width: int
    """Features of query and key."""
    everywhere: bool
    """Add one feature that is 1 for every query and every key but BOS."""
    bos_score: float
    """Score of BOS as a key."""
    values: tuple[Read, ...]
    bos_value: np.ndarray
    """What BOS gives as a value, [value features]."""
    writes: tuple[Write, ...]

    def reads(self) -> list[Variable]:
        """Variables that must be there before the head's layer."""
        return [variable for variable, _ in (*self.queries, *self.keys, *self.values)]


@dataclass(frozen=True, eq=False)
class Neurons:
    """A group of relu neurons."""

    node: int
    """The node that they compute."""
    inputs: tuple[Read, ...]
    bias: np.ndarray
    """[neurons]"""
    writes: tuple[Write, ...]
    out_bias: tuple[Write, ...] = field(default=())
    """Constants that the layer adds, as matrices [1, size]."""

    def reads(self) -> list[Variable]:
        """Variables that must be there before the group's layer."""
        return [variable for variable, _ in self.inputs]


Component = Head | Neurons
