"""Tables: which values S-ops can take together at one position.

An S-op that depends position by position on others is a table over them. Its *bases* are the S-ops at the roots of
that dependence (tokens, indices, widths, aggregates), and its table is a grid with one axis a base. Two S-ops with a
common base are so known to move together: x * y over tokens and tokens + 1 has five values, not twenty-five.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from tracr_tasks.batch import distinct
from tracr_tasks.compiler.facts import Fact, along, refusal
from tracr_tasks.exact import Exact
from tracr_tasks.rasp import Program

MAX_GRID = 4096
"""Cells of a table over bases; beyond it the dependence is forgotten."""
MAX_PAIRS = 65536
"""Pairs of values that a function of two is tabulated on."""


class Tables:
    """What is known about the S-ops of a program so far; `facts[i]` is that of node i, None where it is refused."""

    def __init__(self, program: Program):
        self.program = program
        self.nodes = program.nodes
        self.facts: list[Any] = []
        self.injective: set[int] = set()  # bases whose values differ at different positions
        self.lengths: set[int] = set()  # bases that equal the sequence's length
        self.ranks: dict[int, tuple[int, ...]] = {}  # bases that are equal only where these S-ops are equal

    def grid(self, places: Sequence[int]) -> tuple[tuple[int, ...], list[np.ndarray], np.ndarray] | None:
        """The joint table of some S-ops: bases, flat codes of each, and which cells can occur; None if too large."""
        facts: list[Fact] = [self.facts[place] for place in places]
        if any(fact.values is None for fact in facts):
            raise refusal("an argument has too many values to be enumerated")
        bases = tuple(sorted({b for fact in facts for b in fact.bases}))
        shape = tuple(len(self.facts[b].values) for b in bases)
        if prod(shape) > MAX_GRID:
            return None
        codes = []
        for fact in facts:
            index = tuple(slice(None) if b in fact.bases else None for b in bases)
            codes.append(np.broadcast_to(fact.codes[index], shape).reshape(-1))
        possible = np.ones(shape, dtype=bool)
        for i, b in enumerate(bases):
            if self.nodes[b].op == "indices":
                for j, other in enumerate(bases):
                    if other in self.lengths:
                        possible &= along(self.facts[b].values, i, shape) < along(self.facts[other].values, j, shape)
        return bases, codes, possible.reshape(-1)

    def joint(self, places: Sequence[int]) -> tuple[tuple[Exact, ...], ...]:
        """The tuples of values that some S-ops can take together at one position."""
        if not places:
            return ((),)
        values = [self.facts[place].values for place in places]
        columns = [
            [known[code] for code in codes] for known, codes in zip(values, self.joint_codes(places), strict=True)
        ]
        return tuple(zip(*columns, strict=True))

    def joint_codes(self, places: Sequence[int]) -> list[list[int]]:
        """As `joint`: for each S-op a list of places in its values, one entry a tuple; of no S-ops no list."""
        if not places:
            return []
        sizes = [len(self.facts[place].values or ()) for place in places]
        grid = self.grid(places)
        if grid is None:
            if prod(sizes) > MAX_PAIRS:
                raise refusal("too many combinations of values")
            return [codes.reshape(-1).tolist() for codes in np.indices(sizes)]
        _, codes, possible = grid
        if len(places) == 1:
            return [list(range(sizes[0]))]
        key = np.zeros(int(possible.sum()), dtype=np.int64)
        for size, code in zip(sizes, codes, strict=True):
            key = key * size + code[possible]
        return [part.tolist() for part in np.unravel_index(distinct(key, prod(sizes)), sizes)]

    def is_injective(self, places: Sequence[int]) -> bool:
        """Whether the values of one of these S-ops surely differ at different positions."""
        for place in places:
            grid = self.grid([place])
            if grid is None:
                continue
            bases, (codes,), possible = grid
            shape = tuple(len(self.facts[b].values) for b in bases)
            for axis, b in enumerate(bases):
                if b in self.lengths:  # the same at every position of a sequence
                    codes = codes * shape[axis] + np.broadcast_to(
                        along(range(shape[axis]), axis, shape), shape
                    ).reshape(-1)
            for axis, b in enumerate(bases):
                if b not in self.injective:
                    continue
                row = np.broadcast_to(along(range(shape[axis]), axis, shape), shape).reshape(-1)[possible]
                pairs = np.unique(codes[possible] * shape[axis] + row)
                if len(np.unique(pairs // shape[axis])) == len(pairs):
                    return True
        return False
