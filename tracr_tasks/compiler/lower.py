"""Lowering: each node becomes heads and neurons that write its residual variables.

An S-op is held as a one-hot over its values (all zeros for None), as a number in one direction, or as both where both
are asked for. A number can always be read off a one-hot by a linear map; a one-hot is made from a number by steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tracr_tasks.compiler.components import Component, Head, Neurons, Read, Variable, Write
from tracr_tasks.compiler.factors import as_line, features, map_chain, needed, numeric_only, source
from tracr_tasks.compiler.facts import Fact, SelectorFact, limits, refusal
from tracr_tasks.compiler.steps import staircase
from tracr_tasks.compiler.values import Inference
from tracr_tasks.errors import ProgramError, Reason
from tracr_tasks.exact import Exact, is_number, plain
from tracr_tasks.interpreter import combine

MAX_ONE_HOT = 256
"""Values that one residual one-hot may have."""
ROUNDING = 1e-6
"""Relative error of a number in the residual stream: float32 sums and the softmax's leakage."""
MAX_NEURONS = 4096
"""Neurons that one operation may take."""


@dataclass(frozen=True)
class Lowered:
    """The result of lowering."""

    components: tuple[Component, ...]
    tokens: Variable | None
    indices: Variable | None
    constants: tuple[Variable, ...]
    """Variables that are 1 at every position but BOS."""
    output: Read
    """What the unembedding reads: the one-hot itself, or a number."""
    output_values: tuple[Exact, ...] | None
    """Values of the output's one-hot (None last if it can occur); None for a number."""


