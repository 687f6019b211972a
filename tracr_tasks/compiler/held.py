"""How S-ops are held in the residual stream: a one-hot over the values (all zeros for None), a number, or both.

A number can always be read off a one-hot by a linear map; a one-hot is made from a number by steps.
"""

from __future__ import annotations

import numpy as np

from tracr_tasks.compiler.components import Component, Neurons, Read, Variable, Write
from tracr_tasks.compiler.factors import needed, numeric_only, source
from tracr_tasks.compiler.facts import Fact, limits, refusal
from tracr_tasks.compiler.steps import staircase
from tracr_tasks.compiler.values import Inference
from tracr_tasks.exact import Exact, is_number, plain

MAX_ONE_HOT = 256
"""Values that one residual one-hot may have."""
ROUNDING = 1e-6
"""Relative error of a number in the residual stream: float32 sums and the softmax's leakage."""


class Held:
    """The residual variables of a program's S-ops, and the components made so far."""

    def __init__(self, inference: Inference):
        self.inference, self.nodes, self.facts = inference, inference.nodes, inference.facts
        self.components: list[Component] = []
        self.one_hots: dict[int, Variable] = {}
        self.numbers: dict[int, Variable] = {}
        self.empties: dict[int, Variable] = {}  # 1 where an aggregate selects nothing and so is None
        self.noise: dict[int, float] = {}  # how far a number may be off in float32
        self.needed = needed(self.nodes)
        self.numeric_only = numeric_only(inference)

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

    def add(self, component: Component) -> None:
        """Keep a component."""
        self.components.append(component)
