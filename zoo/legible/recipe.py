"""How a zoo's targets with a history are made. Imports nothing heavy, as it is part of a spec.

All regimes of a part learn, or are compiled from, the same programs: target number i has program number i in each.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from tracr_tasks.errors import InputError
from zoo.legible.anchor_options import AnchorOptions
from zoo.legible.seed_options import SeedOptions
from zoo.legible.training_options import Family, NetworkTraining
from zoo.training_config import Architecture

HISTORIES = ("seeded", "permuted", "decoy", "anchored", "seeded_anchored", "rerandomised")
"""Regimes that there are only under a recipe of this kind."""
SEEDED = ("seeded", "permuted", "decoy", "seeded_anchored")
"""Regimes whose networks begin with a compiled program in them."""
ANCHORED = ("anchored", "seeded_anchored")
"""Regimes whose networks are pulled towards an axis."""
LEARNED = ("trained", *SEEDED, *ANCHORED[:1], "rerandomised")
"""Regimes whose targets have been through a training; the re-randomised have what it left of means and variances."""


@dataclass(frozen=True)
class LegiblePrograms:
    """Random RASP programs that answer with one of a few values at every position of inputs of full length.

    Each has a *variable*: an S-op that is computed by attention, or from what attention gave, that is neither an input
    nor the output, that can be compiled alone, and whose value changes the output.
    """

    vocab_size: int = 4
    """Tokens 0 to vocab_size - 1."""
    max_seq_len: int = 5
    """Length of inputs, BOS not counted."""
    min_ops: int = 4
    """Fewest S-ops of a program: inputs that it reads count, selectors and encodings do not."""
    max_ops: int = 6
    """Most S-ops."""
    max_outputs: int = 8
    """Most values of the output."""
    max_values: int = 8
    """Most values of the variable."""
    max_share: float = 0.7
    """Largest share of one value in the output, and in the variable."""
    min_use: float = 0.1
    """Share of answers that must change where the variable's values are those of another input."""

    def __post_init__(self) -> None:
        bounds: dict[str, tuple[float, float]] = {"vocab_size": (2, 12), "max_seq_len": (2, 12), "min_ops": (3, 20)}
        bounds |= {"max_ops": (self.min_ops, 20), "max_outputs": (2, 64), "max_values": (2, 64)}
        bounds |= {"max_share": (0.05, 0.999), "min_use": (0.001, 1)}
        for name, (low, high) in bounds.items():
            if not low <= (value := getattr(self, name)) <= high:
                raise InputError(f"legible: programs: {name} = {value!r}, expected {low} to {high}")


def regime_line(recipe: LegibleRecipe, regime: str) -> str:
    """What a regime is, in one line for people, with the options that it has."""
    learned = "random weights that learn the programs of the same numbers"
    text = {
        "compiled": "random RASP programs with a variable, compiled",
        "trained": learned,
        "untrained": "initial weights and no program",
        "seeded": f"{learned}, begun with the compiled variable in them",
        "permuted": f"{learned}, begun with the compiled variable in them, each tensor's entries shuffled",
        "decoy": f"{learned}, begun with the compiled variable of another program in them",
        "anchored": f"{learned}, a concept pulled towards an axis",
        "seeded_anchored": f"{learned}, begun with the compiled variable in them and a concept pulled towards an axis",
        "rerandomised": "trained networks, every tensor drawn anew with its mean and variance, so without a program",
    }[regime]
    options = [f"states normalised after each block: {'yes' if recipe.normalizes(regime) else 'no'}"]
    options += [_settings(recipe.training)] if regime in LEARNED else []
    options += [_settings(recipe.seeds(regime))] if regime in SEEDED else []
    options += [_settings(recipe.anchoring)] if regime in ANCHORED else []
    return f"{text} ({'; '.join(options)})"


def _settings(options: object) -> str:
    return ", ".join(f"{name} {value}" for name, value in vars(options).items())


def default_architecture() -> Architecture:
    """Shape of legible networks: wide and deep enough for the programs of `LegiblePrograms` as they are compiled."""
    return Architecture(32, 3, 4, 8, 64, normalization_type="none")


def default_training() -> NetworkTraining:
    """Training of legible networks: 15 of 16 programs are learned to 98%, half of them within 150 steps."""
    return NetworkTraining(steps=800, lr=1e-2, stop_accuracy=0.99)


@dataclass(frozen=True)
class LegibleRecipe:
    """Programs, networks, how they are trained, and what is done to them before or meanwhile."""

    programs: LegiblePrograms = field(default_factory=LegiblePrograms)
    """What is compiled or learned."""
    architecture: Architecture = field(default_factory=default_architecture)
    """Shape of all targets; only programs that fit it when they are compiled are drawn."""
    normalize_states: Literal["anchored", "all", "none"] = "anchored"
    """Whose residual states are divided by their root mean square: those of `anchored` (not of `seeded_anchored`, where
    no program could be embedded exactly), all but the compiled (which leaves no seeded ones), or nobody's."""
    initial_scale: float = 1.0
    """Of initial weights, where 1 is that of the zoo's trained targets."""
    initial_family: Family = "normal"
    """Distribution of initial weights."""
    training: NetworkTraining = field(default_factory=default_training)
    """Of every network that learns."""
    seeding: SeedOptions = field(default_factory=SeedOptions)
    """How a variable's program is put into a network; the regime `permuted` shuffles it."""
    anchoring: AnchorOptions = field(default_factory=AnchorOptions)
    """How a concept is pulled towards an axis."""
    concept: str = ""
    """What is anchored, as in "tokens=2" or "indices=0"; empty: one of the program's own, drawn for each target."""
    min_share: float = 0.05
    """A concept that is drawn holds at this share of positions at least."""
    max_share: float = 0.6
    """And at this share at most."""
    keep_embeddings: bool = False
    """Whether the re-randomised keep W_E and W_pos."""
    seed_curves: bool = True
    """Measure what is left of each seed at ten points of its network's training too: half-lives and asymptotes."""
    autoencoders: bool = False
    """Measure each target by a sparse autoencoder on its last state, beside its re-randomised twin: needs the extra
    `sae`, and five times as long."""
    hidden: bool = True
    """Store each target in a random basis, with heads and neurons in random order: else the zeros of a compiled one
    give its regime away. The function stays."""

    def __post_init__(self) -> None:
        if not 0 < self.initial_scale < 1e3:
            raise InputError(f"legible: initial_scale = {self.initial_scale!r}, expected more than 0 and under 1000")
        if not 0 < self.min_share < self.max_share < 1:
            raise InputError(
                f"legible: min_share = {self.min_share!r} and max_share = {self.max_share!r}, "
                "expected 0 < min_share < max_share < 1: a concept that never holds, or always does, cannot be anchored"
            )
        if self.concept and not all(self.concept.partition("=")):
            raise InputError(f"legible: concept = {self.concept!r}, expected a name and a value, as in 'tokens=2'")
        if self.architecture.attention_dir != "bidirectional":
            raise InputError("legible: attention_dir = 'causal', expected bidirectional")

    def normalizes(self, regime: str) -> bool:
        """Whether the targets of a regime have normalised states."""
        return regime != "compiled" and self.normalize_states in ("all", regime)

    def seeds(self, regime: str) -> SeedOptions:
        """How the networks of a regime are seeded."""
        return replace(self.seeding, permuted=self.seeding.permuted or regime == "permuted")
