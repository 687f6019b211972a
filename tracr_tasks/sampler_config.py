"""What the sampler draws and what it rejects, as one configuration of plain fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tracr_tasks.errors import InputError
from tracr_tasks.exact import Value
from tracr_tasks.families import OPERATIONS, SELECTORS, default_families
from tracr_tasks.rasp import vocabulary_reasons


@dataclass(frozen=True)
class SamplerConfig:
    """What is drawn and what is rejected. The default covers the mixture of the published decompilers."""

    vocab_size: int = 5
    """Tokens 0 to vocab_size - 1, unless `vocab` is given."""
    vocab: tuple[Value, ...] | None = None
    """The tokens; if some are strings, tokens are compared and looked up in tables only."""
    max_seq_len: int = 5
    """Longest input."""
    causal: bool = False
    """Whether attention is causal. `length` is not drawn then, as it cannot be compiled."""
    min_ops: int = 3
    """Fewest S-ops of a program: inputs that it reads count, selectors and encodings do not."""
    max_ops: int = 8
    """Most S-ops. The number is drawn evenly from min_ops to max_ops, then a program of that size is looked for."""
    weights: dict[str, float] = field(default_factory=lambda: dict(OPERATIONS))
    """How often each operation is drawn, relative to each other; those that are not named keep their default."""
    families: dict[str, float] = field(default_factory=default_families)
    """How often each family of functions and each form of selector is drawn, likewise."""
    numerical: float = 0.3
    """Share of outputs of whole numbers and bools that are asked for as a number."""
    categorical: float = 0.3
    """Share of outputs of fractions, means and linear combinations that are asked for as a one-hot, if they are few."""
    max_d_model: int = 64
    """Widest residual stream."""
    max_neurons: int = 128
    """Most neurons in a layer."""
    max_layers: int = 8
    """Most layers."""
    max_none: float = 0.5
    """Largest share of None in the output, over all inputs and on any one input of two or more tokens."""
    max_share: float = 0.95
    """Largest share of one value in the output."""
    min_deviation: float = 0.5
    """Least standard deviation of numbers over inputs of full length, summed over positions; None counts as 0."""
    max_draws: int = 2000
    """Draws for one program, and programs for one new function, before giving up."""

    def __post_init__(self) -> None:
        if not 2 <= self.min_ops <= self.max_ops:  # one S-op is an input
            raise InputError(f"min_ops = {self.min_ops} and max_ops = {self.max_ops}: 2 <= min_ops <= max_ops expected")
        if self.vocab is None and self.vocab_size < 2:
            raise InputError(f"vocab_size = {self.vocab_size}: 2 or more expected")
        if self.vocab is not None and len(self.vocab) < 2:
            raise InputError(f"vocab holds {len(self.vocab)} tokens: 2 or more expected")
        if reasons := vocabulary_reasons(self.tokens, self.max_seq_len):
            raise InputError("; ".join(reasons))
        for name in ("numerical", "categorical", "max_none", "max_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} = {getattr(self, name)}: a share from 0 to 1 expected")
        if self.max_draws < 1:
            raise InputError(f"max_draws = {self.max_draws}: 1 or more expected")
        object.__setattr__(self, "weights", _filled("weights", self.weights, OPERATIONS))
        object.__setattr__(self, "families", _filled("families", self.families, default_families()))
        if not any(self.families[form] for form in SELECTORS):
            raise InputError(f"families: one of {', '.join(SELECTORS)} must have a weight above 0")

    @property
    def tokens(self) -> tuple[Value, ...]:
        """The vocabulary."""
        return tuple(range(self.vocab_size)) if self.vocab is None else self.vocab


def _filled(name: str, given: Mapping[str, float], default: Mapping[str, float]) -> dict[str, float]:
    """The default weights with the given ones in their place."""
    if unknown := sorted(set(given) - set(default)):
        raise InputError(f"{name}: unknown {unknown[0]!r}; expected some of {', '.join(default)}")
    for key, weight in given.items():
        if not 0 <= weight < float("inf"):
            raise InputError(f"{name}: {key} = {weight}: a number from 0 expected")
    weights = {**default, **given}
    if not any(weights.values()):
        raise InputError(f"{name}: every weight is 0")
    return weights
