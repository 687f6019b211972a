"""The tree of a flowchart, its text and its drawings.

    TREE := ANSWER | if COND then TREE else TREE
    COND := pos N is T | has T | N of T                 (conditions.py says what they mean)

Every question has both branches, so the text needs no brackets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from zoo.conditions import Condition

KEYWORDS = frozenset({"if", "then", "else", "pos", "is", "has", "of"})
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


def mermaid_lines(tree: Tree, lines: list[str], numbers: Iterator[int]) -> str:
    """Append the lines of `tree` and return the name of its first node."""
    name = f"n{next(numbers)}"
    if isinstance(tree, str):
        lines.append(f'    {name}(["{_escaped(tree)}"])')
        return name
    lines.append(f'    {name}{{"{_escaped(tree.condition.text())}?"}}')
    for word, child in (("yes", tree.yes), ("no", tree.no)):
        lines.append(f"    {name} -->|{word}| {mermaid_lines(child, lines, numbers)}")
    return name


def _escaped(text: str) -> str:
    return text.replace("&", "#amp;").replace('"', "#quot;").replace("<", "#lt;")
