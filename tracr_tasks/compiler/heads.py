"""Heads for selectors, and neurons that pair one-hots: for functions of two and for selectors over several S-ops."""

from __future__ import annotations

import numpy as np

from tracr_tasks.compiler.components import Head, Neurons, Read, Variable, Write
from tracr_tasks.compiler.factors import features
from tracr_tasks.compiler.facts import SelectorFact, refusal
from tracr_tasks.compiler.held import MAX_ONE_HOT, Held
from tracr_tasks.compiler.values import Inference
from tracr_tasks.exact import Exact

MAX_NEURONS = 4096
"""Neurons that one operation may take."""


class Heads(Held):
    """Held S-ops that heads can select by."""

    def __init__(self, inference: Inference):
        super().__init__(inference)
        self.products: dict[tuple[int, ...], Variable] = {}  # one-hots of several S-ops together

    def head(
        self,
        place: int,
        selector: SelectorFact,
        values: tuple[Read, ...],
        bos_value: np.ndarray,
        writes: tuple[Write, ...],
        bos_factor: float = 0.5,
    ) -> Head:
        """A head for a selector: a selected key scores the number of terms, BOS that less half a term (or as much)."""
        queries: list[Read] = []
        keys: list[Read] = []
        width = sum(features(term)[0].shape[1] for term in selector.terms)
        start = 0
        for term in selector.terms:
            key, query = features(term)
            stop = start + key.shape[1]
            for side, matrix, places, joint in (
                (keys, key, term.keys, term.key_values),
                (queries, query, term.queries, term.query_values),
            ):
                if not places:
                    continue
                wide = np.zeros((matrix.shape[0], width))
                wide[:, start:stop] = matrix
                variable = self.joint_one_hot(place, places, joint)
                side.append((variable, wide))
            start = stop
        score = max(1, len(selector.terms)) - (1 - bos_factor)
        return Head(
            place, tuple(queries), tuple(keys), width, not selector.terms, score, values, np.array(bos_value), writes
        )

    def joint_one_hot(self, place: int, places: tuple[int, ...], joint: tuple[tuple[Exact, ...], ...]) -> Variable:
        """The one-hot of a tuple of S-ops, in the order of `joint`."""
        if len(places) == 1:
            return self.one_hot(places[0])
        sources = tuple(self.source(p) for p in places)
        if sources in self.products:
            return self.products[sources]
        if len(joint) > MAX_ONE_HOT:
            raise refusal(f"a combined selector needs a one-hot over {len(joint)} combinations (at most {MAX_ONE_HOT})")
        first: Variable = self.one_hot(places[0])
        values: tuple[Exact, ...] = first.values or ()
        for count in range(2, len(places) + 1):
            last = count == len(places)
            heads = tuple(dict.fromkeys(row[:count] for row in joint))
            label = f"({', '.join(self.label(p) for p in sources[:count])})"
            variable = Variable(label, heads)
            rows: dict[Exact, np.ndarray] = dict(zip(heads, np.eye(len(heads)), strict=True))
            results: dict[tuple[Exact, ...], Exact] = {}
            for row in heads:
                results[(row[0] if count == 2 else row[:-1], row[-1])] = row
            self.add_pairs(place, (first, self.one_hot(places[count - 1])), results, variable, rows)
            first, values = variable, heads
            if last:
                self.products[sources] = variable
        assert values == joint, "a product has the order of its joint values"
        return first

    def add_pairs(
        self,
        place: int,
        read: tuple[Variable, Variable],
        results: dict[tuple[Exact, ...], Exact],
        variable: Variable,
        rows: dict[Exact, np.ndarray],
    ) -> None:
        """Neurons for a function of two one-hots."""
        pairs = [(pair, result) for pair, result in results.items() if None not in pair and rows[result].any()]
        if len(pairs) > MAX_NEURONS:
            raise refusal(f"over {MAX_NEURONS} pairs of values")
        at = [{value: i for i, value in enumerate(side.values or ())} for side in read]
        matrices = [np.zeros((side.size, len(pairs))) for side in read]
        for column, (pair, _) in enumerate(pairs):
            for side in (0, 1):
                matrices[side][at[side][pair[side]], column] = 1
        write = np.array([rows[result] for _, result in pairs]).reshape(len(pairs), variable.size)
        inputs = tuple(zip(read, matrices, strict=True))
        self.add(Neurons(place, inputs, -np.ones(len(pairs)), ((variable, write),)))