class Lowering:
    """Lowers a program whose facts are known."""

    def __init__(self, inference: Inference):
        self.inference, self.nodes, self.facts = inference, inference.nodes, inference.facts
        self.length = inference.program.max_seq_len
        self.reasons: list[Reason] = []
        self.components: list[Component] = []
        self.one_hots: dict[int, Variable] = {}
        self.numbers: dict[int, Variable] = {}
        self.empties: dict[int, Variable] = {}  # 1 where an aggregate selects nothing and so is None
        self.noise: dict[int, float] = {}  # how far a number may be off in float32
        self.constants: list[Variable] = []
        self.products: dict[tuple[int, ...], Variable] = {}
        self.needed = needed(self.nodes)
        self.numeric_only = numeric_only(inference)
        self.node = self.nodes[0]
        self.place = 0

    def run(self) -> Lowered:
        """Lower every node.

        Raises:
            ProgramError: with every reason why the program cannot be compiled exactly.
        """
        refused = {place for place, fact in enumerate(self.facts) if fact is None}
        for place, node in enumerate(self.nodes):
            if place in refused or any(arg in refused for arg in node.args):
                refused.add(place)
                continue
            if place not in self.needed:
                continue
            self.place, self.node = place, node
            try:
                self.lower(place)
            except ProgramError as error:
                refused.add(place)
                self.reasons += [Reason(node.blame, reason.text) for reason in error.reasons]
        output = None
        if len(self.nodes) - 1 not in refused:
            try:
                output = self.output()
            except ProgramError as error:
                self.reasons += [Reason(self.nodes[-1].blame, reason.text) for reason in error.reasons]
        reasons = self.inference.reasons + self.reasons
        if reasons or output is None:
            raise ProgramError(sorted(reasons, key=lambda reason: reason.line or 0))
        inputs = {self.nodes[p].op: v for p, v in self.one_hots.items() if self.nodes[p].op in ("tokens", "indices")}
        return Lowered(
            tuple(self.components), inputs.get("tokens"), inputs.get("indices"), tuple(self.constants), *output
        )

    def output(self) -> tuple[Read, tuple[Exact, ...] | None]:
        """What the unembedding reads."""
        last = len(self.nodes) - 1
        if self.nodes[last].op == "numerical":
            return self.number(last), None
        variable = self.one_hot(last)
        values: tuple[Exact, ...] = variable.values or ()
        return (variable, np.eye(variable.size)), values + ((None,) if self.facts[last].may_be_none else ())

    # representations

    def source(self, place: int) -> int:
        """The S-op behind encoding annotations."""
        return source(self.nodes, place)

    def label(self, place: int) -> str:
        """The name of a node in residual labels."""
        node = self.nodes[place]
        return node.op if node.op in ("tokens", "indices") else node.name

    def new_one_hot(self, place: int) -> Variable:
        """Declare the one-hot of an S-op."""
        values = self.facts[place].values
        if values is None or len(values) > MAX_ONE_HOT:
            raise refusal(f"a one-hot over more than {MAX_ONE_HOT} values was asked for; ask for a numerical encoding")
        self.one_hots[place] = Variable(self.label(place), tuple(value for value in values if value is not None))
        return self.one_hots[place]

    def one_hot(self, place: int) -> Variable:
        """The one-hot of an S-op, made from its number if it is held as one only."""
        place = self.source(place)
        if place in self.one_hots:
            return self.one_hots[place]
        if self.nodes[place].op in ("tokens", "indices"):
            return self.new_one_hot(place)
        fact: Fact = self.facts[place]
        variable = self.new_one_hot(place)
        levels = [value for value in fact.values or () if is_number(value)]
        self.add_staircase(place, self.numbers[place], levels, levels, variable, self.empties.get(place))
        return variable

    def number(self, place: int) -> Read:
        """An S-op as a number: its own direction, or its one-hot read linearly."""
        place = self.source(place)
        fact: Fact = self.facts[place]
        if fact.may_be_none:
            raise refusal(f"{self.label(place)} may be none, which no number stands for; give its aggregate a default")
        if not fact.is_numeric:
            raise refusal(f"{self.label(place)} has values that are not numbers")
        if place in self.numbers:
            return self.numbers[place], np.ones((1, 1))
        variable = self.one_hot(place)
        return variable, np.array([[float(plain(value))] for value in variable.values or ()])

    def error(self, place: int) -> float:
        """How far an S-op read as a number may be off in float32."""
        place = self.source(place)
        low, high = limits(self.facts[place])
        return self.noise.get(place, 0.0) + ROUNDING * float(max(abs(low), abs(high)))

    def target(self, place: int) -> tuple[Variable, dict[Exact, np.ndarray]]:
        """Where an S-op is written, and the row to write for each of its values."""
        fact: Fact = self.facts[place]
        if place in self.numeric_only and fact.is_numeric:
            self.numbers[place] = Variable(self.label(place))
            return self.numbers[place], {value: np.array([float(plain(value))]) for value in fact.values or ()}
        variable = self.new_one_hot(place)
        rows: dict[Exact, np.ndarray] = dict(zip(variable.values or (), np.eye(variable.size), strict=True))
        return variable, rows | {None: np.zeros(variable.size)}

    # operations

    def lower(self, place: int) -> None:
        """Lower one node."""
        node = self.nodes[place]
        match node.op:
            case "tokens" | "indices" | "numerical" | "categorical":
                return  # inputs are made when first read; annotations are other names
            case "constant":
                self.constants.append(self.new_one_hot(place))
            case "length":
                self.lower_width(place, SelectorFact((), True, False))
            case "map":
                self.lower_map(place)
            case "sequence_map":
                self.lower_sequence_map(place)
            case "linear":
                self.lower_linear(place)
            case "selector_width":
                self.lower_width(place, self.facts[node.args[0]])
            case "aggregate":
                self.lower_aggregate(place)
            case _:
                assert node.is_selector, node.op

    def lower_map(self, place: int) -> None:
        """A map of maps is one map, of what the innermost one reads."""
        *maps, root = map_chain(self.nodes, place)
        results: dict[Exact, Exact] = {}
        for value in self.facts[root].values or ():
            results[value] = value
            for inner in reversed(maps):
                results[value] = self.nodes[inner].params[0](results[value])
        self.lower_table(place, root, results)

    def lower_sequence_map(self, place: int) -> None:
        """A function of one S-op twice is a map."""
        x, y = self.nodes[place].args
        fn = self.nodes[place].params[0]
        if self.source(x) == self.source(y):
            self.lower_table(place, self.source(x), {v: fn(v, v) for v in self.facts[x].values or ()})
            return
        self.lower_pairs(place, {pair: fn(*pair) for pair in self.inference.joint((x, y))})

    def lower_table(self, place: int, root: int, results: dict[Exact, Exact]) -> None:
        """One neuron a result, which reads its values; steps where what is read is held as a number only."""
        fact: Fact = self.facts[root]
        if root in self.numbers and root not in self.one_hots and not fact.may_be_none:
            levels = list(fact.values or ())
            if place in self.numeric_only and (line := as_line(results)):
                self.lower_line(place, [(self.number(root), line[0], self.error(root))], line[1])
                return
            variable, rows = self.target(place)
            self.add_staircase(place, self.numbers[root], levels, [results[v] for v in levels], variable, None, rows)
            return
        read = self.one_hot(root)
        variable, rows = self.target(place)
        kept = [result for result in dict.fromkeys(results[v] for v in read.values or ()) if rows[result].any()]
        matrix = np.zeros((read.size, len(kept)))
        for i, value in enumerate(read.values or ()):
            if results[value] in kept:
                matrix[i, kept.index(results[value])] = 1
        write = np.array([rows[result] for result in kept]).reshape(len(kept), variable.size)
        self.add(Neurons(place, ((read, matrix),), np.zeros(len(kept)), ((variable, write),)))

    def lower_pairs(self, place: int, results: dict[tuple[Exact, ...], Exact]) -> None:
        """One neuron a pair of values: relu(x_a + y_b - 1)."""
        x, y = (self.one_hot(arg) for arg in self.nodes[place].args)
        variable, rows = self.target(place)
        self.add_pairs(place, (x, y), results, variable, rows)

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

    def lower_linear(self, place: int) -> None:
        """A number in one direction; a one-hot by pairs where an argument may be None."""
        a, b = self.nodes[place].params
        x, y = self.nodes[place].args
        if self.facts[x].may_be_none or self.facts[y].may_be_none:
            pairs = self.inference.joint((x, y))
            self.lower_pairs(place, {pair: combine(a, pair[0], b, pair[1]) for pair in pairs})
            return
        parts = [(self.number(arg), float(plain(weight)), self.error(arg)) for arg, weight in ((x, a), (y, b))]
        self.lower_line(place, parts, 0.0)

    def lower_line(self, place: int, parts: list[tuple[Read, float, float]], constant: float) -> None:
        """constant + sum of weight * number, by relu(z) - relu(-z)."""
        variable = self.numbers[place] = Variable(self.label(place))
        self.noise[place] = ROUNDING * abs(constant) + sum(abs(weight) * noise for _, weight, noise in parts)
        both = np.array([[1.0, -1.0]])
        inputs: dict[Variable, np.ndarray] = {}
        for (read, column), weight, _ in parts:
            inputs[read] = inputs.get(read, 0) + weight * column @ both
        bias = constant * both[0]
        self.add(Neurons(place, tuple(inputs.items()), bias, ((variable, both.T),)))

    def add_staircase(
        self,
        place: int,
        read: Variable,
        levels: list[Exact],
        results: list[Exact],
        variable: Variable,
        empty: Variable | None,
        rows: dict[Exact, np.ndarray] | None = None,
    ) -> None:
        """Neurons that turn a number's levels into what to write for each."""
        place_of = next(p for p, number in self.numbers.items() if number is read)
        if rows is None:
            rows = dict(zip(variable.values or (), np.eye(variable.size), strict=True))
        heights = np.array([rows[result] for result in results]).reshape(len(results), variable.size)
        stairs = staircase([float(plain(level)) for level in levels], heights, gated=empty is not None)
        if len(stairs.slope) and stairs.slope.max() * self.error(place_of) > 0.2:
            raise refusal(f"the values of {self.label(place_of)} lie too close together to be told apart in float32")
        inputs: list[Read] = [(read, stairs.slope[None])]
        if empty is not None:
            inputs.append((empty, -stairs.gate[None]))
        constant: tuple[Write, ...] = () if stairs.base is None else ((variable, stairs.base[None]),)
        writes: tuple[Write, ...] = ((variable, stairs.write),)
        self.add(Neurons(place, tuple(inputs), stairs.bias, writes, constant))
        default = self.nodes[place].params[0] if empty is not None else None
        if empty is not None and default is not None:  # a default among means that is not a number
            self.add(Neurons(place, ((empty, np.ones((1, 1))),), np.zeros(1), ((variable, rows[default][None]),)))

    def lower_width(self, place: int, selector: SelectorFact) -> None:
        """A head that gives 1 / (1 + width), the share of BOS, and steps that turn it into the width."""
        share = Variable(f"{self.label(place)}.share")
        self.add(self.head(place, selector, (), np.ones(1), ((share, np.ones((1, 1))),), bos_factor=1.0))
        variable, rows = self.target(place)
        widths = sorted(self.facts[place].values, reverse=True)
        heights = np.array([rows[width] for width in widths])
        stairs = staircase([1 / (1 + width) for width in widths], heights, gated=False)
        constant: tuple[Write, ...] = () if stairs.base is None else ((variable, stairs.base[None]),)
        self.add(Neurons(place, ((share, stairs.slope[None]),), stairs.bias, ((variable, stairs.write),), constant))

    def lower_aggregate(self, place: int) -> None:
        """A head that moves one-hots where one value is sure, else one that averages numbers."""
        node, selector = self.nodes[place], self.facts[self.nodes[place].args[0]]
        source = self.source(node.args[1])
        fact: Fact = self.facts[source]
        default = None if selector.never_empty else node.params[0]
        held_as_number = source in self.numbers and source not in self.one_hots
        if self.inference.moves(place) and not (held_as_number and not fact.may_be_none):
            self.lower_move(place, selector, self.one_hot(source), default)
        else:
            self.lower_mean(place, selector, source, default)

    def lower_move(self, place: int, selector: SelectorFact, read: Variable, default: Exact) -> None:
        """A head that carries a one-hot; BOS carries the default."""
        variable, rows = self.target(place)
        possible = [value if value in rows else None for value in read.values or ()]
        if variable.values is None:
            value = np.array([[float(plain(v))] if v is not None else [0.0] for v in possible])
            bos = np.zeros(1) if default is None else rows[default]
            self.add(self.head(place, selector, ((read, value),), bos, ((variable, np.eye(1)),)))
            return
        value = np.array([rows[v] if v is not None else np.zeros(variable.size) for v in possible])
        bos = np.zeros(variable.size) if default is None else rows[default]
        value = value.reshape(read.size, variable.size)
        self.add(self.head(place, selector, ((read, value),), bos, ((variable, np.eye(variable.size)),)))

    def lower_mean(self, place: int, selector: SelectorFact, source: int, default: Exact) -> None:
        """A head that averages a number; where None is possible it also says whether it looks at BOS."""
        read = self.number(source)
        variable = self.numbers[place] = Variable(self.label(place))
        writes: tuple[Write, ...] = ((variable, np.ones((1, 1))),)
        bos = np.array([float(plain(default)) if is_number(default) else 0.0])
        values: Read = read
        if not selector.never_empty and not is_number(default):
            empty = self.empties[place] = Variable(f"{self.label(place)}.empty")
            values = (read[0], np.hstack([read[1], np.zeros_like(read[1])]))
            writes = ((variable, np.array([[1.0], [0.0]])), (empty, np.array([[0.0], [1.0]])))
            bos = np.array([0.0, 1.0])
        self.noise[place] = self.error(source)
        self.add(self.head(place, selector, (values,), bos, writes))

    # heads

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

    def add(self, component: Component) -> None:
        """Keep a component."""
        self.components.append(component)
