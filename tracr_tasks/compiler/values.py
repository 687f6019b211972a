"""Value inference: which values can an S-op take, and what is sure about a selector.

An S-op that depends position by position on others is a table over them. Its *bases* are the S-ops at the roots of
that dependence (tokens, indices, widths, aggregates), and its table is a grid with one axis a base. Two S-ops with a
common base are so known to move together: x * y over tokens and tokens + 1 has five values, not twenty-five.

The value sets may be too large (a base is assumed free of the other bases) but are never too small.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from tracr_tasks.compiler.facts import (
    MAX_VALUES,
    Fact,
    SelectorFact,
    Term,
    along,
    base,
    limits,
    mean_set,
    ordered,
    refusal,
)
from tracr_tasks.errors import ProgramError, Reason
from tracr_tasks.exact import Exact, is_number, literal
from tracr_tasks.interpreter import combine, related
from tracr_tasks.rasp import Program
from tracr_tasks.trace import Node

MAX_GRID = 4096
"""Cells of a table over bases; beyond it the dependence is forgotten."""
MAX_PAIRS = 65536
"""Pairs of values that a function of two is tabulated on."""


class Inference:
    """Infers facts node by node; `facts[i]` is that of node i, None where the node is refused (see `reasons`)."""

    def __init__(self, program: Program):
        self.program = program
        self.nodes = program.nodes
        self.facts: list[Any] = []
        self.reasons: list[Reason] = []
        self.injective: set[int] = set()  # bases whose values differ at different positions
        self.lengths: set[int] = set()  # bases that equal the sequence's length
        self.ranks: dict[int, tuple[int, ...]] = {}  # bases that are equal only where these S-ops are equal
        self.node = self.nodes[0]

    def run(self) -> Inference:
        """Infer every node."""
        for place, node in enumerate(self.nodes):
            self.node = node
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

    def grid(self, places: Sequence[int]) -> tuple[tuple[int, ...], list[np.ndarray], np.ndarray] | None:
        """The joint table of some S-ops: bases, flat codes of each, and which cells can occur; None if too large."""
        facts: list[Fact] = [self.facts[place] for place in places]
        if any(fact.values is None for fact in facts):
            raise refusal("an argument has too many values to be enumerated")
        bases = tuple(sorted({b for fact in facts for b in fact.bases}))
        shape = tuple(len(self.facts[b].values) for b in bases)
        if np.prod(shape, dtype=np.float64) > MAX_GRID:
            return None
        codes = []
        for fact in facts:
            index = tuple(slice(None) if b in fact.bases else None for b in bases)
            codes.append(np.broadcast_to(fact.codes[index], shape).reshape(-1))
        possible = np.ones(shape, dtype=bool)
        for i, b in enumerate(bases):
            if self.nodes[b].op == "indices":
                for j, other in enumerate(bases):
                    if other in self.lengths:
                        possible &= along(self.facts[b].values, i, shape) < along(self.facts[other].values, j, shape)
        return bases, codes, possible.reshape(-1)

    def joint(self, places: Sequence[int]) -> tuple[tuple[Exact, ...], ...]:
        """The tuples of values that some S-ops can take together at one position."""
        if not places:
            return ((),)
        facts: list[Fact] = [self.facts[place] for place in places]
        if len(places) == 1 and facts[0].values is not None:
            return tuple((value,) for value in facts[0].values)
        grid = self.grid(places)
        if grid is None:
            sizes = [len(fact.values or ()) for fact in facts]
            if np.prod(sizes, dtype=np.float64) > MAX_PAIRS:
                raise refusal("too many combinations of values")
            return tuple(itertools.product(*(fact.values or () for fact in facts)))
        _, codes, possible = grid
        key = np.zeros(len(possible), dtype=np.int64)
        for fact, code in zip(facts, codes, strict=True):
            key = key * len(fact.values or ()) + code
        _, first = np.unique(key[possible], return_index=True)
        rows = [code[possible][first].tolist() for code in codes]
        return tuple(
            tuple((fact.values or ())[c] for fact, c in zip(facts, row, strict=True)) for row in zip(*rows, strict=True)
        )

    def pointwise(self, place: int, fn: Any, args: Sequence[int]) -> Fact:
        """The fact of `fn` applied position by position."""
        facts: list[Fact] = [self.facts[arg] for arg in args]
        rows = self.joint(args)
        results: dict[tuple[Exact, ...], Exact] = {row: fn(*row) for row in rows}
        values = ordered(results.values())
        if len(values) > MAX_VALUES:
            raise refusal(f"over {MAX_VALUES} possible values")
        grid = self.grid(args)
        if grid is None:
            return base(place, values)
        bases, codes, _ = grid
        position = {value: i for i, value in enumerate(values)}
        table = np.zeros(tuple(len(fact.values or ()) for fact in facts), dtype=np.int64)
        at = [{value: i for i, value in enumerate(fact.values or ())} for fact in facts]
        for row, result in results.items():
            table[tuple(at[i][value] for i, value in enumerate(row))] = position[result]
        shape = tuple(len(self.facts[b].values) for b in bases)
        return Fact(values, bases, table[tuple(codes)].reshape(shape))

    def linear(self, place: int, node: Node) -> Fact:
        """The fact of a * x + b * y; a range where the pairs are too many."""
        a, b = node.params
        x, y = (self.facts[arg] for arg in node.args)
        for fact in (x, y):
            if fact.values is not None and not all(v is None or is_number(v) for v in fact.values):
                raise refusal("linear needs numbers")
        if x.values is not None and y.values is not None and len(x.values) * len(y.values) <= MAX_PAIRS:
            try:
                return self.pointwise(place, lambda u, v: combine(a, u, b, v), node.args)
            except ProgramError:
                if x.may_be_none or y.may_be_none:
                    raise
        if x.may_be_none or y.may_be_none:
            raise refusal("an argument of linear may be none and has too many values to be enumerated")
        corners = [a * u + b * v for u in limits(x) for v in limits(y)]
        return Fact(None, (), np.zeros((), dtype=np.int64), min(corners), max(corners))

    def is_injective(self, places: Sequence[int]) -> bool:
        """Whether the values of one of these S-ops surely differ at different positions."""
        for place in places:
            grid = self.grid([place])
            if grid is None:
                continue
            bases, (codes,), possible = grid
            shape = tuple(len(self.facts[b].values) for b in bases)
            for axis, b in enumerate(bases):
                if b in self.lengths:  # the same at every position of a sequence
                    codes = codes * shape[axis] + np.broadcast_to(
                        along(range(shape[axis]), axis, shape), shape
                    ).reshape(-1)
            for axis, b in enumerate(bases):
                if b not in self.injective:
                    continue
                row = np.broadcast_to(along(range(shape[axis]), axis, shape), shape).reshape(-1)[possible]
                pairs = np.unique(np.stack([codes[possible], row]), axis=1)
                if len(np.unique(pairs[0])) == pairs.shape[1]:
                    return True
        return False

    # selectors

    def select(self, node: Node) -> Term:
        """The one term of a select."""
        keys, queries = node.args
        for place, what in ((keys, "keys"), (queries, "queries")):
            if self.facts[place].values is None:
                raise refusal(f"the {what} of select have too many values to be enumerated")
            if self.facts[place].may_be_none:
                raise refusal(f"the {what} of select may be none; give the aggregate that makes them a default")
        return self.term((keys,), (queries,), lambda key, query: related(node.params[0], key[0], query[0]))

    def term(self, keys: tuple[int, ...], queries: tuple[int, ...], holds: Any) -> Term:
        """A term over joint values, from a function of a key tuple and a query tuple."""
        key_values, query_values = self.joint(keys), self.joint(queries)
        if len(key_values) * len(query_values) > MAX_PAIRS:
            raise refusal("too many pairs of key and query values")
        relation = np.array([[bool(holds(key, query)) for key in key_values] for query in query_values])
        return Term(keys, key_values, queries, query_values, relation)

    def selector(self, terms: Sequence[Term]) -> SelectorFact:
        """The fact of a conjunction; terms that always hold are left out."""
        terms = tuple(term for term in terms if not term.relation.all())
        return SelectorFact(terms, all(map(self.selects_itself, terms)), any(map(self.is_single, terms)))

    def selects_itself(self, term: Term) -> bool:
        """Whether every query surely selects the key at its own position."""
        shared = term.keys + term.queries
        try:
            rows = self.joint(shared)
        except ProgramError:
            return False
        keys = {value: i for i, value in enumerate(term.key_values)}
        queries = {value: i for i, value in enumerate(term.query_values)}
        split = len(term.keys)
        return all(term.relation[queries[row[split:]], keys[row[:split]]] for row in rows)

    def is_single(self, term: Term) -> bool:
        """Whether every query surely selects at most one key."""
        if not term.relation.any():
            return True
        return bool((term.relation.sum(1) <= 1).all()) and self.is_injective(term.keys)

    def composite(self, node: Node, args: Sequence[SelectorFact]) -> SelectorFact:
        """The fact of not, and, or: a conjunction where that is possible, else one term over all keys and queries."""
        if node.op == "selector_and":
            merged: dict[tuple[tuple[int, ...], tuple[int, ...]], Term] = {}
            for term in (*args[0].terms, *args[1].terms):
                at = (term.keys, term.queries)
                if at in merged:
                    relation = merged[at].relation & term.relation
                    term = Term(term.keys, term.key_values, term.queries, term.query_values, relation)
                merged[at] = term
            return self.selector(tuple(merged.values()))
        keys = tuple(sorted({k for fact in args for term in fact.terms for k in term.keys}))
        queries = tuple(sorted({q for fact in args for term in fact.terms for q in term.queries}))
        checks = [_checker(fact.terms, keys, queries) for fact in args]
        if node.op == "selector_not":
            return self.selector((self.term(keys, queries, lambda k, q: not checks[0](k, q)),))
        if not (args[0].terms and args[1].terms):
            return self.selector(())
        return self.selector((self.term(keys, queries, lambda k, q: checks[0](k, q) or checks[1](k, q)),))

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

    def is_rank(self, term: Term) -> bool:
        """Whether the width counts the smaller (or larger) of some values, so that equal widths have equal values."""
        if term.keys != term.queries:
            return False
        size = len(term.key_values)
        order = np.arange(size)
        below = order[None, :] < order[:, None]
        shapes = [below, below.T, below | np.eye(size, dtype=bool), below.T | np.eye(size, dtype=bool)]
        return any(np.array_equal(term.relation, shape) for shape in shapes)

    def aggregate(self, place: int, node: Node, selector: SelectorFact) -> Fact:
        """The fact of an aggregate: the values that can be moved, or the means of those that can meet."""
        sop: Fact = self.facts[node.args[1]]
        default = [] if selector.never_empty else [node.params[0]]
        if sop.values is None:
            if default and not is_number(node.params[0]):
                raise refusal("an average of so many values needs a number as its default")
            limit = [sop.low, sop.high, *default]
            return Fact(None, (), np.zeros((), dtype=np.int64), min(limit), max(limit))
        groups = self.groups(selector, node.args[1])
        if selector.single:
            return base(place, ordered([v for values, _ in groups for v in values] + default))
        out: set[Exact] = set(default)
        for values, most in groups:
            if len(values) > 1 and most > 1 and not all(is_number(value) for value in values):
                shown = ", ".join(literal(value) for value in values)
                raise refusal(f"the aggregate may average what is not a number: several of {shown} can be selected")
            means = mean_set(tuple(values), most)
            if means is None or len(out) + len(means) > MAX_VALUES:
                return self.wide_mean(sop, default)
            out |= means
        return base(place, ordered(out))

    def wide_mean(self, sop: Fact, default: Sequence[Exact]) -> Fact:
        """The fact of a mean with too many values."""
        if not all(is_number(value) for value in default):
            raise refusal("a mean with so many values needs a number as its default")
        limit: list[Any] = [*limits(sop), *default]
        return Fact(None, (), np.zeros((), dtype=np.int64), min(limit), max(limit))

    def moves(self, place: int) -> bool:
        """Whether an aggregate surely never meets two different values, so that it can carry a one-hot."""
        selector, sop = (self.facts[arg] for arg in self.nodes[place].args)
        if selector.single:
            return True
        groups = [] if sop.values is None else self.groups(selector, self.nodes[place].args[1])
        return bool(groups) and all(len(values) <= 1 or most == 1 for values, most in groups)

    def groups(self, selector: SelectorFact, sop: int) -> list[tuple[list[Exact], int]]:
        """For each query, the values that one aggregate may meet and how many keys it may select at most."""
        everything = ordered(self.facts[sop].values)
        most = 1 if selector.single else self.program.max_seq_len
        best = [(list(everything), most)]
        for term in selector.terms:
            groups = self.term_groups(term, sop, most)
            if groups is not None and _weight(groups) < _weight(best):
                best = groups
        return best

    def term_groups(self, term: Term, sop: int, most: int) -> list[tuple[list[Exact], int]] | None:
        """As `groups`, from one term."""
        try:
            rows = self.joint((*term.keys, sop))
        except ProgramError:
            return None
        met: dict[tuple[Exact, ...], list[Exact]] = {}
        for row in rows:
            met.setdefault(row[:-1], []).append(row[-1])
        injective = self.is_injective(term.keys)
        if self.is_uniform(term, sop):
            most = 1
        groups: dict[tuple[tuple[Exact, ...], int], None] = {}
        for chosen in np.unique(term.relation, axis=0):
            keys = [term.key_values[i] for i in np.flatnonzero(chosen)]
            values = ordered({value for key in keys for value in met.get(key, ())})
            if values:
                groups[values, min(most, len(keys)) if injective else most] = None
        return [(list(values), count) for values, count in groups]

    def is_uniform(self, term: Term, sop: int) -> bool:
        """Whether every query selects keys of one rank, and keys of one rank surely have one value of the S-op."""
        if len(term.keys) != 1 or (term.relation.sum(1) > 1).any():
            return False
        fact: Fact = self.facts[term.keys[0]]
        if len(fact.bases) != 1 or fact.bases[0] not in self.ranks or len(np.unique(fact.codes)) < fact.codes.size:
            return False
        rows = self.joint((*self.ranks[fact.bases[0]], sop))
        return len({row[:-1] for row in rows}) == len(rows)


def _checker(terms: Sequence[Term], keys: tuple[int, ...], queries: tuple[int, ...]) -> Any:
    """A function of a key tuple and a query tuple: whether every term holds."""
    parts = []
    for term in terms:
        at_k = {value: i for i, value in enumerate(term.key_values)}
        at_q = {value: i for i, value in enumerate(term.query_values)}
        parts.append((term, at_k, at_q, [keys.index(k) for k in term.keys], [queries.index(q) for q in term.queries]))

    def holds(key: tuple[Exact, ...], query: tuple[Exact, ...]) -> bool:
        return all(
            term.relation[at_q[tuple(query[i] for i in q)], at_k[tuple(key[i] for i in k)]]
            for term, at_k, at_q, k, q in parts
        )

    return holds


def _weight(groups: list[tuple[list[Exact], int]]) -> tuple[int, int]:
    """How much can meet: an aggregate over groups of the least weight has the fewest means."""
    sizes = [len(values) if most > 1 else min(1, len(values)) for values, most in groups]
    return max(sizes, default=0), sum(len(values) for values, _ in groups)
