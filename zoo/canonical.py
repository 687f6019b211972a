"""One text for one function: the smallest tree over a flowchart's own conditions, and a fixed choice among equals.

A flowchart's conditions cut the input space into cells (combinations of truth values that some input has). The function
is a table cell -> answer; every tree over the same conditions that gives the same table is a candidate. The canonical
one asks the fewest questions; among those the first in the order of `order_of` along the text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from zoo.conditions import Condition, order_of, reachable_cells, renamed
from zoo.flowchart import Flowchart
from zoo.tree import Question, Tree, tree_text, walk

Cells = frozenset[tuple[bool, ...]]
Table = dict[tuple[bool, ...], str]


def canonical(chart: Flowchart) -> Flowchart:
    """The canonical flowchart of the same function: no unreachable or mergeable branch, questions in a fixed order."""
    return replace(chart, root=min(minimal_trees(chart), key=_preference))


def structure_text(chart: Flowchart) -> str:
    """A text that does not change when tokens, answers or positions are renamed.

    Names are replaced by their order of first use in the text, and the least such text over all smallest trees is
    taken; that set of trees is itself the same under any renaming.
    """
    return min(tree_text(_anonymous(tree)) for tree in minimal_trees(chart))


def minimal_trees(chart: Flowchart) -> list[Tree]:
    """Every tree over the chart's conditions that computes its function with the fewest questions."""
    conditions = tuple(sorted(set(chart.conditions()), key=order_of))
    cells = reachable_cells(conditions, len(chart.vocab), chart.max_seq_len)
    table = {cell: _answer(chart.root, dict(zip(conditions, cell, strict=True))) for cell in cells}
    return _search(frozenset(cells), table, conditions, {})


def _answer(tree: Tree, truth: dict[Condition, bool]) -> str:
    while isinstance(tree, Question):
        tree = tree.yes if truth[tree.condition] else tree.no
    return tree


def _search(cells: Cells, table: Table, conditions: tuple[Condition, ...], seen: dict[Cells, list[Tree]]) -> list[Tree]:
    """All smallest trees that answer `cells` as the table does."""
    if cells in seen:
        return seen[cells]
    answers = {table[cell] for cell in cells}
    if len(answers) == 1:
        seen[cells] = list(answers)
        return seen[cells]
    found: list[Tree] = []
    fewest = len(cells) + 1
    for i, condition in enumerate(conditions):
        yes = frozenset(cell for cell in cells if cell[i])
        if not yes or yes == cells:
            continue
        left, right = _search(yes, table, conditions, seen), _search(cells - yes, table, conditions, seen)
        size = 1 + _size(left[0]) + _size(right[0])
        if size > fewest:
            continue
        if size < fewest:
            fewest, found = size, []
        found += [Question(condition, one, other) for one in left for other in right]
    seen[cells] = found
    return found


def _size(tree: Tree) -> int:
    return sum(isinstance(node, Question) for node in walk(tree))


def _preference(tree: Tree) -> tuple[tuple[int, int, str], ...]:
    """Sort key of a tree among trees of one function and one size: its nodes in the order of the text."""
    return tuple(_node_key(tree))


def _node_key(tree: Tree) -> Iterator[tuple[int, int, str]]:
    for node in walk(tree):
        yield (-1, 0, node) if isinstance(node, str) else order_of(node.condition)


def _anonymous(tree: Tree) -> Tree:
    """Rename tokens, answers and positions by the order of their first use."""
    tokens: dict[str, str] = {}
    answers: dict[str, str] = {}
    positions: dict[int, int] = {}

    def go(node: Tree) -> Tree:
        """The same node under names by order of first use."""
        if isinstance(node, str):
            return answers.setdefault(node, f"y{len(answers)}")
        condition = renamed(
            node.condition,
            lambda token: tokens.setdefault(token, f"x{len(tokens)}"),
            lambda position: positions.setdefault(position, len(positions) + 1),
        )
        yes = go(node.yes)
        return Question(condition, yes, go(node.no))

    return go(tree)
