"""Lowering: each node becomes heads and neurons that write its residual variables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tracr_tasks.compiler.components import Component, Neurons, Read, Variable, Write
from tracr_tasks.compiler.factors import as_line, map_chain
from tracr_tasks.compiler.facts import Fact, SelectorFact
from tracr_tasks.compiler.heads import Heads
from tracr_tasks.compiler.held import ROUNDING
from tracr_tasks.compiler.steps import staircase
from tracr_tasks.compiler.values import Inference
from tracr_tasks.errors import ProgramError, Reason
from tracr_tasks.exact import Exact, is_number, plain
from tracr_tasks.interpreter import combine


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


class Lowering(Heads):
    """Lowers a program whose facts are known."""

    def __init__(self, inference: Inference):
        super().__init__(inference)
        self.reasons: list[Reason] = []
        self.constants: list[Variable] = []

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
