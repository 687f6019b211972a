"""What kind of flowcharts are drawn; imports nothing heavy, so that `--help` stays quick."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from tracr_tasks.errors import InputError

MAX_STATES = 100_000
"""States of the automaton of some conditions (automaton.py) after one position; more are refused. Four conditions over
15 tokens, counting up to 14, have at most 15^4 = 50,625."""


@dataclass(frozen=True)
class Kinds:
    """How often each kind of condition is drawn, as whole numbers: 2 is twice as often as 1, 0 is never."""

    pos: int = 2
    """`pos 3 is c`"""
    has: int = 1
    """`has a`"""
    of: int = 1
    """`2 of a`"""
    before: int = 0
    """`first a before first b`"""
    equals: int = 0
    """`pos 1 equals pos 4`"""
    first: int = 0
    """`first in {a, c}`"""
    last: int = 0
    """`last in {a, c}`"""

    def __post_init__(self) -> None:
        for name, weight in asdict(self).items():
            if type(weight) is not int or not 0 <= weight <= 100:
                raise InputError(f"flowcharts: kinds: {name} = {weight!r}, expected a whole number from 0 to 100")
        if not any(asdict(self).values()):
            raise InputError("flowcharts: kinds: all are 0, expected at least one kind")

    def table(self) -> tuple[str, ...]:
        """Each kind as many times as it weighs; an even draw from it is a draw of a kind."""
        return tuple(name for name, weight in asdict(self).items() for _ in range(weight))


@dataclass(frozen=True)
class FlowchartConfig:
    """What kind of flowcharts are drawn. The defaults ask one or two questions, of `pos`, `has` and `of` only."""

    vocab_size: int = 6
    """Input tokens: a, b, c ..."""
    n_answers: int = 6
    """Answer tokens: p, q, r ..."""
    max_seq_len: int = 6
    """Length of every input."""
    min_conditions: int = 1
    """Fewest questions."""
    max_conditions: int = 2
    """Most questions."""
    count: int = 2
    """k of the "at least k" condition."""
    min_branch: float = 0.01
    """Smallest share of inputs that reaches a branch; rare branches are excepted."""
    max_answer: float = 0.95
    """Largest share of inputs that one answer may have."""
    kinds: Kinds = field(default_factory=Kinds)
    """How often each kind of condition is drawn."""
    max_count: int = 0
    """Largest k, drawn evenly from `count` up; 0: always `count`."""
    growth: float = 8.0
    """How many times likelier a flowchart of one question more is."""
    chains: float = 0.0
    """Share of flowcharts drawn as chains (no question has questions on both sides); the others have any shape."""
    rare: float = 0.0
    """Share of flowcharts drawn to have a rare branch, which a share of inputs from `rare_min` to `rare_max` reaches;
    they ask two questions at least."""
    rare_max: float = 0.01
    """Largest share of inputs that reaches a rare branch."""
    rare_min: float = 1e-4
    """Smallest share of inputs that reaches a rare branch."""

    def __post_init__(self) -> None:
        bounds: dict[str, tuple[float, float]] = {"vocab_size": (2, 15), "n_answers": (2, 11), "max_seq_len": (1, 64)}
        bounds |= {"min_conditions": (1, 8), "max_conditions": (self.min_conditions, 8)}
        bounds |= {"count": (2, max(2, self.max_seq_len)), "growth": (0.01, 100)}
        bounds |= {"max_count": (self.count, max(self.count, self.max_seq_len))} if self.max_count else {}
        for name, (low, high) in bounds.items():
            if not low <= (value := getattr(self, name)) <= high:
                raise InputError(f"flowcharts: {name} = {value!r}, expected {low} to {high}")
        for name in ("min_branch", "max_answer", "chains", "rare", "rare_max", "rare_min"):
            if not 0 <= (share := getattr(self, name)) <= 1:
                raise InputError(f"flowcharts: {name} = {share!r}, expected a share from 0 to 1")
        self._check_kinds()

    def _check_kinds(self) -> None:
        """Refuse kinds that do not fit the vocabulary, the length or what can be counted."""
        needs = {"before": (3, 2), "equals": (2, 2), "first": (4, 1), "last": (4, 1)}
        for name, (tokens, length) in needs.items():
            if getattr(self.kinds, name) and (self.vocab_size < tokens or self.max_seq_len < length):
                least = f"vocab_size {tokens} and max_seq_len {length} at least"
                raise InputError(f"flowcharts: kinds: {name} = {getattr(self.kinds, name)}, expected 0, or {least}")
        if self.rare and self.max_conditions < 2:
            raise InputError(f"flowcharts: rare = {self.rare!r}, expected 0, or max_conditions 2 at least")
        if self.rare and not self.rare_min <= self.rare_max:
            raise InputError(f"flowcharts: rare_min = {self.rare_min!r}, expected at most rare_max, {self.rare_max!r}")
        states = max(self._states(kind) for kind in self.kinds.table())
        if (joint := states**self.max_conditions) > MAX_STATES:
            raise InputError(
                f"flowcharts: max_conditions = {self.max_conditions} of up to {states} states each need {joint} joint "
                f"states, expected at most {MAX_STATES}: fewer questions, smaller counts or a smaller vocabulary"
            )

    def _states(self, kind: str) -> int:
        """What has to be told apart for one condition of a kind (the registers of automaton.py)."""
        counted = {"of": max(self.count, self.max_count) + 1, "before": 3, "equals": self.vocab_size}
        return counted.get(kind, 2)

    def vocab(self) -> tuple[str, ...]:
        """Names of the input tokens."""
        return tuple("abcdefghijklmno"[: self.vocab_size])

    def answers(self) -> tuple[str, ...]:
        """Names of the answers."""
        return tuple("pqrstuvwxyz"[: self.n_answers])


def every_kind() -> FlowchartConfig:
    """Chains and trees of one to four questions of every kind; three in ten have a rare branch."""
    kinds = Kinds(pos=4, has=2, of=3, before=3, equals=2, first=1, last=1)
    return FlowchartConfig(max_conditions=4, kinds=kinds, max_count=4, growth=2.0, chains=0.5, rare=0.3)
