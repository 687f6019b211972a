"""Small analyses that lowering asks for: the factors of a relation, straight lines, S-ops used as numbers only."""

from __future__ import annotations

import numpy as np

from tracr_tasks.compiler.facts import Term
from tracr_tasks.compiler.values import Inference
from tracr_tasks.exact import Exact, is_number, plain


def features(term: Term) -> tuple[np.ndarray, np.ndarray]:
    """Key features [keys, f] and query features [queries, f] whose product is the relation, with f small.

    Keys that are selected by the same queries share a feature, or queries that select the same keys do.
    """
    by_key, key_group = np.unique(term.relation, axis=1, return_inverse=True)
    by_query, query_group = np.unique(term.relation, axis=0, return_inverse=True)
    key_used, query_used = by_key.any(0), by_query.any(1)
    if key_used.sum() <= query_used.sum():
        keys = np.eye(by_key.shape[1])[key_group.reshape(-1)][:, key_used]
        return keys, by_key[:, key_used].astype(float)
    queries = np.eye(by_query.shape[0])[query_group.reshape(-1)][:, query_used]
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


def numeric_only(inference: Inference) -> set[int]:
    """S-ops that are only ever asked for as a number: each use is `numerical`."""
    uses: dict[int, list[str]] = {}
    for node in inference.nodes:
        for arg in node.args:
            uses.setdefault(arg, []).append(node.op)
    return {
        place
        for place, ops in uses.items()
        if set(ops) == {"numerical"}
        and inference.facts[place] is not None
        and not inference.nodes[place].is_selector
        and not inference.facts[place].may_be_none
    }
