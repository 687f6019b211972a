"""Yes/no facts about a RASP program that can be looked for in weights; none of them shows in a target's shape."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from tracr_tasks import Program
from tracr_tasks.functions import COMPARATORS
from tracr_tasks.trace import Node

OPERATIONS = ("indices", "selector_width", "aggregate", "sequence_map", "map", "linear", "selector_and", "selector_not")
RARE = 0.15
"""An attribute that fewer than this share of the programs has, or lacks, is left out."""


def attributes_of(program: Program) -> dict[str, bool]:
    """Which operations a program uses, how its selectors compare, and whether one result feeds another selector."""
    nodes = program.nodes
    ops = [node.op for node in nodes]
    compared = {node.params[0].text for node in nodes if node.op == "select"}
    held = {f"uses {op}": op in ops for op in OPERATIONS}
    held |= {f"compares by {sign}": sign in compared for sign in COMPARATORS}
    held["selects by token"] = any(_reads(node, nodes, "tokens") for node in nodes if node.op == "select")
    held["selects by position"] = any(_reads(node, nodes, "indices") for node in nodes if node.op == "select")
    held["two selectors"] = ops.count("select") > 1
    held["selects by a computed value"] = any(
        nodes[place].op not in ("tokens", "indices") for node in nodes if node.op == "select" for place in node.args
    )
    return held


def _reads(node: Node, nodes: Sequence[Node], op: str) -> bool:
    """Whether one of a node's arguments is the input `op`."""
    return any(nodes[place].op == op for place in node.args)


def table_of(programs: Sequence[Program]) -> tuple[tuple[str, ...], Bool[np.ndarray, "program attribute"]]:
    """Names of the attributes that are neither rare nor common among the programs, and which program has them.

    Of attributes that are the same for all programs the first stands for the others.
    """
    rows = [attributes_of(program) for program in programs]
    names, columns = list[str](), list[np.ndarray]()
    for name in rows[0]:
        column = np.array([row[name] for row in rows])
        seen = any((column == other).all() or (column != other).all() for other in columns)
        if RARE <= column.mean() <= 1 - RARE and not seen:
            names.append(name)
            columns.append(column)
    return tuple(names), np.stack(columns, 1) if columns else np.zeros((len(rows), 0), dtype=bool)
