"""Small analyses that lowering asks for: what is read where, the factors of a relation, straight lines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tracr_tasks.compiler.facts import Term, distinct_rows
from tracr_tasks.compiler.values import Inference
from tracr_tasks.exact import Exact, is_number, plain
from tracr_tasks.trace import Node

ENCODINGS = ("numerical", "categorical")


def features(term: Term) -> tuple[np.ndarray, np.ndarray]:
    """Key features [keys, f] and query features [queries, f] whose product is the relation, with f small.

    Keys that are selected by the same queries share a feature, or queries that select the same keys do.
    """
    by_key, key_group = distinct_rows(term.relation.T)
    by_query, query_group = distinct_rows(term.relation)
    key_used, query_used = by_key.any(1), by_query.any(1)
    if key_used.sum() <= query_used.sum():
        keys = np.eye(len(by_key))[key_group][:, key_used]
        return keys, by_key[key_used].T.astype(float)
    queries = np.eye(len(by_query))[query_group][:, query_used]
    return by_query[query_used].T.astype(float), queries


def as_line(results: dict[Exact, Exact]) -> tuple[float, float] | None:
    """Slope and constant of a function that is a straight line on its values; None if it is not."""
    points = list(results.items())
    if not all(is_number(x) and is_number(y) for x, y in points):
        return None
    numbers: list[tuple[float, float]] = [(float(plain(x)), float(plain(y))) for x, y in points]
    (x0, y0), (x1, y1) = numbers[0], numbers[-1]
    slope = 0.0 if x0 == x1 else (y1 - y0) / (x1 - x0)
    constant = y0 - slope * x0
    fits = all(abs(slope * x + constant - y) < 1e-9 * (1 + abs(y)) for x, y in numbers)
    return (slope, constant) if fits else None


def source(nodes: Sequence[Node], place: int) -> int:
    """The S-op behind encoding annotations."""
    while nodes[place].op in ENCODINGS:
        place = nodes[place].args[0]
    return place


def map_chain(nodes: Sequence[Node], place: int) -> list[int]:
    """The maps that a map is applied to, outermost first (itself included), and what the innermost one reads."""
    chain = [place]
    while nodes[chain[-1]].op == "map":
        chain.append(source(nodes, nodes[chain[-1]].args[0]))
    return chain


def reads(nodes: Sequence[Node], place: int) -> tuple[int, ...]:
    """What a node's components read: its arguments, but a map of maps reads what the innermost one does."""
    return (map_chain(nodes, place)[-1],) if nodes[place].op == "map" else nodes[place].args


def needed(nodes: Sequence[Node]) -> set[int]:
    """Nodes that have components of their own or name another's: all but the maps that only maps are applied to."""
    found = {len(nodes) - 1}
    for place in reversed(range(len(nodes))):
        if place in found:
            found.update(reads(nodes, place))
    return found


def numeric_only(inference: Inference) -> set[int]:
    """S-ops that are only ever read as a number: by `numerical`, by linear maps, by means and by what is one itself."""
    nodes = inference.nodes
    found: set[int] = set()
    uses: dict[int, set[bool]] = {}
    for place in sorted(needed(nodes), reverse=True):  # what reads an S-op comes before it
        fact = inference.facts[place]
        if uses.get(place) == {True} and fact is not None and not fact.may_be_none:
            found.add(place)
        for at, arg in enumerate(reads(nodes, place)):
            uses.setdefault(arg, set()).add(_reads_number(inference, place, at, place in found))
    return found


def _reads_number(inference: Inference, place: int, at: int, is_number: bool) -> bool:
    """Whether a node, itself a number or not, reads its argument `at` as a number rather than as a one-hot."""
    node = inference.nodes[place]
    if node.op == "numerical":
        return True
    if any(inference.facts[arg] is None for arg in node.args):
        return False
    if node.op == "linear":
        return not any(inference.facts[arg].may_be_none for arg in node.args)
    return node.op == "aggregate" and at == 1 and (is_number or not inference.moves(place))
