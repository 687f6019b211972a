"""A flowchart as a Mermaid diagram (https://mermaid.js.org/syntax/flowchart.html)."""

from __future__ import annotations

from tracr_tasks.diagram import escape
from zoo.tree import Tree, walk


def mermaid(tree: Tree) -> str:
    """A diagram with a rhombus for each question, a rounded box for each answer, and arrows named yes and no.

    Nodes are numbered in the order of the text and declared once each, so one tree has one diagram.
    """
    return "\n".join(["flowchart TD", *_lines(tree, 0)])


def _lines(tree: Tree, number: int) -> list[str]:
    """The nodes of `tree`, numbered from `number`, and the arrows between them."""
    if isinstance(tree, str):
        return [f'    n{number}(["{escape(tree)}"])']
    lines = [f'    n{number}{{"{escape(tree.condition.text())}?"}}']
    first_of_no = number + 1 + sum(1 for _ in walk(tree.yes))
    for word, child, first in (("yes", tree.yes, number + 1), ("no", tree.no, first_of_no)):
        lines += [*_lines(child, first), f"    n{number} -->|{word}| n{first}"]
    return lines
