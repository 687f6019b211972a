"""The smallest decision trees of a table: which conditions hold in each cell, and which answer it has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from zoo.conditions import Condition
from zoo.tree import Question, Tree

Mask = int
"""A set of cells: bit i stands for cell i."""


@dataclass
class Search:
    """The trees over some conditions that give each cell its answer."""

    columns: Mapping[Condition, Mask]
    """Cells in which a condition holds, in the order of preference; cells of two answers must differ in one of them."""
    answers: Mapping[str, Mask]
    """Cells of each answer."""
    _sizes: dict[Mask, int] = field(default_factory=dict)
    _bounds: dict[Mask, int] = field(default_factory=dict)
    _counts: dict[Mask, int] = field(default_factory=dict)
    _trees: dict[Mask, list[Tree]] = field(default_factory=dict)

    def size(self, cells: Mask, most: int) -> int | None:
        """Fewest questions that answer the cells, or None if that takes more than `most`."""
        if cells not in self._sizes:
            for size in range(self._bound(cells), most + 1):
                if size == 0 or any(self._splits(cells, size)):
                    self._sizes[cells] = size
                    break
                self._bounds[cells] = size + 1
        found = self._sizes.get(cells)
        return found if found is not None and found <= most else None

    def first(self, cells: Mask) -> Tree:
        """The smallest tree whose questions, in the order of the text, come first in the order of preference.

        Its size must be known from `size`.
        """
        size = self._sizes[cells]
        if size == 0:
            return self._answer(cells)
        condition, yes, no = next(self._splits(cells, size))
        return Question(condition, self.first(yes), self.first(no))

    def count(self, cells: Mask) -> int:
        """How many trees there are in `trees`."""
        if cells not in self._counts:
            splits = self._splits(cells, self._sizes[cells]) if self._sizes[cells] else ()
            self._counts[cells] = sum(self.count(yes) * self.count(no) for _, yes, no in splits) or 1
        return self._counts[cells]

    def trees(self, cells: Mask) -> list[Tree]:
        """Every smallest tree. Its size must be known from `size`."""
        if cells not in self._trees:
            size = self._sizes[cells]
            self._trees[cells] = (
                [self._answer(cells)]
                if size == 0
                else [
                    Question(condition, one, other)
                    for condition, yes, no in self._splits(cells, size)
                    for one in self.trees(yes)
                    for other in self.trees(no)
                ]
            )
        return self._trees[cells]

    def _splits(self, cells: Mask, size: int) -> Iterator[tuple[Condition, Mask, Mask]]:
        """First questions of the trees of at most `size` questions, with the cells on either side."""
        for condition, column in self.columns.items():
            yes, no = cells & column, cells & ~column
            if yes and no:
                left = self.size(yes, size - 1 - self._bound(no))
                if left is not None and self.size(no, size - 1 - left) is not None:
                    yield condition, yes, no

    def _bound(self, cells: Mask) -> int:
        """No tree of fewer questions answers the cells."""
        if cells not in self._bounds:
            self._bounds[cells] = sum(1 for mask in self.answers.values() if mask & cells) - 1
        return self._bounds[cells]

    def _answer(self, cells: Mask) -> str:
        return next(answer for answer, mask in self.answers.items() if mask & cells)
