"""The RASP language: S-ops, selectors and programs (Weiss et al. 2021, "Thinking like transformers"; Tracr, 2023).

An S-op is a function from a token sequence to one value a position. A selector is a function from a token sequence to
a boolean matrix [query, key]. Expressions are nodes of a graph and are compared by identity; a program is compared by
its canonical text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Literal

from tracr_tasks.errors import ProgramError, Reason
from tracr_tasks.exact import Exact, Value, exact, format_value, literal, plain
from tracr_tasks.functions import Function, function, predicate

if TYPE_CHECKING:
    import numpy as np

    from tracr_tasks.trace import Node

AnyFunction = Function | Callable[..., Any]
"""A function of the language, or one of Python's: a program has it tabulated (see `tracr_tasks.tabulate`)."""

RESERVED = ("BOS", "PAD", "compiler_bos", "compiler_pad")
"""Token names that a vocabulary must leave to the compiler."""
MAX_SEQ_LEN = 100_000
"""Of the longest input of a program."""


class Expression:
    """A node of a program: an S-op or a selector."""

    source_line: int | None = None
    """The line of the text that it was read from; None if it was made in Python."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"  # a whole graph could be very long


@dataclass(frozen=True, eq=False, repr=False)
class SOp(Expression):
    """A function from a token sequence to one value a position.

    Arithmetic (+ - * / %), comparisons (< <= > >=) and logic (& | ~, which are `and`, `or` and `not`) with a value make
    a `Map`, with another S-op a `SequenceMap`.
    """

    def _combine(self, symbol: str, other: Any, swapped: bool = False) -> SOp:
        if isinstance(other, SOp):
            return SequenceMap(function(f"x {symbol} y", ("x", "y")), self, other)
        value = literal(exact(other))
        return Map(function(f"{value} {symbol} x" if swapped else f"x {symbol} {value}"), self)

    def __add__(self, other: Any) -> SOp:
        return self._combine("+", other)

    def __radd__(self, other: Any) -> SOp:
        return self._combine("+", other, swapped=True)

    def __sub__(self, other: Any) -> SOp:
        return self._combine("-", other)

    def __rsub__(self, other: Any) -> SOp:
        return self._combine("-", other, swapped=True)

    def __mul__(self, other: Any) -> SOp:
        return self._combine("*", other)

    def __rmul__(self, other: Any) -> SOp:
        return self._combine("*", other, swapped=True)

    def __truediv__(self, other: Any) -> SOp:
        return self._combine("/", other)

    def __rtruediv__(self, other: Any) -> SOp:
        return self._combine("/", other, swapped=True)

    def __mod__(self, other: Any) -> SOp:
        return self._combine("%", other)

    def __rmod__(self, other: Any) -> SOp:
        return self._combine("%", other, swapped=True)

    def __neg__(self) -> SOp:
        return Map(function("-x"), self)

    def __and__(self, other: Any) -> SOp:
        return self._combine("and", other)

    def __or__(self, other: Any) -> SOp:
        return self._combine("or", other)

    def __invert__(self) -> SOp:
        return Map(function("not x"), self)

    def __lt__(self, other: Any) -> SOp:
        return self._combine("<", other)

    def __le__(self, other: Any) -> SOp:
        return self._combine("<=", other)

    def __gt__(self, other: Any) -> SOp:
        return self._combine(">", other)

    def __ge__(self, other: Any) -> SOp:
        return self._combine(">=", other)

    def equals(self, other: Any) -> SOp:
        """1 where both are equal, else 0 (`==` itself compares nodes)."""
        return self._combine("==", other)

    def differs(self, other: Any) -> SOp:
        """0 where both are equal, else 1."""
        return self._combine("!=", other)


@dataclass(frozen=True, eq=False, repr=False)
class Selector(Expression):
    """A boolean matrix [query, key]; `&`, `|` and `~` combine selectors."""

    def __and__(self, other: Selector) -> Selector:
        return SelectorAnd(self, other)

    def __or__(self, other: Selector) -> Selector:
        return SelectorOr(self, other)

    def __invert__(self) -> Selector:
        return SelectorNot(self)


@dataclass(frozen=True, eq=False, repr=False)
class Tokens(SOp):
    """The input."""


@dataclass(frozen=True, eq=False, repr=False)
class Indices(SOp):
    """0, 1, ..., n - 1."""


@dataclass(frozen=True, eq=False, repr=False)
class Length(SOp):
    """n at every position."""


@dataclass(frozen=True, eq=False, repr=False)
class Constant(SOp):
    """One value at every position."""

    value: Value | Exact


@dataclass(frozen=True, eq=False, repr=False)
class Map(SOp):
    """`fn` of x, position by position; None stays None."""

    fn: AnyFunction
    x: SOp


@dataclass(frozen=True, eq=False, repr=False)
class SequenceMap(SOp):
    """`fn` of x and y, position by position; None where either is None."""

    fn: AnyFunction
    x: SOp
    y: SOp


@dataclass(frozen=True, eq=False, repr=False)
class LinearSequenceMap(SOp):
    """a * x + b * y, position by position."""

    a: Value | Exact
    b: Value | Exact
    x: SOp
    y: SOp


@dataclass(frozen=True, eq=False, repr=False)
class Select(Selector):
    """True where predicate(key, query) holds for the key at the column and the query at the row."""

    keys: SOp
    queries: SOp
    predicate: AnyFunction


@dataclass(frozen=True, eq=False, repr=False)
class SelectorAnd(Selector):
    """Both."""

    left: Selector
    right: Selector


@dataclass(frozen=True, eq=False, repr=False)
class SelectorOr(Selector):
    """At least one."""

    left: Selector
    right: Selector


@dataclass(frozen=True, eq=False, repr=False)
class SelectorNot(Selector):
    """Where the other does not select."""

    selector: Selector


@dataclass(frozen=True, eq=False, repr=False)
class SelectorWidth(SOp):
    """How many keys each query selects."""

    selector: Selector


@dataclass(frozen=True, eq=False, repr=False)
class Aggregate(SOp):
    """The selected value if there is one, the mean of the selected numbers if more, `default` if none."""

    selector: Selector
    sop: SOp
    default: Value | Exact = None


@dataclass(frozen=True, eq=False, repr=False)
class Encoded(SOp):
    """The same values, asked for as one direction with a number ("numerical") or as a one-hot ("categorical")."""

    kind: Literal["numerical", "categorical"]
    x: SOp


@dataclass(frozen=True, eq=False, repr=False)
class Program:
    """An S-op with the inputs that it is for. Python functions in it become printable ones (`tracr_tasks.tabulate`).

    Raises:
        ProgramError: with every reason, if the vocabulary or an expression cannot be part of a program.
    """

    output: SOp
    """What the program computes."""
    vocab: tuple[Value, ...]
    """The tokens; a batch's token ids are places in it."""
    max_seq_len: int
    """The most tokens of an input."""
    causal: bool = False
    """Whether every selector is limited to keys at or before the query."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "vocab", tuple(plain(exact(token)) for token in self.vocab))
        reasons = [Reason(None, text) for text in vocabulary_reasons(self.vocab, self.max_seq_len)]
        if not issubclass(type(self.output), SOp):
            reasons.append(Reason(None, "the output of a program is an S-op"))
        if reasons:
            raise ProgramError(reasons)
        from tracr_tasks.tabulate import tabulated

        printable = tabulated(self)
        if printable is not self.output:
            object.__setattr__(self, "output", printable)
            del self.__dict__["nodes"]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Program) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    def __repr__(self) -> str:
        return f"<Program over {list(self.vocab)}, up to {self.max_seq_len} tokens:\n{self.text()}>"

    @cached_property
    def _identity(self) -> tuple[str, tuple[Exact, ...], int, bool]:
        return self.text(), self.exact_vocab, self.max_seq_len, self.causal

    @cached_property
    def exact_vocab(self) -> tuple[Exact, ...]:
        """The vocabulary as exact values."""
        return tuple(exact(token) for token in self.vocab)

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """The program's nodes, each once, arguments first, the output last."""
        from tracr_tasks.trace import trace

        return trace(self.output)

    def text(self) -> str:
        """The canonical text without its header (see `tracr_tasks.text`)."""
        from tracr_tasks.text import format_program

        return format_program(self, header=False)

    def run(self, tokens: Sequence[Value]) -> list[Any]:
        """The program's value at each position of one input (see `tracr_tasks.interpreter.run`)."""
        from tracr_tasks.interpreter import run

        return run(self, tokens)

    def run_batch(self, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """The program's values on many inputs (see `tracr_tasks.batch.run_batch`)."""
        from tracr_tasks.batch import run_batch

        return run_batch(self, ids, lengths)

    def function_hash(self) -> str:
        """16 hex digits that name the program's function (see `tracr_tasks.batch.function_hash`); computed once."""
        return self._function_hash

    @cached_property
    def _function_hash(self) -> str:
        from tracr_tasks.batch import function_hash

        return function_hash(self)


@lru_cache(maxsize=256)
def vocabulary_reasons(vocab: tuple[Value, ...], max_seq_len: int) -> tuple[str, ...]:
    """Why a vocabulary and a length cannot be a program's inputs; empty if they can."""
    names = [format_value(token) for token in vocab]
    reasons = [
        f"the vocabulary must not hold {name!r}: it is the compiler's"
        for name in dict.fromkeys(names)
        if name in RESERVED
    ]
    reasons += [f"the vocabulary holds {name!r} twice" for name, count in Counter(names).items() if count > 1]
    if None in vocab:
        reasons.append("none is not a token")
    if not vocab:
        reasons.append("the vocabulary is empty")
    if max_seq_len < 1:
        reasons.append(f"max_seq_len must be 1 or more, not {max_seq_len}")
    if max_seq_len > MAX_SEQ_LEN:
        reasons.append(f"max_seq_len must be {MAX_SEQ_LEN:,} or less, not {max_seq_len:,}")
    return tuple(reasons)


TOKENS = Tokens()
INDICES = Indices()
LENGTH = Length()


def map_(fn: str | AnyFunction, x: SOp) -> Map:
    """`Map` with its function as text in x, or as a Python function of one value."""
    return Map(function(fn) if isinstance(fn, str) else fn, x)


def sequence_map(fn: str | AnyFunction, x: SOp, y: SOp) -> SequenceMap:
    """`SequenceMap` with its function as text in x and y, or as a Python function of two values."""
    return SequenceMap(function(fn, ("x", "y")) if isinstance(fn, str) else fn, x, y)


def select(keys: SOp, queries: SOp, holds: str | AnyFunction) -> Select:
    """`Select` with its predicate as text (`==`, or in k and q), or as a Python function of a key and a query."""
    return Select(keys, queries, predicate(holds) if isinstance(holds, str) else holds)


def numerical(x: SOp) -> Encoded:
    """x asked for as a number in one direction."""
    return Encoded("numerical", x)
