"""The sampler: random programs under a seed, each compilable and none trivial.

Operations are drawn one after another over what is there already, with a preference for what no operation has used
yet; the program is what the last one needs. Its functions come from a small regular set. A draw is rejected if on a
fixed sample of inputs an operation is constant or equal to an earlier one (or to an input), if the output is mostly
None or nearly constant, if it cannot be compiled, or if the compiled transformer is too large.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from tracr_tasks import rasp
from tracr_tasks.batch import Column, in_order, run_nodes
from tracr_tasks.canonical import canonical
from tracr_tasks.compiler.compile import CompiledProgram, compile_program
from tracr_tasks.errors import InputError, ProgramError
from tracr_tasks.exact import Value
from tracr_tasks.functions import function, predicate

ENCODINGS = ("numerical", "categorical")


def default_weights() -> dict[str, float]:
    """How often each operation is drawn; the published mixture with more selector widths."""
    return {
        "map": 1.0,
        "sequence_map": 0.8,
        "linear": 0.4,
        "numerical_aggregate": 1.0,
        "categorical_aggregate": 1.0,
        "selector_width": 0.5,
        "composite_selector": 0.2,
    }


@dataclass(frozen=True)
class SamplerConfig:
    """What is drawn and what is rejected."""

    vocab_size: int = 5
    """Tokens 0 to vocab_size - 1, unless `vocab` is given."""
    vocab: tuple[Value, ...] | None = None
    """The tokens; strings leave out the arithmetic on tokens."""
    max_seq_len: int = 5
    """Longest input."""
    causal: bool = False
    """Whether attention is causal."""
    min_ops: int = 2
    """Fewest operations, inputs and encodings not counted (a selector counts)."""
    max_ops: int = 6
    """Most operations."""
    weights: dict[str, float] = field(default_factory=default_weights)
    """How often each operation is drawn, relative to each other."""
    max_d_model: int = 64
    """Widest residual stream."""
    max_neurons: int = 128
    """Most neurons in a layer."""
    max_layers: int = 8
    """Most layers."""
    max_none: float = 0.5
    """Largest share of None in the output."""
    max_share: float = 0.95
    """Largest share of one value in the output."""
    max_draws: int = 2000
    """Draws before giving up."""

    def __post_init__(self) -> None:
        if not 1 <= self.min_ops <= self.max_ops:
            raise InputError(f"min_ops = {self.min_ops} and max_ops = {self.max_ops}: 1 <= min_ops <= max_ops expected")
        if self.vocab is None and self.vocab_size < 2:
            raise InputError(f"vocab_size = {self.vocab_size}: 2 or more expected")
        unknown = set(self.weights) - set(default_weights())
        if unknown:
            raise InputError(f"weights of unknown operations {sorted(unknown)}; known: {sorted(default_weights())}")

    @property
    def tokens(self) -> tuple[Value, ...]:
        """The vocabulary."""
        return tuple(range(self.vocab_size)) if self.vocab is None else self.vocab


DEFAULT = SamplerConfig()


def sample_program(seed: int, config: SamplerConfig = DEFAULT) -> rasp.Program:
    """A random program, the same for the same seed and configuration.

    Raises:
        InputError: no program was accepted in `config.max_draws` draws.
    """
    return sample_compiled(seed, config).program


def sample_compiled(seed: int, config: SamplerConfig = DEFAULT) -> CompiledProgram:
    """As `sample_program`, with the compiled transformer that the program was accepted with."""
    rng = random.Random(seed)
    count = rng.randint(config.min_ops, config.max_ops)
    for _ in range(config.max_draws):
        program = draw(rng, config, count)
        if program is None or not is_interesting(program, config):
            continue
        try:
            compiled = compile_program(program)
        except ProgramError:  # not every draw can be compiled; the next one is tried
            continue
        if fits(compiled, config):
            return compiled
    raise InputError(f"no program accepted in {config.max_draws} draws; relax the sampler's limits")


def fits(compiled: CompiledProgram, config: SamplerConfig) -> bool:
    """Whether the transformer is small enough."""
    shape = compiled.config
    return (
        shape.d_model <= config.max_d_model
        and shape.d_mlp <= config.max_neurons
        and shape.n_layers <= config.max_layers
    )


# drawing


@dataclass(eq=False)
class Item:
    """An S-op that can be used: its kind, the whole numbers it may take, and how often it has been used."""

    sop: rasp.SOp
    kind: str
    """`words` (strings), `whole` (small whole numbers), `bool` (0 or 1) `number` (a mean or linear combination)."""
    low: int
    high: int
    uses: int = 0


class _Draw:
    """One draw: a growing list of S-ops."""

    def __init__(self, rng: random.Random, config: SamplerConfig):
        self.rng, self.config = rng, config
        tokens = config.tokens
        whole = [token for token in tokens if isinstance(token, int)]
        is_whole = len(whole) == len(tokens)
        low, high = (min(whole), max(whole)) if is_whole else (0, 0)
        self.tokens = Item(rasp.TOKENS, "whole" if is_whole else "words", low, high)
        self.indices = Item(rasp.INDICES, "whole", 0, config.max_seq_len - 1)
        self.items = [self.tokens, self.tokens, self.tokens, self.indices]

    def pick(self, *kinds: str, other: Item | None = None) -> Item:
        """An S-op of one of these kinds that is not `other`, unused ones first."""
        found = [item for item in self.items if item.kind in kinds and item is not other]
        if not found:
            found = [self.indices]
        weights = [4.0 if item.uses == 0 and item not in (self.tokens, self.indices) else 1.0 for item in found]
        item = self.rng.choices(found, weights)[0]
        item.uses += 1
        return item

    def add(self, sop: rasp.SOp, kind: str, low: int, high: int) -> None:
        self.items.append(Item(sop, kind, low, high))

    def map(self) -> None:
        """Draw a map of something that is there already."""
        x = self.pick("whole", "bool", "number", "words")
        if x.kind == "words":
            token = self.rng.choice(self.config.tokens)
            sign = self.rng.choice(("==", "!="))
            self.add(rasp.Map(function(f"x {sign} {token!r}"), x.sop), "bool", 0, 1)
        elif x.kind == "bool":
            self.add(rasp.Map(function("not x"), x.sop), "bool", 0, 1)
        elif x.kind == "number":
            bound = self.rng.choice(("0", "0.5", "1", "2"))
            self.add(rasp.Map(function(f"x {self.rng.choice(('>', '<', '=='))} {bound}"), x.sop), "bool", 0, 1)
        elif self.rng.random() < 0.5:
            sign = self.rng.choice(("==", "!=", ">", "<"))
            bound = str(self.rng.randint(x.low, x.high))
            self.add(rasp.Map(function(f"x {sign} {bound}"), x.sop), "bool", 0, 1)
        else:
            self.shift(x)

    def shift(self, x: Item) -> None:
        """A map from whole numbers to whole numbers."""
        text, low, high = self.rng.choice(
            (
                ("x + 1", x.low + 1, x.high + 1),
                ("x - 1", x.low - 1, x.high - 1),
                ("x * 2", 2 * x.low, 2 * x.high),
                ("x % 2", 0, 1),
                ("x % 3", 0, 2),
            )
        )
        self.add(rasp.Map(function(text), x.sop), "whole", min(low, high), max(low, high))

    def sequence_map(self) -> None:
        """Draw a sequence map of two things that are there already."""
        x = self.pick("whole", "bool")
        y = self.pick("whole", "bool", other=x)
        both_bool = x.kind == y.kind == "bool"
        text = self.rng.choice(
            ("x and y", "x or y", "x + y") if both_bool else ("x * y", "x + y", "x - y", "x == y", "x > y")
        )
        kind = "bool" if text in ("x and y", "x or y", "x == y", "x > y") else "whole"
        ends = [x.low * y.low, x.low * y.high, x.high * y.low, x.high * y.high]
        low, high = {
            "x * y": (min(ends), max(ends)),
            "x + y": (x.low + y.low, x.high + y.high),
            "x - y": (x.low - y.high, x.high - y.low),
        }.get(text, (0, 1))
        self.add(rasp.SequenceMap(function(text, ("x", "y")), x.sop, y.sop), kind, low, high)

    def linear(self) -> None:
        x = self.pick("whole", "bool", "number")
        y = self.pick("whole", "bool", "number", other=x)
        a, b = (self.rng.choice((-3, -2, -1, 1, 2, 3)) for _ in range(2))
        self.add(rasp.LinearSequenceMap(a, b, x.sop, y.sop), "number", 0, 0)

    def select(self) -> rasp.Selector:
        """Draw a selector."""
        signs = ("==", "==", "!=", "<", "<=", ">", ">=", "true")
        if self.tokens.kind == "words" and self.rng.random() < 0.5:
            return rasp.Select(rasp.TOKENS, rasp.TOKENS, predicate(self.rng.choice(("==", "!="))))
        keys, queries = self.pick("whole"), self.pick("whole")
        sign = self.rng.choice(signs)
        if sign == "true":
            return rasp.select(rasp.TOKENS, rasp.TOKENS, "true")
        return rasp.Select(keys.sop, queries.sop, predicate(sign))

    def selector(self) -> rasp.Selector:
        weight = self.config.weights.get("composite_selector", 0.0)
        if self.rng.random() >= weight:
            return self.select()
        kind = self.rng.choice(("and", "and", "or", "not"))
        if kind == "not":
            return rasp.SelectorNot(self.select())
        return (rasp.SelectorAnd if kind == "and" else rasp.SelectorOr)(self.select(), self.select())

    def selector_width(self) -> None:
        self.add(rasp.SelectorWidth(self.selector()), "whole", 0, self.config.max_seq_len)

    def categorical_aggregate(self) -> None:
        selector, x = self.selector(), self.pick("whole", "bool", "words")
        default = self.rng.choice((None, 0)) if x.kind != "words" else None
        self.add(rasp.Aggregate(selector, x.sop, default), x.kind, x.low, x.high)

    def numerical_aggregate(self) -> None:
        selector, x = self.selector(), self.pick("bool", "bool", "whole", "number")
        self.add(rasp.Aggregate(selector, x.sop, 0), "number", 0, 0)

    def output(self) -> rasp.SOp:
        """The last S-op, asked for as a number if it is a mean or a linear combination."""
        last = self.items[-1]
        return rasp.numerical(last.sop) if last.kind == "number" else last.sop


def draw(rng: random.Random, config: SamplerConfig, count: int) -> rasp.Program | None:
    """One draw of `count` operations, or None if what the last operation needs is more or fewer."""
    state = _Draw(rng, config)
    names = [name for name in config.weights if name != "composite_selector"]
    weights = [config.weights[name] for name in names]
    for _ in range(config.max_ops):
        getattr(state, rng.choices(names, weights)[0])()
        program = rasp.Program(state.output(), config.tokens, config.max_seq_len, config.causal)
        size = sum(node.line is not None and node.op not in ENCODINGS for node in program.nodes)
        if size == count:
            return canonical(program)
        if size > count:
            return None
    return None


# rejecting


@lru_cache(maxsize=16)
def trial_inputs(n_tokens: int, max_seq_len: int) -> tuple[np.ndarray, np.ndarray]:
    """128 inputs that draws are tried on: Int[128, max_seq_len] and Int[128]; longer inputs are more frequent."""
    rng = random.Random(1)
    lengths = np.array([max(rng.randint(1, max_seq_len), rng.randint(1, max_seq_len)) for _ in range(128)])
    ids = np.array([[rng.randrange(n_tokens) for _ in range(max_seq_len)] for _ in range(128)])
    return ids, lengths


def is_interesting(program: rasp.Program, config: SamplerConfig) -> bool:
    """Whether every operation does something on the trial inputs and the output varies and is rarely None."""
    try:
        valid, results = run_nodes(program, *trial_inputs(len(program.vocab), program.max_seq_len))
    except ProgramError:  # undefined on some input
        return False
    seen: set[Any] = set()
    for node, result in zip(program.nodes, results, strict=True):
        if node.op in ENCODINGS:
            continue
        print_of = _print(result, valid)
        if print_of is None and node.op != "select":
            return False
        if print_of in seen:
            return False
        seen.add(print_of)
    for sop in (rasp.TOKENS, rasp.INDICES):
        other = rasp.Program(sop, program.vocab, program.max_seq_len, program.causal)
        _, (column,) = run_nodes(other, *trial_inputs(len(program.vocab), program.max_seq_len))
        if _print(column, valid) == _print(results[-1], valid):
            return False
    codes, values = in_order(results[-1], valid)
    counts = np.bincount(codes[valid], minlength=len(values)) / valid.sum()
    nones = counts[values.index(None)] if None in values else 0.0
    return bool(nones <= config.max_none and counts.max() <= config.max_share)


def _print(result: Any, valid: np.ndarray) -> Any:
    """A key that is equal for equal results; None for a constant one."""
    if not isinstance(result, Column):
        pairs = valid[:, :, None] & valid[:, None, :]
        return None if not result.any() else np.packbits(result & pairs).tobytes()
    codes, values = in_order(result, valid)
    return None if len(values) < 2 else (values, codes.astype(np.int16).tobytes())
