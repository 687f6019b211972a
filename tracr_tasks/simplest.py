"""One text for programs that compile to the same weights, as far as rules can tell: what nobody can read from weights.

The compiler looks at functions only where they are used, fuses maps of maps, and asks neither how a selector came to
select what it does nor for a default that is never needed. A number may be larger if what reads it is the smaller for
it. So these are two ways to write one transformer, and the second is the simplest:

    v1 = map(x == 2, tokens)                       v1 = map(x != 2, tokens)
    v2 = map(not x, v1)                            v2 = select(indices, indices, <=)
    v3 = select(indices, indices, >)               v3 = aggregate(v2, v1)
    v4 = selector_not(v3)                          v4 = linear(1, -1, v1, v3)
    v5 = aggregate(v4, v2, default=0)              v5 = linear(2, 3, v1, v4)
    v6 = linear(3, -3, v2, v5)                     out = numerical(v5)
    v7 = linear(2, 1, v2, v6)
    out = numerical(v7)

Each function and predicate becomes the shortest of the families that random programs are drawn from (families.py) that
does the same; a map of maps becomes one, or the shortest two. More is the same to weights than rules know: what values
of a one-hot are called, above all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import lru_cache, reduce
from typing import Any

from tracr_tasks.canonical import ENCODINGS, canonical
from tracr_tasks.compiler.factors import map_chain, needed, reads
from tracr_tasks.compiler.values import Inference
from tracr_tasks.errors import ProgramError
from tracr_tasks.exact import Exact, reduced
from tracr_tasks.families import MAPS, MAX_ROWS, MAX_TABLE, MAX_VALUES, PREDICATES, SEQUENCE_MAPS, filled, ordered
from tracr_tasks.functions import Function, function, predicate, table
from tracr_tasks.rasp import LENGTH, Program, SOp
from tracr_tasks.trace import Node, rebuild

MAX_PAIRS = 2_000
"""Pairs of keys and queries on which predicates are tried."""
Row = tuple[Exact, ...]
"""Arguments of a function, or what it gives for some of them in turn."""


@lru_cache(maxsize=1 << 14)
def simplest(program: Program) -> Program:
    """The program that stands for all that compile to the same weights. One that cannot be compiled comes back in its
    canonical form."""
    inference = Inference(program).run()
    if inference.reasons:
        return canonical(program)
    output = _Rewriting(inference).made[-1]
    found = canonical(Program(output, program.vocab, program.max_seq_len, program.causal))
    is_same = _n_variables(found) == _n_variables(program)  # not where two operations have become equal, and so one
    return found if is_same else canonical(program)


def _n_variables(program: Program) -> int:
    """Operations that have components of their own."""
    nodes = (program.nodes[place] for place in needed(program.nodes))
    return sum(not node.is_selector and node.op not in (*ENCODINGS, "tokens", "indices") for node in nodes)


class _Rewriting:
    """The nodes of a program that can be compiled, made anew one after another."""

    def __init__(self, inference: Inference):
        self.inference, self.nodes, self.facts = inference, inference.nodes, inference.facts
        self.made: list[Any] = []
        self.scales: dict[int, Fraction] = {}
        """By what the values of a linear combination were divided."""
        self.users: dict[int, list[int]] = {}
        for place in needed(self.nodes):
            for arg in reads(self.nodes, place):
                self.users.setdefault(arg, []).append(place)
        for place, node in enumerate(self.nodes):
            self.made.append(self.of(place, node))

    def of(self, place: int, node: Node) -> Any:
        """The expression of one node."""
        if node.is_selector:
            return self.selector(place, node)
        match node.op:
            case "map":
                return self.map(place, node)
            case "sequence_map":
                return self.sequence_map(node)
            case "linear":
                return self.linear(place, node)
            case "aggregate" if self.facts[node.args[0]].never_empty:
                return self.over(node, (None,))
            case "selector_width" if not (self.facts[node.args[0]].terms or self.inference.program.causal):
                return LENGTH
        return self.over(node, node.params)

    def over(self, node: Node, params: Sequence[Any]) -> Any:
        """The node itself, with other parameters."""
        return rebuild(node.op, params, [self.made[arg] for arg in node.args])

    def map(self, place: int, node: Node) -> Any:
        """A map of maps as one, or two, of what the innermost one reads."""
        *maps, root = map_chain(self.nodes, place)
        domain, results = self.table_of(place, self.scales.get(root))
        functions = _maps_of(domain, results)
        fn: Function = node.params[0]
        if functions is None and (len(maps) > 1 or fn.text.startswith("{")) and len(domain) <= MAX_TABLE:
            functions = (table(dict(zip(domain, results, strict=True))),)
        if functions is None:
            return self.over(node, node.params)
        return reduce(lambda x, fn: rebuild("map", (fn,), (x,)), functions, self.made[root])

    def table_of(self, place: int, scale: Fraction | None) -> tuple[Row, Row]:
        """The values of what a map of maps reads, divided by a scale if there is one, and what it gives for each."""
        *maps, root = map_chain(self.nodes, place)
        domain = results = tuple(value for value in self.facts[root].values if value is not None)
        for inner in reversed(maps):
            results = tuple(self.nodes[inner].params[0](value) for value in results)
        return (domain if scale is None else tuple(reduced(value / scale) for value in domain)), results

    def sequence_map(self, node: Node) -> Any:
        """A function of two, with its arguments in the order in which its text is shortest."""
        pairs = tuple(pair for pair in self.inference.joint(node.args) if None not in pair)
        if len(pairs) > MAX_ROWS:
            return self.over(node, node.params)
        results = tuple(node.params[0](*pair) for pair in pairs)
        x, y = (self.made[arg] for arg in node.args)
        turned = tuple(pair[::-1] for pair in pairs)
        ways = [(_texts_of_two(rows).get(results), args) for rows, args in ((pairs, (x, y)), (turned, (y, x)))]
        known = [(fn, args) for fn, args in ways if fn is not None]
        if not known:
            return self.over(node, node.params)
        fn, args = min(known, key=lambda way: _order(way[0]))
        return rebuild("sequence_map", (fn,), args)

    def selector(self, place: int, node: Node) -> Any:
        """One predicate where it does what a combination of selectors does."""
        terms = self.facts[place].terms
        if len(terms) != 1 or len(terms[0].keys) != 1 or len(terms[0].queries) != 1:
            return self.over(node, node.params)
        (term,) = terms
        keys, queries = (tuple(value for (value,) in values) for values in (term.key_values, term.query_values))
        if len(keys) * len(queries) > MAX_PAIRS:
            return self.over(node, node.params)
        fn = _predicates(keys, queries).get(tuple(term.relation.ravel().tolist()))
        if fn is None:
            return self.over(node, node.params)
        return rebuild("select", (fn,), (self.made[term.keys[0]], self.made[term.queries[0]]))

    def linear(self, place: int, node: Node) -> Any:
        """A linear combination, without a common factor if all that reads it can be multiplied with that."""
        weights = [reduced(w * self.scales.get(arg, 1)) for arg, w in zip(node.args, node.params, strict=True)]
        scale = self.common_factor(place, node, weights)
        if scale is not None and self.is_read_at_scale(place, scale):
            self.scales[place] = scale
            weights = [reduced(weight / scale) for weight in weights]
        return self.over(node, weights)

    def common_factor(self, place: int, node: Node, weights: Sequence[Any]) -> Fraction | None:
        """The number by which weights are to be divided; None where nothing is to be done.

        It is negative where that gives the larger sum, or the first argument in the order of texts the positive one of
        opposite weights; but for what maps read, whose steps begin at the least value.
        """
        users = {self.nodes[user].op for user in self.users.get(place, ())}
        if place == len(self.nodes) - 1 or not any(weights) or not users <= {"linear", "map"}:
            return None
        if any(self.facts[arg].may_be_none for user in (place, *self.users[place]) for arg in self.nodes[user].args):
            return None
        whole = math.lcm(*(weight.denominator for weight in weights))
        factor = Fraction(math.gcd(*(int(weight * whole) for weight in weights)), whole)
        if "map" in users:
            return factor
        first, second = (self.text_of(self.made[arg]) for arg in node.args)
        ahead = sum(weights) or (weights[0] if (len(first), first) < (len(second), second) else weights[1])
        return factor if ahead > 0 else -factor

    def text_of(self, sop: SOp) -> str:
        """The canonical text of an S-op."""
        program = self.inference.program
        return canonical(Program(sop, program.vocab, program.max_seq_len, program.causal)).text()

    def is_read_at_scale(self, place: int, scale: Fraction) -> bool:
        """Whether the maps that read a number have a text for it when it is divided by a scale."""
        maps = (user for user in self.users[place] if self.nodes[user].op == "map")
        return all(_maps_of(*self.table_of(user, scale)) is not None for user in maps)


def _order(fn: Function) -> tuple[int, str]:
    return len(fn.text), fn.text


def _maps_of(domain: Row, results: Row) -> tuple[Function, ...] | None:
    """The shortest function of the families of maps with these results, or else two of them, the inner one first; None
    where there are neither, or too many values to try."""
    if len(domain) > MAX_ROWS:
        return None
    known = _texts_of_maps(domain)
    if results in known:
        return (known[results],)
    found = []
    for between, inner in known.items():
        then = dict(zip(between, results, strict=True))
        if len(then) < len(domain) and tuple(map(then.get, between)) == results:
            values = ordered(then)
            if (outer := _texts_of_maps(values).get(tuple(then[value] for value in values))) is not None:
                found.append((inner, outer))
    return min(found, key=lambda two: (sum(len(fn.text) for fn in two), *map(_order, two)), default=None)


@lru_cache(maxsize=4096)
def _texts_of_maps(domain: Row) -> dict[Row, Function]:
    """Results on some values -> the shortest function of the families of maps that gives them."""
    known = (function(text) for family in MAPS for text in filled(family.texts, domain, MAX_VALUES))
    return _shortest(known, [(value,) for value in domain])


@lru_cache(maxsize=4096)
def _texts_of_two(pairs: tuple[Row, ...]) -> dict[Row, Function]:
    """Results on some pairs of values -> the shortest function of the families of sequence maps that gives them."""
    return _shortest((function(text, ("x", "y")) for family in SEQUENCE_MAPS for text in family.texts), pairs)


@lru_cache(maxsize=4096)
def _predicates(keys: Row, queries: Row) -> dict[tuple[bool, ...], Function]:
    """Relations, query by query and in these key by key -> the shortest predicate of the families that is one."""
    known = (predicate(text) for family in PREDICATES for text in filled(family.texts, keys, MAX_VALUES))
    found = _shortest(known, [(key, query) for query in queries for key in keys])
    return {tuple(map(bool, held)): fn for held, fn in found.items()}


def _shortest(functions: Iterable[Function], rows: Sequence[Row]) -> dict[Row, Function]:
    """What each function gives on some arguments -> the shortest that does; those that are not defined are left out."""
    found: dict[Row, Function] = {}
    for fn in sorted(functions, key=_order):
        try:
            found.setdefault(tuple(fn(*row) for row in rows), fn)
        except ProgramError:
            continue
    return found
