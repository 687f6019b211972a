"""Selectors: what is sure about them, and which values an aggregate over one may meet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tracr_tasks.compiler.facts import Fact, SelectorFact, Term, distinct_rows, flat_codes, refusal
from tracr_tasks.compiler.tables import MAX_PAIRS, Tables
from tracr_tasks.errors import ProgramError
from tracr_tasks.exact import Exact
from tracr_tasks.interpreter import related
from tracr_tasks.rasp import Program
from tracr_tasks.trace import Node

Group = tuple[tuple[int, ...], int]
"""Places in an S-op's values that one query may meet, and how many keys it may select at most."""


class Selectors(Tables):
    """Tables that also know selectors."""

    def __init__(self, program: Program):
        super().__init__(program)
        self.known_groups: dict[int, list[Group]] = {}

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
        possible = [(row[:split], row[split:]) for row in rows if row[:split] in keys and row[split:] in queries]
        return all(term.relation[queries[query], keys[key]] for key, query in possible)

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

    def is_rank(self, term: Term) -> bool:
        """Whether the width counts the smaller (or larger) of some values, so that equal widths have equal values."""
        if term.keys != term.queries:
            return False
        size = len(term.key_values)
        order = np.arange(size)
        below = order[None, :] < order[:, None]
        shapes = [below, below.T, below | np.eye(size, dtype=bool), below.T | np.eye(size, dtype=bool)]
        return any(np.array_equal(term.relation, shape) for shape in shapes)

    def moves(self, place: int) -> bool:
        """Whether an aggregate surely never meets two different values, so that it can carry a one-hot."""
        selector, sop = (self.facts[arg] for arg in self.nodes[place].args)
        if selector.single:
            return True
        groups = [] if sop.values is None else self.groups(place)
        return bool(groups) and all(len(codes) <= 1 or most == 1 for codes, most in groups)

    def groups(self, place: int) -> list[Group]:
        """For each query of an aggregate, which values it may meet and how many keys it may select at most."""
        if place not in self.known_groups:
            selector, sop = self.nodes[place].args
            fact: SelectorFact = self.facts[selector]
            most = 1 if fact.single else self.program.max_seq_len
            best: list[Group] = [(tuple(range(len(self.facts[sop].values))), most)]
            for term in fact.terms:
                groups = self.term_groups(term, sop, most)
                if groups is not None and _weight(groups) < _weight(best):
                    best = groups
            self.known_groups[place] = best
        return self.known_groups[place]

    def term_groups(self, term: Term, sop: int, most: int) -> list[Group] | None:
        """As `groups`, from one term."""
        try:
            *keys, values = self.joint_codes((*term.keys, sop))
        except ProgramError:
            return None
        sizes = [len(self.facts[key].values) for key in term.keys]
        known = flat_codes(self.joint_codes(term.keys), sizes, len(term.key_values))  # ascending, as `key_values`
        flat = flat_codes(keys, sizes, len(values))
        at = np.searchsorted(known, flat).clip(max=len(known) - 1)
        can_occur = known[at] == flat
        meets = np.zeros((len(known), len(self.facts[sop].values)), dtype=np.int64)
        meets[at[can_occur], np.array(values)[can_occur]] = 1
        chosen, _ = distinct_rows(term.relation)
        is_bounded = self.is_injective(term.keys)
        most = 1 if self.is_uniform(term, sop) else most
        groups = {
            (tuple(np.flatnonzero(met).tolist()), min(most, count) if is_bounded else most): None
            for met, count in zip(chosen.astype(np.int64) @ meets, chosen.sum(1).tolist(), strict=True)
            if met.any()
        }
        return list(groups)

    def is_uniform(self, term: Term, sop: int) -> bool:
        """Whether every query selects keys of one rank, and keys of one rank surely have one value of the S-op."""
        if len(term.keys) != 1 or (term.relation.sum(1) > 1).any():
            return False
        fact: Fact = self.facts[term.keys[0]]
        if len(fact.bases) != 1 or fact.bases[0] not in self.ranks or len(np.unique(fact.codes)) < fact.codes.size:
            return False
        ranked = self.ranks[fact.bases[0]]
        *keys, values = self.joint_codes((*ranked, sop))
        flat = flat_codes(keys, [len(self.facts[key].values) for key in ranked], len(values))
        return len(np.unique(flat)) == len(values)


def _checker(terms: Sequence[Term], keys: tuple[int, ...], queries: tuple[int, ...]) -> Any:
    """A function of a key tuple and a query tuple: whether every term holds (it does not for what cannot occur)."""
    parts = []
    for term in terms:
        at_k = {value: i for i, value in enumerate(term.key_values)}
        at_q = {value: i for i, value in enumerate(term.query_values)}
        parts.append((term, at_k, at_q, [keys.index(k) for k in term.keys], [queries.index(q) for q in term.queries]))

    def holds(key: tuple[Exact, ...], query: tuple[Exact, ...]) -> bool:
        for term, at_k, at_q, k, q in parts:
            row, column = at_q.get(tuple(query[i] for i in q)), at_k.get(tuple(key[i] for i in k))
            if row is None or column is None or not term.relation[row, column]:
                return False
        return True

    return holds


def _weight(groups: list[Group]) -> tuple[int, int]:
    """How much can meet: an aggregate over groups of the least weight has the fewest means."""
    sizes = [len(codes) if most > 1 else min(1, len(codes)) for codes, most in groups]
    return max(sizes, default=0), sum(len(codes) for codes, _ in groups)
