"""How one random program grows: operations are drawn over what is there already, until the last needs `count` S-ops."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from tracr_tasks import rasp
from tracr_tasks.canonical import ENCODINGS, canonical
from tracr_tasks.exact import Exact, exact, is_number
from tracr_tasks.families import (
    KINDS,
    LINEAR_WEIGHTS,
    MAPS,
    MAX_ROWS,
    MAX_TABLE,
    MAX_VALUES,
    PREDICATES,
    SELECTORS,
    SEQUENCE_MAPS,
    Choice,
    Family,
    functions_of,
    ordered,
    predicates_of,
)
from tracr_tasks.functions import Function, table
from tracr_tasks.interpreter import combine
from tracr_tasks.sampler_config import SamplerConfig

INPUT_WEIGHTS = {rasp.TOKENS: 3.0, rasp.INDICES: 1.0, rasp.LENGTH: 0.4}
"""How often an input is picked, where an S-op that is used already counts 1."""
UNUSED_WEIGHT = 4.0
"""The same of an S-op that nothing uses so far: programs are more often deep than wide."""
STEPS = 4
"""Operations drawn for each one asked for before a draw is given up."""
WHOLE_SHARE = 0.1
"""Share of linear sequence maps that may be over whole numbers; the others are over bools and floats, as published."""
FEW = 3
"""Known values of a mean that may be asked for as a one-hot: one with more has too many that are not known."""
ONE_HOTS = ("word", "categorical", "bool")
AVERAGED = ("bool", "bool", "bool", "categorical", "float", "float")
"""What numerical aggregates are over: bools most often, as in the published mixture."""


def draw(rng: random.Random, config: SamplerConfig, count: int) -> rasp.Program | None:
    """One draw of `count` S-ops in canonical form, or None if it came out larger or smaller."""
    growth = Growth(rng, config, count)
    for _ in range(STEPS * count):
        growth.step()
        if len(growth.items[-1].needs) == count:
            program = canonical(rasp.Program(growth.output(), config.tokens, config.max_seq_len, config.causal))
            return program if size_of(program) == count else None  # equal operations have become one
    return None


def size_of(program: rasp.Program) -> int:
    """How many S-ops a program has: inputs count, selectors and encodings do not."""
    return sum(not node.is_selector and node.op not in ENCODINGS for node in program.nodes)


@dataclass(eq=False)
class Item:
    """An S-op that can be used, with what is known about it."""

    sop: rasp.SOp
    kind: str
    """One of `families.KINDS`."""
    values: tuple[Exact, ...]
    """Values that it can take, in order."""
    needs: frozenset[int]
    """The S-ops that it is made of, itself included."""
    is_known: bool = True
    """Whether it takes no other value but None; not so for means and what is made from them."""
    may_be_none: bool = False
    is_number: bool = False
    """Whether it is read as a number only and not used where a one-hot is needed."""
    uses: int = 0

    @property
    def alike(self) -> tuple[str, ...]:
        """The kinds of S-ops that this one can be compared with."""
        return ("word",) if self.kind == "word" else ("categorical", "bool")

    @property
    def has_few_values(self) -> bool:
        """Whether a one-hot of it is small."""
        return self.is_known or len(self.values) <= FEW


@dataclass(frozen=True)
class DrawnSelector:
    """A selector with the S-ops that it compares."""

    selector: rasp.Selector
    items: tuple[Item, ...]
    is_reflexive: bool
    """Whether every query surely selects the key at its own position."""


class Growth:
    """One draw: a growing list of S-ops."""

    def __init__(self, rng: random.Random, config: SamplerConfig, count: int):
        self.rng, self.config, self.count = rng, config, count
        tokens, length = ordered(map(exact, config.tokens)), config.max_seq_len
        kind = "categorical" if all(map(is_number, tokens)) else "word"
        self.tokens = Item(rasp.TOKENS, kind, tokens, frozenset((0,)))
        self.indices = Item(rasp.INDICES, "categorical", tuple(range(length)), frozenset((1,)))
        self.items = [self.tokens, self.indices]
        if not config.causal:
            self.items.append(Item(rasp.LENGTH, "categorical", tuple(range(1, length + 1)), frozenset((2,))))

    def step(self) -> None:
        """Draw one operation; nothing is added where there is nothing yet that it can be applied to."""
        DRAWERS[self.weighted(self.config.weights, list(DRAWERS))](self)

    def output(self) -> rasp.SOp:
        """The last S-op, with the encoding that it is asked for in."""
        last = self.items[-1]
        if last.may_be_none or last.kind == "word":
            return last.sop
        if last.kind == "float":
            is_one_hot = last.has_few_values and self.chance(self.config.categorical)
            return as_one_hot(last.sop) if is_one_hot else rasp.numerical(last.sop)
        return rasp.numerical(last.sop) if self.chance(self.config.numerical) else last.sop

    # choices

    def chance(self, share: float) -> bool:
        """True in this share of cases."""
        return self.rng.random() < share

    def weighted(self, weights: Mapping[str, float], names: Sequence[str]) -> str:
        """One of the names by their weights."""
        return self.rng.choices(names, [weights[name] for name in names])[0]

    def pick(
        self, kinds: Sequence[str], but: Collection[Item] = (), *, as_number: bool = False, may_be_none: bool = False
    ) -> Item | None:
        """An S-op of one of these kinds, unused ones more often; a kind that is named twice counts twice.

        Args:
            kinds: what it may be.
            but: what it must not be.
            as_number: whether it may be one that is held as a number.
            may_be_none: whether it may be one that is None at times.
        """
        found = [
            item
            for item in self.items
            if item.kind in kinds
            and item not in but
            and (as_number or not item.is_number)
            and (may_be_none or not item.may_be_none)
        ]
        if not found:
            return None
        weights = [INPUT_WEIGHTS.get(item.sop, 1.0 if item.uses else UNUSED_WEIGHT) for item in found]
        return self.rng.choices(found, [w * kinds.count(i.kind) for w, i in zip(weights, found, strict=True)])[0]

    def choose(
        self, families: Sequence[Family], items: Sequence[Item], allowed: Callable[[Function], bool] = lambda fn: True
    ) -> tuple[Family, Choice] | None:
        """A family that takes these S-ops, then one of its allowed functions that do something on their values."""
        names = {f.name: f for f in families if all(item.kind in f.takes for item in items)}
        while any(self.config.families[name] for name in names):
            family = names.pop(self.weighted(self.config.families, list(names)))
            choices = self.tables(items[0]) if family.name == "table" else self.functions(family, items)
            if choices := [choice for choice in choices if allowed(choice[0])]:
                return family, self.rng.choice(choices)
        return None

    def functions(self, family: Family, items: Sequence[Item]) -> Sequence[Choice]:
        """The functions or predicates of a family that do something on the values of these S-ops."""
        domains = [item.values for item in items]
        if not family.gives:
            return predicates_of(family, *domains)
        return functions_of(family, *domains, is_exact=all(item.is_known for item in items))

    def tables(self, x: Item) -> Sequence[Choice]:
        """A random table from the values of x to small numbers, if they are few."""
        if len(x.values) > MAX_TABLE or not x.is_known:
            return []
        rows = {value: self.rng.randrange(len(x.values)) for value in x.values}
        return [(table(rows), ordered(rows.values()))]

    def default(self, x: Item) -> Exact:
        """What an aggregate of x may give where nothing is selected: often None, else a value of x, 0 or -1."""
        others = [] if x.kind == "word" else [0, -1]
        return self.rng.choice([None, self.rng.choice([*x.values, *others])])

    def add(
        self,
        sop: rasp.SOp,
        kind: str,
        values: tuple[Exact, ...],
        of: Sequence[Item],
        *,
        is_known: bool = True,
        may_be_none: bool = False,
    ) -> None:
        """Add an operation over some S-ops if that is not too large."""
        needs = frozenset((3 + len(self.items),)).union(*(item.needs for item in of))
        if len(needs) > self.count:
            return
        for item in of:
            item.uses += 1
        self.items.append(Item(sop, kind, values, needs, is_known, may_be_none, is_number=kind == "float"))

    def add_function(self, sop: rasp.SOp, kind: str, values: tuple[Exact, ...], of: Sequence[Item]) -> None:
        """Add a function of S-ops position by position."""
        is_known = kind == "bool" or all(item.is_known for item in of)
        self.add(sop, kind, values, of, is_known=is_known, may_be_none=any(item.may_be_none for item in of))

    # operations

    def map(self) -> None:
        """A function of one S-op, or a change of its encoding."""
        x = self.pick(tuple(KINDS), as_number=True, may_be_none=True)
        drawn = None if x is None else self.choose(MAPS, [x], lambda fn: fn.text != "x" or self.can_change(x))
        if x is None or drawn is None:
            return
        family, (fn, values) = drawn
        if fn.text == "x":
            self.encode(x, family.gives)
        else:
            self.add_function(rasp.Map(fn, x.sop), family.gives, values, [x])

    def can_change(self, x: Item) -> bool:
        """Whether another encoding makes a difference: nothing uses x so far, and it is not a number already."""
        is_fixed = x.sop in INPUT_WEIGHTS or x.may_be_none or (x.kind == "bool" and x.is_number)
        return x.uses == 0 and not is_fixed and x.has_few_values

    def encode(self, x: Item, kind: str) -> None:
        """Ask for an S-op in another encoding from now on."""
        x.is_number, x.kind = kind != "categorical", kind
        x.sop = rasp.numerical(x.sop) if x.is_number else as_one_hot(x.sop)

    def sequence_map(self) -> None:
        """A function of two S-ops. The product of two bools is left to `and`."""
        x = self.pick(ONE_HOTS, may_be_none=True)
        y = x and self.pick(x.alike, [x], may_be_none=True)
        if x is None or y is None:
            return
        both_bool = x.kind == y.kind == "bool"
        drawn = self.choose([f for f in SEQUENCE_MAPS if not (both_bool and f.name == "product")], [x, y])
        if drawn is not None:
            family, (fn, values) = drawn
            kind = "bool" if both_bool and family.name == "logic" else family.gives
            self.add_function(rasp.SequenceMap(fn, x.sop, y.sop), kind, values, [x, y])

    def linear(self) -> None:
        """A linear combination of two S-ops."""
        kinds = ("categorical", "bool", "float") if self.chance(WHOLE_SHARE) else ("bool", "float")
        x = self.pick(kinds, as_number=True)
        y = x and self.pick(kinds, [x], as_number=True)
        if x is None or y is None or len(x.values) * len(y.values) > MAX_ROWS:
            return
        a, b = self.rng.choice(LINEAR_WEIGHTS), self.rng.choice(LINEAR_WEIGHTS)
        values = ordered(combine(a, u, b, v) for u in x.values for v in y.values)
        is_known = x.is_known and y.is_known and len(values) <= MAX_VALUES
        values = values[:: 1 + len(values) // (MAX_VALUES + 1)]
        self.add(rasp.LinearSequenceMap(a, b, x.sop, y.sop), "float", values, [x, y], is_known=is_known)

    def selector_width(self) -> None:
        """How many keys a selector selects."""
        if (drawn := self.selector()) is not None:
            low = 1 if drawn.is_reflexive else 0
            values = tuple(range(low, self.config.max_seq_len + 1))
            self.add(rasp.SelectorWidth(drawn.selector), "categorical", values, drawn.items)

    def numerical_aggregate(self) -> None:
        """A mean of numbers, 0 where nothing is selected."""
        drawn, x = self.selector(), self.pick(AVERAGED, as_number=True)
        if drawn is None or x is None:
            return
        default = None if drawn.is_reflexive else 0
        values = x.values if drawn.is_reflexive else ordered([*x.values, 0])
        sop = rasp.Aggregate(drawn.selector, x.sop, default)
        self.add(sop, "float", values, [*drawn.items, x], is_known=False)

    def categorical_aggregate(self) -> None:
        """A value that is moved by a selector that surely selects at most one key."""
        drawn, x = self.select(is_single=True), self.pick(ONE_HOTS, may_be_none=True)
        if drawn is None or x is None:
            return
        default = None if drawn.is_reflexive else self.default(x)
        values = x.values if default is None else ordered([*x.values, default])
        kind = "categorical" if x.kind == "bool" and default not in (None, 0, 1) else x.kind
        may_be_none = x.may_be_none or (default is None and not drawn.is_reflexive)
        sop = rasp.Aggregate(drawn.selector, x.sop, default)
        is_known = all(item.is_known for item in (*drawn.items, x))
        self.add(sop, kind, values, [*drawn.items, x], is_known=is_known, may_be_none=may_be_none)

    # selectors

    def selector(self) -> DrawnSelector | None:
        """A selector of any form."""
        forms = [form for form in SELECTORS if self.config.families[form]]
        form = self.weighted(self.config.families, forms)
        if form == "select_all":
            return DrawnSelector(rasp.select(rasp.TOKENS, rasp.TOKENS, "true"), (self.tokens,), True)
        left = self.select()
        if form == "select" or left is None:
            return left
        if form == "selector_not":
            return DrawnSelector(rasp.SelectorNot(left.selector), left.items, False)
        right = self.select()
        if right is None:
            return None
        items = left.items + right.items
        if form == "selector_and":
            is_reflexive = left.is_reflexive and right.is_reflexive
            return DrawnSelector(rasp.SelectorAnd(left.selector, right.selector), items, is_reflexive)
        is_reflexive = left.is_reflexive or right.is_reflexive
        return DrawnSelector(rasp.SelectorOr(left.selector, right.selector), items, is_reflexive)

    def select(self, *, is_single: bool = False) -> DrawnSelector | None:
        """A comparison of keys and queries; where asked for, one that surely selects at most one key."""
        keys = self.indices if is_single else self.pick(ONE_HOTS)
        queries = keys and self.pick(keys.alike)
        if keys is None or queries is None:
            return None
        domains = keys.values, queries.values
        drawn = self.choose(PREDICATES, [keys, queries], lambda fn: not is_single or selects_at_most_one(fn, *domains))
        if drawn is None:
            return None
        family, (fn, _) = drawn
        queries = keys if family.name == "select_key" else queries  # which do not matter
        is_reflexive = keys is queries and all(fn(value, value) for value in keys.values)
        return DrawnSelector(rasp.Select(keys.sop, queries.sop, fn), (keys, queries), is_reflexive)


def as_one_hot(x: rasp.SOp) -> rasp.SOp:
    """A float asked for as a one-hot: so a map is anyway, but a mean or a linear combination is a number by nature."""
    x = x.x if isinstance(x, rasp.Encoded) else x
    return x if isinstance(x, rasp.Map) else rasp.Encoded("categorical", x)


@lru_cache(maxsize=16384)
def selects_at_most_one(fn: Function, keys: tuple[Exact, ...], queries: tuple[Exact, ...]) -> bool:
    """Whether no query goes with two of the keys."""
    return all(sum(bool(fn(key, query)) for key in keys) <= 1 for query in queries)


DRAWERS: dict[str, Callable[[Growth], None]] = {
    "map": Growth.map,
    "sequence_map": Growth.sequence_map,
    "linear": Growth.linear,
    "numerical_aggregate": Growth.numerical_aggregate,
    "categorical_aggregate": Growth.categorical_aggregate,
    "selector_width": Growth.selector_width,
}
