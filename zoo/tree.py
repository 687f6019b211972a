"""The tree of a flowchart and its text.

    TREE := ANSWER | if COND then TREE else TREE
    COND := pos N is T | has T | N of T | first T before first T | pos N equals pos N | first in SET | last in SET
    SET  := {T, T, ...}                                 (conditions.py says what they mean)

Every question has both branches, so the text needs no brackets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Int

from zoo.conditions import Condition, Truth

KEYWORDS = frozenset({"if", "then", "else", "pos", "is", "has", "of", "first", "before", "equals", "last", "in"})
"""Words of the grammar; no token or answer may be one."""
MAX_DEPTH = 64
"""Questions in a row that a flowchart may ask."""


@dataclass(frozen=True)
class Question:
    """An inner node: ask `condition`, go to `yes` or `no`."""

    condition: Condition
    yes: Tree
    no: Tree


Tree: TypeAlias = Question | str
"""A question, or an answer token."""


def walk(tree: Tree) -> Iterator[Tree]:
    """Every node, in the order of the text."""
    yield tree
    if isinstance(tree, Question):
        yield from walk(tree.yes)
        yield from walk(tree.no)


def is_chain(tree: Tree) -> bool:
    """Whether no question has a question on both sides."""
    return not any(
        isinstance(node, Question) and isinstance(node.yes, Question) and isinstance(node.no, Question)
        for node in walk(tree)
    )


def tree_text(tree: Tree) -> str:
    """The grammar's text of a tree."""
    if isinstance(tree, str):
        return tree
    return f"if {tree.condition.text()} then {tree_text(tree.yes)} else {tree_text(tree.no)}"


def indented_lines(tree: Tree, depth: int = 0) -> Iterator[str]:
    """One question or answer a line, indented by depth."""
    pad = "    " * depth
    if isinstance(tree, str):
        yield f"{pad}answer {tree}"
        return
    yield f"{pad}if {tree.condition.text()}:"
    yield from indented_lines(tree.yes, depth + 1)
    yield f"{pad}else:"
    yield from indented_lines(tree.no, depth + 1)


def leaf_numbers(tree: Tree, holds: Callable[[Condition], Truth], rows: int) -> Int[np.ndarray, " rows"]:
    """The leaf that each of `rows` inputs reaches, counted from 0 in the order of the text.

    `holds` says of a condition on which of the inputs it is true.
    """
    out = np.zeros(rows, dtype=np.int64)
    _number_leaves(tree, holds, np.ones(rows, dtype=bool), out, 0)
    return out


def _number_leaves(
    tree: Tree, holds: Callable[[Condition], Truth], here: Truth, out: Int[np.ndarray, " batch"], first: int
) -> int:
    """Write the numbers of the leaves below `tree`, from `first`, to the rows `here`; the next free number."""
    if isinstance(tree, str):
        out[here] = first
        return first + 1
    yes = holds(tree.condition)
    middle = _number_leaves(tree.yes, holds, here & yes, out, first)
    return _number_leaves(tree.no, holds, here & ~yes, out, middle)
