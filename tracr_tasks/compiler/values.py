"""Value inference: which values can an S-op take, and what is sure about a selector.

The value sets may be too large (a base is assumed free of the other bases) but are never too small.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from tracr_tasks.compiler.facts import (
    MAX_VALUES,
    Fact,
    SelectorFact,
    base,
    limits,
    mean_set,
    ordered,
    refusal,
    scaled,
)
from tracr_tasks.compiler.selectors import Group, Selectors
from tracr_tasks.compiler.tables import MAX_PAIRS
from tracr_tasks.errors import ProgramError, Reason
from tracr_tasks.exact import Exact, is_number, literal, reduced, sort_key
from tracr_tasks.interpreter import combine
from tracr_tasks.rasp import Program
from tracr_tasks.trace import Node


def only_ranged(nodes: Sequence[Node]) -> set[int]:
    """S-ops of which only the least and the greatest value matter: they end in a number, through sums and means."""
    listed = {len(nodes) - 1}  # nodes of which every value matters
    for place in reversed(range(len(nodes))):
        node = nodes[place]
        if node.op == "numerical" and place == len(nodes) - 1:
            listed.discard(place)
        passed_on = node.args[1:] if node.op == "aggregate" else node.args
        if place in listed or node.op not in ("numerical", "linear", "aggregate"):
            listed.update(passed_on)
        if node.op == "aggregate":
            listed.add(node.args[0])
    return set(range(len(nodes))) - listed


def _pair(number: Any) -> tuple[int, int]:
    return number.numerator, number.denominator


class Inference(Selectors):
    """Infers facts node by node; `facts[i]` is that of node i, None where the node is refused (see `reasons`)."""

    def __init__(self, program: Program):
        super().__init__(program)
        self.reasons: list[Reason] = []
        self.ranged = only_ranged(self.nodes)

    def run(self) -> Inference:
        """Infer every node."""
        for place, node in enumerate(self.nodes):
            if any(self.facts[arg] is None for arg in node.args):
                self.facts.append(None)
                continue
            try:
                self.facts.append(self.infer(place, node))
            except ProgramError as error:
                users = [other.blame for other in self.nodes if place in other.args]
                line = users[0] if users and node.line is None else node.blame
                self.reasons += [Reason(line, reason.text) for reason in error.reasons]
                self.facts.append(None)
        return self

    def infer(self, place: int, node: Node) -> Fact | SelectorFact:
        """The fact of one node, from those of its arguments."""
        args = [self.facts[arg] for arg in node.args]
        length = self.program.max_seq_len
        match node.op:
            case "tokens":
                return base(place, self.program.exact_vocab)
            case "indices":
                self.injective.add(place)
                return base(place, range(length))
            case "length":
                if self.program.causal:
                    raise refusal("length cannot be known under causal attention, which sees no later position")
                self.lengths.add(place)
                return base(place, range(1, length + 1))
            case "constant":
                if node.params[0] is None:
                    raise refusal("a constant none cannot be compiled")
                return Fact((node.params[0],), (), np.zeros((), dtype=np.int64))
            case "numerical" | "categorical":
                if node.op == "numerical" and not all(v is None or is_number(v) for v in args[0].values or ()):
                    raise refusal(f"numerical is for numbers, which {self.nodes[node.args[0]].name} is not")
                return args[0]
            case "map":
                return self.pointwise(place, node.params[0], node.args)
            case "sequence_map":
                return self.pointwise(place, node.params[0], node.args)
            case "linear":
                return self.linear(place, node)
            case "select":
                return self.selector((self.select(node),))
            case "selector_not" | "selector_and" | "selector_or":
                return self.composite(node, args)
            case "selector_width":
                return self.width(place, args[0])
            case "aggregate":
                return self.aggregate(place, node, args[0])
        raise AssertionError(f"no rule for {node.op}")

    # functions of values at one position

    def pointwise(self, place: int, fn: Any, args: Sequence[int]) -> Fact:
        """The fact of `fn` applied position by position."""
        facts: list[Fact] = [self.facts[arg] for arg in args]
        places = self.joint_codes(args)
        columns = [[(fact.values or ())[code] for code in codes] for fact, codes in zip(facts, places, strict=True)]
        results = [fn(*row) for row in zip(*columns, strict=True)]
        values = ordered(results)
        if len(values) > MAX_VALUES:
            raise refusal(f"over {MAX_VALUES} possible values")
        grid = self.grid(args)
        if grid is None:
            return base(place, values)
        bases, codes, _ = grid
        position = {value: i for i, value in enumerate(values)}
        table = np.zeros([len(fact.values or ()) for fact in facts], dtype=np.int64)
        table[tuple(places)] = [position[result] for result in results]
        return Fact(values, bases, table[tuple(codes)].reshape([len(self.facts[b].values) for b in bases]))

    def linear(self, place: int, node: Node) -> Fact:
        """The fact of a * x + b * y; a range where the pairs are too many or nobody asks for their sums."""
        a, b = node.params
        x, y = (self.facts[arg] for arg in node.args)
        for fact in (x, y):
            if fact.values is not None and not all(v is None or is_number(v) for v in fact.values):
                raise refusal("linear needs numbers")
        no_none = not (x.may_be_none or y.may_be_none)
        wide = x.values is None or y.values is None or len(x.values) * len(y.values) > MAX_PAIRS
        if not wide and not (place in self.ranged and no_none):
            try:
                return self.pointwise(place, lambda u, v: combine(a, u, b, v), node.args)
            except ProgramError:
                if not no_none:
                    raise
        if not no_none:
            raise refusal("an argument of linear may be none and has too many values to be enumerated")
        corners = [a * u + b * v for u in limits(x) for v in limits(y)]
        return Fact(None, (), np.zeros((), dtype=np.int64), min(corners), max(corners))

    # operations across positions

    def width(self, place: int, selector: SelectorFact) -> Fact:
        """The fact of a selector's width."""
        length = self.program.max_seq_len
        if not selector.terms and not self.program.causal:
            self.lengths.add(place)
        low = 1 if selector.never_empty else 0
        high = 1 if selector.single else length
        if any(not term.relation.any() for term in selector.terms):
            high = 0
        if len(selector.terms) == 1 and not self.program.causal and self.is_rank(selector.terms[0]):
            self.ranks[place] = selector.terms[0].keys
            if self.is_injective(selector.terms[0].keys):
                self.injective.add(place)
        return base(place, range(low, high + 1))

    def aggregate(self, place: int, node: Node, selector: SelectorFact) -> Fact:
        """The fact of an aggregate: the values that can be moved, or the means of those that can meet."""
        sop: Fact = self.facts[node.args[1]]
        default = [] if selector.never_empty else [node.params[0]]
        if sop.values is None:
            if default and not is_number(node.params[0]):
                raise refusal("an average of so many values needs a number as its default")
            limit = [sop.low, sop.high, *default]
            return Fact(None, (), np.zeros((), dtype=np.int64), min(limit), max(limit))
        groups = self.groups(place)
        met = sorted({code for codes, _ in groups for code in codes})
        if selector.single:
            return base(place, ordered([*(sop.values[code] for code in met), *default]))
        for codes, most in groups:
            if len(codes) > 1 and most > 1 and not all(is_number(sop.values[code]) for code in codes):
                shown = ", ".join(literal(sop.values[code]) for code in codes)
                raise refusal(f"the aggregate may average what is not a number: several of {shown} can be selected")
        if self.moves(place):
            return base(place, ordered([*(sop.values[code] for code in met), *default]))
        if place in self.ranged and all(map(is_number, default)):
            return self.wide_mean(sop, default)
        return self.means(place, sop, groups, default)

    def means(self, place: int, sop: Fact, groups: Sequence[Group], default: Sequence[Exact]) -> Fact:
        """The fact of an aggregate that averages."""
        values: tuple[Any, ...] = sop.values or ()
        scale, numbers = scaled(values)
        moved = {values[code] for codes, most in groups if most == 1 or len(codes) == 1 for code in codes}
        out: set[tuple[int, int]] = set()
        for codes, most in groups:
            if len(codes) > 1 and most > 1:
                means = mean_set(tuple(numbers[code] for code in codes), scale, most)
                if means is None or len(out | means) > MAX_VALUES:
                    return self.wide_mean(sop, default)
                out |= means
        others = [v for v in dict.fromkeys([*moved, *default]) if not is_number(v) or _pair(v) not in out]
        found = [*(reduced(Fraction(*pair)) for pair in out), *others]
        return base(place, sorted(found, key=sort_key))

    def wide_mean(self, sop: Fact, default: Sequence[Exact]) -> Fact:
        """The fact of a mean with too many values."""
        if not all(is_number(value) for value in default):
            raise refusal("a mean with so many values needs a number as its default")
        limit: list[Any] = [*limits(sop), *default]
        return Fact(None, (), np.zeros((), dtype=np.int64), min(limit), max(limit))
